"""Who is up, and what has happened since each report: kept from the actions that the daemon hands out anyway.

Pure: it reads no clock, for every action bears its time. A service is *available* while as many of its instances are up
as the rules expect, or at least one where they say nothing. What happens while nobody watches counts from when it is
found. Invariant: each action costs the same whatever went before, and memory is bounded by `MOST` services by name
(beyond them only incidents and flaps are counted) and the names of their instances that are up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from alertd.model import Action, Decision, Notification, Reason, Transition
from alertd.report.period import Period
from alertd.report.summary import OTHERS, Origin, Summary

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from alertd.delivery.lane import Delivery
    from alertd.model import Instant

MOST = 5_000
"""Services that are kept by name."""

_ENDS_FLAPPING = frozenset({Reason.FLAPPING_ENDED, Reason.FORGOTTEN, Reason.RULE_GONE})


class Specs(Protocol):
    """What the rules say of services beforehand."""

    @property
    def named(self) -> Iterator[str]:
        """The services that are named exactly."""

    def about(self, service: str) -> tuple[int | None, dict[str, str]]:
        """Return how many instances are expected (None: not known), and the labels."""


class _Nothing:
    """Says nothing of any service."""

    named: Iterator[str] = iter(())

    def about(self, service: str) -> tuple[int | None, dict[str, str]]:  # noqa: ARG002 - see Specs
        return None, {}


class _Service:
    """The names of the instances that are up, and whether they are enough; None until that is known."""

    __slots__ = ("expected", "is_available", "up")

    def __init__(self, expected: int | None) -> None:
        self.up: set[str] = set()
        self.expected = expected
        self.is_available: bool | None = None

    @property
    def has_enough(self) -> bool:
        """Whether as many are up as should be."""
        return len(self.up) >= (1 if self.expected is None else self.expected)


class Ledger:
    """The books, with one page open for each report."""

    def __init__(self) -> None:
        self._specs: Specs = _Nothing()
        self._services: dict[str, _Service] = {}
        self._periods: dict[str, Period] = {}
        self._flapping: set[str] = set()
        """Alerts whose firings do not count, since the flapping does."""

    # --- reports -----------------------------------------------------------------------------------------------------

    @property
    def open_pages(self) -> tuple[str, ...]:
        """The names of the reports that are kept."""
        return tuple(self._periods)

    def open(self, report: str, now: Instant, origin: Origin) -> None:
        """Count for a report from now on."""
        period = self._periods[report] = Period(now, origin)
        for name, service in self._services.items():
            period.turn(name, now, is_available=service.has_enough)

    def drop(self, report: str) -> None:
        """Count for a report no longer."""
        self._periods.pop(report, None)

    def close(self, report: str, now: Instant) -> Summary:
        """Return what happened since the last time, and begin anew."""
        expected = {name: service.expected for name, service in self._services.items()}
        summary = self._periods[report].close(now, expected)
        self.open(report, now, Origin.LAST)
        return summary

    # --- services ----------------------------------------------------------------------------------------------------

    def follow(self, specs: Specs, now: Instant) -> None:
        """Judge by what new rules say of services; one that they expect is known even if never seen."""
        self._specs = specs
        for name in specs.named:
            if specs.about(name)[0]:
                self._service(name)
        for name, service in self._services.items():
            service.expected = specs.about(name)[0]
            self._judge(name, service, now)

    @property
    def without_instances(self) -> set[str]:
        """The services of which nothing is up and nothing expected: they may be gone for good."""
        return {name for name, service in self._services.items() if not service.up and not service.expected}

    def forget(self, known: Container[str], now: Instant) -> None:
        """Drop those of the services without instances that are not `known` any more."""
        for name in self.without_instances:
            if name not in known:
                del self._services[name]
                for period in self._periods.values():
                    period.forget(name, now)

    # --- what happens ------------------------------------------------------------------------------------------------

    def take(self, action: Action) -> None:
        """Take note of an action of the engine."""
        if isinstance(action, Transition):
            self._move(action)
        elif isinstance(action, Decision):
            self._weigh(action)
        elif isinstance(action, Notification) and self._periods:
            rules = {entry.alert.rule.name for entry in action.entries}
            for period in self._periods.values():
                period.count_notification(rules)

    def note(self, delivery: Delivery) -> None:
        """Take note of how a delivery ended."""
        for period in self._periods.values():
            period.count_delivery(delivery)

    def _move(self, transition: Transition) -> None:
        service = self._services.get(transition.service) or self._service(transition.service)
        if service is not None:
            (service.up.add if transition.up else service.up.discard)(transition.instance)
            self._judge(transition.service, service, transition.at)

    def _judge(self, name: str, service: _Service, now: Instant) -> None:
        has_enough = service.has_enough
        if has_enough is not service.is_available:
            service.is_available = has_enough
            for period in self._periods.values():
                period.turn(name, now, is_available=has_enough)

    def _weigh(self, decision: Decision) -> None:
        """Count what begins to fire or to flap; what fires while it flaps is part of the flapping."""
        reason = decision.reason
        if reason is Reason.HELD_FOR:
            if decision.alert_id not in self._flapping:
                for period in self._periods.values():
                    period.count_incident(self._service_of(decision.target), decision.at)
        elif reason is Reason.FLAPPING_BEGAN:
            self._flapping.add(decision.alert_id)
            for period in self._periods.values():
                period.count_flap(self._service_of(decision.target))
        elif reason in _ENDS_FLAPPING:
            self._flapping.discard(decision.alert_id)

    # --- names -------------------------------------------------------------------------------------------------------

    def _service(self, name: str) -> _Service | None:
        """Return the service of that name, known from now on; None if there are too many already."""
        service = self._services.get(name)
        if service is None and len(self._services) < MOST:
            service = self._services[name] = _Service(self._specs.about(name)[0])
        return service

    def _service_of(self, target: str) -> str:
        """Return which of the known services `service`, `service/instance` or `service (zone=eu)` speaks of."""
        for name in (target.partition("/")[0], target.partition(" (")[0]):
            if name in self._services:
                return name
        return OTHERS
