"""Timelines that read like a story: what happens at which second, and what people are told.

A `Story` owns an engine and a clock that only it moves. Deadlines on the way are met one by one, as the daemon does.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from alertd.config.schema import Channel, Inhibition, Route, Rule, Ruleset, ServiceSpec, Settings
from alertd.engine.core import Engine
from alertd.model import (
    Ack,
    Action,
    Alert,
    BuiltIn,
    Decision,
    EventKind,
    Instant,
    KeyEvent,
    Match,
    Notification,
    Silence,
    Transition,
)

if TYPE_CHECKING:
    from collections.abc import Callable

QUIET = {"group_wait": "0s", "group_interval": "0s", "repeat_interval": "999d"}
"""What the default route of a story says of times: at once, and never again."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
PREFIX = b"/services/"


def instant(seconds: float) -> Instant:
    """Return the instant that is `seconds` after the epoch on both clocks."""
    return Instant(1000.0 + seconds, EPOCH + timedelta(seconds=seconds))


def seconds(moment: Instant) -> float:
    """Return how many seconds after the epoch an instant is."""
    return round(moment.mono - 1000.0, 3)


def rule(name: str = "r", service: str | list[str] = "apache", **fields: Any) -> Rule:
    """Return a rule; `for` is written `for_`, durations as in YAML."""
    if "for_" in fields:
        fields["for"] = fields.pop("for_")
    fields.setdefault("when", {"instance": "down"})
    return Rule.model_validate({"name": name, "service": service, **fields})


def route(**fields: Any) -> Route:
    """Return a route with the times of a story; `match` and `not_` are mappings of one text each."""
    match, unless = fields.pop("match", {}), fields.pop("not_", {})
    meant = Match({key: (text,) for key, text in match.items()}, {key: (text,) for key, text in unless.items()})
    return Route(match=meant, **{**QUIET, **fields})


def default_route(**fields: Any) -> Route:
    """Return a default route."""
    return route(default=True, **fields)


def inhibition(if_: dict[str, str], mute: dict[str, str], *equal: str) -> Inhibition:
    """Return an inhibition."""
    source, muted = ({key: (text,) for key, text in each.items()} for each in (if_, mute))
    return Inhibition(if_=Match(source), mute=Match(muted), equal=equal)


def ruleset(*rules: Rule, **fields: Any) -> Ruleset:
    """Return a ruleset; times are those of the default route, as in YAML."""
    times = {name: fields.pop(name, default) for name, default in QUIET.items()}
    routes = fields.pop("routes", (Route(default=True, **times),))
    services = {name: ServiceSpec(**spec) for name, spec in fields.pop("services", {}).items()}
    settings = fields.pop("settings", Settings(flap=False))
    channels: dict[str, Channel] = fields.pop("channels", {})
    return Ruleset(rules=rules, routes=routes, services=services, settings=settings, channels=channels, **fields)


