"""A ledger that is fed as a story: what happens at which hour after a Monday morning in Berlin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from alertd.config.schema import ServiceSpec
from alertd.delivery.lane import Delivery
from alertd.engine.rules import SpecIndex
from alertd.model import (
    Action,
    Alert,
    AlertState,
    Cause,
    Decision,
    Entry,
    Instant,
    Kind,
    Notification,
    Reason,
    RuleText,
    Severity,
    Transition,
)
from alertd.report.ledger import Ledger
from alertd.report.summary import Edition, Origin, ServiceRecord, Summary

MONDAY = datetime(2026, 10, 5, 6, tzinfo=UTC)
"""08:00 in Berlin, on summer time."""
WEEK = 168.0


def at(hours: float) -> Instant:
    """Return the instant so many hours after the Monday morning."""
    return Instant(1000.0 + hours * 3600, MONDAY + timedelta(hours=hours))


def alert(rule: str = "lost", service: str = "pay", **changes: Any) -> Alert:
    """Return an alert that fires since an hour after the Monday morning."""
    facts: dict[str, Any] = {"id": "a1", "instance": None, "per": None, "flapping": False, "labels": {}, "since": at(1)}
    text = RuleText(rule, Severity.CRITICAL, "rules/web.yaml:12")
    return Alert(rule=text, service=service, **({**facts, "state": AlertState.FIRING} | changes))


class Books:
    """A ledger with the page `weekly` open since the Monday morning; each call is something that happens at an hour."""

    def __init__(self, **expected: int) -> None:
        self.ledger = Ledger()
        self.ledger.follow(specs(**expected), at(0))
        self.ledger.open("weekly", at(0), Origin.STARTED)

    def up(self, service: str, *instances: str, hour: float = 0.0) -> Self:
        """Let instances go up."""
        return self._move(service, instances, hour, Cause.RECOVERED)

    def down(self, service: str, *instances: str, hour: float, cause: Cause = Cause.EXPIRED) -> Self:
        """Let instances go down."""
        return self._move(service, instances, hour, cause)

    def decide(self, reason: Reason, target: str = "pay", *, hour: float, alert_id: str = "a1") -> Self:
        """Let something be decided of an alert."""
        return self.take(Decision(at(hour), alert_id, "lost", "rules/web.yaml:12", target, reason))

    def fire(self, target: str = "pay", *, hour: float, alert_id: str = "a1") -> Self:
        """Let an alert begin to fire."""
        return self.decide(Reason.HELD_FOR, target, hour=hour, alert_id=alert_id)

    def tell(self, *rules: str) -> Self:
        """Let one message go out about alerts of some rules."""
        entries = tuple(Entry(Kind.FIRING, alert(rule)) for rule in rules)
        return self.take(Notification("n1", Kind.FIRING, "ops", "g", entries, {}, 1, at(1)))

    def deliver(self, channel: str, error: str = "") -> Self:
        """Let a delivery end."""
        self.ledger.note(Delivery("n1", channel, f"{channel} #1 json", not error, 1, 0.1, error))
        return self

    def take(self, action: Action) -> Self:
        """Hand an action to the ledger."""
        self.ledger.take(action)
        return self

    def close(self, hour: float = WEEK) -> Summary:
        """Return what the page came to."""
        return self.ledger.close("weekly", at(hour))

    def record(self, service: str = "pay", hour: float = WEEK) -> ServiceRecord:
        """Return what a service came to."""
        return next(record for record in self.close(hour).services if record.name == service)

    def _move(self, service: str, instances: tuple[str, ...], hour: float, cause: Cause) -> Self:
        is_up = cause in {Cause.RECOVERED, Cause.FOUND, Cause.REGISTERED}
        for instance in instances:
            self.take(Transition(service, instance, is_up, cause, at(hour), 1))
        return self


def specs(**expected: int) -> SpecIndex:
    """Return what `services:` says: how many instances are expected of which service."""
    return SpecIndex({name: ServiceSpec(expected=number) for name, number in expected.items()})


def edition(summary: Summary, **changes: Any) -> Edition:
    """Return the weekly report of an installation in Berlin."""
    return Edition(**{"name": "weekly", "zone": "Europe/Berlin", "place": "prod-fra", "summary": summary, **changes})
