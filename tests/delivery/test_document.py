"""Alertmanager's webhook document, field by field as its own types decode it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from alertd.config.schema import Templates
from alertd.delivery.document import MOST, NOT_YET, document, document_of_letter
from alertd.delivery.letter import Letter, Tone
from alertd.model import AlertState, Cause, Entry, Kind, Notification
from tests.delivery.examples import APACHE, PROD, RULE, alert, at, lost_alert, notification, over, resolved

PAGED = PROD.model_copy(update={"url": "https://alertd.example/"})
NO_TEMPLATES = Templates()
LABELS = {"rule": "instance-lost", "service": "apache"}

MESSAGE = {
    "receiver": str,
    "status": str,
    "alerts": list,
    "groupLabels": dict,
    "commonLabels": dict,
    "commonAnnotations": dict,
    "externalURL": str,
    "version": str,
    "groupKey": str,
    "truncatedAlerts": int,
}
ALERT = {
    "status": str,
    "labels": dict,
    "annotations": dict,
    "startsAt": str,
    "endsAt": str,
    "generatorURL": str,
    "fingerprint": str,
}
"""The fields of `webhook.Message` and of `template.Alert`, and what JSON has for their types."""


def of(told: Notification, templates: Templates = NO_TEMPLATES) -> dict[str, Any]:
    """Return the document as a receiver decodes it, checked against the types."""
    received: dict[str, Any] = json.loads(json.dumps(document(told, PAGED, templates)))
    assert_is_alertmanagers(received)
    return received


def assert_is_alertmanagers(received: dict[str, Any]) -> None:
    """Fail unless every field is there, none is added, each has its type, and all maps are of texts."""
    assert {name: type(value) for name, value in received.items()} == MESSAGE
    assert received["version"] == "4"
    maps = [received[name] for name in ("groupLabels", "commonLabels", "commonAnnotations")]
    for each in received["alerts"]:
        assert {name: type(value) for name, value in each.items()} == ALERT
        assert each["status"] in {"firing", "resolved"}
        assert datetime.fromisoformat(each["startsAt"]).tzinfo is not None
        assert (each["endsAt"] == NOT_YET) is (each["status"] == "firing")
        maps += [each["labels"], each["annotations"]]
    assert all(isinstance(text, str) for each in maps for pair in each.items() for text in pair)
    is_firing = any(each["status"] == "firing" for each in received["alerts"])
    assert received["status"] == ("firing" if is_firing else "resolved")


def test_a_firing_alert_as_alertmanager_would_send_it() -> None:
    """Rule and target as labels, the texts as annotations, no end yet."""
    rule = replace(RULE, summary="{{ service }}: {{ up }} up", description="Look.", runbook="https://wiki/apache")
    told = notification(
        Entry(Kind.FIRING, alert(rule=rule)), labels={"rule": "apache-minimum", "service": "apache"}, channel="hook"
    )
    labels = {
        "alertname": "apache-minimum",
        "service": "apache",
        "severity": "critical",
        "cause": "expired",
        "team": "web",
    }
    annotations = {
        "summary": "apache: 1 up",
        "description": "Look.",
        "runbook_url": "https://wiki/apache",
        "reason": "1 of 3 up, needs 2",
    }
    received = of(told)
    key = received.pop("groupKey")
    assert received == {
        "receiver": "hook",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": annotations,
                "startsAt": "2026-10-01T02:12:41.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "https://alertd.example/alerts/7f3a",
                "fingerprint": "7f3a",
            }
        ],
        "groupLabels": {"alertname": "apache-minimum", "service": "apache"},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "https://alertd.example/",
        "version": "4",
        "truncatedAlerts": 0,
    }
    assert key.endswith(':{alertname="apache-minimum", service="apache"}')


def test_a_resolved_alert_has_both_times() -> None:
    """Its fingerprint is the one that it fired with, its group's key too."""
    first, last = of(notification()), of(resolved())
    (alert_,) = last["alerts"]
    assert (alert_["startsAt"], alert_["endsAt"]) == ("2026-10-01T02:12:41.000Z", "2026-10-01T02:16:01.000Z")
    assert alert_["fingerprint"] == first["alerts"][0]["fingerprint"]
    assert last["groupKey"] == first["groupKey"]
    assert last["status"] == "resolved"
    assert last["commonAnnotations"]["reason"] == "3 of 3 up, needs 2"


def test_the_document_is_of_the_whole_group() -> None:
    """What is told, and what stands beside it; what fires comes first, and one that fires makes the group fire."""
    gone = lost_alert("a", state=AlertState.INACTIVE, until=at(60))
    told = notification(
        Entry(Kind.RESOLVED, gone), standing=(lost_alert("b"), lost_alert("c")), labels=LABELS, still_firing=2
    )
    received = of(told)
    assert [(each["labels"]["instance"], each["status"]) for each in received["alerts"]] == [
        ("b", "firing"),
        ("c", "firing"),
        ("a", "resolved"),
    ]
    assert received["status"] == "firing"
    assert "instance" not in received["commonLabels"]
    assert received["commonLabels"]["alertname"] == "instance-lost"


