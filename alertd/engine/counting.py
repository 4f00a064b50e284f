"""The conditions judged on a service as a whole, or on each value of a field: counts, distinct values, changes."""

from __future__ import annotations

from collections import Counter, deque
from math import ceil
from typing import TYPE_CHECKING

from typing_extensions import override

from alertd.engine.conditions import Condition, Measure, make_values
from alertd.engine.past import ConditionPast
from alertd.engine.peak import Peak
from alertd.engine.timers import Timer, stop
from alertd.model import AlertState, Cause, Instant, Reason
from alertd.values import as_written, look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.engine.alert import LiveAlert
    from alertd.engine.desk import Desk
    from alertd.engine.registry import Change, Instance, Service
    from alertd.engine.rules import CompiledRule


_ROUNDING = 1e-9
"""What floating point may add to a whole number that a percentage comes to."""


class ServiceCondition(Condition):
    """Judged on the service, or on each value of a field apart."""

    @property
    @override
    def is_held(self) -> bool:
        return any(alert.state is not AlertState.INACTIVE for alert in self.alerts.values())


class Tally:
    """How many count, of the service or of one value: `up`, and `members` that ever did and are not forgotten.

    `minimum` is the number below which they are too few.
    """

    __slots__ = ("members", "minimum", "peak", "up")

    def __init__(self, minimum: int) -> None:
        self.up = self.members = 0
        self.minimum = minimum
        self.peak = Peak()


class Seat:
    """Where an instance is counted: under which value, and whether as up."""

    __slots__ = ("per", "up")

    def __init__(self, per: str | None) -> None:
        self.per = per
        self.up = False


