"""Makes up a notification of a rule, to see its message before anything has happened.

Pure. Everything in it is invented but for what the rules say: names, labels, thresholds, texts. Fields that a real
value would have must be named by the caller, since a template that asks for one that nothing has is a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from math import ceil
from typing import TYPE_CHECKING, Any

from alertd.config.schema import Ruleset, source_of
from alertd.model import (
    Alert,
    AlertState,
    Cause,
    Entry,
    Escalation,
    InstanceFacts,
    Instant,
    Kind,
    Notification,
    RuleText,
    ServiceFacts,
    Transition,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.config.schema import Rule, When

KINDS = (Kind.FIRING, Kind.RESOLVED, Kind.REMINDER, Kind.ESCALATED, Kind.FLAPPING, Kind.SETTLED, Kind.FORGOTTEN)
"""What a sample can be of."""
_FIRES = frozenset({Kind.FIRING, Kind.REMINDER, Kind.ESCALATED, Kind.FLAPPING})
_AGE = {Kind.FIRING: 0.0, Kind.REMINDER: 4 * 3600.0, Kind.ESCALATED: 900.0, Kind.FORGOTTEN: 7 * 86400.0}
"""Seconds for which the sample's alert has fired; the others for a few minutes."""
_CHANGES = 6


@dataclass(frozen=True, slots=True)
class _Count:
    """What a rule's condition counts and judges in the sample."""

    up: int
    known: int
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()


def notification_of(
    rule: Rule, ruleset: Ruleset, channel: str, kind: Kind, *, now: Instant, fields: Mapping[str, str]
) -> Notification:
    """Return a sample of `kind` about `rule` to `channel`; `fields` are what its instance's value holds besides."""
    alert, service = _alert_and_service(rule, ruleset, kind, now, fields)
    since = alert.since or now
    return Notification(
        id=f"sample-{alert.id}",
        kind=kind,
        channel=channel,
        group=f"{rule.name}/{service.name}",
        entries=(Entry(kind, alert),),
        services={service.name: service},
        still_firing=int(kind in _FIRES),
        at=now,
        next=(Escalation(("boss",), _earlier(now, -900.0)),) if kind is Kind.FIRING else (),
        labels={"rule": rule.name, "service": service.name},
        before=(Escalation((channel,), since),) if kind is Kind.ESCALATED else (),
    )


def _alert_and_service(
    rule: Rule, ruleset: Ruleset, kind: Kind, now: Instant, fields: Mapping[str, str]
) -> tuple[Alert, ServiceFacts]:
    fires = kind in _FIRES
    since = _earlier(now, _AGE.get(kind, 200.0))
    count = _count(rule.when, fires=fires)
    service = _service(rule, ruleset, since, fields, fires=fires or kind is Kind.FORGOTTEN)
    is_of_instance = judges_instances(rule.when)
    own = service.instances[0]
    place = source_of(rule, ruleset.digest)
    alert = Alert(
        id=sha256(f"sample {rule.name}".encode()).hexdigest()[:12],
        rule=RuleText(rule.name, rule.severity, place, rule.summary, rule.description, rule.runbook),
        service=service.name,
        instance=own.name if is_of_instance else None,
        per=_per(rule.when),
        state=AlertState.FIRING if fires else AlertState.INACTIVE,
        flapping=kind is Kind.FLAPPING,
        labels={**_labels(service.name, ruleset), **rule.labels},
        since=since,
        until=None if fires else now,
        cause=own.cause,
        up=service.up if is_of_instance else count.up,
        known=service.known if is_of_instance else count.known,
        minimum=count.minimum,
        maximum=count.maximum,
        values=count.values,
        changes=_CHANGES if kind in (Kind.FLAPPING, Kind.SETTLED) else 0,
    )
    return alert, service


def _service(rule: Rule, ruleset: Ruleset, since: Instant, fields: Mapping[str, str], *, fires: bool) -> ServiceFacts:
    """Return a service of three, of which two are lost, or have come back."""
    name = _name_of(rule, ruleset)
    is_hit = fires and _is_of_losses(rule.when)
    since_change = _earlier(since, 30.0 if fires else -200.0)
    changed = [
        _instance(rule, number, cause, since_change, fields, is_up=not is_hit)
        for number, cause in enumerate(_causes(rule.when, is_hit=is_hit), 1)
    ]
    steady = _instance(rule, 3, Cause.FOUND, _earlier(since, 3600.0), fields, is_up=True)
    other = Transition(name, "10.0.0.4", up=False, cause=Cause.STOPPED, at=_earlier(since, 700.0), revision=0)
    return ServiceFacts(
        name=name,
        up=1 if is_hit else 3,
        known=3,
        expected=next((spec.expected for spec in _specs(name, ruleset) if spec.expected is not None), None),
        instances=(*changed, steady),
        common={"rack": "r7"} if is_hit else {},
        recent=(other,),
    )


