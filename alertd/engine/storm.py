"""One channel's guard against storms: beyond so many new groups within so long, the rest becomes one digest.

While the storm goes on, a digest is told at the end of each such time; it is over when one passes in which nothing was
held back. What was told in a digest counts as told, and what becomes of those groups comes digested too. While one is
being collected all other news joins it, also of groups that spoke for themselves before: what is lost at one moment is
missed over many seconds, as its leases end. What is about alertd itself speaks for itself always: it may say why.

Of what is held no more is kept than whom it is about. What the digest says is worked out when it is told, so that what
came and went meanwhile is told once or not at all, and what has been muted meanwhile is not.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from alertd.engine.membership import Turn
from alertd.engine.message import Part, compose, compose_digest
from alertd.engine.timers import Timer, stop
from alertd.model import Instant, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from alertd.engine.alert import LiveAlert
    from alertd.engine.desk import Desk
    from alertd.engine.group import Group


class Outlet:
    """What goes to one channel."""

    __slots__ = ("_channel", "_desk", "_digested", "_digests", "_held", "_recent", "_timer", "storm_until")

    def __init__(self, channel: str, desk: Desk) -> None:
        self._channel = channel
        self._desk = desk
        self._recent: dict[tuple[str, ...], float] = {}
        """The keys of the groups told of lately, and since when."""
        self._held: dict[LiveAlert, Part] = {}
        """The last that was to be told of each alert."""
        self._digested: dict[LiveAlert, None] = {}
        """What was told by digest and still fires, as far as the channel knows."""
        self._digests = 0
        self.storm_until = -inf
        self._timer = Timer(self._flush)

    def tell(self, group: Group, parts: Sequence[Part], now: Instant) -> bool:
        """Tell the channel `parts` of a group, at once or in its next digest; return whether it wants any of it."""
        wanted = [part for part in parts if self._wants(part, now)]
        if not wanted:
            return False
        if _is_about_self(wanted) or self._admits(group, now):
            self._note_told(wanted, now)
            self._desk.out.append(compose(group, self._channel, wanted, now))
        else:
            self._hold(wanted, now)
        return True

    def is_storming(self, key: tuple[str, ...], now: Instant) -> bool:
        """Tell whether what a group that is new to the channel tells now is held for the digest."""
        lately = self._lately(now)
        is_full = len(lately) >= self._desk.settings.storm.above
        return self.is_collecting or now.mono < self.storm_until or (is_full and key not in lately)

    @property
    def is_collecting(self) -> bool:
        """Whether a digest is due that whatever is told now joins."""
        return self._timer.due is not None

    def collect(self, until: float) -> None:
        """Let all that is told join one digest, to be told at `until` (monotonic seconds) or later."""
        self._desk.timers.start(self._timer, max(until, self._timer.due or until))

    # --- taking over -------------------------------------------------------------------------------------------------

    def past(self) -> tuple[float, int]:
        """Return until when its storm lasts, in monotonic seconds, and how many digests were told."""
        return self.storm_until, self._digests

    def take_over(self, storm_until: float, digests: int) -> None:
        """Go on where another left off."""
        self.storm_until, self._digests = storm_until, digests

    def forget(self) -> None:
        """Let no digest come of what was held: the outlet is to be replaced."""
        stop(self._timer)

    def note_spoken(self, group: Group, alerts: Iterable[LiveAlert]) -> None:
        """Take note of a group that another told the channel of, which knows of these alerts."""
        self._recent[group.key] = group.spoke
        if self._channel in group.digested:
            self._digested.update(dict.fromkeys(alerts))

    # --- which way ---------------------------------------------------------------------------------------------------

    def _wants(self, part: Part, now: Instant) -> bool:
        why_not = self._desk.router.wants(self._channel, part.kind)
        if why_not is None:
            return True
        self._desk.decide(part.member.alert, why_not, now, f"{part.kind} to {self._channel}")
        part.member.note_unwanted(self._channel, part.kind)
        return False

    def _admits(self, group: Group, now: Instant) -> bool:
        """Tell whether a group may speak for itself: if no digest is due, and it was in none since it was new."""
        if not group.is_known_to(self._channel):
            group.digested.discard(self._channel)
            if not self.is_storming(group.key, now):
                self._recent = self._lately(now)
                self._recent.setdefault(group.key, now.mono)
                return True
        elif self._channel not in group.digested and not self.is_collecting:
            return True
        group.digested.add(self._channel)
        return False

    def _lately(self, now: Instant) -> dict[tuple[str, ...], float]:
        since = now.mono - self._desk.settings.storm.within
        return {key: at for key, at in self._recent.items() if at > since}

    # --- the digest --------------------------------------------------------------------------------------------------

    def _hold(self, parts: Iterable[Part], now: Instant) -> None:
        for part in parts:
            alert = part.member.alert
            self._desk.decide(alert, Reason.HELD_IN_STORM, now, f"{part.kind} to {self._channel}")
            self._held[alert] = part
        if self._timer.due is None:
            begun = next(iter(self._lately(now).values()), now.mono)
            end = begun + self._desk.settings.storm.within
            self._desk.timers.start(self._timer, self.storm_until if now.mono < self.storm_until else end)

    def _flush(self, now: Instant) -> None:
        """Tell all that was held, as one; unless somebody else speaks by now, or nothing was."""
        if not self._desk.speaks or not self._held:
            return
        held, self._held = {part.member.alert: part for part in self._held.values()}, {}
        self.storm_until = now.mono + self._desk.settings.storm.within
        self._desk.stormy[self._channel] = None
        due = [part for part in (self._due(part, now) for part in held.values()) if part is not None]
        wanted = [part for part in due if self._wants(part, now)]
        if wanted:
            self._digests += 1
            self._note_told(wanted, now)
            digested = {**self._digested, **dict.fromkeys(part.member.alert for part in wanted)}
            self._digested = {alert: None for alert in digested if alert.is_known_to(self._channel)}
            number, firing = self._digests, len(self._digested)
            self._desk.out.append(compose_digest(self._channel, wanted, number, firing, now))
        for part in held.values():
            part.member.alert.follow_up(now)

    def _due(self, held: Part, now: Instant) -> Part | None:
        """Return what is to be told of an alert that something was held of."""
        alert = held.member.alert
        member = alert.member_about(self._channel)
        kind = member.difference(self._channel) if member is not None else None
        if member is not None and kind is not None:
            is_kept_back = member.withholds(self._channel, kind, now) or member.is_early(kind, now)
            return None if is_kept_back else Part(member, kind)
        is_known = member is not None
        if held.kind in (Kind.REMINDER, Kind.ESCALATED) and held.member in alert.memberships:
            if held.member.is_pressing(now.mono) and is_known is (held.kind is Kind.REMINDER):
                return held
            held.member.steps_done = 0
        return None

    def _note_told(self, parts: Sequence[Part], now: Instant) -> None:
        turn = Turn(self._channel, now)
        details = {kind: f"{kind} to {self._channel}" for kind in {part.kind for part in parts}}
        for member, kind in parts:
            self._desk.decide(member.alert, Reason.TOLD, now, details[kind])
            member.note_told(kind, turn)


def _is_about_self(parts: Sequence[Part]) -> bool:
    """Tell whether all that is to be told is about alertd itself, which no digest may hold up."""
    return all(part.member.alert.condition.is_about_self for part in parts)
