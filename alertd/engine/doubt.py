"""When losses are not believed: too many at once, or found when an etcd is back that was away.

Trouble with etcd is not trouble with the services. A secretary that etcd could not hear loses its lease and registers
again. So when at least `suspect` per cent of all instances are lost by `expired` or `missed` within `WINDOW`, and when
the shell says that etcd was away (`hold`), such losses are *doubted* for `settle`: the registry and every view show
them as they are, but the conditions judge them as if they were up. What happened shortly before the suspicion is
doubted as well, and what was made of it taken back, unless people know of it. For an instance a doubt ends when it
returns, or says itself that it is down; for all others when `settle` is over. They are judged then, each as of when it
was lost.

`alertd-registry` fires as soon as anything is doubted. What is told of at the end is one digest for each channel.

Invariant: an instance is doubted only while a doubt is on, and is judged as lost, or has returned, when that ends.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from alertd import duration
from alertd.engine.builtin import Note
from alertd.engine.timers import Timer
from alertd.model import DOUBTFUL, BuiltIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from alertd.config.schema import RegistryTrouble
    from alertd.engine.alert import LiveAlert
    from alertd.engine.builtin import BuiltIns
    from alertd.engine.desk import Desk
    from alertd.engine.registry import Change, Instance, Registry, Service
    from alertd.model import Instant

WINDOW = 30.0
"""Seconds within which losses count as one: the usual time of a lease, since leases cut off together end within it."""

LEAST_INSTANCES = 20
LEAST_LEASES = 3
"""With fewer, one process or host that dies looks as if all had."""

_GROWTH = 1.5
"""By how much losses grow until they are looked at again that were found to be no reason to doubt."""

_FOR_ALL_TO_SPEAK = 0.1
"""Seconds that a digest waits for the last group that has something to add."""


class _Extent(NamedTuple):
    """What a doubt is about: how many were known to be up, why it began, when the first was lost."""

    known: int
    why: str
    first: float


class Doubt:
    """One an engine; `judge` lets a service's conditions judge changes."""

    def __init__(self, desk: Desk, registry: Registry, builtins: BuiltIns, judge: Callable[..., None]) -> None:
        self._desk = desk
        self._registry = registry
        self._builtins = builtins
        self._judge = judge
        self._settings: RegistryTrouble
        self._share = 0.0
        self.is_on = False
        self._extent = _Extent(0, "", 0.0)
        self._number = 0
        """Losses that were doubted since it began."""
        self._services: dict[Service, None] = {}
        self._timer = Timer(self._end)
        self._ended = -inf
        self._recent: deque[list[float]] = deque()
        """How many were lost in each second of the window: [second, number]."""
        self._lost = 0
        self.room = 0
        """So many more may be lost before they need be counted, if it is all at this moment."""
        self._enough = 0.0
        """So many must be lost to be looked at, since fewer were found to be no reason."""
        self._in_gap = self._spans_gap = self._has_watched = False
        self._counts = True

    def follow(self, settings: RegistryTrouble) -> None:
        """Follow new settings; a doubt that is on ends when it was to end."""
        self._settings = settings
        self._share = float(settings.suspect[:-1]) / 100

    # --- gaps --------------------------------------------------------------------------------------------------------

    def enter_gap(self, now: Instant, began: Instant | None) -> None:
        """Take note of a gap. What is found in it counts as lost together only if it is short, and not the first."""
        self._in_gap = True
        self._counts = self._has_watched and (began is None or now.mono - began.mono <= WINDOW)

    def leave_gap(self, now: Instant) -> None:
        """Take note of its end; a doubt that began in it lasts from now on."""
        if self.is_on and self._spans_gap:
            self._last_until(now.mono + self._settings.settle)
        elif self.is_on and self._timer.due is None:
            self._last_until(max(self._registry.doubted_until, now.mono))
        is_first = not self._has_watched
        self._in_gap = self._spans_gap = False
        self._counts = self._has_watched = True
        if not self.is_on and is_first:
            self._say(now, "judging", holds=False)

    # --- beginning ---------------------------------------------------------------------------------------------------

    def hold(self, why: str, now: Instant) -> None:
        """Doubt losses from now on, and for `settle`, which begins anew with the end of a gap that is open."""
        if not self._settings.settle:
            return
        if not self.is_on:
            self._start(_Extent(self._registry.up, why, now.mono))
        self._spans_gap = self._in_gap
        until = now.mono + self._settings.settle
        self._last_until(max(until, self._timer.due or until))

    def release(self, now: Instant) -> None:
        """Judge all that is doubted, as soon as no gap is open."""
        if self.is_on:
            self._spans_gap = False
            self._last_until(now.mono)

    def resume(self, now: Instant) -> None:
        """Go on with a doubt of an earlier process, if what was recalled is doubted; not to end in the first gap."""
        for service in self._registry.services.values():
            if service.doubted:
                self._services[service] = None
                self._number += len(service.doubted)
        if self._services:
            first = min(instance.since.mono for service in self._services for instance in service.doubted)
            self._start(_Extent(self._registry.up + self._number, "", first))
            self._say(now, self._words, holds=True)

    def _start(self, extent: _Extent) -> None:
        self.is_on, self._extent = True, extent
        self._spans_gap = self._in_gap
        self._forget_count()

    def _last_until(self, at: float) -> None:
        self._registry.doubted_until = at
        self._desk.timers.start(self._timer, at)

    def sift(self, changes: list[Change], now: Instant) -> list[Change]:
        """Return what changed as it is to be judged: an instance whose loss is doubted has not gone."""
        losses, self._registry.losses = self._registry.losses, 0
        if losses and self._counts and not self.is_on and self._settings.settle:
            self._count(losses, now)
        if not self.is_on:
            return changes
        before = self._number
        sifted = [self._weigh(*change) for change in changes]
        if not before and self._number:
            self._say(now, self._words, holds=True)
        return sifted

    def _weigh(self, instance: Instance, went: bool) -> Change:  # noqa: FBT001 - the parts of a change
        doubted = instance.service.doubted
        if _is_doubtful(instance):
            if went and instance not in doubted:
                self._doubt(instance)
            return instance, went and instance not in doubted
        if instance in doubted:
            del doubted[instance]
            return instance, not instance.up
        return instance, went

    def _doubt(self, instance: Instance) -> None:
        instance.service.doubted[instance] = None
        self._services[instance.service] = None
        self._number += 1

    # --- suspicion ---------------------------------------------------------------------------------------------------

    def _count(self, losses: int, now: Instant) -> None:
        """Count what was lost now; look closer if it may be too many."""
        recent = self._recent
        second = now.mono // 1
        if recent and recent[-1][0] == second:
            recent[-1][1] += losses
        else:
            recent.append([second, losses])
            while recent[0][0] <= second - WINDOW:
                self._lost -= int(recent.popleft()[1])
                self._enough = 0.0
        self._lost += losses
        known = self._registry.up + self._lost
        too_many = max(self._share * known, self._enough)
        if self._lost >= too_many and known >= LEAST_INSTANCES:
            self._look_closer(now)
        else:
            self.room = max(int(too_many) - self._lost - 1, 0)

    def _look_closer(self, now: Instant) -> None:
        """Doubt what was lost in the window, if it is still too much without what has returned."""
        begun = max(now.mono - WINDOW, self._ended)
        if not self._has_leases(begun):
            self._enough = self._lost * _GROWTH + 1
            return
        lost = {
            service: found for service in self._registry.services.values() if (found := _lost_since(service, begun))
        }
        number = sum(map(len, lost.values()))
        known = self._registry.up + number
        if number >= self._share * known and known >= LEAST_INSTANCES:
            first = min(found[0].since.mono for found in lost.values())
            self._start(_Extent(known, "", first))
            self._last_until(now.mono + self._settings.settle)
            for service, found in lost.items():
                self._take_back(service, found, begun, now)
            if self._number:
                self._say(now, self._words, holds=True)
        else:
            self._forget_count()
            self._recent.append([now.mono // 1, number])
            self._lost, self._enough = number, number * _GROWTH + 1

    def _has_leases(self, begun: float) -> bool:
        """Tell whether what is there, or was after `begun`, is on enough leases; it seldom takes a look at many."""
        leases: set[int] = set()
        for instance in self._registry.by_key.values():
            if instance.lease and (instance.is_present or instance.since.mono > begun):
                leases.add(instance.lease)
                if len(leases) >= LEAST_LEASES:
                    return True
        return False

    def _take_back(self, service: Service, lost: Sequence[Instance], begun: float, now: Instant) -> None:
        """Doubt what was lost and judged already, as far as nobody knows of it."""
        if any(alert.is_told and _has_fired_since(alert, begun) for alert in _alerts_on(service)):
            return
        conditions = [condition for condition in service.conditions if condition.judges_instances]
        for instance in lost:
            alerts = (condition.alerts.get(instance) for condition in conditions)
            if not any(alert is not None and alert.holds and alert.is_told for alert in alerts):
                self._doubt(instance)
        if service.doubted:
            self._judge_late(service, [(instance, False) for instance in service.doubted], now)

    def believe(self, service: Service, instance: Instance | None, now: Instant) -> None:
        """Judge as lost what people were told of: an instance, or (None) all that is doubted of a service."""
        for each in list(service.doubted) if instance is None else [instance]:
            if each in service.doubted:
                del service.doubted[each]
                self._judge_late(service, [(each, True)], now)

    def _forget_count(self) -> None:
        self._recent.clear()
        self._lost, self._enough, self.room = 0, 0.0, 0

    # --- the end -----------------------------------------------------------------------------------------------------

    def _end(self, now: Instant) -> None:
        """Judge all that is doubted still."""
        self.is_on, self._ended = False, now.mono
        gone, number = 0, self._number
        services, self._services, self._number = self._services, {}, 0
        for service in services:
            gone += len(service.doubted)
            self.believe(service, None, now)
        if gone:
            self._desk.collect(now, _FOR_ALL_TO_SPEAK)
        if number:
            self._say(now, f"judging again: {gone} of {number} stay lost", holds=False)

    def _judge_late(self, service: Service, changes: list[Change], now: Instant) -> None:
        self._desk.hindsight = True
        self._judge(service, changes, now, calm=True)
        self._desk.hindsight = False

    # --- words -------------------------------------------------------------------------------------------------------

    def _say(self, now: Instant, words: str | Callable[[], str], *, holds: bool) -> None:
        self._builtins.by_name[BuiltIn.REGISTRY].note(None, Note(holds, words), now)

    def _words(self) -> str:
        known, why, first = self._extent
        how = f"{why}, " if why else ""
        last = max((i.since.mono for service in self._services for i in service.doubted), default=first)
        within = "" if why else f" within {duration.show(max(last - first, 1.0))}"
        waits = duration.show(self._settings.settle)
        return f"{how}{self._number} of {max(known, self._number)} instances expired{within}: judging waits {waits}"


def _is_doubtful(instance: Instance) -> bool:
    """Tell whether an instance is lost, for all that is known only because etcd did not hear of it."""
    is_silent = not instance.up and not instance.is_present
    return is_silent and instance.cause in DOUBTFUL and not instance.replaced_by


def _lost_since(service: Service, begun: float) -> list[Instance]:
    """Return what was lost after `begun` (monotonic seconds) and may be doubted, the first first."""
    lately = takewhile(lambda instance: instance.since.mono > begun, reversed(service.lost))
    return [instance for instance in lately if _is_doubtful(instance)][::-1]


def _alerts_on(service: Service) -> Iterator[LiveAlert]:
    """Yield the alerts on a service as a whole."""
    for condition in service.conditions:
        if not condition.judges_instances:
            yield from condition.alerts.values()


def _has_fired_since(alert: LiveAlert, begun: float) -> bool:
    """Tell whether an alert stands, and began to fire not before `begun`, in monotonic seconds."""
    return alert.is_standing and alert.since is not None and alert.since.mono >= begun
