"""Requests as alertd sends them are read as what they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.reading import FIRING, JSON, RESOLVED, WEBHOOK, News, Unreadable, read
from tests.faults.truth import Alert

FIRED = {
    "title": "[FIRING] down web/a · expired: lost contact, its lease ended · warning",
    "message": "since 03:08:53 UTC\nDOWN a  expired: lost contact\nrules.yaml:3 @0541287\nid e059ad528cba",
    "at": 1.0,
}
ENDED = {
    "title": "[RESOLVED] few web · 2 of 3 up, needs 2 · warning",
    "message": "from 03:08:53 to 03:08:54 UTC, 0.3s\nUP   a  recovered\nid 2e27c49a703c\n",
    "at": 2.0,
}
BOTH = {
    "title": "[FIRING:1 RESOLVED:1] down web · 2 of 3 up · warning",
    "message": "ALERT firing down web/a from 03:08 to .\nALERT resolved down web/b from 03:08 to 03:09.\nid 77",
    "at": 3.0,
}


def document(
    *alerts: tuple[str, str], labels: tuple[str, ...] = ("alertname", "service", "instance")
) -> dict[str, Any]:
    """Return a webhook's request about alerts of web, given as status and instance."""
    return {
        "at": 4.0,
        "headers": {"x-alertd-notification": "4f"},
        "groupKey": "key",
        "groupLabels": dict.fromkeys(labels, "x"),
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "down", "service": "web", "instance": instance},
                "startsAt": "2026-11-25T03:08:53.778Z",
                "endsAt": "0001-01-01T00:00:00Z" if status == FIRING else "2026-11-25T03:08:54.079Z",
            }
            for status, instance in alerts
        ],
    }


def test_a_firing() -> None:
    """Kind, rule and target stand in the title, the id in the last line."""
    message = read(JSON, FIRED)
    assert (message.id, message.news) == ("e059ad528cba", (News(Alert("down", "web/a"), FIRING, has_both_times=False),))


def test_the_end_of_a_service_alert() -> None:
    """It says both times."""
    message = read(JSON, ENDED)
    assert (message.id, message.news) == ("2e27c49a703c", (News(Alert("few", "web"), RESOLVED, has_both_times=True),))


def test_several_alerts_in_one_text() -> None:
    """The suite's own template has a line for each."""
    assert read(JSON, BOTH, has_groups=True).news == (
        News(Alert("down", "web/a"), FIRING, has_both_times=False),
        News(Alert("down", "web/b"), RESOLVED, has_both_times=True),
    )


def test_a_document_of_one_alert_is_news() -> None:
    """Its group is the alert."""
    message = read(WEBHOOK, document((FIRING, "a")))
    assert (message.id, message.is_picture) == ("4f", False)
    assert message.news == (News(Alert("down", "web/a"), FIRING, has_both_times=False),)


@pytest.mark.parametrize(("labels", "has_groups"), [(("alertname", "service"), True), ((), False)])
def test_a_document_of_a_group_is_a_picture(labels: tuple[str, ...], *, has_groups: bool) -> None:
    """So is the digest of a storm, whose group has no rule."""
    message = read(WEBHOOK, document((FIRING, "a"), (RESOLVED, "b"), labels=labels), has_groups=has_groups)
    assert message.is_picture
    assert [news.kind for news in message.news] == [FIRING, RESOLVED]


@pytest.mark.parametrize("request_", [{}, {"title": "hello", "message": "", "at": 1.0}, {"raw": b"\xff"}])
@pytest.mark.parametrize("channel", [JSON, WEBHOOK])
def test_what_is_no_message_is_said(channel: str, request_: dict[str, Any]) -> None:
    """It counts as wrong, whatever it is."""
    with pytest.raises(Unreadable):
        read(channel, request_)
