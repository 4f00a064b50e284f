"""What people read, as the contract shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alertd.config.schema import Settings, Templates
from alertd.delivery import render
from alertd.delivery.letter import Tone
from alertd.model import AlertState, Cause, Entry, Kind, Notification, RuleText, ServiceFacts, Severity
from alertd.values import read
from tests.delivery.examples import (
    APACHE,
    LOST,
    PROD,
    RULE,
    alert,
    at,
    lost,
    lost_alert,
    notification,
    over,
    resolved,
    up,
)


def told(kind: Kind, **changes: Any) -> Notification:
    """Return a notification of one kind about one alert."""
    return notification(Entry(kind, alert(**changes)))


# --- titles ----------------------------------------------------------------------------------------------------------


def test_the_title_of_the_contract() -> None:
    """Kind, rule, target, then how bad it is, the severity and where."""
    assert render.title(notification(), PROD) == (
        "[FIRING] apache-minimum apache · 1 of 3 up, needs 2 · critical · prod-fra"
    )
    assert render.title(notification(), Settings()).endswith(" · critical")


@pytest.mark.parametrize(
    ("entry", "title"),
    [
        (Entry(Kind.RESOLVED, over()), "[RESOLVED] apache-minimum apache · 3 of 3 up, needs 2 · critical"),
        (
            Entry(Kind.FLAPPING, alert(flapping=True, changes=6)),
            "[FLAPPING] apache-minimum apache · 6 changes, 1 of 3 up, needs 2 · critical",
        ),
        (
            Entry(Kind.SETTLED, alert()),
            "[SETTLED] apache-minimum apache · now firing, 1 of 3 up, needs 2 · critical",
        ),
        (
            Entry(Kind.SETTLED, over()),
            "[SETTLED] apache-minimum apache · now resolved, 3 of 3 up, needs 2 · critical",
        ),
        (
            Entry(Kind.SETTLED, alert(state=AlertState.PENDING)),
            "[SETTLED] apache-minimum apache · not firing, 1 of 3 up, needs 2 · critical",
        ),
        (
            Entry(Kind.FIRING, lost_alert("172.31.14.97")),
            "[FIRING] instance-lost apache/172.31.14.97 · expired: lost contact, its lease ended · warning",
        ),
        (
            Entry(Kind.FIRING, lost_alert("172.31.14.98", cause=Cause.FAILING)),
            "[FIRING] instance-lost apache/172.31.14.98 · failing: HTTP 503 · warning",
        ),
        (
            Entry(Kind.FORGOTTEN, lost_alert("172.31.14.97", state=AlertState.INACTIVE, until=at(9))),
            "[FORGOTTEN] instance-lost apache/172.31.14.97 · expired: lost contact, its lease ended · warning",
        ),
        (
            Entry(Kind.FIRING, alert(per={"zone": "eu"}, up=0)),
            "[FIRING] apache-minimum apache (zone=eu) · 0 of 3 up, needs 2 · critical",
        ),
        (
            Entry(Kind.FIRING, alert(minimum=None, maximum=2, up=3)),
            "[FIRING] apache-minimum apache · 3 of 3 up, at most 2 · critical",
        ),
        (
            Entry(Kind.FIRING, alert(minimum=None, maximum=1, values=("1.2", "1.10"))),
            "[FIRING] apache-minimum apache · 2 different: 1.2, 1.10, at most 1 · critical",
        ),
        (
            Entry(Kind.FIRING, lost_alert("172.31.14.99", cause=None, values=("4.2",))),
            "[FIRING] instance-lost apache/172.31.14.99 · 4.2 · warning",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind_of_alert_has_its_fact_in_the_title(entry: Entry, title: str) -> None:
    """A count, a cause, values or how a flap ended: what a person wants to know before opening the message."""
    assert render.title(notification(entry), Settings()) == title


def test_several_alerts_are_counted_and_both_sorts_named() -> None:
    """The severity is that of the worst that still fires."""
    firing = [Entry(Kind.FIRING, lost_alert(name)) for name in ("172.31.14.97", "172.31.14.98")]
    assert render.title(notification(*firing), PROD) == (
        "[FIRING:2] instance-lost apache · 1 of 3 up · warning · prod-fra"
    )
    both = notification(*firing, Entry(Kind.RESOLVED, over()))
    assert render.title(both, PROD) == (
        "[FIRING:2 RESOLVED:1] instance-lost, apache-minimum apache · 1 of 3 up · warning · prod-fra"
    )


def test_names_cannot_break_the_title() -> None:
    """A service's name with line breaks, of any length, stays within one line."""
    title = render.title(told(Kind.FIRING, service="a\n[RESOLVED] b" + "x" * 5000), PROD)
    assert "\n" not in title
    assert "a\\n[RESOLVED] b" in title
    assert len(title) <= render.TITLE_ROOM


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "tone"),
    [(Severity.CRITICAL, Tone.FAILURE), (Severity.WARNING, Tone.WARNING), (Severity.INFO, Tone.INFO)],
)
def test_the_type_follows_the_severity(severity: Severity, tone: Tone) -> None:
    """Firing and flapping alike."""
    rule = replace(RULE, severity=severity)
    assert render.tone(told(Kind.FIRING, rule=rule)) is tone
    assert render.tone(told(Kind.FLAPPING, rule=rule)) is tone


