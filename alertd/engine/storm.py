"""One channel's guard against storms: beyond so many new groups within so long, the rest becomes one digest.

While the storm goes on, a digest is told at the end of each such time; it is over when one passes in which nothing was
held back. What was told in a digest counts as told, and what becomes of those groups comes digested too.

What is held is, for each alert, what the channel believed before and what it would have been told last. The digest
tells the difference of the two, so that what came and went meanwhile is told once or not at all.
"""

from __future__ import annotations

from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from alertd.engine.facts import describe_alert, describe_service
from alertd.engine.timers import Timer
from alertd.model import Alert, AlertState, Entry, Instant, Kind, Notification, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.engine.desk import Desk
    from alertd.engine.group import Group
    from alertd.engine.membership import Membership
    from alertd.engine.registry import Service

DIGEST = "digest"
"""The name of the group that a digest speaks of."""

_REPEATS = frozenset({Kind.REMINDER, Kind.ESCALATED})


class Part(NamedTuple):
    """One alert's part of a message; `belief` is what the channel was told of it before: that it fires, or flaps."""

    member: Membership
    kind: Kind
    belief: Kind | None


class _Held(NamedTuple):
    """What a channel believes of an alert, what it would have been told last, and the alert as it was then."""

    belief: Kind | None
    kind: Kind
    alert: Alert
    mark: str
    service: Service


class Outlet:
    """What goes to one channel."""

    __slots__ = ("_channel", "_desk", "_digested", "_held", "_recent", "_storm_until", "_timer", "_waiting")

    def __init__(self, channel: str, desk: Desk) -> None:
        self._channel = channel
        self._desk = desk
        self._recent: dict[tuple[str, ...], float] = {}
        """The keys of the groups told of lately, and since when."""
        self._held: dict[str, _Held] = {}
        """By alert id."""
        self._digested: set[tuple[str, ...]] = set()
        self._waiting: set[tuple[str, ...]] = set()
        """Keys of groups of which something is held: what follows must not overtake it."""
        self._storm_until = -inf
        self._timer = Timer(self._flush)

    def admits(self, group: Group, parts: Sequence[Part], now: Instant, *, is_new: bool) -> bool:
        """Tell whether `parts` go out now; if not, they are held for the digest.

        `is_new`: the channel has not been told of anything in the group that it has not been told the end of.
        """
        key = group.key
        if key not in self._waiting:
            if is_new:
                self._digested.discard(key)
                if self._is_calm(key, now):
                    self._recent.setdefault(key, now.mono)
                    return True
            elif key not in self._digested:
                return True
        self._digested.add(key)
        self._waiting.add(key)
        for part in parts:
            self._hold(part, now)
        if self._timer.due is None:
            begun = next(iter(self._recent.values()), now.mono)
            end = begun + self._desk.settings.storm.within
            self._desk.timers.start(self._timer, self._storm_until if now.mono < self._storm_until else end)
        return False

    def is_storming(self, key: tuple[str, ...], now: Instant) -> bool:
        """Tell whether what a group tells now is held for the digest."""
        storm = self._desk.settings.storm
        lately = sum(since > now.mono - storm.within for since in self._recent.values())
        is_full = key not in self._recent and lately >= storm.above
        return key in self._waiting or now.mono < self._storm_until or is_full

    def _is_calm(self, key: tuple[str, ...], now: Instant) -> bool:
        """Tell whether one more group may be told of by itself; the same one again is not one more."""
        storm = self._desk.settings.storm
        while self._recent and next(iter(self._recent.values())) <= now.mono - storm.within:
            del self._recent[next(iter(self._recent))]
        return now.mono >= self._storm_until and (key in self._recent or len(self._recent) < storm.above)

    def _hold(self, part: Part, now: Instant) -> None:
        alert = part.member.alert
        self._desk.decide(alert, Reason.HELD_IN_STORM, now, f"to {self._channel}")
        before = self._held.get(alert.id)
        if before is not None and part.kind in _REPEATS:
            return
        belief = part.belief if before is None else before.belief
        mark, service = part.member.mark(part.kind), alert.condition.service
        self._held[alert.id] = _Held(belief, part.kind, describe_alert(alert), mark, service)

    def _flush(self, now: Instant) -> None:
        """Tell all that was held, as one."""
        entries: list[Entry] = []
        marks: list[str] = []
        services = {}
        for held in self._held.values():
            kind = _difference(held)
            if kind is not None:
                entries.append(Entry(kind, held.alert))
                marks.append(held.mark)
                if held.service.name not in services:
                    services[held.service.name] = describe_service(held.service, listed=0)
        self._held = {}
        self._waiting.clear()
        self._recent.clear()
        self._storm_until = now.mono + self._desk.settings.storm.within
        if not entries:
            return
        self._desk.out.append(
            Notification(
                id=sha256("\0".join((self._channel, DIGEST, *marks)).encode()).hexdigest()[:12],
                kind=Kind.DIGEST,
                channel=self._channel,
                group=DIGEST,
                entries=tuple(entries),
                services=services,
                still_firing=sum(entry.alert.state is AlertState.FIRING for entry in entries),
                at=now,
            )
        )


def _difference(held: _Held) -> Kind | None:
    """Return what is to be told of an alert, None if the channel believes what is true already."""
    belief, kind, alert = held.belief, held.kind, held.alert
    if belief is Kind.FLAPPING:
        return None if kind is Kind.FLAPPING else Kind.SETTLED
    if kind in _REPEATS or kind in {Kind.FLAPPING, Kind.FORGOTTEN}:
        return kind
    if alert.state is not AlertState.FIRING and kind is not Kind.FIRING:
        return Kind.RESOLVED
    return None if belief is Kind.FIRING else Kind.FIRING
