"""What one group has told, and still owes, of one of its alerts.

What is owed is never queued. It is the difference between what was last told and what is true now, so an alert that
fired and ended before anybody was told has one piece of news (it is over), not two; and when flapping or a mute ends,
the difference is taken again, so that no end state can be swallowed.

Invariant: once `told` names a channel, exactly one resolved, settled-as-resolved or forgotten message to it follows
before it is told of a firing again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.model import AlertState, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.engine.alert import LiveAlert
    from alertd.engine.group import Group
    from alertd.engine.routing import Step
    from alertd.model import Instant


class Membership:
    """One alert in one group.

    `channels` are those to tell that it fires; `told` those that were told so, `flap_told` those told that it flaps.
    `not_before` holds a firing back, `first_told` counts for escalation (both monotonic seconds), `steps_done` is how
    many steps of it have been taken. `is_known` says that this firing was told elsewhere, before a reload.
    """

    __slots__ = (
        "alert",
        "channels",
        "first_told",
        "flap_told",
        "group",
        "is_counted",
        "is_known",
        "news",
        "not_before",
        "steps",
        "steps_done",
        "told",
        "was_untold",
    )

    def __init__(self, alert: LiveAlert, group: Group) -> None:
        self.alert = alert
        self.group = group
        self.channels: tuple[str, ...] = ()
        self.steps: tuple[Step, ...] = ()
        self.told: tuple[str, ...] = ()
        self.flap_told: tuple[str, ...] = ()
        self.news: Kind | None = None
        self.was_untold = self.is_known = self.is_counted = False
        self.not_before = 0.0
        self.first_told: float | None = None
        self.steps_done = 0
        group.members[self] = None

    @property
    def is_idle(self) -> bool:
        """Whether it has told nothing that must be taken back, and owes nothing."""
        return self.alert.state is AlertState.INACTIVE and not (
            self.told or self.flap_told or self.news or self.alert.flapping
        )

    @property
    def is_pressing(self) -> bool:
        """Whether people are to be reminded of it, and others told if they do nothing."""
        alert = self.alert
        if not self.told or alert.state is not AlertState.FIRING or alert.flapping or alert.muted is not None:
            return False
        return alert.ack is None

    # --- what is owed ------------------------------------------------------------------------------------------------

    def difference(self) -> Kind | None:
        """Compare what is true with what was told."""
        if self.alert.state is AlertState.FIRING:
            if self.told or self.is_known:
                return None
            self.was_untold = self.alert.muted is None and not self.not_before
            return Kind.FIRING
        return Kind.RESOLVED if self.told or self.was_untold else None

    def reconsider(self, now: Instant) -> None:
        """Let the difference be told, if there is one; what flapping came to is told whatever the difference."""
        self.owe(Kind.SETTLED if self.news is Kind.SETTLED else self.difference(), now)

    def owe(self, news: Kind | None, now: Instant) -> None:
        """Let `news` be told instead of any before; None is nothing."""
        if news is None and self.news is not None:
            self.group.desk.decide(self.alert, Reason.ENDED_UNTOLD, now)
        self.news = news
        if news is not None:
            self.group.note(self, now)

    def conclude(self, kind: Kind, now: Instant) -> None:
        """Owe the end of the alert, as `kind`, to those who were told anything."""
        self.told = tuple(dict.fromkeys(self.told + self.flap_told))
        self.flap_told = ()
        self.owe(kind if self.told else None, now)

    def inherit(self, other: Membership) -> None:
        """Go on with what another group told and owes of the same alert."""
        self.told = tuple(dict.fromkeys(self.told + other.told))
        self.flap_told = tuple(dict.fromkeys(self.flap_told + other.flap_told))
        self.news = self.news or other.news
        self.was_untold = self.was_untold or other.was_untold
        self.is_known = self.is_known and not self.told
        self.not_before = max(self.not_before, other.not_before)
        moments = [moment for moment in (self.first_told, other.first_told) if moment is not None]
        self.first_told = min(moments, default=None)
        self.steps_done = max(self.steps_done, other.steps_done)

    @property
    def must_wait(self) -> bool:
        """Whether a mute keeps the news back.

        What was told is taken back all the same, unless the settings want that to wait as well.
        """
        if self.alert.muted is None:
            return False
        if self.alert.state is AlertState.FIRING or self.news in {Kind.FIRING, Kind.FLAPPING}:
            return True
        if self.news is Kind.FORGOTTEN:
            return False
        return not (self.told or self.flap_told) or not self.group.desk.settings.resolve_muted

    def withhold(self, now: Instant) -> None:
        """Let a mute keep the news back; once nothing mutes the alert, the difference is taken again."""
        mute = self.alert.muted
        if mute is not None:
            self.group.desk.decide(self.alert, mute.reason, now, f"{self.news} not told: {mute}")
        self.was_untold = False
        if self.news is not Kind.SETTLED:
            self.news = None

    def belief(self, channel: str) -> Kind | None:
        """Return what a channel was told of the alert and not taken back: that it flaps, or fires."""
        if channel in self.flap_told:
            return Kind.FLAPPING
        return Kind.FIRING if channel in self.told else None

    def mark(self, kind: Kind) -> str:
        """Return what names this piece of news: the same on every replica."""
        return f"{self.alert.id} {kind} {self.alert.episode} {self.alert.revision}"

    # --- what was told -----------------------------------------------------------------------------------------------

    def mark_told(self, channels: Iterable[str], now: Instant) -> None:
        """Take note that the news went out to `channels`."""
        news, self.news = self.news, None
        self.was_untold = False
        self.not_before = 0.0
        if news is Kind.FLAPPING:
            self.flap_told = tuple(channels)
            return
        self.flap_told = ()
        if self.alert.state is not AlertState.FIRING:
            self.told, self.first_told, self.steps_done = (), None, 0
            return
        self.told = tuple(channels)
        if self.first_told is None:
            self.first_told = now.mono

    def mark_escalated(self, channels: tuple[str, ...]) -> None:
        """Take note that `channels` were told as well."""
        self.told = tuple(dict.fromkeys(self.told + channels))
        self.steps_done += 1

    def next_step(self) -> tuple[float, Step] | None:
        """Return when (monotonic seconds) the next step of escalation is due, and the step."""
        if self.first_told is None or self.steps_done >= len(self.steps):
            return None
        step = self.steps[self.steps_done]
        return self.first_told + step.after, step

    def count(self) -> None:
        """Let the group know whether the alert fires."""
        fires = self.alert.state is AlertState.FIRING
        self.group.firing += fires - self.is_counted
        self.is_counted = fires

    def leave(self) -> None:
        """Be in the group no longer."""
        self.group.firing -= self.is_counted
        self.is_counted = False
        self.group.drop(self)