class InstanceCount(ServiceCondition):
    """`instances: {below|above}`: how many are up, after `where`, maybe for each value of a field (`per`)."""

    def __init__(self, rule: CompiledRule, service: Service, desk: Desk) -> None:
        super().__init__(rule, service, desk)
        bound = rule.rule.when.instances
        assert bound is not None  # noqa: S101 - `make_condition` comes here only with `instances`
        self.per_field = bound.per or ""
        self._above = bound.above
        self._below = bound.below if isinstance(bound.below, int) else None
        self._share = float(bound.below[:-1]) / 100 if isinstance(bound.below, str) else None
        self._counts_all = self.where.is_always and not self.per_field
        self._tallies: dict[str | None, Tally] = {}
        self._seats: dict[Instance, Seat] = {}
        if not self.per_field:
            self._tally(None)

    @property
    @override
    def reads_fields(self) -> bool:
        return not self._counts_all

    @override
    def judge(self, changes: Sequence[Change], now: Instant, *, calm: bool) -> None:
        if self._counts_all:
            self._tallies[None].up = self.service.up + len(self.service.doubted)
            instance, went = _tipping(changes)
            self._judge_tally(None, now, instance, calm=calm or (went and instance.is_announced))
            return
        touched: dict[str | None, list[Change]] = {}
        for change in changes:
            for per in self._seat(change[0]):
                touched.setdefault(per, []).append(change)
        for per, these in touched.items():
            instance, went = _tipping(these)
            self._judge_tally(per, now, instance, calm=calm or (went and instance.is_announced))

    @override
    def judge_all(self, now: Instant) -> None:
        if self._counts_all:
            self._tallies[None].up = self.service.up + len(self.service.doubted)
        else:
            for instance in self.service.instances:
                self._seat(instance)
        for per in list(self._tallies):
            self._judge_tally(per, now, None, calm=True)

    @override
    def measure(self, alert: LiveAlert) -> Measure:
        tally = self._tallies.get(alert.per)
        if tally is None:
            return Measure()
        if self._counts_all:
            up, lost = self.service.up, len(self.service.lost)
        else:
            lost = sum(1 for instance in self.service.lost if self._is_seated(instance, alert.per))
            up = tally.up - sum(1 for instance in self.service.doubted if self._is_seated(instance, alert.per))
        minimum = tally.minimum if self._above is None else None
        return Measure(up, up + lost, minimum, self._above)

    @override
    def forget(self, instance: Instance, now: Instant) -> None:
        seat = self._seats.pop(instance, None)
        if seat is not None:
            tally = self._tallies[seat.per]
            tally.members -= 1
            tally.up -= seat.up
            if not tally.members and seat.per is not None:
                del self._tallies[seat.per]
                alert = self.alerts.pop(seat.per, None)
                if alert is not None:
                    alert.end(Reason.FORGOTTEN, now)

    @override
    def take_over(self, old: Condition, now: Instant) -> None:
        super().take_over(old, now)
        if isinstance(old, InstanceCount) and old.per_field == self.per_field:
            for per, tally in old._tallies.items():  # noqa: SLF001 - another of its own kind
                self._tally(per).peak = tally.peak

    @override
    def past(self, now: Instant) -> ConditionPast:
        peaks = {} if self._share is None else {per: tally.peak.past() for per, tally in self._tallies.items()}
        return super().past(now)._replace(peaks=peaks)

    @override
    def resume(self, past: ConditionPast, now: Instant) -> None:
        super().resume(past, now)
        for per, peak in past.peaks.items() if self._share is not None else ():
            if (per is None) is (not self.per_field):
                self._tally(per).peak.resume(peak)

    def _judge_tally(self, per: str | None, now: Instant, trigger: Instance | None, *, calm: bool) -> None:
        tally = self._tallies[per]
        alert = self.alerts.get(per)
        if self._above is not None:
            holds = tally.up > self._above
        else:
            if self._share is not None:
                is_held = alert is not None and alert.state is not AlertState.INACTIVE
                tally.minimum = self._share_of(per, tally, now.mono, held=is_held)
            holds = tally.up < tally.minimum
        if alert is not None or holds:
            self.alert_of(per, None, per).judge(holds, now, trigger, calm=calm)

    def _share_of(self, per: str | None, tally: Tally, at: float, *, held: bool) -> int:
        """Return the number that the percentage comes to: of what is expected, else of the peak."""
        share = self._share or 0.0
        if self.service.expected is not None and not self.per_field:
            return ceil(share * self.service.expected - _ROUNDING)
        tally.peak.count(tally.up, at)
        whole, ended = tally.peak.highest(at, held=held)
        if ended is not None and self.service.stopped:
            whole -= sum(
                1
                for instance in self.service.stopped
                if instance.since.mono >= ended and (self._counts_all or self._is_seated(instance, per))
            )
        return ceil(share * max(whole, 0) - _ROUNDING)

    def _is_seated(self, instance: Instance, per: str | None) -> bool:
        seat = self._seats.get(instance)
        return seat is not None and seat.per == per

    def _seat(self, instance: Instance) -> tuple[str | None, ...]:
        """Count `instance` where it belongs now; return which values' counts may have changed."""
        seat = self._seats.get(instance)
        counts, per = self._place(instance)
        if seat is not None and (not counts or seat.per != per):
            left = seat.per
            tally = self._tallies[left]
            tally.members -= 1
            tally.up -= seat.up
            del self._seats[instance]
            return (left, *self._seat(instance))
        if not counts:
            return ()
        tally = self._tally(per)
        if seat is None:
            seat = self._seats[instance] = Seat(per)
            tally.members += 1
        is_up = self.service.deems_up(instance)
        tally.up += is_up - seat.up
        seat.up = is_up
        return (per,)

    def _place(self, instance: Instance) -> tuple[bool, str | None]:
        if not self.where.matches(instance):
            return False, None
        if not self.per_field:
            return True, None
        value = as_written(look_up(instance.read_fields(), self.per_field))
        return value is not None, value

    def _tally(self, per: str | None) -> Tally:
        tally = self._tallies.get(per)
        if tally is None:
            tally = self._tallies[per] = Tally(self._below or 0)
        return tally


class Distinct(ServiceCondition):
    """`distinct:`: how many values of a field the instances up show."""

    def __init__(self, rule: CompiledRule, service: Service, desk: Desk) -> None:
        super().__init__(rule, service, desk)
        distinct = rule.rule.when.distinct
        assert distinct is not None  # noqa: S101 - `make_condition` comes here only with `distinct`
        self._distinct = distinct
        self._shown: dict[Instance, str] = {}
        self._counts: Counter[str] = Counter()

    @property
    @override
    def reads_fields(self) -> bool:
        return True

    @override
    def judge(self, changes: Sequence[Change], now: Instant, *, calm: bool) -> None:
        for instance, _ in changes:
            self._note(instance)
        instance, went = _tipping(changes)
        self._judge_count(now, instance, calm=calm or (went and instance.is_announced))

    @override
    def judge_all(self, now: Instant) -> None:
        for instance in self.service.instances:
            self._note(instance)
        self._judge_count(now, None, calm=True)

    @override
    def measure(self, alert: LiveAlert) -> Measure:
        up = self.service.up
        found = make_values(self._counts)
        return Measure(up, up + len(self.service.lost), self._distinct.below, self._distinct.above, found)

    @override
    def forget(self, instance: Instance, now: Instant) -> None:
        self._show(instance, None)

    def _note(self, instance: Instance) -> None:
        counts = self.service.deems_up(instance) and self.where.matches(instance)
        self._show(instance, as_written(look_up(instance.read_fields(), self._distinct.field)) if counts else None)

    def _show(self, instance: Instance, value: str | None) -> None:
        before = self._shown.pop(instance, None)
        if before is not None:
            self._counts[before] -= 1
            if not self._counts[before]:
                del self._counts[before]
        if value is not None:
            self._shown[instance] = value
            self._counts[value] += 1

    def _judge_count(self, now: Instant, trigger: Instance | None, *, calm: bool) -> None:
        number, below, above = len(self._counts), self._distinct.below, self._distinct.above
        holds = number < below if below is not None else above is not None and number > above
        if holds or None in self.alerts:
            self.alert_of(None, None, None).judge(holds, now, trigger, calm=calm)


