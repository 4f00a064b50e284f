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
from math import inf
from typing import TYPE_CHECKING

from alertd.engine import placing
from alertd.engine.flap import FlapCounter
from alertd.engine.membership import NOBODY
from alertd.engine.timers import Timer, stop
from alertd.model import AlertState, Cause, Instant, Kind, Mute, Reason

if TYPE_CHECKING:
    from alertd.engine.conditions import Condition
    from alertd.engine.membership import Membership
    from alertd.engine.past import AlertPast
    from alertd.engine.registry import Instance
    from alertd.engine.rules import CompiledRule
    from alertd.model import Ack


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

    `holds` is the condition; `cause` that of its last turn, `fault` that of its last turn to true, which is what
    matchers see. `since` and `until` are those of the last firing; `revision` is that of the last turn, and `episode`
    counts the firings that this does not tell apart; `over` is that of the turn by which it last ceased to fire.
    `ending` says as what it ended for good. `is_inhibited` holds also while a silence mutes it besides; `not_before`
    (monotonic seconds) is until when what was inhibited waits. `is_brief` is one that is told once and is over as it
    happens.
    """

    __slots__ = (
        "_desk",
        "between",
        "cause",
        "changes",
        "condition",
        "ending",
        "episode",
        "fault",
        "flapping",
        "for_timer",
        "holds",
        "id",
        "instance",
        "is_brief",
        "is_inhibited",
        "keep_timer",
        "memberships",
        "muted",
        "not_before",
        "over",
        "pending_since",
        "per",
        "reason",
        "revision",
        "settle_timer",
        "since",
        "state",
        "until",
    )

    def __init__(self, condition: Condition, instance: Instance | None, per: str | None) -> None:
        self.condition = condition
        self.instance = instance
        self.per = per
        name = instance.name if instance is not None else None
        self.id = alert_id(condition.rule.rule.name, condition.service.name, name, per)
        desk = self._desk = condition.desk
        self.state = AlertState.INACTIVE
        self.holds = self.flapping = self.is_brief = self.is_inhibited = False
        self.pending_since: Instant | None = None
        self.since: Instant | None = None
        self.until: Instant | None = None
        self.between: Instant | None = None
        self.cause: Cause | None = None
        self.fault: Cause | None = None
        self.reason: Reason | None = None
        self.revision, self.episode = desk.episodes.get(self.id, (0, 0))
        self.over = 0
        self.memberships: tuple[Membership, ...] = ()
        self.muted: Mute | None = None
        self.ending: Kind | None = None
        self.not_before = -inf
        self.changes: FlapCounter | None = None
        self.for_timer: Timer | None = None
        self.keep_timer: Timer | None = None
        self.settle_timer: Timer | None = None

    @property
    def target(self) -> str:
        """What it speaks of, in words."""
        service = self.condition.service.name
        if self.instance is not None:
            return f"{service}/{self.instance.name}"
        return service if self.per is None else f"{service} ({self.condition.per_field}={self.per})"

    @property
    def rule(self) -> CompiledRule:
        """The rule as it is in force now."""
        return self.condition.rule

    @property
    def ack(self) -> Ack | None:
        """Who has taken this firing on, if anybody."""
        return self._desk.ack_of(self)

    @property
    def is_standing(self) -> bool:
        """Whether it fires as far as inhibition is concerned: what flaps does."""
        return self.flapping or self.state is AlertState.FIRING

    @property
    def is_told(self) -> bool:
        """Whether anybody was told of it, and not of its end."""
        return any(member.beliefs for member in self.memberships)

    @property
    def can_be_muted(self) -> bool:
        """Whether it stands, or owes something that a mute may keep back."""
        return self.ending is None and (self.is_standing or bool(self.memberships))

    # --- inputs ------------------------------------------------------------------------------------------------------

    def judge(self, holds: bool, now: Instant, trigger: Instance | None, *, calm: bool) -> None:  # noqa: FBT001 - the verdict
        """Take in whether the condition holds.

        `trigger` is the instance whose change tipped it. `calm` says that a turn does not count as flapping: it came of
        an announced stop or the return after it, or its time is not known.
        """
        if holds is self.holds:
            return
        begun = now
        if self._desk.hindsight:
            if not holds and self._take_back(now):
                return
            begun = trigger.since if trigger is not None else now
        self.holds = holds
        self._date()
        if trigger is not None:
            self.cause = trigger.cause
            self.between = trigger.between
        if holds:
            self.fault = self.cause
            self.relabel(now)
        if not calm:
            self._count_change(now)
        self._step(Input.TRUE if holds else Input.FALSE, now, begun)

    def _take_back(self, now: Instant) -> bool:
        """Be as if the condition had never turned true, if nobody knows that it has; return whether so."""
        if self.flapping or self.is_told:
            return False
        stop(self.for_timer)
        stop(self.keep_timer)
        self.holds = False
        if self.state is not AlertState.INACTIVE:
            self._waive()
            self._enter(AlertState.INACTIVE, Reason.SUSPECT, now)
        return True

    def relabel(self, now: Instant) -> None:
        """Take in that what matchers see of it may have changed."""
        if self.is_standing:
            self._desk.mutes.review(self, now)

    def tell_once(self, now: Instant, trigger: Instance) -> None:
        """Tell of something that is over as it happens, and so never resolves."""
        self.cause = self.fault = trigger.cause
        self.between, self.since = trigger.between, now
        self._date()
        self.episode += 1
        self.is_brief, self.over = True, self.revision
        self._decide(Reason.TOLD_ONCE, now)
        self.take_part(now)
        self.change_news(now)

    def end(self, reason: Reason, now: Instant) -> None:
        """End it for good: its target is forgotten, or its rule is gone."""
        for timer in (self.for_timer, self.keep_timer, self.settle_timer):
            stop(timer)
        if self.is_standing or self.memberships or self.state is AlertState.PENDING:
            self.reason = reason
            self._decide(reason, now)
        self.holds = self.flapping = False
        self.state, self.until = AlertState.INACTIVE, now
        self.ending = Kind.FORGOTTEN if reason is Reason.FORGOTTEN else Kind.RESOLVED
        self._desk.active.pop(self.id, None)
        self._waive()
        self._desk.mutes.review(self, now)
        self.change_news(now)
        self._desk.bury(self)

    def rebase(self, condition: Condition, now: Instant) -> None:
        """Go on under a changed rule; a `for` that runs is measured anew from when the condition turned true."""
        self.condition = condition
        if self.state is AlertState.PENDING and self.pending_since is not None:
            self.start_for(max(self.pending_since.mono + self.rule.rule.for_, now.mono))
        if self.rule.flap is None and self.flapping:
            self._stop_flapping(now)

    @property
    def turned(self) -> Instant | None:
        """When it last began or ceased to fire."""
        return self.until if self.until is not None and self.state is AlertState.INACTIVE else self.since

    def fire_on(self, now: Instant) -> None:
        """Fire, since people were told that it does, if the condition holds; `for` was fulfilled then."""
        if self.holds and self.state is AlertState.PENDING:
            stop(self.for_timer)
            self._step(Input.FOR_OVER, now)

    def flap_on(self, now: Instant) -> None:
        """Flap, since people were told that it does."""
        flap = self.rule.flap
        if flap is not None and not self.flapping:
            self.changes = self.changes or FlapCounter(flap)
            self.settle_at(now.mono + flap.settle)
            self._start_flapping(now)

    def enter_books(self, past: AlertPast, now: Instant) -> None:
        """Take its place among the alerts, as one that another process left off with."""
        if self.state is not AlertState.INACTIVE or self.flapping:
            self._desk.active[self.id] = self
        if self.is_standing:
            placing.put_back(self, past.groups)
            placing.take(self, placing.own_places(self), is_news=True)
            self._desk.mutes.review(self, now)
        elif past.is_owed and not placing.put_back(self, past.groups, past.owed):
            placing.take(self, placing.new_places(self), is_news=True)
        self.change_news(now, self.turned)

    def mute(self, mute: Mute | None, now: Instant) -> None:
        """Let it be kept quiet, or be so no longer. What is over by then, and was never told, is not told later."""
        before, self.muted = self.muted, mute
        if mute is not None:
            if before is None or before.by != mute.by:
                self._decide(mute.reason, now, mute.by)
            if not self.is_standing:
                self._waive()
                self.change_news(now)
        elif before is not None and self.can_be_muted:
            self._decide(Reason.UNMUTED, now, str(before))
            self.change_news(now)

    # --- the table ---------------------------------------------------------------------------------------------------

    def _step(self, happened: Input, now: Instant, begun: Instant | None = None) -> None:
        """Go on by the table; `begun` is when the condition turned, if not now."""
        step = _LIFE.get((self.state, happened))
        if step is None:
            return
        rule = self.condition.rule.rule
        after, reason = step
        if after is AlertState.PENDING:
            since = begun or now
            if not rule.for_ or since.mono + rule.for_ <= now.mono:
                self.state = after
                after, reason = _LIFE[after, Input.FOR_OVER]
            else:
                self.pending_since = since
                self.start_for(since.mono + rule.for_)
        elif happened is Input.FALSE:
            stop(self.for_timer)
            if after is AlertState.FIRING:
                if not rule.keep_firing_for:
                    self._step(Input.KEEP_OVER, now)
                    return
                self.start_keep(now.mono + rule.keep_firing_for)
        elif happened is Input.TRUE:
            stop(self.keep_timer)
        elif happened is Input.KEEP_OVER and not rule.keep_firing_for:
            reason = self.condition.why_ended(self)
        self._enter(after, reason, now)

    def _enter(self, after: AlertState, reason: Reason, now: Instant) -> None:
        before, self.state = self.state, after
        self.reason = reason
        desk = self._desk
        desk.decide(self, reason, now)
        if after is AlertState.INACTIVE and not self.flapping:
            desk.active.pop(self.id, None)
        else:
            desk.active[self.id] = self
        if after is AlertState.FIRING and before is not after:
            self._begin_firing(now)
        elif before is AlertState.FIRING and after is AlertState.INACTIVE:
            self._cease_firing(now)

    def _begin_firing(self, now: Instant) -> None:
        self.since, self.until = now, None
        self.episode += 1
        if self.flapping:
            self._decide(Reason.SUPPRESSED_FLAPPING, now)
            return
        self.take_part(now)
        self.change_news(now)

    def _cease_firing(self, now: Instant) -> None:
        self.until, self.over = now, self.revision
        self._desk.acks.pop(self.id, None)
        if self.flapping:
            self._decide(Reason.SUPPRESSED_FLAPPING, now)
            return
        self._stand_down(now)

    # --- what is owed ------------------------------------------------------------------------------------------------

    def take_part(self, now: Instant) -> None:
        """Begin to stand: take the ways that the routes give it, inhibit others, be muted by others."""
        self.not_before = -inf
        placing.take(self, placing.new_places(self), is_news=True)
        self._desk.mutes.review(self, now)

    def _stand_down(self, now: Instant) -> None:
        """Stand no longer. What could not be told before, because something muted it, is not told as over."""
        if self.muted is not None or now.mono < self.not_before:
            self._waive()
        self._desk.mutes.review(self, now)
        self.change_news(now)

    def unlearn(self, now: Instant) -> None:
        """Take it that nobody was told of it: all are owed that it stands, those who seemed to know that it is over.

        That they know may have been decided in an earlier term and told nobody; so it may have fired again unowed.
        """
        for member in self.memberships:
            if self.muted is None:
                member.owed = tuple(dict.fromkeys((*member.owed, *member.told)))
            member.beliefs = NOBODY
            member.steps_done = 0
        if self.ending is not None:
            self._waive()
        if self.is_standing:
            placing.take(self, placing.own_places(self), is_news=True)
        self.follow_up(now)

    def rehome(self, now: Instant) -> None:
        """Take the ways that the rules in force give it; one that only owes its end stays where it is."""
        if self.is_standing:
            placing.take(self, placing.new_places(self), is_news=False)
            self.change_news(now)

    def change_news(self, now: Instant, since: Instant | None = None) -> None:
        """Compare what is true with what was told; it has been true `since` then, or from now on."""
        for member in self.memberships:
            member.reconsider(now, since or now)
        self.follow_up(now)

    def follow_up(self, now: Instant) -> None:
        """Leave the groups that have nothing more to tell of it, and see when the others are to remind of it."""
        for member in self.memberships:
            if member.is_idle:
                self.memberships = tuple(each for each in self.memberships if each is not member)
                member.group.drop(member)
                if not self.memberships:
                    self._desk.let_go(self, now)
            elif member.beliefs:
                member.group.chase(member, now)

    def _waive(self) -> None:
        """Owe nobody any more that it fired."""
        for member in self.memberships:
            member.owed = ()

    def discharge(self, channel: str) -> None:
        """Owe a channel nothing any more, whichever group it was owed by; the others say so, too."""
        for member in self.memberships:
            member.discharge(channel)
            if member.beliefs and len(self.memberships) > 1:
                member.group.note_told()

    def member_about(self, channel: str) -> Membership | None:
        """Return the membership that has told a channel, or is to tell it."""
        return next((m for m in self.memberships if channel in m.beliefs or channel in m.owed), None)

    def is_known_to(self, channel: str) -> bool:
        """Tell whether a channel was told of it, and not of its end."""
        return any(channel in member.beliefs for member in self.memberships)

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
            self.settle_at(now.mono + flap.settle)

    def settle_at(self, at: float) -> None:
        """Let it have settled at `at`, in monotonic seconds."""
        if self.settle_timer is None:
            self.settle_timer = Timer(self._stop_flapping)
        self._desk.timers.start(self.settle_timer, at)

    def _start_flapping(self, now: Instant) -> None:
        was_standing = self.is_standing
        self.flapping = True
        self._desk.active[self.id] = self
        self._decide(Reason.FLAPPING_BEGAN, now)
        if not was_standing:
            self.take_part(now)
        self.change_news(now)

    def _stop_flapping(self, now: Instant) -> None:
        self.flapping = False
        if self.changes is not None:
            self.changes.clear()
        if self.state is AlertState.INACTIVE:
            self._desk.active.pop(self.id, None)
        self._decide(Reason.FLAPPING_ENDED, now)
        if self.state is AlertState.FIRING:
            self.change_news(now)
        else:
            self._waive()
            self._stand_down(now)

    # --- small things ------------------------------------------------------------------------------------------------

    def start_for(self, at: float) -> None:
        """Let `for` be over at `at`, in monotonic seconds."""
        if self.for_timer is None:
            self.for_timer = Timer(lambda now: self._step(Input.FOR_OVER, now))
        self._desk.timers.start(self.for_timer, at)

    def start_keep(self, at: float) -> None:
        """Let `keep_firing_for` be over at `at`, in monotonic seconds."""
        if self.keep_timer is None:
            self.keep_timer = Timer(lambda now: self._step(Input.KEEP_OVER, now))
        self._desk.timers.start(self.keep_timer, at)

    def _date(self) -> None:
        """Take note of when it turns."""
        self.episode = self._desk.episode_of(self)
        self.revision = self._desk.revision

    def _decide(self, reason: Reason, now: Instant, detail: str = "") -> None:
        self._desk.decide(self, reason, now, detail)
