"""Notifications and rulesets for the tests, from a fixed morning on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from alertd.config.schema import Channel, Ruleset, Settings, Target
from alertd.model import (
    Alert,
    AlertState,
    Cause,
    Entry,
    InstanceFacts,
    Instant,
    Kind,
    Notification,
    Place,
    RuleText,
    ServiceFacts,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.delivery.dispatch import Dispatcher

MORNING = datetime(2026, 10, 1, 2, 12, 41, tzinfo=UTC)
"""04:12:41 in Berlin, on summer time."""
PROD = Settings(name="prod-fra", timezone="Europe/Berlin")
PLACE = Place("rules/channels.yaml", 3, 12)

RULE = RuleText("apache-minimum", Severity.CRITICAL, "rules/web.yaml:12 @4f2c9e1")
LOST = RuleText("instance-lost", Severity.WARNING, "rules/web.yaml:20 @4f2c9e1")


def at(seconds: float) -> Instant:
    """Return an instant so many seconds after the morning."""
    return Instant(1000.0 + seconds, MORNING + timedelta(seconds=seconds))


def now() -> Instant:
    """Read the real clocks, as the daemon does."""
    return Instant(monotonic(), datetime.now(UTC))


def lost(name: str, host: str = "", **changes: Any) -> InstanceFacts:
    """Return an instance whose lease ended half a minute before the morning."""
    fields = {"host": host} if host else {}
    facts: dict[str, Any] = {"up": False, "cause": Cause.EXPIRED, "since": at(-30), "fields": fields} | changes
    return InstanceFacts(name, **facts)


def up(name: str, host: str = "", **changes: Any) -> InstanceFacts:
    """Return an instance that has been up for long."""
    return lost(name, host, **({"up": True, "cause": Cause.FOUND, "since": at(-9000)} | changes))


APACHE = ServiceFacts(
    "apache",
    up=1,
    known=3,
    expected=3,
    instances=(
        lost("172.31.14.97", "core01"),
        lost("172.31.14.98", "core02", cause=Cause.FAILING, detail="HTTP 503"),
        up("172.31.14.99", "core03"),
    ),
)


def alert(**changes: Any) -> Alert:
    """Return `apache-minimum`, firing since the morning."""
    facts: dict[str, Any] = {
        "id": "7f3a",
        "rule": RULE,
        "service": "apache",
        "instance": None,
        "per": None,
        "state": AlertState.FIRING,
        "flapping": False,
        "labels": {"team": "web"},
        "since": at(0),
        "cause": Cause.EXPIRED,
        "up": 1,
        "known": 3,
        "minimum": 2,
    }
    return Alert(**(facts | changes))


def lost_alert(name: str, **changes: Any) -> Alert:
    """Return `instance-lost` on one instance of apache."""
    facts = {"id": f"id-{name}", "rule": LOST, "instance": name, "minimum": None}
    return alert(**(facts | changes))


def over(**changes: Any) -> Alert:
    """Return `apache-minimum`, resolved 200 s after it began."""
    return alert(**({"state": AlertState.INACTIVE, "until": at(200), "up": 3, "cause": Cause.RECOVERED} | changes))


def notification(*entries: Entry, **changes: Any) -> Notification:
    """Return a notification of `entries`, by default of one firing alert, decided at the morning."""
    entries = entries or (Entry(Kind.FIRING, alert()),)
    facts: dict[str, Any] = {
        "id": "9abc",
        "kind": entries[0].kind,
        "channel": "ops",
        "group": "apache-minimum apache",
        "entries": entries,
        "services": {"apache": APACHE},
        "still_firing": 1,
        "at": at(0),
    }
    return Notification(**(facts | changes))


def hand(dispatcher: Dispatcher, notification: Notification) -> int:
    """Queue a notification for each target of its channel, and return how many those are."""
    lanes = dispatcher.lanes_of(notification.channel)
    for lane in lanes:
        lane.submit(notification)
    return len(lanes)


def resolved(**changes: Any) -> Notification:
    """Return the notification that ends what `notification()` began."""
    return notification(Entry(Kind.RESOLVED, over()), **({"still_firing": 0, "at": at(200)} | changes))


def target(url: str) -> Target:
    """Return a target as the rules give it."""
    return Target(url=SecretStr(url), place=PLACE)


def dict_target(**options: str) -> Target:
    """Return a target in the dict form."""
    return Target(options={name: SecretStr(value) for name, value in options.items()}, place=PLACE)


def ruleset(channels: Mapping[str, str | tuple[str, ...]], settings: Settings = PROD, **options: Any) -> Ruleset:
    """Return a ruleset of channels, each given by its URL or URLs; `options` go to every channel."""
    return Ruleset(
        settings=settings,
        channels={
            name: Channel(targets=tuple(target(url) for url in ([urls] if isinstance(urls, str) else urls)), **options)
            for name, urls in channels.items()
        },
    )
