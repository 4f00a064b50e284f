"""A service as plain data, and back: what outlives a process.

What etcd can tell again is left out: the values of the instances that are there, but for the fields that rules and
routes name, since an instance may be gone before anybody looks again. Kept is what only the past knows: which
instances were known, what became of those that are gone, which conditions hold and since when, and what counts towards
a flap, a peak, or `changes`. Times are wall times, in milliseconds since 1970, and are read by the clocks of whoever
recalls them: durations that were under way go on, as if the process had lived.

A memory is true at its revision, `at`. What is listed at an older one, or replayed up to it, brings values only.

Invariant: an engine that recalls what another remembers, and takes in what happened since, judges as the other would.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from math import floor
from typing import TYPE_CHECKING, Any

from alertd import values
from alertd.engine.past import AlertPast, ConditionPast
from alertd.engine.peak import PeakPast
from alertd.engine.registry import REPLACES_WITHIN, Instance
from alertd.errors import AlertdError
from alertd.model import AlertState, Cause, Instant, Reason, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from alertd.engine.conditions import Condition
    from alertd.engine.placing import Keys
    from alertd.engine.registry import Registry, Service

_RAW_KEPT = 4096
"""Bytes of a value that are kept of an instance that is gone."""

_NOTHING = "{}"
"""The value of what has none of the fields that are kept."""

_INEXACT = 0.001
"""Milliseconds by which a float may lie below what it stands for."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Record = dict[str, Any]
"""What JSON can hold."""


class Damaged(AlertdError):
    """A memory that cannot be read; the message says whose, and why."""


class Dial:
    """Turns times into milliseconds and back, by one reading of the clocks."""

    def __init__(self, now: Instant) -> None:
        self.now = now
        self._zero = _milliseconds(now.wall) - now.mono * 1000
        """The milliseconds at which the monotonic clock showed zero."""
        self._last: tuple[Instant, int] | None = None
        """What was written last: much happens at one moment."""

    def write(self, at: Instant) -> int:
        """Return the whole milliseconds of an instant, by the wall clock as it was then, as documents show it."""
        if self._last is None or self._last[0] is not at:
            self._last = (at, floor(_milliseconds(at.wall) + _INEXACT))
        return self._last[1]

    def write_mono(self, mono: float) -> int:
        """Return the milliseconds of a moment of the monotonic clock."""
        return round(self._zero + mono * 1000)

    def read(self, milliseconds: float) -> Instant:
        """Return the instant."""
        return Instant(self.read_mono(milliseconds), _EPOCH + timedelta(milliseconds=milliseconds))

    def read_mono(self, milliseconds: float) -> float:
        """Return the moment of the monotonic clock, in seconds."""
        return (milliseconds - self._zero) / 1000


def _milliseconds(wall: datetime) -> float:
    return (wall - _EPOCH).total_seconds() * 1000


# --- remembering -----------------------------------------------------------------------------------------------------


def remember(service: Service, registry: Registry, revision: int, now: Instant) -> Record | None:
    """Return what is to be known of a service, true at `revision`; None if that is nothing."""
    dial = Dial(now)

    def label(instance: Instance) -> str:
        return _text(registry.split(instance.key)[1])

    up: Record = {}
    down: Record = {}
    for instance in dict.fromkeys((*service.lost, *service.stopped, *service.instances)):
        if instance.up and instance.is_present:
            up[label(instance)] = _of_present(instance, dial)
        else:
            down[label(instance)] = record = _of_down(instance, dial)
            if instance in service.doubted:
                record["doubted"] = dial.write_mono(registry.doubted_until)
    judged = {
        each.rule.rule.name: record for each in service.conditions if (record := _of_condition(each, label, dial))
    }
    if not (up or down or judged):
        return None
    raw_name = next((_text(registry.split(instance.key)[0]) for instance in service.instances), service.name)
    kept: dict[str, list[str]] = {}
    for instance in service.instances if service.kept_fields else ():
        if instance.is_present and len(text := json.dumps(instance.read_kept())) <= _RAW_KEPT:
            kept.setdefault(text, []).append(label(instance))
    kept.pop(_NOTHING, None)
    fresh = [label(instance) for instance in service.fresh]
    recent = [_of_transition(transition, dial) for transition in service.recent]
    rest = {
        "name": raw_name if raw_name != service.name else "",
        "down": down,
        "judged": judged,
        "fields": list(service.kept_fields),
        "values": kept,
        "fresh": fresh,
        "recent": recent,
    }
    return {"at": revision, "up": up, **{name: part for name, part in rest.items() if part}}