def test_success_is_only_when_nothing_in_the_group_fires_any_more() -> None:
    """A resolve among others that still fire is no success, nor is a settled alert that fires."""
    assert render.tone(resolved()) is Tone.SUCCESS
    assert render.tone(resolved(still_firing=1)) is Tone.FAILURE
    assert render.tone(notification(Entry(Kind.SETTLED, over()), still_firing=0)) is Tone.SUCCESS
    assert render.tone(notification(Entry(Kind.SETTLED, alert()), still_firing=1)) is Tone.FAILURE


def test_what_was_forgotten_is_never_a_success() -> None:
    """Nor when something else resolved in the same message."""
    gone = Entry(Kind.FORGOTTEN, over())
    assert render.tone(notification(gone, still_firing=0)) is Tone.INFO
    assert render.tone(notification(Entry(Kind.RESOLVED, over()), gone, still_firing=0)) is Tone.INFO


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_the_body_of_the_contract() -> None:
    """Since when, what tipped it, a line an instance, what to type, where the rule stands, and last the id."""
    assert render.body(notification(), PROD).splitlines() == [
        "since 04:12:41 CEST",
        "cause expired: lost contact, its lease ended",
        "DOWN 172.31.14.97 core01  expired: lost contact, its lease ended 04:12:11",
        "DOWN 172.31.14.98 core02  failing: HTTP 503",
        "UP   172.31.14.99 core03",
        "alertd ack 9abc · alertd silence add 9abc --for 1h",
        "rules/web.yaml:12 @4f2c9e1",
        "id 9abc",
    ]


def test_a_resolve_has_both_times_and_what_came_back() -> None:
    """Also what fired and ended before it could be told."""
    back = ServiceFacts("apache", 1, 1, None, (up("a", cause=Cause.RECOVERED, since=at(199)),))
    assert render.body(resolved(services={"apache": back}), PROD).splitlines()[:3] == [
        "from 04:12:41 to 04:16:01 CEST, 3m 20s",
        "cause recovered: back",
        "UP   a  recovered: back 04:16:00",
    ]


def test_the_rules_own_words_come_first() -> None:
    """Summary, then description, both rendered."""
    rule = replace(
        RULE,
        summary="{{ service }}: {{ up }} of {{ minimum }} ({{ team }})",
        description="lost: {{ lost | join(', ') }}",
    )
    assert render.body(told(Kind.FIRING, rule=rule), PROD).splitlines()[:3] == [
        "apache: 1 of 2 (web)",
        "lost: 172.31.14.97, 172.31.14.98",
        "since 04:12:41 CEST",
    ]


def test_a_template_that_fails_at_run_time_loses_no_message() -> None:
    """The default text stands in, and says what is wrong."""
    rule = replace(RULE, summary="{{ nonsense }}")
    first = render.body(told(Kind.FIRING, rule=rule), PROD).splitlines()[0]
    assert first == ("apache-minimum apache: 1 of 3 up, needs 2 (template does not render: 'nonsense' is undefined)")


def test_a_template_sees_builtins_before_labels_before_fields() -> None:
    """One namespace: the same name further up wins; dotted paths reach inside a value."""
    fields = read(b'{"service": "f", "team": "f", "host": "core01", "load": {"one": 4.20}}').fields
    facts = ServiceFacts("apache", 0, 1, 3, (lost("a", fields=fields),))
    rule = replace(
        LOST, summary="{{service}} {{team}} {{host}} {{load.one}} {{cause}} {{instance}} {{expected}} {{rule}}"
    )
    one = notification(Entry(Kind.FIRING, lost_alert("a", rule=rule)), services={"apache": facts})
    assert render.body(one, PROD).splitlines()[0] == "apache web core01 4.20 expired a 3 instance-lost"


def test_values_cannot_forge_lines_through_a_template() -> None:
    """The author's line breaks stay; those within a value are shown."""
    facts = ServiceFacts("apache", 0, 1, None, (lost("a", fields={"note": "x\nid forged", "in": {"k\n": ["y\nz"]}}),))
    rule = replace(LOST, summary="one {{ note }}\ntwo {{ lost | join('\n') }}")
    one = notification(Entry(Kind.FIRING, lost_alert("a", rule=rule)), services={"apache": facts})
    assert render.body(one, PROD).splitlines()[:3] == ["one x\\nid forged", "two a", "since 04:12:41 CEST"]


