"""What `status` and `alerts` make of the keys: what counts as a change, what is shown first, and how it is cut."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from alertd import document
from alertd.cli.picture import Picture, Scope
from alertd.cli.sketch import Sketch, alert_lines, sketch, standing

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SINCE = "2026-11-24T11:59:00.000Z"


def picture(*alerts: dict[str, Any], service: str | None = None, leader: str = "r1") -> Picture:
    """Return a picture of alerts, and of who leads, if anybody does."""
    made = Picture(Scope("/services/", "/alertd/", service))
    if leader:
        made.put(b"/alertd/leader", document.encode({"replica": leader}), 1)
    for number, content in enumerate(alerts):
        made.put(b"/alertd/alerts/%d" % number, document.encode(content, "2026-11-24T11:55:00.000Z"), 0)
    return made


def alert(rule: str = "r", service: Any = "apache", **fields: Any) -> dict[str, Any]:
    """Return an alert that fires."""
    return {"rule": rule, "service": service, "state": "firing", "severity": "warning", "since": SINCE, **fields}


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the terminal for one of 80 columns, whoever runs the tests."""
    monkeypatch.setenv("COLUMNS", "80")


# --- what changes ----------------------------------------------------------------------------------------------------


def test_what_is_news_and_what_is_not() -> None:
    """A renewed lease, a value written again, an alert written again, and the same leader are none."""
    made = picture(alert())
    key, value = b"/services/apache/a", b'{"host": "core01"}'
    assert made.put(key, value, 1)
    assert not made.put(key, value, 2)
    assert made.rows[0].lease == 2
    assert made.put(key, b"", 2)
    assert not made.put(b"/alertd/alerts/0", document.encode(alert(), "2026-11-24T11:58:00.000Z"), 0)
    assert made.put(b"/alertd/alerts/0", document.encode(alert(state="pending")), 0)
    assert not made.put(b"/alertd/leader", document.encode({"replica": "r1", "since": "later"}), 5)
    assert made.put(b"/alertd/leader", document.encode({"replica": "r2"}), 6)
    assert not made.put(b"/alertd/outbox/1", b"{}", 0)
    assert not made.put(b"/services/noinstance", b"", 0)
    assert [made.drop(name) for name in (key, b"/alertd/alerts/0", b"/alertd/leader")] == [True] * 3
    assert [made.drop(name) for name in (key, b"/alertd/alerts/0", b"/alertd/leader")] == [False] * 3
    assert made.as_json() == {"revision": 0, "leader": None, "services": [], "alerts": [], "delivery": []}


def test_the_urgent_come_first() -> None:
    """Firing before pending, the severe before the mild, then by name; of a service named, only its own."""
    made = picture(
        alert("d", state="pending", severity="critical"),
        alert("c", severity="info"),
        alert("b", service="pay", severity="critical"),
        alert("a", severity="warning"),
        alert("z", severity="unheard-of"),
    )
    assert [each["rule"] for each in made.alerts] == ["b", "a", "c", "z", "d"]
    assert made.is_firing
    one = picture(alert("d", state="pending"), alert("b", service="pay"), service="apache")
    assert [each["rule"] for each in one.alerts] == ["d"]
    assert not one.is_firing


def test_documents_that_cannot_be_shown_are_counted() -> None:
    """Those of a newer alertd, and those that are none; junk in a document is shown as it is."""
    made = picture(alert(service=["x"], instance=5, per=7, since="?", severity={}, labels=None, summary=None))
    made.put(b"/alertd/alerts/new", b'{"format": 2}', 0)
    made.put(b"/alertd/alerts/junk\xff", b"junk", 0)
    assert len(made.alerts) == 1
    assert made.notes == [
        "alerts not shown: 1, which a newer alertd has written; update this one",
        r"alerts not understood: 1, such as /alertd/alerts/junk\xff",
    ]
    assert '["x"]/5' in "\n".join(alert_lines(made, NOW))
    json.dumps(made.as_json())


# --- how it reads ----------------------------------------------------------------------------------------------------


def test_a_short_summary_stands_beside_its_alert() -> None:
    """Without the rule and target that the row has anyhow."""
    lines = alert_lines(picture(alert("few", summary="few apache: 1 of 3 up, needs 2")), NOW)
    assert lines == [
        "STATE   SEVERITY  RULE  TARGET  SINCE UTC  SUMMARY",
        "firing  warning   few   apache  11:59:00   1 of 3 up, needs 2",
    ]


def test_long_summaries_stand_below_and_nothing_is_wider_than_the_terminal() -> None:
    """Wide letters count as two; what flaps says so; an older time has its day."""
    long = alert("支付-minimum", "支付", instance="甲", summary="一" * 60, severity="critical")
    other = alert("zone-thin", "pay", per={"zone": "eu"}, flapping=True, since="2026-11-22T04:05:06Z", summary="b")
    assert alert_lines(picture(long, other), NOW) == [
        "STATE     SEVERITY  RULE          TARGET         SINCE UTC",
        "firing    critical  支付-minimum  支付/甲        11:59:00",
        "          " + "一" * 34 + " …",
        "flapping  warning   zone-thin     pay (zone=eu)  11-22 04:05",
        "          b",
    ]
    assert max(map(cell_len, alert_lines(picture(long, other), NOW))) <= 80