def _of_present(instance: Instance, dial: Dial) -> list[Any]:
    """Return since when and why it is up, and when it registered while that matters."""
    record = [dial.write(instance.since), str(instance.cause)]
    if dial.now.mono - instance.registered_at < REPLACES_WITHIN:
        record.append(dial.write_mono(instance.registered_at))
    return record


def _of_down(instance: Instance, dial: Dial) -> Record:
    record: Record = {"since": dial.write(instance.since), "cause": str(instance.cause)}
    if instance.is_present:
        record["there"] = True
    elif instance.raw:
        record["value"] = _text(instance.raw[:_RAW_KEPT])
    if instance.between is not None:
        record["between"] = dial.write(instance.between)
    if instance.forget is not None and instance.forget.due is not None:
        record["forget"] = dial.write_mono(instance.forget.due)
    for name in ("detail", "replaced_by"):
        if getattr(instance, name):
            record[name] = getattr(instance, name)
    return record


def _of_transition(transition: Transition, dial: Dial) -> list[Any]:
    _, name, up, cause, at, revision, detail, between = transition
    return [name, up, str(cause), dial.write(at), revision, detail, None if between is None else dial.write(between)]


def _of_condition(condition: Condition, label: Callable[[Instance], str], dial: Dial) -> Record:
    def name(key: Instance | str | None) -> str | None:
        return label(key) if isinstance(key, Instance) else key

    past = condition.past(dial.now)
    mono = dial.write_mono
    record: Record = {}
    keys = dict.fromkeys(each.groups for each in past.alerts.values() if each.groups)
    groups = {each: number for number, each in enumerate(keys)}
    if past.alerts:
        record["alerts"] = [[name(key), _of_past(each, groups, dial)] for key, each in past.alerts.items()]
    if groups:
        record |= {"groups": list(groups), "routes": past.routes}
    if past.changes:
        record["changes"] = [[name(key), [*map(mono, times)]] for key, times in past.changes.items()]
    if past.peaks:
        record["peaks"] = [
            [per, [[mono(at), n] for at, n in peak.risen], [[n, mono(at), mono(until)] for n, at, until in peak.ended]]
            for per, peak in past.peaks.items()
        ]
    return {"kind": past.kind, **record} if record else record


_MOMENTS = ("pending_since", "since", "until", "between")
_DEADLINES = ("keep_over", "settled")


def _of_past(past: AlertPast, groups: Mapping[Keys, int], dial: Dial) -> Record:
    """Return an alert's past without what is as usual."""
    record = {name: value for name, value in past._asdict().items() if value}
    record.update((name, dial.write(record[name])) for name in _MOMENTS if name in record)
    record.update((name, dial.write_mono(record[name])) for name in _DEADLINES if name in record)
    if past.flips:
        record["flips"] = [dial.write_mono(at) for at in past.flips]
    if past.groups:
        record["groups"] = groups[past.groups]
    return record


# --- recalling -------------------------------------------------------------------------------------------------------