def _instance(
    rule: Rule, number: int, cause: Cause, since: Instant, fields: Mapping[str, str], *, is_up: bool
) -> InstanceFacts:
    is_malformed = rule.when.malformed is not None and number == 1
    return InstanceFacts(
        name=f"10.0.0.{number}",
        up=is_up,
        cause=cause,
        since=since,
        detail="HTTP 503" if cause is Cause.FAILING else "",
        fields=_fields(rule, number, fields),
        malformed=is_malformed,
        raw="host: core01" if is_malformed else "",
    )


def _causes(when: When, *, is_hit: bool) -> tuple[Cause, Cause]:
    """Return why the first two instances are as they are."""
    if is_hit:
        causes = when.cause or ("expired", "failing")
        return Cause(causes[0]), Cause(causes[-1])
    return (Cause.REGISTERED, Cause.FOUND) if when.instance == "up" else (Cause.RECOVERED, Cause.RECOVERED)


def _is_of_losses(when: When) -> bool:
    return when.instance == "down" or (when.instances is not None and when.instances.below is not None)


def _name_of(rule: Rule, ruleset: Ruleset) -> str:
    """Return a service that the rule speaks of: one that is named, else one made up after its pattern."""
    for pattern in rule.service:
        for name in (pattern, *ruleset.services):
            if not set(name) & set("*?[") and fnmatchcase(name, pattern):
                return name
    return rule.service[0].replace("*", "sample").replace("?", "x")


def _specs(name: str, ruleset: Ruleset) -> list[Any]:
    return [spec for pattern, spec in ruleset.services.items() if fnmatchcase(name, pattern)]


def _labels(name: str, ruleset: Ruleset) -> dict[str, str]:
    return {label: text for spec in _specs(name, ruleset) for label, text in spec.labels.items()}


def _fields(rule: Rule, number: int, given: Mapping[str, str]) -> dict[str, Any]:
    """Return an instance's value: the usual fields, those that the rule itself speaks of, and those given."""
    fields: dict[str, Any] = {"host": f"core0{number}", "ipv4_addr": f"10.0.0.{number}", "port": 8080}
    asked = {name: patterns[0].replace("*", "01") for name, patterns in rule.where.items()}
    if rule.when.value is not None and (values := _judged(rule.when, fires=True)):
        asked[rule.when.value.field] = values[0]
    for path, text in {**asked, **given}.items():
        inner = fields
        *steps, last = path.split(".")
        for step in steps:
            inner = inner.setdefault(step, {}) if isinstance(inner.get(step, {}), dict) else {}
        inner[last] = text
    return fields


def _count(when: When, *, fires: bool) -> _Count:
    """Return figures at which the condition is true, or no longer."""
    if when.instances is not None and when.instances.below is not None:
        below = when.instances.below
        minimum = below if isinstance(below, int) else ceil(4 * float(below.rstrip("%")) / 100)
        known = max(minimum, 3) if isinstance(below, int) else 4
        return _Count(max(minimum - 1, 0) if fires else known, known, minimum=minimum)
    if when.instances is not None and when.instances.above is not None:
        most = when.instances.above
        return _Count(most + fires, most + fires, maximum=most)
    if when.distinct is not None:
        return _Count(3, 3, when.distinct.below, when.distinct.above, _judged(when, fires=fires))
    if when.changes is not None:
        return _Count(3, 3, maximum=when.changes.above, values=_judged(when, fires=fires))
    return _Count(3, 3, values=_judged(when, fires=fires))


def _judged(when: When, *, fires: bool) -> tuple[str, ...]:
    """Return the values that a condition on values judges."""
    if when.distinct is not None:
        below, above = when.distinct.below, when.distinct.above
        number = (below - 1 if fires else below) if below is not None else (above or 0) + fires
        return tuple(f"value-{each}" for each in range(1, min(number, 50) + 1))
    if when.changes is not None:
        return (str(when.changes.above + fires),)
    value = when.value
    if value is None or value.missing:
        return ()
    if value.above is not None:
        return (f"{value.above + fires:.15g}",)
    if value.below is not None:
        return (f"{value.below - fires:.15g}",)
    text = value.equals if value.equals is not None else (value.matches or "").replace("*", "sample")
    return (text if fires else f"not {text}",)


def _per(when: When) -> dict[str, str] | None:
    return {when.instances.per: "a"} if when.instances is not None and when.instances.per else None


def judges_instances(when: When) -> bool:
    """Tell whether a condition is judged on each instance by itself."""
    changes = when.changes is not None and when.changes.per == "instance"
    return bool(when.instance or when.value is not None or when.malformed or changes)


def _earlier(now: Instant, seconds: float) -> Instant:
    return Instant(now.mono - seconds, now.wall - timedelta(seconds=seconds))
