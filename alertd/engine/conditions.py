"""What each `when:` means: one object a (rule, service), told of every change to the service's instances.

A condition keeps what it needs to answer in O(1) a change and passes the answer to its alerts; it never looks at the
clock, at other services or at what was told. This module holds those judged on an instance; `counting` those judged on
a service as a whole.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from fnmatch import translate
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from alertd.engine.alert import LiveAlert
from alertd.engine.match import VARYING, Labels, Where
from alertd.engine.past import ConditionPast, past_of, resume
from alertd.model import Cause, Instant, Reason
from alertd.values import as_number, as_written, look_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from alertd.engine.desk import Desk
    from alertd.engine.registry import Change, Instance, Service
    from alertd.engine.routing import Plan
    from alertd.engine.rules import CompiledRule


class Measure(NamedTuple):
    """What a condition sees of an alert's target now, for people; see the same names in `model.Alert`."""

    up: int = 0
    known: int = 0
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()


class Condition(ABC):
    """One rule on one service. `alerts` are those that ever mattered, by what they are judged on."""

    per_field = ""
    is_about_self = False
    """Whether it speaks of alertd itself, and of no service that is watched."""

    def __init__(self, rule: CompiledRule, service: Service, desk: Desk) -> None:
        self.rule = rule
        self.service = service
        self.desk = desk
        self.labels: Mapping[str, str] = {**service.labels, **rule.rule.labels}
        """What all its alerts bear."""
        self.constants: Mapping[str, str] = {
            **{name: text for name, text in self.labels.items() if name not in VARYING},
            "rule": rule.rule.name,
            "service": service.name,
            "severity": rule.rule.severity,
        }
        self.where = Where(rule.rule.where, self.constants)
        self.plan: Plan | None = None
        self._group_values: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.alerts: dict[Instance | str | None, LiveAlert] = {}

    @abstractmethod
    def judge(self, changes: Sequence[Change], now: Instant, *, calm: bool) -> None:
        """Judge anew after `changes`, which happened together; `calm`: their true times are not known."""

    @abstractmethod
    def judge_all(self, now: Instant) -> None:
        """Judge all there is, as after a reload."""

    @abstractmethod
    def measure(self, alert: LiveAlert) -> Measure:
        """Return what is to be said of the alert's target now."""

    def forget(self, instance: Instance, now: Instant) -> None:
        """Drop what is known of an instance; its alert, if any, ends as forgotten."""
        alert = self.alerts.pop(instance, None)
        if alert is not None:
            alert.end(Reason.FORGOTTEN, now)

    def why_ended(self, alert: LiveAlert) -> Reason:  # noqa: ARG002 - for those that know better
        """Say why the condition of `alert` no longer holds."""
        return Reason.CONDITION_FALSE

    @property
    def kind(self) -> str:
        """What it judges, and on what; its alerts go on only under a condition of the same kind."""
        return f"{self.rule.rule.when.kind} {'instance' if self.judges_instances else self.per_field}".rstrip()

    @property
    def judges_instances(self) -> bool:
        """Whether its alerts are on instances, not on the service."""
        return False

    @property
    def reads_fields(self) -> bool:
        """Whether judging needs the values' fields at every change."""
        return not self.where.is_always

    @property
    def is_held(self) -> bool:
        """Whether an alert on the service as a whole is under way."""
        return False

    def take_over(self, old: Condition, now: Instant) -> None:
        """Continue the alerts of a condition that a reload replaced; what is no longer judged ends."""
        for key, alert in old.alerts.items():
            if self.kind == old.kind:
                self.alerts[key] = alert
                alert.rebase(self, now)
            else:
                alert.end(Reason.RULE_GONE, now)

    def past(self, now: Instant) -> ConditionPast:
        """Return what another can go on with."""
        pasts = {key: past_of(alert, now) for key, alert in self.alerts.items()}
        known = {key: past for key, past in pasts.items() if past is not None}
        return ConditionPast(self.kind, known, routes=self.desk.router.name)

    def resume(self, past: ConditionPast, now: Instant) -> None:
        """Go on where another left off, unless that was of another kind; under other routes as after a reload."""
        is_rerouted = past.routes != self.desk.router.name
        for key, each in past.alerts.items() if past.kind in (self.kind, "") else ():
            instance = key if self.judges_instances and not isinstance(key, str) else None
            per = key if isinstance(key, str) and self.per_field else None
            if key is None or key is instance or key is per:
                stays = each.is_owed or not is_rerouted
                resume(self.alert_of(key, instance, per), each if stays else each._replace(groups=()), now)

    def values_of(self, names: tuple[str, ...], alert: LiveAlert) -> tuple[str, ...]:
        """Return what an alert has under each of `names`, "" where it has no such thing; remembered if all share it."""
        values = self._group_values.get(names)
        if values is None:
            labels = Labels(alert)
            values = tuple(labels.get(name) or "" for name in names)
            if all(name in self.constants for name in names):
                self._group_values[names] = values
        return values

    def alert_of(self, key: Instance | str | None, instance: Instance | None, per: str | None) -> LiveAlert:
        """Return the alert on an instance, a value of `per`, or (None) the service, known from now on."""
        alert = self.alerts.get(key)
        if alert is None:
            alert = self.alerts[key] = LiveAlert(self, instance, per)
            self.desk.adopt(alert)
        return alert


