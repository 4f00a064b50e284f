"""Key events to instances, services and transitions.

An instance is up while its key is there and its value does not say otherwise. A lost one keeps its first cause, except
that `stopped` replaces it, and keeps its last value. Nothing here judges by rules, and no input raises.

A newly registered instance *replaces* one lost instance of its service, the longest lost first; so does one that was
registered up to 5 min before the loss, unless it came within 30 s of the lost one: instances that start together are
siblings, not successors.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from alertd import values
from alertd.engine.timers import Timer, Timers, stop
from alertd.model import Action, Cause, EventKind, Instant, KeyEvent, Transition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.engine.conditions import Condition

REPLACES_WITHIN = 300.0
"""Seconds before a loss within which a new instance can have come to replace the lost one."""

SIBLINGS_WITHIN = 30.0
"""Seconds between two registrations within which the later one is no successor of the earlier."""

REMEMBERED = 20
"""Transitions of a service that are kept, for people to see what happened before."""

_LEASES_KEPT = 4_096
_SMALL = 257
"""Of the numbers below this Python keeps one each."""

_ASK_AGAIN = 60.0
"""Seconds until an instance that could not be forgotten for the sake of an alert is looked at again."""

_CAUSE_OF = {EventKind.DELETE: Cause.DELETED, EventKind.EXPIRE: Cause.EXPIRED, EventKind.MISSED: Cause.MISSED}
_EXPIRED, _MISSED, _EXPIRE = Cause.EXPIRED, Cause.MISSED, EventKind.EXPIRE
"""Looked up once: the hash of an enum's member is dear, and these are asked for at each loss."""
_ANNOUNCED = {"failing": Cause.FAILING, "stopped": Cause.STOPPED}


class Instance:
    """One key: what it is now, or was when it was last there.

    `name` is what follows the service in the key, and may contain `/`. `says` is the cause that the value itself
    announces, if any. `is_known` turns true with the first transition. `is_announced` tells that the last one was an
    announced stop or the return after it; `is_new` that when it last went up it had provably never been seen before.
    `fields` are kept only for services whose rules read them. `registered_at` is in monotonic seconds, -inf where it
    was there before alertd.
    """

    __slots__ = (
        "between",
        "cause",
        "detail",
        "fields",
        "forget",
        "is_announced",
        "is_known",
        "is_new",
        "is_present",
        "key",
        "lease",
        "malformed",
        "name",
        "raw",
        "registered_at",
        "replaced_by",
        "says",
        "service",
        "since",
        "up",
    )

    def __init__(self, key: bytes, name: str, service: Service, now: Instant) -> None:
        self.key = key
        self.name = name
        self.says: Cause | None = None
        self.service = service
        self.raw = b""
        self.fields: Mapping[str, Any] | None = None
        self.up = self.is_known = self.is_present = self.malformed = self.is_new = self.is_announced = False
        self.cause = Cause.MISSED
        self.detail = self.replaced_by = ""
        self.since = now
        self.between: Instant | None = None
        self.registered_at = now.mono
        self.lease = 0
        """What stands for the last lease of its key, 0 if it never had one."""
        self.forget: Timer | None = None

    def take(self, raw: bytes) -> None:
        """Take a value: what it says of the state, and its fields if the service's rules read them."""
        reading = values.read(raw)
        fields = reading.fields
        self.raw = raw
        self.malformed = reading.malformed
        self.fields = fields if self.service.keeps_fields else None
        status = fields.get("status") if fields else None
        self.says = _ANNOUNCED.get(status) if isinstance(status, str) else None

    def read_fields(self) -> Mapping[str, Any]:
        """Return the fields of the last value, none if it cannot be understood."""
        return self.fields if self.fields is not None else values.read(self.raw).fields or {}

    def read_kept(self) -> dict[str, str]:
        """Return what the last value says of the fields that are to be remembered."""
        names = self.service.kept_fields
        return values.pick(self.read_fields(), names) if names else {}


Change = tuple[Instance, bool]
"""An instance that an event touched, and whether it went up or down by it. A bare tuple, since one is made an event."""


