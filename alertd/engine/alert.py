"""The life of one alert.

Theory of operation. An alert is (rule, target). Its condition turns true and false; each turn, and each deadline, is an
input to the one table below. Beside the state stand three things that must not be mixed up with it:

* *flapping*, a flag. The state goes on living underneath, but nobody is told of it.
* *muted*, by a silence or an inhibition. The state goes on living too, but no firing is told.
* its *memberships*, one in each group that it takes part in: what that group has told of it, and still owes.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from alertd.engine.flap import FlapCounter
from alertd.engine.membership import Membership
from alertd.engine.timers import Timer, stop
from alertd.model import AlertState, Cause, Instant, Kind, Reason

if TYPE_CHECKING:
    from alertd.engine.conditions import Condition
    from alertd.engine.desk import Desk
    from alertd.engine.registry import Instance
    from alertd.engine.rules import CompiledRule
    from alertd.model import Ack, Mute

_AFTER_INHIBITION = 60.0
"""Seconds for which what was inhibited must still fire, at least, before it is told."""


class Input(StrEnum):
    """What can happen to an alert."""

    TRUE = "true"
    FALSE = "false"
    FOR_OVER = "for-over"
    KEEP_OVER = "keep-over"


_LIFE: dict[tuple[AlertState, Input], tuple[AlertState, Reason]] = {
    (AlertState.INACTIVE, Input.TRUE): (AlertState.PENDING, Reason.CONDITION_TRUE),
    (AlertState.PENDING, Input.FALSE): (AlertState.INACTIVE, Reason.BROKE_BEFORE_FOR),
    (AlertState.PENDING, Input.FOR_OVER): (AlertState.FIRING, Reason.HELD_FOR),
    (AlertState.FIRING, Input.FALSE): (AlertState.FIRING, Reason.KEPT_FIRING),
    (AlertState.FIRING, Input.TRUE): (AlertState.FIRING, Reason.TRUE_AGAIN),
    (AlertState.FIRING, Input.KEEP_OVER): (AlertState.INACTIVE, Reason.KEEP_ELAPSED),
}
"""(state, input) to (state, why). Where `for` or `keep_firing_for` is zero, its end follows at once."""


def alert_id(rule: str, service: str, instance: str | None, per: str | None) -> str:
    """Return the id of (rule, target): the same on every replica, after every restart."""
    parts = (rule, service, "-" if instance is None else f"i{instance}", "-" if per is None else f"p{per}")
    return sha256("\0".join(parts).encode()).hexdigest()[:12]


class LiveAlert:
    """One alert.

    `target` is what it speaks of, in words. `holds` is the condition. `episode` counts its firings, `revision` is that
    of the condition's last turn: together they name what is told.
    """

    __slots__ = (
        "_desk",
        "_for",
        "_keep",
        "_settle",
        "between",
        "cause",
        "changes",
        "condition",
        "episode",
        "flapping",
        "holds",
        "id",
        "instance",
        "memberships",
        "muted",
        "per",
        "reason",
        "revision",
        "since",
        "state",
        "target",
        "until",
    )

    def __init__(self, condition: Condition, instance: Instance | None, per: str | None) -> None:
        self.condition = condition
        self.instance = instance
        self.per = per
        name = instance.name if instance is not None else None
        service = condition.service.name
        self.id = alert_id(self.rule.rule.name, service, name, per)
        self.target = service if name is None else f"{service}/{name}"
        if per is not None:
            self.target = f"{service} ({condition.per_field}={per})"
        self._desk: Desk = condition.desk
        self.state = AlertState.INACTIVE
        self.holds = self.flapping = False
        self.since: Instant | None = None
        self.until: Instant | None = None
        self.between: Instant | None = None
        self.cause: Cause | None = None
        self.reason: Reason | None = None
        self.revision = 0
        self.episode = self._desk.episodes.get(self.id, 0)
        self.memberships: list[Membership] = []
        self.muted: Mute | None = None
        self.changes: FlapCounter | None = None
        self._for: Timer | None = None
        self._keep: Timer | None = None
        self._settle: Timer | None = None

    @property
    def rule(self) -> CompiledRule:
        """The rule as it is in force now."""
        return self.condition.rule

    @property
    def ack(self) -> Ack | None:
        """Who has taken this firing on, if anybody."""
        return self._desk.ack_of(self)

    @property
    def is_idle(self) -> bool:
        """Whether it neither does nor owes anything."""
        return self.state is AlertState.INACTIVE and not self.flapping and not self.memberships

    @property
    def is_standing(self) -> bool:
        """Whether it fires as far as inhibition is concerned: what flaps does."""
        return self.flapping or self.state is AlertState.FIRING

    # --- inputs ------------------------------------------------------------------------------------------------------

    def judge(self, holds: bool, now: Instant, trigger: Instance | None, *, calm: bool) -> None:  # noqa: FBT001 - the verdict
        """Take in whether the condition holds.

        `trigger` is the instance whose change tipped it. `calm` says that a turn does not count as flapping: it came of
        an announced stop or the return after it, or its time is not known.
        """
        if holds is self.holds:
            return
        self.holds = holds
        self.revision = self._desk.revision
        if trigger is not None:
            self.cause = trigger.cause
            self.between = trigger.between
        if not calm:
            self._count_change(now)
        self._step(Input.TRUE if holds else Input.FALSE, now)

    def tell_once(self, now: Instant, trigger: Instance) -> None:
        """Tell of something that is over as it happens, and so never resolves."""
        self.cause, self.between, self.since = trigger.cause, trigger.between, now
        self.revision = self._desk.revision
        self.episode += 1
        self._decide(Reason.TOLD_ONCE, now)
        self.muted = self._desk.mutes.of(self)
        self._owe_all(Kind.FIRING, now)

    def end(self, reason: Reason, now: Instant) -> None:
        """End it for good: its target is forgotten, or its rule is gone."""
        for timer in (self._for, self._keep, self._settle):
            stop(timer)
        if not self.is_idle:
            self.reason = reason
            self._decide(reason, now)
        was_firing = self.state is AlertState.FIRING
        self.holds = self.flapping = False
        self.state, self.until = AlertState.INACTIVE, now
        self._desk.active.pop(self.id, None)
        if reason is Reason.RULE_GONE and self.episode:
            self._desk.episodes[self.id] = self.episode
        self._desk.mutes.cease(self, now)
        self._desk.mutes.drop(self, now)
        self.muted = None
        if was_firing and not any(member.told or member.flap_told for member in self.memberships):
            self._decide(Reason.ENDED_UNTOLD, now)
        for member in list(self.memberships):
            member.count()
            member.conclude(Kind.FORGOTTEN if reason is Reason.FORGOTTEN else Kind.RESOLVED, now)
            self.tidy(member)

    def rebase(self, condition: Condition, now: Instant) -> None:
        """Go on under a changed rule; a `for` that runs is measured anew from when the condition turned true."""
        self.condition = condition
        if self.state is AlertState.PENDING and self.since is not None:
            self._start_for(self.since.mono + self.rule.rule.for_)
        if self.rule.flap is None and self.flapping:
            self._stop_flapping(now)

    def mute(self, mute: Mute | None, now: Instant) -> None:
        """Let it be kept quiet, or be so no longer.

        What an inhibition kept quiet must go on firing for a while: the inhibiting alert may have ended just before.
        """
        before, self.muted = self.muted, mute
        if mute is not None:
            if before is None or before.by != mute.by:
                self._decide(mute.reason, now, mute.by)
            for member in self.memberships:
                member.was_untold = False
            return
        if before is None:
            return
        self._decide(Reason.UNMUTED, now, str(before))
        if not self.is_standing:
            self._desk.mutes.drop(self, now)
        for member in list(self.memberships):
            if before.reason is Reason.INHIBITED:
                member.not_before = now.mono + max(member.group.route.group_wait, _AFTER_INHIBITION)
            if not self.flapping or member.news is Kind.SETTLED:
                member.reconsider(now)
            member.group.chase(now)
            self.tidy(member)

    def rehome(self, now: Instant) -> None:
        """Take the ways that the rules in force give it; what was told before is taken back where it was told.

        One that only owes its end stays where it is.
        """
        if not self.is_standing:
            return
        left = {member.group: member for member in self.memberships}
        is_known = any(member.told or member.flap_told for member in self.memberships)
        self.memberships = []
        for way in self._desk.router.ways(self):
            group = self._desk.group(way, self)
            member = left.pop(group, None) or Membership(self, group)
            member.channels, member.steps = way.channels, way.steps
            member.is_known = is_known and not member.told
            self.memberships.append(member)
        for group, member in left.items():
            self.memberships[0].inherit(member)
            self.memberships[0].group.succeed(group)
            member.leave()
        for member in self.memberships:
            member.count()
            if member.news is not None or not self.flapping:
                member.reconsider(now)
            member.group.chase(now)

    # --- the table ---------------------------------------------------------------------------------------------------

    def _step(self, happened: Input, now: Instant) -> None:
        step = _LIFE.get((self.state, happened))
        if step is None:
            return
        rule = self.rule.rule
        after, reason = step
        if after is AlertState.PENDING:
            self.since, self.until = now, None
            if not rule.for_:
                self.state = after
                self._step(Input.FOR_OVER, now)
                return
            self._start_for(now.mono + rule.for_)
        elif happened is Input.FALSE:
            stop(self._for)
            if after is AlertState.FIRING:
                if not rule.keep_firing_for:
                    self._step(Input.KEEP_OVER, now)
                    return
                self._start_keep(now.mono + rule.keep_firing_for)
        elif happened is Input.TRUE:
            stop(self._keep)
        elif happened is Input.KEEP_OVER and not rule.keep_firing_for:
            reason = self.condition.why_ended(self)
        self._enter(after, reason, now)

    def _enter(self, after: AlertState, reason: Reason, now: Instant) -> None:
        before, self.state = self.state, after
        self.reason = reason
        self._decide(reason, now)
        if after is AlertState.INACTIVE and not self.flapping:
            self._desk.active.pop(self.id, None)
        else:
            self._desk.active[self.id] = self
        if after is AlertState.FIRING and before is not after:
            self.since, self.until = now, None
            self.episode += 1
            self._begin(now)
            self._change_news(now)
        elif before is AlertState.FIRING and after is AlertState.INACTIVE:
            self.until = now
            self._desk.acks.pop(self.id, None)
            self._change_news(now)
            self._cease(now)

    # --- what is owed ------------------------------------------------------------------------------------------------

    def _begin(self, now: Instant) -> None:
        """Stand: inhibit others, be muted by others, and take part in groups."""
        if not self.flapping:
            self._desk.mutes.begin(self, now)

    def _cease(self, now: Instant) -> None:
        """Stand no longer; a mute that keeps back even the end of what was told goes on."""
        if self.is_standing:
            return
        desk = self._desk
        owes = any(member.told or member.flap_told for member in self.memberships)
        desk.mutes.cease(self, now)
        if self.muted is None or desk.settings.resolve_muted or not owes:
            desk.mutes.drop(self, now)
            self.muted = None

    def _change_news(self, now: Instant) -> None:
        """Compare what is true with what was told; while flapping, nothing is."""
        if self.flapping:
            for member in self.memberships:
                member.count()
            self._decide(Reason.SUPPRESSED_FLAPPING, now)
            return
        if self.state is AlertState.FIRING:
            self._join()
        for member in list(self.memberships):
            member.count()
            member.reconsider(now)
            self.tidy(member)

    def _owe_all(self, news: Kind, now: Instant) -> None:
        self._join()
        for member in self.memberships:
            member.count()
            member.owe(news, now)

    def _join(self) -> None:
        """Take part in the groups that the routes choose now."""
        members = {member.group: member for member in self.memberships}
        for way in self._desk.router.ways(self):
            group = self._desk.group(way, self)
            member = members.get(group)
            if member is None:
                member = Membership(self, group)
                self.memberships.append(member)
            member.channels, member.steps, member.is_known = way.channels, way.steps, False

    def tidy(self, member: Membership) -> None:
        """Leave a group that has nothing more to tell."""
        if member.is_idle and member in self.memberships:
            self.memberships.remove(member)
            member.leave()

    # --- flapping ----------------------------------------------------------------------------------------------------

    def _count_change(self, now: Instant) -> None:
        flap = self.rule.flap
        if flap is None:
            return
        if self.changes is None:
            self.changes = FlapCounter(flap)
        if self.flapping:
            self.changes.count_more()
        elif self.changes.count(now.mono, flap):
            self._start_flapping(now)
        if self.flapping:
            if self._settle is None:
                self._settle = Timer(self._stop_flapping)
            self._desk.timers.start(self._settle, now.mono + flap.settle)

    def _start_flapping(self, now: Instant) -> None:
        if self.state is not AlertState.FIRING:
            self._begin(now)
        self.flapping = True
        self._desk.active[self.id] = self
        self._decide(Reason.FLAPPING_BEGAN, now)
        self._join()
        for member in self.memberships:
            member.owe(None if member.flap_told else Kind.FLAPPING, now)

    def _stop_flapping(self, now: Instant) -> None:
        self.flapping = False
        if self.changes is not None:
            self.changes.clear()
        if self.state is AlertState.INACTIVE:
            self._desk.active.pop(self.id, None)
        self._decide(Reason.FLAPPING_ENDED, now)
        for member in list(self.memberships):
            member.owe(Kind.SETTLED if member.flap_told else member.difference(), now)
            member.group.chase(now)
            self.tidy(member)
        self._cease(now)

    # --- small things ------------------------------------------------------------------------------------------------

    def _start_for(self, at: float) -> None:
        if self._for is None:
            self._for = Timer(lambda now: self._step(Input.FOR_OVER, now))
        self._desk.timers.start(self._for, at)

    def _start_keep(self, at: float) -> None:
        if self._keep is None:
            self._keep = Timer(lambda now: self._step(Input.KEEP_OVER, now))
        self._desk.timers.start(self._keep, at)

    def _decide(self, reason: Reason, now: Instant, detail: str = "") -> None:
        self._desk.decide(self, reason, now, detail)