class InstanceCondition(Condition):
    """Judged on each instance by itself."""

    @property
    @override
    def judges_instances(self) -> bool:
        return True

    @abstractmethod
    def holds(self, instance: Instance) -> bool | None:
        """Tell whether the condition holds for `instance`; None keeps what was."""

    @override
    def judge(self, changes: Sequence[Change], now: Instant, *, calm: bool) -> None:
        alerts = self.alerts
        for instance, went in changes:
            holds = self.holds(instance)
            alert = alerts.get(instance)
            if holds is None or (alert is None and not holds):
                continue
            if alert is None:
                alert = self.alert_of(instance, instance, None)
            alert.judge(holds, now, instance, calm=calm or (went and instance.is_announced))

    @override
    def judge_all(self, now: Instant) -> None:
        self.judge([(instance, False) for instance in self.service.instances], now, calm=True)

    @override
    def measure(self, alert: LiveAlert) -> Measure:
        return Measure(self.service.up, self.service.up + len(self.service.lost))


class InstanceDown(InstanceCondition):
    """`instance: down`: it is down with one of the causes, and nobody took its place."""

    def __init__(self, rule: CompiledRule, service: Service, desk: Desk) -> None:
        super().__init__(rule, service, desk)
        causes = {Cause(cause) for cause in rule.rule.when.cause or ("failing", "deleted", "expired", "missed")}
        if causes & {Cause.EXPIRED, Cause.DELETED}:
            causes.add(Cause.MISSED)
        self._causes = frozenset(causes)

    @override
    def holds(self, instance: Instance) -> bool | None:
        if instance.up or instance.replaced_by or instance.cause not in self._causes:
            return False
        if self.service.doubted and instance in self.service.doubted:
            return False
        return self.where.is_always or self.where.matches(instance)

    @override
    def why_ended(self, alert: LiveAlert) -> Reason:
        instance = alert.instance
        if instance is None or instance.up:
            return Reason.CONDITION_FALSE
        if instance.cause is Cause.STOPPED:
            return Reason.FOUND_STOPPED
        return Reason.REPLACED if instance.replaced_by else Reason.CONDITION_FALSE


class InstanceUp(InstanceCondition):
    """`instance: up`: a new instance is told of once."""

    @override
    def judge(self, changes: Sequence[Change], now: Instant, *, calm: bool) -> None:
        for instance, went in changes:
            if went and self.holds(instance):
                alert = self.alerts[instance] = LiveAlert(self, instance, None)
                alert.tell_once(now, instance)

    @override
    def judge_all(self, now: Instant) -> None:
        """Do nothing: a reload makes no instance new."""

    @override
    def holds(self, instance: Instance) -> bool | None:
        return instance.up and instance.is_new and self.where.matches(instance)


class Malformed(InstanceCondition):
    """`malformed: true`: the key is there and its value cannot be understood."""

    @override
    def holds(self, instance: Instance) -> bool | None:
        return instance.is_present and instance.malformed and self.where.matches(instance)

    @override
    def measure(self, alert: LiveAlert) -> Measure:
        raw = alert.instance.raw if alert.instance is not None else b""
        return super().measure(alert)._replace(values=(raw[:200].decode(errors="backslashreplace"),))


class FieldValue(InstanceCondition):
    """`value:`: the instance's data says so. While it is gone, or its value malformed, the state is kept."""

    def __init__(self, rule: CompiledRule, service: Service, desk: Desk) -> None:
        super().__init__(rule, service, desk)
        value = rule.rule.when.value
        assert value is not None  # noqa: S101 - `make_condition` comes here only with a `value`
        self._value = value
        self._glob = re.compile(translate(value.matches)) if value.matches is not None else None

    @override
    def holds(self, instance: Instance) -> bool | None:
        if not instance.is_present or instance.malformed:
            return None
        if not self.where.matches(instance):
            return False
        return self._judge_field(instance, look_up(instance.read_fields(), self._value.field))

    def _judge_field(self, instance: Instance, found: Any) -> bool:
        value = self._value
        if value.missing:
            return found is None
        if value.equals is not None:
            return as_written(found) == value.equals
        if self._glob is not None:
            text = as_written(found)
            return text is not None and self._glob.match(text) is not None
        number = as_number(found)
        if number is None:
            return False
        alert = self.alerts.get(instance)
        level = value.clear if alert is not None and alert.holds and value.clear is not None else None
        if value.above is not None:
            return number > (value.above if level is None else level)
        assert value.below is not None  # noqa: S101 - the schema wants one of the five
        return number < (value.below if level is None else level)

    @property
    @override
    def reads_fields(self) -> bool:
        return True

    @override
    def measure(self, alert: LiveAlert) -> Measure:
        found = look_up(alert.instance.read_fields(), self._value.field) if alert.instance is not None else None
        text = as_written(found)
        return super().measure(alert)._replace(values=() if text is None else (text,))


def make_values(texts: Iterable[str]) -> tuple[str, ...]:
    """Return texts sorted, at most 50, for a measure."""
    return tuple(sorted(texts)[:50])
