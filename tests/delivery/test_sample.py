"""Samples of rules' messages, before anything has happened."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.config.schema import Ruleset, ServiceSpec
from alertd.delivery import render
from alertd.delivery.sample import KINDS, notification_of
from alertd.model import Kind
from tests.delivery.examples import PROD, at
from tests.engine.story import rule

RULES = Ruleset(settings=PROD, services={"apache": ServiceSpec(expected=5, labels={"team": "web"})}, digest="abc")


def title(kind: Kind = Kind.FIRING, service: str = "apache", **fields: Any) -> str:
    """Return the title of a sample of one rule."""
    told = notification_of(rule("r", service, **fields), RULES, "ops", kind, now=at(0), fields={})
    return render.title(told, PROD).removesuffix(" · warning · prod-fra")


@pytest.mark.parametrize(
    ("when", "firing", "resolved"),
    [
        ({"instances": {"below": 2}}, "apache · 1 of 3 up, needs 2", "apache · 3 of 3 up, needs 2"),
        ({"instances": {"below": "50%"}}, "apache · 1 of 4 up, needs 2", "apache · 4 of 4 up, needs 2"),
        ({"instances": {"above": 5}}, "apache · 6 of 6 up, at most 5", "apache · 5 of 5 up, at most 5"),
        (
            {"instances": {"below": 2, "per": "zone"}},
            "apache (zone=a) · 1 of 3 up, needs 2",
            "apache (zone=a) · 3 of 3 up, needs 2",
        ),
        ({"instance": "down"}, "apache/10.0.0.1 · expired: lost contact, its lease ended", "apache/10.0.0.1 · back"),
        ({"instance": "down", "cause": ["failing"]}, "apache/10.0.0.1 · failing: HTTP 503", "apache/10.0.0.1 · back"),
        (
            {"distinct": {"field": "v", "above": 1}},
            "apache · 2 different: value-1, value-2, at most 1",
            "apache · value-1, at most 1",
        ),
        ({"changes": {"above": 5, "within": "10m"}}, "apache · 6, at most 5", "apache · 5, at most 5"),
        ({"value": {"field": "load.one", "above": 4}}, "apache/10.0.0.1 · 5", "apache/10.0.0.1 · now 4"),
        ({"value": {"field": "state", "equals": "bad"}}, "apache/10.0.0.1 · bad", "apache/10.0.0.1 · now not bad"),
        ({"malformed": True}, "apache/10.0.0.1 · its value cannot be understood", "apache/10.0.0.1 · back"),
    ],
)
def test_every_condition_has_its_sample(when: dict[str, Any], firing: str, resolved: str) -> None:
    """At figures at which it is true, and no longer."""
    assert title(when=when) == f"[FIRING] r {firing}"
    assert title(Kind.RESOLVED, when=when) == f"[RESOLVED] r {resolved}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_sample(kind: Kind) -> None:
    """Its type is what the real one's would be."""
    told = notification_of(rule("r"), RULES, "ops", kind, now=at(0), fields={})
    assert render.title(told, PROD).startswith(f"[{kind.upper()}] r apache/10.0.0.1")
    tones = {Kind.RESOLVED: "success", Kind.SETTLED: "success", Kind.FORGOTTEN: "info"}
    assert render.tone(told) == tones.get(kind, "warning")


@pytest.mark.parametrize(("pattern", "name"), [("*", "apache"), ("db-*", "db-sample"), ("pay", "pay")])
def test_a_service_is_chosen_that_the_rule_speaks_of(pattern: str, name: str) -> None:
    """One that is known beforehand, else one made up."""
    assert title(service=pattern, when={"instances": {"below": 2}}).startswith(f"[FIRING] r {name} ·")


def test_templates_see_the_usual_fields_those_of_the_rule_and_those_given() -> None:
    """Dotted ones reach inside; labels are the rules' own."""
    asked = rule(
        "r",
        where={"rack": "r*"},
        when={"value": {"field": "load.one", "above": 4}},
        summary="{{ host }} {{ port }} {{ rack }} {{ load.one }} {{ disk.free }} {{ team }} {{ expected }}",
    )
    told = notification_of(asked, RULES, "ops", Kind.FIRING, now=at(0), fields={"disk.free": "3"})
    assert render.body(told, PROD).splitlines()[0] == "core01 8080 r01 5 3 web 5"
