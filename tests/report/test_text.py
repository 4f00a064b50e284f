"""What people read of a report."""

from __future__ import annotations

from unicodedata import east_asian_width

import pytest

from alertd.delivery.lane import LaneStatus
from alertd.model import Ack, Mute, Reason
from alertd.report import text
from alertd.report.summary import Edition
from tests.report.books import MONDAY, WEEK, Books, alert, at, edition

LINES = """\
since alertd started:
from Mon 2026-10-05 08:00 to Mon 2026-10-12 08:00 CEST, 7d

Services
pay  97.02 % · fewer than 2 up for 5h, 2 times, longest 4h · 1 incident
apache  99.85 % · down for 15m, still
mail  100 % · flapped once
up all the time: auth, db

Firing now
lost pay · critical · since Mon 09:00 · acknowledged by kim

Noisiest rules
lost  2 notifications
few  1 notification

Messages
mail · 1 failed (mail #1 json: HTTP 500)
ops · 2 sent

id 9abc"""


def a_week() -> Books:
    """Return a week in which something of each sort happened."""
    books = Books(pay=2)
    books.up("pay", "a", "b").up("apache", "a").up("mail", "a").up("db", "a").up("auth", "a")
    books.down("pay", "a", hour=1).up("pay", "a", hour=5).down("pay", "b", hour=30).up("pay", "b", hour=31)
    books.fire(hour=1).decide(Reason.FLAPPING_BEGAN, "mail", hour=3)
    books.down("apache", "a", hour=WEEK - 0.25)
    return books.tell("lost").tell("lost", "few").deliver("ops").deliver("ops").deliver("mail", "HTTP 500")


def stuck(channel: str) -> LaneStatus:
    """Return a target that has taken nothing since the Monday morning."""
    return LaneStatus(channel, f"{channel} #1 json", "json", 3, 0, 0, 0, "connection refused", MONDAY)


def test_the_worst_comes_first_and_what_went_well_in_few_words() -> None:
    """The whole of it, as it is read."""
    ack = Ack("a1", "kim", "", MONDAY, MONDAY)
    report = edition(a_week().close(), firing=(alert(acknowledged=ack),))
    assert text.body(report, "9abc") == LINES
    assert text.title(report) == "[REPORT] weekly · 2 of 5 services had outages · 1 incident · prod-fra"


def test_a_week_in_which_nothing_happened() -> None:
    """It says so; there are no empty headings."""
    report = edition(Books().up("pay", "a").close(), place="")
    assert text.title(report) == "[REPORT] weekly · 1 service, no outages · no incidents"
    body = text.body(report, "9abc")
    assert "up all the time: pay" in body
    assert "nothing fires now" in body
    assert not any(heading in body for heading in ("Services", "Firing now", "Noisiest", "Messages"))


def test_what_is_true_at_the_end_is_told() -> None:
    """A target that is stuck, also one that got nothing; alerts that are muted or flap; a watch that is stale."""
    firing = (alert(muted=Mute(Reason.SILENCED, "ab12")), alert("few", flapping=True))
    books = a_week()
    body = text.body(
        edition(books.close(), firing=firing, stuck=(stuck("boss"),), trouble="the watch is stale"), "9abc"
    )
    assert "boss · stuck since Mon 08:00 with 3 waiting (connection refused)" in body
    assert "lost pay · critical · since Mon 09:00 · silence:ab12" in body
    assert "few pay · critical · since Mon 09:00 · flapping" in body
    assert "what is told may be out of date: the watch is stale" in body


def test_a_service_that_is_younger_than_the_report_says_so() -> None:
    """Its share is that of the time in which it was known."""
    body = text.body(edition(Books().up("pay", "a", hour=144).down("pay", "a", hour=156).close()), "9abc")
    assert "pay  50.00 % · down for 12h, still · known for 1d" in body


@pytest.mark.parametrize(
    ("down", "expected"), [(0.0, "100 %"), (0.0001, "99.99 %"), (1.68, "99.00 %"), (167.999, "0.00 %"), (168.0, "0 %")]
)
def test_a_percentage_never_rounds_an_outage_away(down: float, expected: str) -> None:
    """All the time is all the time, and never is never."""
    books = Books().up("pay", "a")
    if down:
        books.down("pay", "a", hour=0.0).up("pay", "a", hour=down)
    assert text.percent(books.record()) == expected


def crowd(number: int) -> Edition:
    """Return a report of many services with long names, half of them in full-width letters, each with a story."""
    books = Books()
    alerts = []
    for index in range(number):
        name = f"{'支付服务' * 12 if index % 2 else 'a-service-of-the-third-department-'}{index:03}"
        books.up(name, "a").up(f"calm {name}", "a")
        books.down(name, "a", hour=index).up(name, "a", hour=index + 1).fire(name, hour=index, alert_id=name)
        books.tell(f"rule-{name}").deliver(name, "an error that goes on and on and never comes to its point " * 3)
        alerts.append(alert(f"rule-{name}", f"{name}/{name}"))
    return edition(books.close(), firing=tuple(alerts), stuck=(stuck("支付" * 60),))


def test_no_line_is_wider_than_80_columns() -> None:
    """Whatever names, errors and languages come together."""
    for line in text.body(crowd(40), "9abc").splitlines():
        assert sum(2 if east_asian_width(each) in "WF" else 1 for each in line) <= 80, line


def test_long_lists_are_cut_and_say_so() -> None:
    """A report is read, not searched."""
    body = text.body(crowd(40), "9abc")
    assert "and 25 more services" in body
    assert "and 25 more alerts" in body
    assert "25 more" in body.partition("up all the time")[2]
    assert len(body.splitlines()) < 120


@pytest.mark.parametrize("limit", [4000, 2000, 1024, 500, 160, 40, 7])
def test_a_short_report_keeps_what_matters(limit: int) -> None:
    """It has the room that the target gives, begins with the period, and ends with the id."""
    body = text.body(crowd(40), "9abc", limit)
    assert len(body) <= limit
    assert body.splitlines()[-1] == "id 9abc"
    if limit >= 160:
        assert "from Mon 2026-10-05 08:00" in body


def test_foreign_names_forge_no_lines() -> None:
    """A line break in a name is shown, not made."""
    name = "evil\nid 0000\u2028\x00"
    body = text.body(edition(Books().up(name, "a").down(name, "a", hour=1).close()), "9abc")
    assert "id 0000" not in body.splitlines()
    assert "evil\\nid 0000\\u2028\\x00" in body


def test_a_short_period_shows_seconds() -> None:
    """So that a report every minute is told from the last."""
    summary = Books().close(1 / 60)
    assert text.period_line(summary, "UTC") == "from Mon 2026-10-05 06:00:00 to Mon 2026-10-05 06:01:00 UTC, 1m"
    assert at(0) == summary.began