def recall(name: str, record: Mapping[str, Any], registry: Registry, now: Instant) -> Service:
    """Let a registry know a service as it was remembered; raise Damaged, before much is changed, if it cannot be read.

    Nothing is judged by this: the values of what is there have yet to come.
    """
    dial = Dial(now)
    raw_name = _bytes(str(record.get("name", name)))
    service = registry.service(values.show(raw_name))
    try:
        known = {**record["up"], **record.get("down", {})}
        instances = {
            label: _instance(registry.key_of(raw_name, _bytes(label)), label, service, each, dial)
            for label, each in known.items()
        }
        for text, labels in record.get("values", {}).items():
            for label in labels:
                instances[label].take(text.encode())
        pasts = {rule: _past_of(each, instances, dial) for rule, each in record.get("judged", {}).items()}
        recent = [_transition(service.name, each, dial) for each in record.get("recent", ())]
        fresh = [instances[label] for label in record.get("fresh", ()) if label in instances]
        down = record.get("down", {}).items()
        doubted = {instances[name]: dial.read_mono(each["doubted"]) for name, each in down if "doubted" in each}
        true_at = int(record["at"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise Damaged(f"what is remembered of {service.name} cannot be read: {type(error).__name__}: {error}") from None
    service.true_at = true_at
    for label, instance in instances.items():
        due = known[label].get("forget") if isinstance(known[label], dict) else None
        registry.readmit(instance, None if due is None else dial.read_mono(due))
    for instance, until in doubted.items():
        service.doubted[instance] = None
        registry.doubted_until = max(registry.doubted_until, until)
    service.fresh.extend(fresh)
    service.recent.extend(recent)
    for condition in service.conditions:
        if (past := pasts.get(condition.rule.rule.name)) is not None:
            condition.resume(past, now)
    return service


def _instance(key: bytes, label: str, service: Service, record: Any, dial: Dial) -> Instance:
    instance = Instance(key, values.show(_bytes(label)), service, dial.now)
    instance.is_known = True
    instance.registered_at = -float("inf")
    if isinstance(record, list):
        since, cause, *registered = record
        instance.up = instance.is_present = True
        instance.registered_at = dial.read_mono(registered[0]) if registered else -float("inf")
    else:
        since, cause = record["since"], record["cause"]
        instance.is_present = bool(record.get("there"))
        instance.detail, instance.replaced_by = str(record.get("detail", "")), str(record.get("replaced_by", ""))
        instance.between = dial.read(record["between"]) if "between" in record else None
        instance.take(_bytes(record.get("value", "")))
    instance.since, instance.cause = dial.read(since), Cause(cause)
    return instance


def _transition(service: str, record: list[Any], dial: Dial) -> Transition:
    name, up, cause, at, revision, detail, between = record
    since = None if between is None else dial.read(between)
    return Transition(service, str(name), bool(up), Cause(cause), dial.read(at), int(revision), str(detail), since)


def _past_of(record: Mapping[str, Any], instances: Mapping[str, Instance], dial: Dial) -> ConditionPast:
    """Return a condition's past; a key that names an instance means that, any other the value of a field."""

    def key_of(label: str | None) -> Instance | str | None:
        return None if label is None else instances.get(label, label)

    groups = [tuple(tuple(map(str, key)) for key in keys) for keys in record.get("groups", ())]
    return ConditionPast(
        kind=str(record.get("kind", "")),
        alerts={key_of(label): _alert_past_of(each, groups, dial) for label, each in record.get("alerts", ())},
        changes={key_of(label): [*map(dial.read_mono, times)] for label, times in record.get("changes", ())},
        peaks={
            per: PeakPast(
                [(dial.read_mono(at), int(n)) for at, n in risen],
                [(int(n), dial.read_mono(at), dial.read_mono(until)) for n, at, until in ended],
            )
            for per, risen, ended in record.get("peaks", ())
        },
        routes=str(record.get("routes", "")),
    )


def _alert_past_of(record: Mapping[str, Any], groups: Sequence[Keys], dial: Dial) -> AlertPast:
    fields: Record = {name: record[name] for name in AlertPast._fields if name in record}
    fields.update((name, dial.read(fields[name])) for name in _MOMENTS if name in fields)
    fields.update((name, dial.read_mono(fields[name])) for name in _DEADLINES if name in fields)
    fields.update((name, Cause(fields[name])) for name in ("cause", "fault") if name in fields)
    fields["state"] = AlertState(fields.get("state", AlertState.INACTIVE))
    if "reason" in fields:
        fields["reason"] = Reason(fields["reason"])
    fields["flips"] = tuple(map(dial.read_mono, fields.get("flips", ())))
    fields["owed"] = tuple(tuple(map(str, each)) for each in fields.get("owed", ()))
    fields["groups"] = groups[fields["groups"]] if "groups" in fields else ()
    return AlertPast(**fields)


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