class Story:
    """One engine from its start."""

    def __init__(
        self, *rules: Rule, up: tuple[str, ...] = (), make: Callable[[Ruleset, bytes], Any] = Engine, **fields: Any
    ) -> None:
        self.engine: Engine = make(ruleset(*rules, **fields), PREFIX)
        self.actions: list[Action] = []
        self.now = instant(0)
        self._ahead = timedelta()
        self._revision = 100
        self.actions += self.engine.open_gap(self.now)
        self.put(*up, kind=EventKind.FOUND)
        self.actions += self.engine.close_gap(self.now)

    # --- time --------------------------------------------------------------------------------------------------------

    def at(self, when: float) -> Self:
        """Let time pass until `when`, seconds after the epoch on the monotonic clock."""
        target = self._instant(when)
        assert target.mono >= self.now.mono, "a story goes forward"
        while (due := self.engine.next_deadline()) is not None and due <= target.mono:
            self.now = target.shifted_to(max(due, self.now.mono))
            self.actions += self.engine.advance(self.now)
        self.now = target
        return self

    def step_wall(self, by: float) -> Self:
        """Let somebody set the wall clock forward, or back; the engine sees it when it is next woken."""
        self._ahead += timedelta(seconds=by)
        self.now = self._instant(self.now.mono - 1000)
        return self

    def _instant(self, when: float) -> Instant:
        moment = instant(when)
        return moment._replace(wall=moment.wall + self._ahead)

    def reload(self, *rules: Rule, **fields: Any) -> Self:
        """Put another ruleset in force."""
        self.actions += self.engine.load(ruleset(*rules, **fields), self.now)
        return self

    # --- people ------------------------------------------------------------------------------------------------------

    def silence(self, *, id: str = "s", until: float | None = None, **fields: Any) -> Self:  # noqa: A002 - the field's name
        """Silence what `match` says until a second of the story; `not_` and the fields of `Silence` as they are."""
        match = Match({name: (text,) for name, text in fields.pop("match", {}).items()}, fields.pop("not_", {}))
        end = None if until is None else instant(until).wall
        self.actions += self.engine.silence(Silence(id, match, end, **fields), self.now)
        return self

    def lift(self, silence_id: str = "s") -> Self:
        """End a silence."""
        self.actions += self.engine.lift(silence_id, self.now)
        return self

    def ack(self, target: str, *, seconds: float = 8 * 3600, by: str = "ann") -> Self:
        """Take on all alerts of a target."""
        alerts = [alert for alert in self.engine.alerts() if alert.target == target]
        assert alerts, f"nothing is known of {target}"
        wall = self.now.wall
        for alert in alerts:
            since = alert.since.wall if alert.since is not None else None
            ack = Ack(alert.id, by, "on it", wall, wall + timedelta(seconds=seconds), since)
            self.actions += self.engine.acknowledge(ack, self.now)
        return self

    def unack(self, target: str) -> Self:
        """Take it back."""
        self.actions += self.engine.unacknowledge(self.alerts[target].id, self.now)
        return self

    def forget(self, service: str, instance: str | None = None) -> Self:
        """Forget what is gone."""
        self.actions += self.engine.forget(service, instance, self.now)
        return self

    # --- alertd itself -----------------------------------------------------------------------------------------------

    def note(self, name: BuiltIn, words: str, target: str | None = None) -> Self:
        """Say that a built-in rule holds."""
        self.actions += self.engine.note(name, words, self.now, holds=True, target=target)
        return self

    def clear(self, name: BuiltIn, words: str, target: str | None = None) -> Self:
        """Say that it does not."""
        self.actions += self.engine.note(name, words, self.now, holds=False, target=target)
        return self

    def hold(self, why: str = "etcd was away for 2m") -> Self:
        """Doubt what is lost."""
        self.actions += self.engine.hold(why, self.now)
        return self

    # --- events ------------------------------------------------------------------------------------------------------

    def events(self, *events: KeyEvent) -> Self:
        """Feed events as they are."""
        self.actions += self.engine.feed(events, self.now)
        return self

    def event(self, kind: EventKind, name: str, value: bytes = b"", lease: int = 0) -> KeyEvent:
        """Make an event at the current revision."""
        return KeyEvent(kind, PREFIX + name.encode(), value, lease, self._revision)

    def put(
        self,
        *names: str,
        kind: EventKind = EventKind.PUT,
        raw: bytes | None = None,
        leases: int = 0,
        **fields: Any,
    ) -> Self:
        """Put keys, all with one value and at one revision, on no lease or on so many in turn."""
        self._revision += 1
        value = raw if raw is not None else json.dumps(fields).encode() if fields else b""
        each = (number % leases + 1 if leases else 0 for number, _ in enumerate(names))
        return self.events(*(self.event(kind, name, value, lease) for name, lease in zip(names, each, strict=True)))

    up = put

    def expire(self, *names: str) -> Self:
        """End the one lease of all these keys."""
        return self._end(EventKind.EXPIRE, names)

    def delete(self, *names: str) -> Self:
        """Remove keys in one transaction."""
        return self._end(EventKind.DELETE, names)

    def miss(self, *names: str) -> Self:
        """Find keys gone."""
        return self._end(EventKind.MISSED, names)

    def fail(self, name: str, reason: str = "HTTP 503") -> Self:
        """Let a secretary announce that its probe failed."""
        return self.put(name, status="failing", reason=reason)

    def stop(self, name: str) -> Self:
        """Let a secretary announce a stop, and remove its key."""
        return self.put(name, status="stopped").delete(name)

    def gap(self) -> Self:
        """Begin a listing after a gap."""
        self.actions += self.engine.open_gap(self.now)
        return self

    def found(self, *names: str, **fields: Any) -> Self:
        """Find keys in a listing."""
        return self.put(*names, kind=EventKind.FOUND, **fields)

    def begin_history(self, at: int = 0) -> Self:
        """Let etcd be another from now on, or an older one: its next revision comes after `at`."""
        self._revision = at
        self.engine.rebase(self.now)
        return self

    def synced(self) -> Self:
        """End the listing."""
        self.actions += self.engine.close_gap(self.now)
        return self

    def _end(self, kind: EventKind, names: tuple[str, ...]) -> Self:
        self._revision += 1
        return self.events(*(self.event(kind, name) for name in names))

    # --- what became of it -------------------------------------------------------------------------------------------

    @property
    def notifications(self) -> list[Notification]:
        """All that was sent."""
        return [action for action in self.actions if isinstance(action, Notification)]

    @property
    def told(self) -> list[str]:
        """Every entry that was told, as `60 firing r apache/a`; the channel is added where it is not `log`."""
        return [
            f"{seconds(sent.at):.10g} {entry.kind} {entry.alert.rule.name} {entry.alert.target}"
            + ("" if sent.channel == "log" else f" to {sent.channel}")
            for sent in self.notifications
            for entry in sent.entries
        ]

    @property
    def transitions(self) -> list[str]:
        """Every transition, as `60 apache/a down expired`."""
        return [
            f"{seconds(act.at):.10g} {act.service}/{act.instance} {'up' if act.up else 'down'} {act.cause}"
            for act in self.actions
            if isinstance(act, Transition)
        ]

    @property
    def reasons(self) -> list[str]:
        """Every decision, as `60 held-for apache`."""
        return [
            f"{seconds(act.at):.10g} {act.reason} {act.target}" for act in self.actions if isinstance(act, Decision)
        ]

    @property
    def alerts(self) -> dict[str, Alert]:
        """Alerts under way, by target."""
        return {alert.target: alert for alert in self.engine.alerts()}