def test_long_names_send_even_a_short_summary_below() -> None:
    """Beside them it would have room of its own, and the line be too long for that."""
    lines = alert_lines(picture(alert("r" * 30, instance="i" * 12, summary="few words")), NOW)
    assert lines[2] == "        few words"
    assert max(map(cell_len, lines)) <= 80


def test_nothing_foreign_reaches_the_terminal_as_a_command() -> None:
    """Escapes in names, values and summaries are shown, not obeyed; a summary has one line."""
    made = picture(alert("r\x1b[2J", "s\x07", instance="i\x1b", summary="a\x1bb\nc"), leader="r\x1b1")
    made.put(b"/services/s\x1b[31m/i\x07", b'{"k\x1b": "v\x1b"}', 0)
    text = "\n".join(sketch(made, NOW).lines())
    assert not {letter for letter in text if not letter.isprintable()} - {"\n"}
    assert r"a\x1bb c" in text


def test_who_leads_or_how_old_the_alerts_are() -> None:
    """Without alerts there is no age to tell."""
    assert standing(picture(), NOW) == "r1 leads"
    assert standing(picture(leader=""), NOW) == "no daemon leads"
    orphaned = picture(alert(), leader="")
    assert standing(orphaned, NOW) == "no daemon leads: the alerts were last written at 11:55:00 UTC, 5m ago"
    assert "last written at 11-24 11:55 UTC, 1d ago" in standing(orphaned, NOW + timedelta(days=1))
    assert alert_lines(picture(), NOW) == ["no alerts"]
    assert alert_lines(picture(leader=""), NOW) == ["no alerts are known"]


@pytest.mark.parametrize(
    ("services", "alerts", "shown"),
    [
        (3, 3, (3, 3)),
        (50, 3, (14, 3)),
        (3, 50, (3, 14)),
        (50, 50, (9, 8)),
    ],
)
def test_what_does_not_fit_a_terminal_is_cut(services: int, alerts: int, shown: tuple[int, int]) -> None:
    """Half of the room is for alerts, where both are too many; what is missing is counted."""
    whole = Sketch(["s"] * services, ["a"] * alerts, ["the foot"])
    lines = whole.fitted(80, 20)
    assert len(lines) <= 20
    middle = lines.index("")
    assert (middle, len(lines) - middle - 3) == shown
    assert lines[-1] == "the foot"
    if shown[0] < services:
        assert lines[middle - 1] == f"… and {services - shown[0] + 1} lines more"


def test_lines_are_cut_to_the_width() -> None:
    """A line that wraps would break the picture; of a terminal with no room at all nothing is asked."""
    assert Sketch(["x" * 30, "支" * 30], ["a"], ["f"]).fitted(10, 20)[:2] == ["x" * 9 + "…", "支" * 4 + " …"]
    assert len(Sketch(["s"] * 9, ["a"] * 9, ["f"]).fitted(10, 2)) == 2


def test_alerts_that_somebody_has_or_that_are_muted_say_so() -> None:
    """Whoever looks need not ask who does something about it."""
    taken = alert("few", acknowledged={"by": "ann@core01", "comment": "", "at": "", "until": ""}, summary="1 of 3 up")
    kept = alert("lost", instance="a", muted="inhibited:few", summary="expired: lost contact")
    text = "\n".join(alert_lines(picture(taken, kept), NOW))
    assert "acknowledged by ann@core01 · 1 of 3 up" in text
    assert "muted: inhibited:few · expired: lost contact" in text


# --- delivery --------------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_delivery_shows_only_if_anything_is() -> None:
    """A line a target above the foot; junk is left out, what lacks is filled up; it goes when its document does."""
    made = picture()
    assert not any("DELIVERY" in line for line in sketch(made, NOW).lines())
    stuck = {
        "channel": "ops",
        "target": "ops #1 slack",
        "undelivered": 3,
        "stuck_since": SINCE,
        "last_error": "HTTP\x1b 503",
    }
    content = document.encode({"targets": [stuck, 7, {"channel": "boss", "given_up": 2}]})
    assert made.put(b"/alertd/delivery", content, 0)
    assert not made.put(b"/alertd/delivery", content, 0)
    lines = sketch(made, NOW).foot
    assert lines[:4] == [
        "DELIVERY      UNDELIVERED  STUCK SINCE  GIVEN UP  LAST ERROR",
        "ops #1 slack  3            11:59:00     0         HTTP\\x1b 503",
        "boss          0                         2",
        "",
    ]
    first, second = made.as_json()["delivery"]
    assert first == {**stuck, "given_up": 0, "dead_letters": []}
    assert (second["target"], second["given_up"], second["stuck_since"]) == ("", 2, None)
    for junk in (b"junk", document.encode({"targets": 7}), b'{"format": 99, "targets": [{}]}'):
        made.put(b"/alertd/delivery", junk, 0)
        assert made.delivery == []
    assert made.put(b"/alertd/delivery", content, 0)
    assert made.drop(b"/alertd/delivery")
    assert not made.drop(b"/alertd/delivery")
    assert made.delivery == []


def test_many_targets_leave_room_for_the_rest() -> None:
    """What is wrong with forty is said of the first, and how many there are more."""
    made = picture()
    targets = [{"channel": "ops", "target": f"ops #{number} json", "given_up": 1} for number in range(40)]
    made.put(b"/alertd/delivery", document.encode({"targets": targets}), 0)
    lines = sketch(made, NOW).foot
    assert len(lines) == 10
    assert lines[7] == "… and 34 lines more"
