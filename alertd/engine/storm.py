"""One channel's guard against storms: beyond so many new groups within so long, the rest becomes one digest.

While the storm goes on, a digest is told at the end of each such time; it is over when one passes in which nothing was
held back. What was told in a digest counts as told, and what becomes of those groups comes digested too.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING

from alertd.engine.facts import describe_alert, describe_service
from alertd.engine.timers import Timer
from alertd.model import AlertState, Entry, Instant, Kind, Notification, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.engine.desk import Desk
    from alertd.engine.group import Group
    from alertd.engine.membership import Membership

DIGEST = "digest"
"""The name of the group that a digest speaks of."""


class Outlet:
    """What goes to one channel."""

    __slots__ = ("_channel", "_desk", "_digested", "_held", "_recent", "_storm_until", "_timer")

    def __init__(self, channel: str, desk: Desk) -> None:
        self._channel = channel
        self._desk = desk
        self._recent: deque[float] = deque()
        self._held: dict[Membership, None] = {}
        self._digested: set[Group] = set()
        self._storm_until = -inf
        self._timer = Timer(self._flush)

    def admits(self, group: Group, members: Iterable[Membership], now: Instant, *, is_new: bool) -> bool:
        """Tell whether the news of `members` goes out now; if not, they are held for the digest.

        `is_new`: the channel has not been told of anything in the group that still fires.
        """
        if is_new:
            self._digested.discard(group)
            if self._is_calm(now):
                self._recent.append(now.mono)
                return True
        elif group not in self._digested:
            return True
        self._digested.add(group)
        self._hold(members, now)
        return False

    def _is_calm(self, now: Instant) -> bool:
        storm = self._desk.settings.storm
        while self._recent and self._recent[0] <= now.mono - storm.within:
            self._recent.popleft()
        return now.mono >= self._storm_until and len(self._recent) < storm.above

    def _hold(self, members: Iterable[Membership], now: Instant) -> None:
        self._held.update((member, None) for member in members)
        for member in members:
            self._desk.decide(member.alert, Reason.HELD_IN_STORM, now, f"to {self._channel}")
        if self._timer.due is None:
            begun = self._recent[0] if self._recent else now.mono
            end = begun + self._desk.settings.storm.within
            self._desk.timers.start(self._timer, self._storm_until if now.mono < self._storm_until else end)

    def _flush(self, now: Instant) -> None:
        """Tell all that was held, as one."""
        held, self._held = self._held, {}
        if not held:
            return
        self._recent.clear()
        self._storm_until = now.mono + self._desk.settings.storm.within
        entries, marks, services = [], [], {}
        for member in held:
            alert = member.alert
            kind = Kind.FIRING if alert.state is AlertState.FIRING else Kind.RESOLVED
            entries.append(Entry(kind, describe_alert(alert)))
            marks.append(f"{alert.id} {kind} {alert.episode} {alert.revision}")
            service = alert.condition.service
            if service.name not in services:
                services[service.name] = describe_service(service, listed=0)
        self._desk.out.append(
            Notification(
                id=sha256("\0".join((self._channel, DIGEST, *marks)).encode()).hexdigest()[:12],
                kind=Kind.DIGEST,
                channel=self._channel,
                group=DIGEST,
                entries=tuple(entries),
                services=services,
                still_firing=sum(entry.kind is Kind.FIRING for entry in entries),
                at=now,
            )
        )
