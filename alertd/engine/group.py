"""Who is told, together with what else, and when.

A group is what one message speaks of: here the alerts of one rule on one service. A change is told `group_wait` after
it, and changes meanwhile join; a firing no sooner than `group_interval` after the group's last message. A resolve goes
where the firing was told, whatever the rules say now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING

from alertd.engine.facts import describe_alert, describe_service
from alertd.engine.timers import Timer
from alertd.model import Decision, Entry, Instant, Kind, Notification, Reason

if TYPE_CHECKING:
    from alertd.config.schema import Ruleset
    from alertd.engine.alert import Desk, LiveAlert
    from alertd.engine.registry import Service

LOG_CHANNEL = "log"
"""The built-in channel, told where no channel is configured."""

_SUBJECTS: tuple[tuple[Kind, ...], ...] = (
    (Kind.FIRING, Kind.RESOLVED),
    (Kind.FLAPPING,),
    (Kind.SETTLED,),
    (Kind.FORGOTTEN,),
)
"""Kinds that share a message."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Who is told of a rule's alerts, and when; waits in seconds."""

    channels: tuple[str, ...]
    group_wait: float
    group_interval: float


class Router:
    """Answers who is told, by the ruleset in force."""

    __slots__ = ("_default", "_resolved_wanted", "_rules")

    def __init__(self, ruleset: Ruleset) -> None:
        route = ruleset.route
        everyone = tuple(ruleset.channels) or (LOG_CHANNEL,)
        self._default = Routing(route.channels or everyone, route.group_wait, route.group_interval)
        self._rules = {
            rule.name: Routing(rule.channels, route.group_wait, route.group_interval)
            for rule in ruleset.rules
            if rule.channels is not None
        }
        self._resolved_wanted = {name: channel.send_resolved for name, channel in ruleset.channels.items()}
        self._resolved_wanted[LOG_CHANNEL] = True

    def route(self, rule: str) -> Routing:
        """Return who is told of alerts of `rule`."""
        return self._rules.get(rule, self._default)

    def wants(self, channel: str, kind: Kind) -> Reason | None:
        """Return why `channel` is not told of `kind`, or None if it is."""
        if channel not in self._resolved_wanted:
            return Reason.CHANNEL_GONE
        if kind is Kind.RESOLVED and not self._resolved_wanted[channel]:
            return Reason.RESOLVE_NOT_WANTED
        return None


class Group:
    """The alerts of one rule on one service, and what is still to be told of them."""

    __slots__ = (
        "_last",
        "_news",
        "_timer",
        "desk",
        "firing",
        "rule",
        "service",
    )

    def __init__(self, rule: str, service: Service, desk: Desk) -> None:
        self.rule = rule
        self.service = service
        self.desk = desk
        self.firing = 0
        """How many of its alerts fire."""
        self._news: dict[LiveAlert, None] = {}
        self._last = -inf
        self._timer = Timer(self._tell)

    def note(self, alert: LiveAlert, now: Instant) -> None:
        """Take note that `alert` has news, and let it be told in time."""
        self._news[alert] = None
        self._arm(now.mono + self.desk.router.route(self.rule).group_wait)

    def _arm(self, due: float) -> None:
        if self._timer.due is None or due < self._timer.due:
            self.desk.timers.start(self._timer, due)

    def _tell(self, now: Instant) -> None:
        """Tell all that may be told now; only firings may have to wait on."""
        interval = self.desk.router.route(self.rule).group_interval
        telling: list[LiveAlert] = []
        waiting: dict[LiveAlert, None] = {}
        for alert in self._news:
            if alert.news is Kind.FIRING and now.mono < self._last + interval:
                waiting[alert] = None
            elif alert.news is not None:
                telling.append(alert)
        self._news = waiting
        if telling:
            self._last = now.mono
        for kinds in _SUBJECTS:
            self._send([alert for alert in telling if alert.news in kinds], now)
        if waiting:
            self._arm(self._last + interval)

    def _send(self, alerts: list[LiveAlert], now: Instant) -> None:
        """Emit one notification a channel about `alerts`."""
        by_channel: dict[str, list[tuple[Entry, str]]] = {}
        for alert in alerts:
            kind = alert.news or Kind.FIRING
            part = Entry(kind, describe_alert(alert)), f"{alert.id} {kind} {alert.episode} {alert.revision}"
            channels = self._channels_of(alert, kind, now)
            for channel in channels:
                by_channel.setdefault(channel, []).append(part)
            alert.mark_told(channels)
        if not by_channel:
            return
        spoken = [alert.instance for alert in alerts if alert.instance is not None]
        services = {self.service.name: describe_service(self.service, spoken)}
        name = f"{self.rule}/{self.service.name}"
        for channel, parts in by_channel.items():
            entries = tuple(entry for entry, _ in parts)
            kinds = {entry.kind for entry in entries}
            kind = Kind.FIRING if Kind.FIRING in kinds else entries[0].kind
            mark = "\0".join((channel, name, *(mark for _, mark in parts)))
            notification_id = sha256(mark.encode()).hexdigest()[:12]
            self.desk.out.append(
                Notification(notification_id, kind, channel, name, entries, services, self.firing, now)
            )

    def _channels_of(self, alert: LiveAlert, kind: Kind, now: Instant) -> tuple[str, ...]:
        """Return who is told this of `alert`: a firing those on the route, all that follows those told before."""
        router = self.desk.router
        before = tuple(dict.fromkeys(alert.told + alert.flap_told))
        route = router.route(self.rule).channels
        if kind is Kind.FIRING:
            wanted: Iterable[str] = route
        elif kind is Kind.FLAPPING:
            wanted = dict.fromkeys(before + route)
        else:
            wanted = before or route
        told = []
        for channel in wanted:
            why_not = router.wants(channel, kind)
            self._decide(alert, why_not or Reason.TOLD, f"{kind} to {channel}", now)
            if why_not is None:
                told.append(channel)
        return tuple(told)

    def _decide(self, alert: LiveAlert, reason: Reason, detail: str, now: Instant) -> None:
        text = alert.rule.text
        self.desk.out.append(Decision(now, alert.id, text.name, text.source, alert.target, reason, detail))