def test_links_appear_where_they_lead_somewhere() -> None:
    """The runbook if the rule has one; the page only if its address is set."""
    rule = replace(RULE, runbook="https://wiki/apache")
    assert "Runbook https://wiki/apache\n" in render.body(told(Kind.FIRING, rule=rule), PROD)
    paged = PROD.model_copy(update={"url": "https://alertd.example/"})
    assert "Runbook https://wiki/apache   Open https://alertd.example/alerts/7f3a\n" in render.body(
        told(Kind.FIRING, rule=rule), paged
    )
    assert "Open" not in render.body(notification(), PROD)


def test_several_alerts_have_a_line_each_and_no_instance_two() -> None:
    """What fires, then what ended and how long it fired; then the rest of the service."""
    gone = lost_alert("172.31.14.99", state=AlertState.INACTIVE, until=at(60), cause=Cause.RECOVERED)
    back = replace(APACHE, instances=(*APACHE.instances[:2], up("172.31.14.99", "core03", since=at(60))))
    both = notification(
        Entry(Kind.RESOLVED, gone), Entry(Kind.FIRING, lost_alert("172.31.14.97")), services={"apache": back}
    )
    firing, ended, *rest = render.body(both, PROD).splitlines()
    assert firing == "DOWN 172.31.14.97 core01  expired: lost contact, its lease ended 04:12:11"
    assert ended == "UP   172.31.14.99 core03  found: found up 04:13:41, fired from 04:12:41 for 1m"
    assert rest[0] == "DOWN 172.31.14.98 core02  failing: HTTP 503"
    assert rest[-2:] == ["rules/web.yaml:20 @4f2c9e1", "id 9abc"]


def test_a_long_list_is_cut_to_what_the_target_takes() -> None:
    """2,000 instances in 2,000 characters: the lost first, then "and N more", then the id."""
    many = ServiceFacts(
        "apache", 1990, 2000, None, tuple(lost(f"10.0.0.{n}") for n in range(10)) + APACHE.instances[2:]
    )
    body = render.body(notification(services={"apache": many}), PROD, limit=2000)
    assert len(body) <= 2000
    assert body.count("DOWN 10.0.0.") == 10
    assert "\nand 1989 more\n" in body
    assert body.endswith("\nid 9abc")


def test_a_late_message_says_so() -> None:
    """Only if decision and delivery lie more than a minute apart."""
    assert render.body(notification(), PROD, delivered=at(5280).wall).startswith("decided 04:12, delivered 05:40\n")
    assert "decided" not in render.body(notification(), PROD, delivered=at(50).wall)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (Entry(Kind.FLAPPING, alert(flapping=True)), "flapping: nothing more is told until it settles"),
        (Entry(Kind.SETTLED, alert(changes=20)), "settled: now firing, after 20 changes"),
        (Entry(Kind.SETTLED, over()), "settled: now resolved"),
    ],
)
def test_flapping_and_settled_say_what_follows(entry: Entry, line: str) -> None:
    """One message at the start of the silence and one at its end."""
    assert line in render.body(notification(entry), PROD).splitlines()


# --- templates of settings and channels ------------------------------------------------------------------------------


def test_own_templates_replace_title_and_body_but_never_the_id() -> None:
    """Those of the channel win over those of the settings."""
    settings = PROD.model_copy(
        update={"templates": Templates(title="S {{ rule }}", body="{{ alerts | length }} {{ kind }}")}
    )
    assert render.title(notification(), settings) == "S apache-minimum"
    assert render.title(notification(), settings, Templates(title="C {{ service }}\n\n x")) == "C apache x"
    assert render.body(notification(), settings) == "1 firing\nid 9abc"


def test_a_faulty_title_template_leaves_the_usual_title() -> None:
    """With a note of what is wrong."""
    title = render.title(notification(), PROD, Templates(title="{{ nope }}"))
    assert title.startswith("[FIRING] apache-minimum apache · 1 of 3 up")
    assert "'nope' is undefined" in title


def test_an_alert_without_facts_still_makes_a_message() -> None:
    """A service that is no longer known, a rule without a cause: nothing is required."""
    bare = notification(Entry(Kind.FIRING, alert(cause=None, since=None, rule=RuleText("r", Severity.INFO, "a:1"))))
    bare = replace(bare, services={})
    assert render.title(bare, Settings()) == "[FIRING] r apache · 1 of 3 up, needs 2 · info"
    assert render.body(bare, Settings()).splitlines()[1:] == ["a:1", "id 9abc"]
