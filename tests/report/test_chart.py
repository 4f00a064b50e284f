"""The chart of a report: valid XML that shows what happened where."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from alertd.model import Instant
from alertd.report import chart
from alertd.report.summary import Edition, Origin, Summary
from tests.report.books import WEEK, Books, edition

SVG = "{http://www.w3.org/2000/svg}"
LEFT, RIGHT = 210.0, 670.0
DOWN, UP, FIRED = "#d9532c", "#5b8fc9", "#b8862f"
LEGEND_TOP = 30
"""Pixels from the bottom within which the legend lies."""


def parsed(report: Edition) -> ET.Element:
    """Return the chart, read by a parser of XML."""
    return ET.fromstring(chart.draw(report).encode())  # noqa: S314 - ours


def boxes(report: Edition, colour: str) -> list[tuple[float, float]]:
    """Return the left and right ends of the boxes of one colour, but for the legend's."""
    root = parsed(report)
    bottom = float(root.attrib["height"]) - LEGEND_TOP
    found = [each for each in root.iter(f"{SVG}rect") if each.attrib["fill"] == colour]
    spans = [each for each in found if float(each.attrib["y"]) + float(each.attrib["height"]) < bottom]
    return [(float(each.attrib["x"]), float(each.attrib["x"]) + float(each.attrib["width"])) for each in spans]


def texts(report: Edition) -> list[str]:
    """Return all texts, in order."""
    return [each.text or "" for each in parsed(report).iter(f"{SVG}text")]


def share(part: float) -> float:
    """Return where on the time axis a share of the period is, in pixels."""
    return LEFT + part * (RIGHT - LEFT)


def test_outages_lie_where_they_were_in_time() -> None:
    """A day's outage in the middle of the week is a seventh of the axis, in its middle."""
    books = Books().up("pay", "a").down("pay", "a", hour=72).up("pay", "a", hour=96)
    ((left, right),) = boxes(edition(books.close()), DOWN)
    assert left == pytest.approx(share(72 / WEEK), abs=0.2)
    assert right == pytest.approx(share(96 / WEEK), abs=0.2)


def test_a_second_can_still_be_seen() -> None:
    """Also the last one of the week, and within the axis."""
    books = Books().up("pay", "a").down("pay", "a", hour=WEEK - 1 / 3600)
    ((left, right),) = boxes(edition(books.close()), DOWN)
    assert right - left >= 1.4
    assert right <= RIGHT


def test_a_service_has_no_strip_where_it_was_not_known() -> None:
    """It came on the fourth day."""
    ((left, right),) = boxes(edition(Books().up("pay", "a", hour=84).close()), UP)
    assert left == pytest.approx(share(0.5), abs=0.2)
    assert right == RIGHT


def test_incidents_stand_where_they_fell() -> None:
    """The highest bar is where most were."""
    books = Books().up("pay", "a").fire(hour=12)
    for number in range(3):
        books.fire(hour=120 + number / 100, alert_id=f"b{number}")
    root = parsed(edition(books.close()))
    bars = [each.attrib for each in root.iter(f"{SVG}rect") if each.attrib["fill"] == FIRED]
    heights = [float(bar["height"]) for bar in bars]
    assert len(bars) == 2
    assert heights[1] == pytest.approx(3 * heights[0], rel=0.05)
    assert float(bars[0]["x"]) == pytest.approx(share(12 / WEEK), abs=6)
    assert float(bars[1]["x"]) == pytest.approx(share(120 / WEEK), abs=6)
    assert {"4 in all", "most: 3"} <= {each.text for each in root.iter(f"{SVG}text")}


def test_awkward_names_are_shown_and_nothing_else() -> None:
    """Markup, control characters, what XML has no characters for, emoji."""
    names = ["<script>alert(1)</script>", "&amp;\"quoted'", "nul\x00 bell\x07", "half\ud800 \uffff", "支付 🚨", "]]>"]
    books = Books()
    for name in names:
        books.up(name, "a")
    report = edition(books.close(), name="<weekly> & \x00", place="<prod>")
    found = texts(report)
    for shown in (
        "<script>alert(1)</script>",
        "&amp;\"quoted'",
        "nul\\x00 bell\\x07",
        "half\\ud800 \\uffff",
        "支付 🚨",
        "]]>",
    ):
        assert shown in found
    assert {each.tag.removeprefix(SVG) for each in parsed(report).iter()} <= {"svg", "title", "text", "rect", "line"}


def test_it_stands_by_itself() -> None:
    """No scripts, no styles, nothing loaded, no ground of its own: fit for dark and light."""
    svg = chart.draw(edition(Books().up("pay", "a").close()))
    assert not any(word in svg for word in ("script", "<style", "href", "url(", "@import", "background"))
    assert svg.count("http") == 1, "the namespace alone"


def test_services_beyond_what_can_be_drawn_are_counted() -> None:
    """The worst are drawn."""
    books = Books()
    for number in range(50):
        books.up(f"s{number:02}", "a")
    books.down("s49", "a", hour=1)
    found = texts(edition(books.close()))
    assert "s49" in found
    assert "and 20 services more, which had fewer outages" in found


def test_many_pieces_stay_small() -> None:
    """Thirty services with as many outages as are kept are a file for a mail."""
    books = Books()
    for number in range(30):
        name = f"s{number}"
        books.up(name, "a")
        for hour in range(80):
            books.down(name, "a", hour=hour).up(name, "a", hour=hour + 0.5)
    assert len(chart.draw(edition(books.close()))) < 200_000


@pytest.mark.parametrize(
    ("began", "seconds", "zone", "expected"),
    [
        (datetime(2026, 10, 5, 6, tzinfo=UTC), 86400 * 3, "Europe/Berlin", ["Tue 06", "Wed 07", "Thu 08"]),
        (datetime(2026, 10, 24, 6, tzinfo=UTC), 86400 * 3, "Europe/Berlin", ["Sun 25", "Mon 26", "Tue 27"]),
        (datetime(2026, 10, 5, 6, 10, tzinfo=UTC), 3600 * 3, "Asia/Kolkata", ["12:00", "13:00", "14:00"]),
        (datetime(2026, 10, 5, 6, 0, 1, tzinfo=UTC), 3, "UTC", ["06:00:01", "06:00:02", "06:00:03", "06:00:04"]),
        (datetime(2026, 10, 5, 21, tzinfo=UTC), 3600 * 6, "UTC", ["21:00", "22:00", "23:00", "Tue 06", "01:00"]),
        (datetime(2026, 1, 31, tzinfo=UTC), 86400 * 28, "UTC", ["Sat 31", "Sat 07", "Sat 14", "Sat 21", "Sat 28"]),
    ],
)
def test_time_is_marked_at_round_moments_of_the_time_zone(
    began: datetime, seconds: float, zone: str, expected: list[str]
) -> None:
    """Midnights are midnights, also where the night is an hour longer."""
    ended = Instant(1000.0 + seconds, began.fromtimestamp(began.timestamp() + seconds, UTC))
    summary = Summary(Origin.LAST, Instant(1000.0, began), ended)
    assert [each for each in texts(edition(summary, zone=zone)) if each in expected] == expected


def test_an_empty_period_can_be_drawn() -> None:
    """Of no length, with nothing in it."""
    assert "incidents" in texts(edition(Books().close(0)))