class Service:
    """The set of its instances.

    `lost` holds those down and neither stopped on purpose nor replaced, the longest lost first; `stopped` those stopped
    on purpose; `doubted` those whose loss is not believed yet. `is_named` means that the rules name it exactly: it is
    judged even if never seen, and never forgotten. `kept_fields` are the fields that rules and routes name, which are
    remembered of its instances while they are there. `true_at` is the revision at which what is known of it was true
    before its watch began; 0 afterwards.
    """

    __slots__ = (
        "conditions",
        "doubted",
        "expected",
        "fresh",
        "instances",
        "is_named",
        "keeps_fields",
        "kept_fields",
        "labels",
        "lost",
        "name",
        "recent",
        "stopped",
        "true_at",
        "up",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.instances: dict[Instance, None] = {}
        self.lost: dict[Instance, None] = {}
        self.stopped: dict[Instance, None] = {}
        self.doubted: dict[Instance, None] = {}
        self.fresh: deque[Instance] = deque()
        self.recent: deque[Transition] = deque(maxlen=REMEMBERED)
        self.up = 0
        self.conditions: tuple[Condition, ...] = ()
        self.labels: Mapping[str, str] = {}
        self.expected: int | None = None
        self.is_named = False
        self.keeps_fields = False
        self.kept_fields: tuple[str, ...] = ()
        self.true_at = 0

    def deems_up(self, instance: Instance) -> bool:
        """Tell whether an instance is to be judged as up: also while it is doubted that it is not."""
        return instance.up or instance in self.doubted


class Judges(Protocol):
    """What the registry asks of those that judge by rules."""

    def match(self, service: Service) -> None:
        """Give a service that has just appeared its labels, expectation and conditions."""

    def is_held(self, service: Service) -> bool:
        """Tell whether an alert on the service is under way, so that nothing of it may be forgotten now."""

    def drop(self, instance: Instance, now: Instant) -> None:
        """End all that is judged about an instance that is being forgotten."""


class _Farewell(Timer):
    """When to forget an instance. One is made at each loss, so it is no more than it must be."""

    __slots__ = ("_instance", "_registry")

    def __init__(self, instance: Instance, registry: Registry) -> None:
        self._instance = instance
        self._registry = registry
        self.due = self.queued = None

    @override
    def fire(self, now: Instant) -> None:
        self._registry.forget_if_free(self._instance, now)


class Registry:
    """All services below one prefix; `out` receives the transitions.

    `gap_began` is set while a listing is read: since when nobody watched.
    """

    def __init__(self, prefix: bytes, timers: Timers, out: list[Action], judges: Judges) -> None:
        self._prefix = prefix
        self._timers = timers
        self._out = out
        self._judges = judges
        self.by_key: dict[bytes, Instance] = {}
        self.services: dict[str, Service] = {}
        self.forget_after = 0.0
        self.ignored = 0
        """Puts of keys that have no instance part."""
        self.touched: dict[str, None] = {}
        """Services of which something is to be remembered anew, since that was last asked for."""
        self.gap_began: Instant | None = None
        self.is_first_listing = True
        self.up = 0
        """Instances that are up, of all services."""
        self.losses = 0
        """Instances lost by a doubtful cause since that was last asked for."""
        self.doubted_until = 0.0
        """When what is doubted is judged, in monotonic seconds."""
        self._leases: dict[int, int] = {}
        """Leases that were met, each to itself, so that the keys on it share one number."""

    def apply(self, event: KeyEvent, now: Instant, changes: list[Change]) -> None:
        """Take one event in; append each instance that it touched (its own, and one that it replaces)."""
        kind = event.kind
        instance = self.by_key.get(event.key)
        if instance is not None and event.revision <= instance.service.true_at:
            self._refresh(instance, event, changes)
        elif kind is EventKind.PUT or kind is EventKind.FOUND:
            if instance is None:
                instance = self._admit(event, now)
                if instance is None:
                    return
            elif instance.is_present and instance.raw == event.value:
                return
            self._take_value(instance, event, now, changes)
        elif instance is not None and instance.is_present:
            instance.is_present = False
            self._start_forgetting(instance, now.mono + self.forget_after)
            went = instance.up
            if went:
                self._go_down(instance, _EXPIRED if kind is _EXPIRE else _CAUSE_OF[kind], "", event.revision, now)
            changes.append((instance, went))

    def service(self, name: str) -> Service:
        """Return the service of that name, known from now on."""
        service = self.services.get(name)
        if service is None:
            service = self.services[name] = Service(name)
            self._judges.match(service)
        return service

    def forget(self, instance: Instance, now: Instant) -> None:
        """Drop an instance, and its service with the last one unless the rules name that."""
        service = instance.service
        stop(instance.forget)
        self._judges.drop(instance, now)
        del self.by_key[instance.key]
        self.touched[service.name] = None
        for members in (service.instances, service.lost, service.stopped, service.doubted):
            members.pop(instance, None)
        service.up -= instance.up
        self.up -= instance.up
        if not service.instances and not service.is_named:
            del self.services[service.name]

    def key_of(self, service: bytes, label: bytes) -> bytes:
        """Return the key of an instance."""
        return self._prefix + service + b"/" + label

    def split(self, key: bytes) -> tuple[bytes, bytes]:
        """Return service and instance as an instance's key has them."""
        service, _, label = key[len(self._prefix) :].partition(b"/")
        return service, label

    def readmit(self, instance: Instance, forget_at: float | None) -> None:
        """Know an instance as it was remembered; it is forgotten at `forget_at` (monotonic seconds) if it is gone."""
        service = instance.service
        self.by_key[instance.key] = instance
        service.instances[instance] = None
        service.up += instance.up
        self.up += instance.up
        if instance.cause is Cause.STOPPED:
            service.stopped[instance] = None
        elif not instance.up and not instance.replaced_by:
            service.lost[instance] = None
        if not instance.is_present:
            self._start_forgetting(
                instance, instance.since.mono + self.forget_after if forget_at is None else forget_at
            )

    def _admit(self, event: KeyEvent, now: Instant) -> Instance | None:
        key = event.key
        name, rest = self.split(key)
        if not name or not rest:
            self.ignored += 1
            return None
        text = values.show(name)
        service = self.services.get(text) or self.service(text)
        if event.revision <= service.true_at:  # it was gone, and forgotten, when the service was remembered
            return None
        instance = self.by_key[key] = Instance(key, values.show(rest), service, now)
        if self.is_first_listing:
            instance.registered_at = -inf
        service.instances[instance] = None
        return instance

    def _refresh(self, instance: Instance, event: KeyEvent, changes: list[Change]) -> None:
        """Take the value of what is remembered as it was later: nothing else of an older event is news."""
        if instance.is_present and event.kind in (EventKind.PUT, EventKind.FOUND):
            instance.take(event.value)
            if event.lease:
                instance.lease = self._leases.get(event.lease) or self._meet(event.lease)
            changes.append((instance, False))

    def _meet(self, lease: int) -> int:
        """Return what stands for a lease that was not met before: itself, or one of few numbers if there are many.

        So a million keys with a lease each cost no memory, and where leases are few they are told apart.
        """
        if len(self._leases) < _LEASES_KEPT:
            self._leases[lease] = lease
            return lease
        return lease % _SMALL

    def _take_value(self, instance: Instance, event: KeyEvent, now: Instant, changes: list[Change]) -> None:
        if not instance.is_known or instance.raw != event.value:
            before = instance.read_kept()
            instance.take(event.value)
            if before != instance.read_kept():
                self.touched[instance.service.name] = None
        if event.lease:
            instance.lease = self._leases.get(event.lease) or self._meet(event.lease)
        instance.is_present = True
        if instance.forget is not None:
            instance.forget.due = None
        if instance.says is not None:
            changes.append((instance, self._announce(instance, instance.says, event, now)))
            return
        went = not instance.up
        changes.append((instance, went))
        if went:
            self._go_up(instance, event, now, changes)

    def _go_up(self, instance: Instance, event: KeyEvent, now: Instant, changes: list[Change]) -> None:
        service = instance.service
        is_found = event.kind is EventKind.FOUND
        instance.is_new = not instance.is_known and not (is_found and self.is_first_listing)
        instance.is_announced = instance.is_known and instance.cause is Cause.STOPPED
        if is_found:
            instance.cause = Cause.FOUND
        else:
            instance.cause = Cause.RECOVERED if instance.is_known else Cause.REGISTERED
        instance.up = True
        instance.detail = instance.replaced_by = ""
        service.up += 1
        self.up += 1
        service.lost.pop(instance, None)
        service.stopped.pop(instance, None)
        self._record(instance, event.revision, now)
        if instance.is_new:
            self._replace_longest_lost(instance, changes)

    def _announce(self, instance: Instance, cause: Cause, event: KeyEvent, now: Instant) -> bool:
        """Take a value that says `failing` or `stopped`; return whether that is news."""
        detail = values.as_written(values.look_up(instance.read_fields(), "reason")) or ""
        if instance.up or not instance.is_known:
            self._go_down(instance, cause, detail, event.revision, now)
            return True
        if cause is Cause.STOPPED and instance.cause is not Cause.STOPPED:
            instance.cause, instance.detail, instance.replaced_by = cause, detail, ""
            self._file_as_down(instance, now)
            self._record(instance, event.revision, now)
            return True
        return False

    def _go_down(self, instance: Instance, cause: Cause, detail: str, revision: int, now: Instant) -> None:
        instance.service.up -= instance.up
        self.up -= instance.up
        if instance.up and (cause is _EXPIRED or cause is _MISSED):
            self.losses += 1
        instance.up = False
        instance.cause, instance.detail = cause, detail
        self._file_as_down(instance, now)
        self._record(instance, revision, now)

    def _file_as_down(self, instance: Instance, now: Instant) -> None:
        """Put a down instance among the stopped, the replaced or the lost of its service."""
        service = instance.service
        instance.is_announced = instance.cause is Cause.STOPPED
        if instance.is_announced:
            service.lost.pop(instance, None)
            service.stopped[instance] = None
        else:
            successor = _take_successor(instance, now)
            if successor is None:
                service.lost[instance] = None
            else:
                instance.replaced_by = successor.name

    def _replace_longest_lost(self, newcomer: Instance, changes: list[Change]) -> None:
        service = newcomer.service
        lost = next(iter(service.lost), None)
        if lost is None:
            service.fresh.append(newcomer)
        else:
            del service.lost[lost]
            lost.replaced_by = newcomer.name
            changes.append((lost, False))

    def _record(self, instance: Instance, revision: int, now: Instant) -> None:
        self.touched[instance.service.name] = None
        instance.is_known = True
        instance.since = now
        instance.between = self.gap_began
        transition = Transition(
            instance.service.name,
            instance.name,
            instance.up,
            instance.cause,
            now,
            revision,
            instance.detail,
            self.gap_began,
        )
        self._out.append(transition)
        if not self.is_first_listing:
            instance.service.recent.append(transition)

    def _start_forgetting(self, instance: Instance, at: float) -> None:
        if instance.forget is None:
            instance.forget = _Farewell(instance, self)
        self.touched[instance.service.name] = None
        self._timers.start(instance.forget, at)

    def forget_if_free(self, instance: Instance, now: Instant) -> None:
        """Forget an instance whose time has come, or look again later if something still depends on it."""
        if not self._judges.is_held(instance.service):
            self.forget(instance, now)
        elif instance.forget is not None:
            self._timers.start(instance.forget, now.mono + _ASK_AGAIN)


def _take_successor(lost: Instance, now: Instant) -> Instance | None:
    """Return an instance that came shortly before `lost` went, and has not yet replaced another."""
    fresh = lost.service.fresh
    while fresh and (fresh[0].registered_at < now.mono - REPLACES_WITHIN or not fresh[0].up):
        fresh.popleft()
    for newcomer in fresh:
        if newcomer.up and newcomer is not lost and newcomer.registered_at - lost.registered_at >= SIBLINGS_WITHIN:
            fresh.remove(newcomer)
            return newcomer
    return None
