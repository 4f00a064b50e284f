"""What one group has told of one of its alerts, and still owes.

What is owed is never queued. It is the difference between what a channel was last told and what is true now, so an
alert that fired and ended before anybody was told has one piece of news (it is over), not two; and when flapping, a
mute or a storm ends, the difference is taken again, so that no end state can be swallowed.

Invariant: of all memberships of an alert, at most one is about a channel. Once that channel was told of a firing,
exactly one resolved, settled-as-resolved or forgotten message to it follows before it is told of a firing again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from alertd.model import AlertState, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from alertd.engine.alert import LiveAlert
    from alertd.engine.group import Group
    from alertd.engine.routing import Step
    from alertd.model import Instant

_BEGINS = frozenset({Kind.FIRING, Kind.ESCALATED, Kind.SETTLED})
"""What a channel is told of an alert that fires, and then believes."""


class Belief(NamedTuple):
    """What a channel was told and not told the end of: that it fires (`since` when it knows that), or flaps."""

    kind: Kind
    since: Instant | None


NOBODY: Mapping[str, Belief] = {}
"""What is believed where nobody knows of anything."""


class Turn:
    """What a channel is told at one moment: members of which it believed the same go on sharing what it believes."""

    __slots__ = ("_after", "_before", "_what", "channel", "now")

    def __init__(self, channel: str, now: Instant) -> None:
        self.channel = channel
        self.now = now
        self._before = self._after = NOBODY
        self._what: tuple[Kind, bool] | None = None

    def beliefs_after(self, member: Membership, kind: Kind) -> Mapping[str, Belief]:
        """Return what is believed of a member once the channel was told `kind`, of a reminder nothing new."""
        what = (kind, member.is_firing)
        if self._before is not member.beliefs or self._what != what:
            self._before, self._what = member.beliefs, what
            self._after = self._judge(kind, is_firing=what[1])
        return self._after

    def _judge(self, kind: Kind, *, is_firing: bool) -> Mapping[str, Belief]:
        beliefs, channel = self._before, self.channel
        before = beliefs.get(channel)
        since = before.since if before is not None else None
        if kind is Kind.FLAPPING:
            return {**beliefs, channel: Belief(kind, since)}
        if kind in _BEGINS and is_firing:
            return {**beliefs, channel: Belief(Kind.FIRING, since or self.now)}
        return beliefs if kind is Kind.REMINDER else without(beliefs, channel)


class Membership:
    """One alert in one group.

    `owed` are the channels to tell that it fires, or flaps, and that do not know yet; `beliefs` is what the others
    know. Both are replaced, never changed, since the members of a group share them. `supposed` are those owed only if
    whoever spoke had told nobody yet when the alert changed its ways. `steps` are those of its route's escalation, of
    which `steps_done` have been taken.
    """

    __slots__ = ("alert", "beliefs", "group", "owed", "steps", "steps_done", "supposed")

    def __init__(self, alert: LiveAlert, group: Group) -> None:
        self.alert = alert
        self.group = group
        self.beliefs = NOBODY
        self.owed: tuple[str, ...] = ()
        self.supposed: Collection[str] = ()
        self.steps: tuple[Step, ...] = ()
        self.steps_done = 0
        group.members[self] = None
        group.desk.join(self)

    def set_out(self, steps: tuple[Step, ...], owed: tuple[str, ...], supposed: Collection[str] = ()) -> None:
        """Take a way on which no step is taken yet."""
        self.steps, self.steps_done = steps, 0
        self.owed, self.supposed = owed, supposed
        if self.beliefs:
            self.group.note_told()

    @property
    def is_idle(self) -> bool:
        """Whether it has told nothing that must be taken back, and owes nothing."""
        return not (self.beliefs or self.owed or self.alert.is_standing)

    @property
    def is_firing(self) -> bool:
        """Whether the alert fires."""
        return self.alert.state is AlertState.FIRING

    def is_pressing(self, at: float) -> bool:
        """Tell whether, at `at` (monotonic seconds), people are to be reminded of it, and others told of it."""
        alert = self.alert
        if not self.beliefs or at < alert.not_before:
            return False
        if alert.state is not AlertState.FIRING or alert.flapping or alert.muted is not None:
            return False
        return any(belief.kind is Kind.FIRING for belief in self.beliefs.values()) and alert.ack is None

    @property
    def told(self) -> list[str]:
        """The channels that know that it fires."""
        return [channel for channel, belief in self.beliefs.items() if belief.kind is Kind.FIRING]

    def told_before(self, now: Instant) -> list[str]:
        """Return those of them that did not come to know only now."""
        return [channel for channel in self.told if self.beliefs[channel].since != now]

    # --- what is owed ------------------------------------------------------------------------------------------------

    def difference(self, channel: str) -> Kind | None:
        """Compare what is true with what a channel that this is about was told."""
        alert = self.alert
        belief = self.beliefs.get(channel)
        if alert.ending is not None:
            return alert.ending if belief is not None else None
        if alert.flapping:
            return None if belief is not None and belief.kind is Kind.FLAPPING else Kind.FLAPPING
        if belief is not None and belief.kind is Kind.FLAPPING:
            return Kind.SETTLED
        if alert.state is AlertState.FIRING or alert.is_brief:
            return Kind.FIRING if belief is None else None
        return Kind.RESOLVED

    def news(self) -> list[tuple[str, Kind]]:
        """Return what is to be told, and to which channel."""
        news = []
        for channel in (*self.beliefs, *self.owed):
            kind = self.difference(channel)
            if kind is not None:
                news.append((channel, kind))
        return news

    def reconsider(self, now: Instant, since: Instant) -> None:
        """Let the difference, if there is one, be told in its time."""
        if self.news():
            self.group.note(self, now, since)
        elif self.group.withdraw(self):
            self.group.desk.decide(self.alert, Reason.ENDED_UNTOLD, now)

    def withholds(self, channel: str, kind: Kind, now: Instant) -> bool:
        """Tell whether a mute keeps `kind` back, and say so if it does; or whether an earlier end is to be told first.

        What was told is taken back all the same, unless the settings want that to wait as well.
        """
        mute, desk = self.alert.muted, self.group.desk
        if channel not in self.beliefs and desk.is_yet_to_end(self.alert, channel):
            return True
        if mute is None or kind is Kind.FORGOTTEN:
            return False
        if self._is_end(kind) and desk.settings.resolve_muted:
            return False
        desk.decide(self.alert, mute.reason, now, f"{kind} not told: {mute}")
        return True

    def is_early(self, kind: Kind, now: Instant) -> bool:
        """Tell whether an inhibition that has just ended still holds `kind` back."""
        return now.mono < self.alert.not_before and not self._is_end(kind)

    def _is_end(self, kind: Kind) -> bool:
        """Tell whether `kind` says that it fires no longer."""
        return kind in (Kind.RESOLVED, Kind.FORGOTTEN) or (kind is Kind.SETTLED and not self.is_firing)

    def mark(self, kind: Kind) -> str:
        """Return what names this piece of news: the same on every replica that has seen the event that it is about.

        Where no event is (a reload, a deadline, what was found by listing) another may name it otherwise, or, if that
        was recalled later, has to; but what is decided is told under its first name.
        """
        return f"{self.alert.id} {kind} {self.alert.episode} {self.alert.revision}"

    # --- what was told -----------------------------------------------------------------------------------------------

    def note_told(self, kind: Kind, turn: Turn) -> None:
        """Take note that a channel was told `kind`."""
        channel = turn.channel
        self.beliefs = turn.beliefs_after(self, kind)
        if kind is not Kind.REMINDER:
            self.alert.discharge(channel)
        if not self.beliefs:
            self.steps_done = 0
        if channel not in self.beliefs:
            through = self.group.through
            through[channel] = max(through.get(channel, 0), self.alert.revision)
        self.group.note_told()

    def note_unwanted(self, channel: str, kind: Kind) -> None:
        """Take note that a channel does not want `kind`, or is gone: an end counts as told, a beginning as not owed."""
        if kind in (Kind.RESOLVED, Kind.FORGOTTEN):
            self.beliefs = without(self.beliefs, channel)
        self.discharge(channel)
        self.group.note_told()

    def discharge(self, channel: str) -> None:
        """Owe a channel nothing any more."""
        if channel in self.owed:
            self.owed = tuple(name for name in self.owed if name != channel)

    def inherit(self, other: Membership) -> None:
        """Go on with what another group told of the same alert."""
        self.beliefs = {**self.beliefs, **other.beliefs}
        self.group.note_told()
        other.group.note_told()

    # --- escalation --------------------------------------------------------------------------------------------------

    @property
    def first_told(self) -> float | None:
        """When somebody was first told that it fires, in monotonic seconds."""
        return min((belief.since.mono for belief in self.beliefs.values() if belief.since is not None), default=None)

    def next_step(self) -> tuple[float, Step] | None:
        """Return when (monotonic seconds) the next step of escalation is due, and the step."""
        if self.steps_done >= len(self.steps):
            return None
        first_told = self.first_told
        if first_told is None:
            return None
        step = self.steps[self.steps_done]
        return first_told + step.after, step


def without(beliefs: Mapping[str, Belief], channel: str) -> Mapping[str, Belief]:
    """Return what is believed by the others."""
    if channel not in beliefs:
        return beliefs
    return {name: belief for name, belief in beliefs.items() if name != channel} or NOBODY
