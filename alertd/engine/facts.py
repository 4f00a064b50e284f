"""Snapshots: what the living objects of the engine are at a decision, for those who render, store and show."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from alertd import values
from alertd.model import Alert, AlertState, InstanceFacts, Kind, ServiceFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alertd.engine.alert import LiveAlert
    from alertd.engine.registry import Instance, Service

LISTED = 50
"""Instances of a service that a snapshot lists at most; no message has room for more."""

_RAW_SHOWN = 500

_COMPARED = 1_000
"""Instances of a service that are looked at for what they have in common."""


def describe_alert(alert: LiveAlert, told: Kind | None = None) -> Alert:
    """Return what there is to say of an alert now, or in a message that tells `told` of it.

    A resolve speaks of the firing that is over, though its condition may hold again by then.
    """
    condition = alert.condition
    measure = condition.measure(alert)
    is_pending = alert.state is AlertState.PENDING and told is not Kind.RESOLVED
    return Alert(
        alert.id,
        condition.rule.text,
        condition.service.name,
        None if alert.instance is None else alert.instance.name,
        None if alert.per is None else {condition.per_field: alert.per},
        AlertState.INACTIVE if told is Kind.RESOLVED else alert.state,
        alert.flapping,
        condition.labels,
        since=alert.pending_since if is_pending else alert.since,
        until=None if is_pending else alert.until,
        cause=alert.cause,
        reason=alert.reason,
        up=measure.up,
        known=measure.known,
        minimum=measure.minimum,
        maximum=measure.maximum,
        values=measure.values,
        changes=0 if alert.changes is None else alert.changes.changes,
        between=alert.between,
        muted=alert.muted,
        acknowledged=alert.ack,
    )


def describe_instance(instance: Instance) -> InstanceFacts:
    """Return what there is to say of an instance now."""
    return InstanceFacts(
        name=instance.name,
        up=instance.up,
        cause=instance.cause,
        since=instance.since,
        detail=instance.detail,
        fields=instance.read_fields(),
        between=instance.between,
        replaced_by=instance.replaced_by,
        malformed=instance.malformed,
        raw=values.show(instance.raw[:_RAW_SHOWN]),
    )


def describe_service(service: Service, spoken_of: Iterable[Instance] = (), *, listed: int = LISTED) -> ServiceFacts:
    """Return what there is to say of a service now, with at most `listed` of its instances.

    Those `spoken_of` are listed first, if they are known. With none listed, only the counts are told.
    """
    if not listed:
        return describe_briefly(service, None)
    instances = service.instances
    ups = islice((instance for instance in instances if instance.up), LISTED)
    ordered = chain(
        (instance for instance in spoken_of if instance in instances),
        service.lost,
        service.stopped,
        sorted(ups, key=lambda instance: instance.name),
        instances,
    )
    shown = islice(dict.fromkeys(islice(ordered, 2 * listed)), listed)
    return ServiceFacts(
        name=service.name,
        up=service.up,
        known=service.up + len(service.lost),
        expected=service.expected,
        instances=tuple(describe_instance(instance) for instance in shown),
        common=_find_common(service),
        recent=tuple(service.recent),
    )


def describe_briefly(service: Service, instance: Instance | None) -> ServiceFacts:
    """Return the counts of a service, and one of its instances; None is none."""
    own = () if instance is None else (describe_instance(instance),)
    return ServiceFacts(service.name, service.up, service.up + len(service.lost), service.expected, own)


def _find_common(service: Service) -> dict[str, str]:
    """Return the fields that all the lost show with one value and that not all those up show with the same."""
    if len(service.lost) < 2:
        return {}
    common = _shared(islice(service.lost, _COMPARED))
    shared = common and _shared(islice((instance for instance in service.instances if instance.up), _COMPARED))
    return dict(sorted(common.items() - shared.items()))


def _shared(instances: Iterator[Instance]) -> dict[str, str]:
    """Return the fields that the last values of all these show with one word, without what secretaries add."""
    first = next(instances, None)
    if first is None:
        return {}
    texts = {name: values.as_written(value) for name, value in first.read_fields().items()}
    shared = {name: text for name, text in texts.items() if text and name not in {"status", "reason"}}
    for instance in instances:
        if not shared:
            break
        fields = instance.read_fields()
        differing = [name for name, text in shared.items() if values.as_written(fields.get(name)) != text]
        for name in differing:
            del shared[name]
    return shared


def describe_all(alerts: Iterable[LiveAlert]) -> Iterator[tuple[Alert, ServiceFacts]]:
    """Return alerts, each with its service as far as a summary speaks of that; cheap where many are asked for.

    That is as a message about it would show it where the rule has a summary, else with the alert's own instance alone.
    """
    services: dict[Service, ServiceFacts] = {}
    for alert in alerts:
        service = alert.condition.service
        if not alert.rule.text.summary:
            yield describe_alert(alert), describe_briefly(service, alert.instance)
            continue
        if service not in services:
            services[service] = describe_service(service)
        facts = services[service]
        yield describe_alert(alert), facts if alert.instance is None else _focus(facts, alert.instance)


def _focus(facts: ServiceFacts, instance: Instance) -> ServiceFacts:
    """Return the facts of a service with one of its instances listed first."""
    others = [each for each in facts.instances if each.name != instance.name]
    return replace(facts, instances=(describe_instance(instance), *others[: LISTED - 1]))