@pytest.mark.parametrize(
    ("entry", "status", "reason"),
    [
        (Entry(Kind.REMINDER, alert()), "firing", "1 of 3 up, needs 2"),
        (Entry(Kind.ESCALATED, alert()), "firing", "1 of 3 up, needs 2"),
        (Entry(Kind.SETTLED, alert()), "firing", "now firing, 1 of 3 up, needs 2; settled: now firing"),
        (Entry(Kind.SETTLED, over()), "resolved", "now resolved, 3 of 3 up, needs 2; settled: now resolved"),
        (
            Entry(Kind.FLAPPING, alert(flapping=True)),
            "firing",
            "1 of 3 up, needs 2; flapping: nothing more is told until it settles",
        ),
        (
            Entry(Kind.FORGOTTEN, over()),
            "resolved",
            "3 of 3 up, needs 2; forgotten: it counts no more, unless it returns",
        ),
    ],
)
def test_kinds_that_alertmanager_does_not_know_are_said_in_words(entry: Entry, status: str, reason: str) -> None:
    """There are two words for the status, so the rest is in the annotation `reason`."""
    received = of(notification(entry, still_firing=int(status == "firing")))
    assert (received["status"], received["alerts"][0]["annotations"]["reason"]) == (status, reason)


def test_labels_of_the_rules_never_hide_the_built_in_ones() -> None:
    """A label named `service` would else send an alert elsewhere; what `per` chose is a label too."""
    labels = {"service": "x", "alertname": "x", "severity": "x", "team": "web"}
    received = of(notification(Entry(Kind.FIRING, alert(labels=labels, per={"zone": "eu"}))))
    assert received["commonLabels"] == {
        "alertname": "apache-minimum",
        "service": "apache",
        "severity": "critical",
        "cause": "expired",
        "team": "web",
        "zone": "eu",
    }


def test_the_channels_own_templates_are_its_summary_and_description() -> None:
    """Rendered for each alert; a faulty one leaves what the rule says."""
    told = notification(*(Entry(Kind.FIRING, lost_alert(name)) for name in "ab"), labels=LABELS)
    received = of(told, Templates(title="{{ instance }} is {{ kind }}", body="{{ alerts | length }} {{ nope }}"))
    assert [each["annotations"]["summary"] for each in received["alerts"]] == ["a is firing", "b is firing"]
    assert received["commonAnnotations"]["description"] == "(template does not render: 'nope' is undefined)"


def test_two_routes_groups_of_the_same_labels_have_two_keys() -> None:
    """A receiver that keeps groups apart by key would else close one with the other's resolve."""
    assert of(notification(key="1", labels=LABELS))["groupKey"] != of(notification(key="2", labels=LABELS))["groupKey"]


def test_a_digest_is_a_document_of_all_its_alerts() -> None:
    """Of many groups, so that no label is the group's."""
    entries = [Entry(Kind.FIRING, alert(service=name, id=name)) for name in ("apache", "pay")]
    received = of(notification(*entries, kind=Kind.DIGEST, group="digest", services={"apache": APACHE}))
    assert received["groupLabels"] == {}
    assert [each["fingerprint"] for each in received["alerts"]] == ["apache", "pay"]


def test_a_group_of_any_size_has_an_end() -> None:
    """Those beyond are counted; what fires is kept."""
    entries = [Entry(Kind.RESOLVED, over(id=str(number))) for number in range(MOST + 5)]
    received = of(notification(*entries, Entry(Kind.FIRING, alert()), services={}))
    assert (len(received["alerts"]), received["truncatedAlerts"]) == (MOST, 6)
    assert received["alerts"][0]["status"] == "firing"


def test_text_that_is_no_text_does_not_stop_a_document() -> None:
    """Halves of characters come out of JSON values."""
    received = of(notification(Entry(Kind.FIRING, lost_alert("a", labels={"note": "\ud800"}, cause=Cause.MISSED))))
    assert received["alerts"][0]["labels"]["note"] == "\ud800"


def test_a_letter_about_no_alert_is_one_alert_of_its_name() -> None:
    """A heartbeat or a report, for receivers that know nothing else."""
    letter = Letter("beat-1", "watchdog", Tone.INFO, lambda _: "alertd is alive")
    received = json.loads(json.dumps(document_of_letter(letter, "hook", at(0).wall)))
    assert_is_alertmanagers(received)
    assert received["commonLabels"] == {"alertname": "watchdog", "severity": "info"}
    assert received["commonAnnotations"] == {"summary": "watchdog", "description": "alertd is alive"}