class Recent:
    """The last changes of one target: it changed too often while the oldest kept is within the window."""

    __slots__ = ("fades", "times")

    def __init__(self, above: int, fades: Timer) -> None:
        self.times: deque[float] = deque(maxlen=above + 1)
        self.fades = fades


class Changes(ServiceCondition):
    """`changes:`: the service's instances, or one of them (`per: instance`), went up and down too often.

    The window slides, so the condition also ends by time. Changes in a gap have no time, and do not count; nor does the
    first registration of an instance, which only then has something to come back from.
    """

    def __init__(self, rule: CompiledRule, service: Service, desk: Desk) -> None:
        super().__init__(rule, service, desk)
        changes = rule.rule.when.changes
        assert changes is not None  # noqa: S101 - `make_condition` comes here only with `changes`
        self._changes = changes
        self._recent: dict[Instance | None, Recent] = {}

    @override
    def judge(self, changes: Sequence[Change], now: Instant, *, calm: bool) -> None:
        if calm:
            return
        for instance, went in changes:
            if went and instance.cause is not Cause.REGISTERED and self.where.matches(instance):
                self._count(instance if self._changes.per else None, now, instance)

    @override
    def judge_all(self, now: Instant) -> None:
        for alert in self.alerts.values():
            recent = self._recent.get(alert.instance)
            if recent is None or not self._is_too_many(recent, now.mono):
                alert.judge(holds=False, now=now, trigger=None, calm=True)

    @override
    def measure(self, alert: LiveAlert) -> Measure:
        up = self.service.up
        recent = self._recent.get(alert.instance)
        number = 0 if recent is None else len(recent.times)
        return Measure(up, up + len(self.service.lost), None, self._changes.above, (str(number),))

    @override
    def forget(self, instance: Instance, now: Instant) -> None:
        recent = self._recent.pop(instance, None)
        if recent is not None:
            stop(recent.fades)
        super().forget(instance, now)

    @override
    def take_over(self, old: Condition, now: Instant) -> None:
        super().take_over(old, now)
        if isinstance(old, Changes):
            for key, recent in old._recent.items():  # noqa: SLF001 - another of its own kind
                stop(recent.fades)
                for at in recent.times:
                    self._remember(key, at)

    @override
    def past(self, now: Instant) -> ConditionPast:
        return super().past(now)._replace(changes={key: tuple(recent.times) for key, recent in self._recent.items()})

    @override
    def resume(self, past: ConditionPast, now: Instant) -> None:
        super().resume(past, now)
        for key, times in past.changes.items():
            if not isinstance(key, str) and (key is not None) is self.judges_instances:
                for at in times:
                    self._remember(key, at)

    @property
    @override
    def judges_instances(self) -> bool:
        return self._changes.per is not None

    @property
    @override
    def is_held(self) -> bool:
        return not self.judges_instances and super().is_held

    def _count(self, key: Instance | None, now: Instant, trigger: Instance) -> None:
        if self._remember(key, now.mono):
            self.alert_of(key, key, None).judge(holds=True, now=now, trigger=trigger, calm=False)

    def _remember(self, key: Instance | None, at: float) -> bool:
        """Note a change; return whether it is one too many. If so, that ends when the oldest kept leaves the window."""
        recent = self._recent.get(key)
        if recent is None:
            recent = self._recent[key] = Recent(self._changes.above, Timer(lambda now: self._fade(key, now)))
        recent.times.append(at)
        is_too_many = self._is_too_many(recent, at)
        if is_too_many:
            self.desk.timers.start(recent.fades, recent.times[0] + self._changes.within)
        return is_too_many

    def _is_too_many(self, recent: Recent, at: float) -> bool:
        times = recent.times
        return len(times) == times.maxlen and at - times[0] <= self._changes.within

    def _fade(self, key: Instance | None, now: Instant) -> None:
        if key in self.alerts:
            self.alert_of(key, key, None).judge(holds=False, now=now, trigger=None, calm=False)


def _tipping(changes: Sequence[Change]) -> Change:
    """Return the last change that went up or down, else the last."""
    if len(changes) == 1:
        return changes[0]
    return next((change for change in reversed(changes) if change[1]), changes[-1])
