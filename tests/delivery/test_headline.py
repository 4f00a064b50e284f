"""Titles of one alert and of many, and what an incident is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alertd.config.schema import Settings
from alertd.delivery import render
from alertd.delivery.headline import incident_of
from alertd.model import AlertState, Entry, Kind, Notification, ServiceFacts
from tests.delivery.examples import LOST, PROD, RULE, at, lost_alert, notification, over, resolved


def firing(*targets: str, **changes: Any) -> Notification:
    """Return a notification of `instance-lost` on each `service/instance`, of services of 25."""
    entries = [
        Entry(Kind.FIRING, lost_alert(instance, service=service, **changes))
        for service, _, instance in (target.partition("/") for target in targets)
    ]
    names = dict.fromkeys(entry.alert.service for entry in entries)
    down = {name: sum(entry.alert.service == name for entry in entries) for name in names}
    facts = {name: ServiceFacts(name, 25 - down[name], 25) for name in names}
    return notification(*entries, services=facts, still_firing=len(entries))


@pytest.mark.parametrize(
    ("told", "title"),
    [
        (firing("apache/a", "apache/b"), "[FIRING:2] instance-lost apache · 23 of 25 up · warning"),
        (firing("apache/a", "pay/b"), "[FIRING:2] instance-lost apache, pay · 48 of 50 up · warning"),
        (
            firing("apache/a", "pay/b", "db/c", "web/d", "mail/e"),
            "[FIRING:5] instance-lost apache, pay, db and 2 more · 120 of 125 up · warning",
        ),
        (
            firing(*(f"s{number % 20:02}/i{number}" for number in range(100))),
            "[FIRING:100] instance-lost s00, s01, s02 and 17 more · 400 of 500 up · warning",
        ),
    ],
    ids=["2", "2 services", "5 services", "100"],
)
def test_a_title_stays_one_line_whatever_the_group(told: Notification, title: str) -> None:
    """Groups may be by anything: what differs is listed, the first three and how many more."""
    assert render.title(told, Settings()) == title


def test_several_rules_are_listed_like_services() -> None:
    """The severity is that of the worst that still fires."""
    rules = [replace(LOST, name=name) for name in ("a", "b", "c", "d")]
    told = firing("apache/x")
    entries = [Entry(Kind.FIRING, lost_alert("x", rule=rule)) for rule in (*rules, RULE)]
    several = replace(told, entries=(*entries, Entry(Kind.RESOLVED, over())))
    assert render.title(several, Settings()) == (
        "[FIRING:5 RESOLVED:1] a, b, c and 2 more apache · 24 of 25 up · critical"
    )


def test_all_kinds_are_counted_in_a_fixed_order() -> None:
    """What fires anew comes first."""
    kinds = (Kind.RESOLVED, Kind.ESCALATED, Kind.REMINDER, Kind.FIRING)
    told = firing("apache/a")
    mixed = replace(told, entries=tuple(Entry(kind, told.entries[0].alert) for kind in kinds))
    assert render.title(mixed, PROD).startswith("[FIRING:1 REMINDER:1 ESCALATED:1 RESOLVED:1] ")


# --- incidents -------------------------------------------------------------------------------------------------------


def test_an_incident_keeps_key_and_title_from_firing_to_resolve() -> None:
    """Neither a count nor a kind nor a severity is in it; the last message of the group ends it."""
    labels = {"rule": "apache-minimum", "service": "apache"}
    first, last = notification(labels=labels), resolved(labels=labels)
    again = notification(Entry(Kind.REMINDER, lost_alert("b")), labels=labels)
    opened, closed = incident_of(first, PROD), incident_of(last, PROD)
    assert opened.title == "apache-minimum apache · prod-fra"
    assert (closed.key, closed.title) == (opened.key, opened.title) == _names(again)
    assert (opened.is_over, closed.is_over) == (False, True)
    assert incident_of(resolved(still_firing=1), PROD).is_over is False


def _names(told: Notification) -> tuple[str, str]:
    incident = incident_of(told, PROD)
    return incident.key, incident.title


def test_incidents_of_two_groups_are_two() -> None:
    """Of two routes that group by the same, of two channels, and of two alertds that share a provider."""
    keys = {
        incident_of(notification(**changes), settings).key
        for changes, settings in (
            ({}, PROD),
            ({"group": "other"}, PROD),
            ({"key": "route 2"}, PROD),
            ({"channel": "boss"}, PROD),
            ({}, Settings(name="prod-ams")),
        )
    }
    assert len(keys) == 5


def test_an_incident_is_called_by_what_its_group_is_grouped_by() -> None:
    """Values of rule and service alone, of others with their names; a storm is a storm."""
    assert incident_of(notification(labels={"team": "web", "service": "pay"}), Settings()).title == "team=web pay"
    assert incident_of(notification(kind=Kind.DIGEST), PROD).title == "storm · prod-fra"
    assert incident_of(notification(group="all"), Settings()).title == "all"


def test_what_is_forgotten_ends_its_incident() -> None:
    """Nobody will speak of it again, so it must not stay open; yet it is no success."""
    gone = Entry(Kind.FORGOTTEN, lost_alert("a", state=AlertState.INACTIVE, until=at(60)))
    told = notification(gone, still_firing=0)
    assert incident_of(told, PROD).is_over
    assert render.tone(told) == "info"
