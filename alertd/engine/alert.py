"""The life of one alert, and what is owed to those who are told of it.

Theory of operation. An alert is (rule, target). Its condition turns true and false; each turn, and each deadline, is an
input to the one table below. Beside the state stand two things that must not be mixed up with it:

* *flapping*, a flag. The state goes on living underneath, but nobody is told of it.
* *news*, what has still to be told. It is derived from what was last told and what is true now, never queued: an alert
  that fired and ended before anybody was told has one piece of news (it is over), not two. When flapping ends, news is
  that comparison again, so the end state cannot be swallowed.

Invariant: once `told` names a channel, exactly one resolved, settled-as-resolved or forgotten message to it follows
before it is told of a firing again.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from alertd.engine.flap import FlapCounter
from alertd.engine.timers import Timer, Timers, stop
from alertd.model import Action, AlertState, Cause, Decision, Instant, Kind, Reason

if TYPE_CHECKING:
    from alertd.engine.conditions import Condition
    from alertd.engine.group import Group, Router
    from alertd.engine.registry import Instance
    from alertd.engine.rules import CompiledRule


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


class Desk:
    """What alerts and groups share: deadlines, where actions go, who is told, and the revision being judged."""

    __slots__ = ("active", "episodes", "out", "revision", "router", "timers")

    def __init__(self, timers: Timers, out: list[Action], router: Router) -> None:
        self.router = router
        self.timers = timers
        self.out = out
        self.revision = 0
        self.active: dict[str, LiveAlert] = {}
        """Alerts that are pending, firing or flapping, by id."""
        self.episodes: dict[str, int] = {}
        """How often alerts fired whose rule is gone: should it return, their messages must not look like the old."""


class LiveAlert:
    """One alert.

    `target` is what it speaks of, in words. `told` are the channels that were told it fires, `flap_told` those told it
    flaps. `holds` is the condition. `episode` counts its firings, `revision` is that of the condition's last turn:
    together they name what is told.
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
        "flap_told",
        "flapping",
        "group",
        "holds",
        "id",
        "instance",
        "news",
        "per",
        "reason",
        "revision",
        "since",
        "state",
        "target",
        "told",
        "until",
        "was_untold",
    )

    def __init__(self, condition: Condition, group: Group, instance: Instance | None, per: str | None) -> None:
        self.condition = condition
        self.group = group
        self.instance = instance
        self.per = per
        name = instance.name if instance is not None else None
        service = condition.service.name
        self.id = alert_id(self.rule.rule.name, service, name, per)
        self.target = service if name is None else f"{service}/{name}"
        if per is not None:
            self.target = f"{service} ({condition.per_field}={per})"
        self._desk = group.desk
        self.state = AlertState.INACTIVE
        self.holds = self.flapping = self.was_untold = False
        self.since: Instant | None = None
        self.until: Instant | None = None
        self.between: Instant | None = None
        self.cause: Cause | None = None
        self.reason: Reason | None = None
        self.revision = 0
        self.episode = self._desk.episodes.pop(self.id, 0)
        self.news: Kind | None = None
        self.told: tuple[str, ...] = ()
        self.flap_told: tuple[str, ...] = ()
        self.changes: FlapCounter | None = None
        self._for: Timer | None = None
        self._keep: Timer | None = None
        self._settle: Timer | None = None

    @property
    def rule(self) -> CompiledRule:
        """The rule as it is in force now."""
        return self.condition.rule

    @property
    def is_idle(self) -> bool:
        """Whether it neither does nor owes anything."""
        return self.state is AlertState.INACTIVE and not self.flapping and self.news is None

    # --- inputs ------------------------------------------------------------------------------------------------------

    def judge(self, holds: bool, now: Instant, trigger: Instance | None, *, calm: bool) -> None:  # noqa: FBT001
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
        self._owe(Kind.FIRING, now)

    def end(self, reason: Reason, now: Instant) -> None:
        """End it for good: its target is forgotten, or its rule is gone."""
        for timer in (self._for, self._keep, self._settle):
            stop(timer)
        was_firing, was_told = self.state is AlertState.FIRING, bool(self.told or self.flap_told)
        self.group.firing -= was_firing
        if not self.is_idle:
            self.reason = reason
            self._decide(reason, now)
        self.told = tuple(dict.fromkeys(self.told + self.flap_told))
        self.flap_told = ()
        self.holds = self.flapping = False
        self.state, self.until = AlertState.INACTIVE, now
        self._desk.active.pop(self.id, None)
        if reason is Reason.RULE_GONE and self.episode:
            self._desk.episodes[self.id] = self.episode
        if was_told:
            self._owe(Kind.FORGOTTEN if reason is Reason.FORGOTTEN else Kind.RESOLVED, now)
        elif was_firing or self.news is not None:
            self.news = None
            self._decide(Reason.ENDED_UNTOLD, now)

    def rebase(self, condition: Condition, now: Instant) -> None:
        """Go on under a changed rule; a `for` that runs is measured anew from when the condition turned true."""
        self.condition = condition
        if self.state is AlertState.PENDING and self.since is not None:
            self._start_for(self.since.mono + self.rule.rule.for_)
        if self.rule.flap is None and self.flapping:
            self._stop_flapping(now)

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
        if after is AlertState.FIRING and before is not after:
            self.since, self.until = now, None
            self.episode += 1
            self.group.firing += 1
            self._change_news(now)
        elif before is AlertState.FIRING and after is AlertState.INACTIVE:
            self.until = now
            self.group.firing -= 1
            self._change_news(now)
        if after is AlertState.INACTIVE and not self.flapping:
            self._desk.active.pop(self.id, None)
        else:
            self._desk.active[self.id] = self

    # --- what is owed ------------------------------------------------------------------------------------------------

    def _change_news(self, now: Instant) -> None:
        """Compare what is true with what was told; while flapping, nothing is."""
        if self.flapping:
            self._decide(Reason.SUPPRESSED_FLAPPING, now)
        elif self.news is not Kind.SETTLED:
            self._owe(self._difference(), now)

    def _difference(self) -> Kind | None:
        if self.state is AlertState.FIRING:
            self.was_untold = not self.told
            return None if self.told else Kind.FIRING
        return Kind.RESOLVED if self.told or self.was_untold else None

    def _owe(self, news: Kind | None, now: Instant) -> None:
        if news is None and self.news is not None:
            self._decide(Reason.ENDED_UNTOLD, now)
        self.news = news
        if news is not None:
            self.group.note(self, now)

    def mark_told(self, channels: tuple[str, ...]) -> None:
        """Take note that its news went out to `channels`."""
        news, self.news = self.news, None
        self.was_untold = False
        if news is Kind.FLAPPING:
            self.flap_told = channels
        else:
            self.told = channels if self.state is AlertState.FIRING else ()
            self.flap_told = ()

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
            self.flapping = True
            self._desk.active[self.id] = self
            self._decide(Reason.FLAPPING_BEGAN, now)
            self._owe(None if self.flap_told else Kind.FLAPPING, now)
        if self.flapping:
            if self._settle is None:
                self._settle = Timer(self._stop_flapping)
            self._desk.timers.start(self._settle, now.mono + flap.settle)

    def _stop_flapping(self, now: Instant) -> None:
        self.flapping = False
        if self.changes is not None:
            self.changes.clear()
        if self.state is AlertState.INACTIVE:
            self._desk.active.pop(self.id, None)
        self._decide(Reason.FLAPPING_ENDED, now)
        self._owe(Kind.SETTLED if self.flap_told else self._difference(), now)

    # --- small things ------------------------------------------------------------------------------------------------

    def _start_for(self, at: float) -> None:
        if self._for is None:
            self._for = Timer(lambda now: self._step(Input.FOR_OVER, now))
        self._desk.timers.start(self._for, at)

    def _start_keep(self, at: float) -> None:
        if self._keep is None:
            self._keep = Timer(lambda now: self._step(Input.KEEP_OVER, now))
        self._desk.timers.start(self._keep, at)

    def _decide(self, reason: Reason, now: Instant) -> None:
        text = self.rule.text
        self._desk.out.append(Decision(now, self.id, text.name, text.source, self.target, reason))
