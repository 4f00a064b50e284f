"""What the small words of a message look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alertd.delivery.wording import Times, cause_text, cut, instance_line, plain, span
from alertd.model import Cause
from tests.delivery.examples import MORNING, at, lost, up

if TYPE_CHECKING:
    from alertd.model import InstanceFacts

BERLIN = Times.of("Europe/Berlin", MORNING)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (45, "45s"),
        (60, "1m"),
        (200, "3m 20s"),
        (3600, "1h"),
        (7500, "2h 5m"),
        (86400 + 7200 + 59, "1d 2h"),
        (-3, "0s"),
    ],
)
def test_a_duration_shows_its_two_largest_units(seconds: float, text: str) -> None:
    """Nobody reads seconds beside days; a clock that went back gives no negative time."""
    assert span(seconds) == text


def test_control_characters_are_shown_and_scripts_are_left_alone() -> None:
    """A name with line breaks or invisible direction marks cannot break or forge a line; `支付` stays `支付`."""
    assert plain("a\nid 7\r\x00\u2028\u202eb") == "a\\nid 7\\r\\x00\\u2028\\u202eb"
    assert plain("支付 Grüße नमस्\u200dते") == "支付 Grüße नमस्\u200dते"
    assert plain("\ud800") == "\\ud800"


def test_what_is_too_long_shows_that_something_is_missing() -> None:
    """A cut text ends with an ellipsis and is never longer than its room, whatever it holds."""
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
    assert cut("abc", 0) == ""
    assert len(plain("\n" * 1000, 50)) == 50


def test_times_carry_the_date_only_on_another_day() -> None:
    """The clock is that of `timezone`; what was yesterday there has its date."""
    assert BERLIN.stamp(at(0)) == "04:12:41 CEST"
    assert BERLIN.stamp(at(-5 * 3600)) == "2026-09-30 23:12:41 CEST"
    assert BERLIN.minute(at(0).wall) == "04:12"


def test_a_stretch_has_both_ends_and_the_time_between_them() -> None:
    """The duration is the monotonic clock's, also where the wall clock was stepped; a change of zone shows."""
    assert BERLIN.stretch(at(0), at(200), None) == "from 04:12:41 to 04:16:01 CEST, 3m 20s"
    stepped = at(200)._replace(wall=at(3600).wall)
    assert BERLIN.stretch(at(0), stepped, None) == "from 04:12:41 to 05:12:41 CEST, 3m 20s"
    assert BERLIN.stretch(at(0), at(30 * 86400), None) == "from 04:12:41 CEST to 2026-10-31 03:12:41 CET, 30d"


def test_what_happened_in_a_gap_says_between() -> None:
    """Where only the gap is known, both of its ends are shown."""
    assert BERLIN.since(at(0), at(-60)) == "since between 04:11:41 and 04:12:41 CEST"
    assert (
        BERLIN.stretch(at(0), at(200), at(100))
        == "from 04:12:41 until between 04:14:21 and 04:16:01 CEST, about 3m 20s"
    )
    facts = lost("a", cause=Cause.MISSED, between=at(-90), since=at(-30))
    assert instance_line(facts, BERLIN) == (
        "DOWN a  missed: found gone after a gap in the watch, between 04:11:11 and 04:12:11"
    )


def test_a_cause_is_its_word_and_then_words() -> None:
    """What a probe said stands for the words; any other detail follows in brackets."""
    assert cause_text(Cause.DELETED) == "deleted: its key was removed unannounced"
    assert cause_text(Cause.FAILING, "HTTP 503") == "failing: HTTP 503"
    assert cause_text(Cause.STOPPED, "deploy\nid 7") == "stopped: stopped on purpose (deploy\\nid 7)"


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (lost("172.31.14.97", "core01"), "DOWN 172.31.14.97 core01  expired: lost contact, its lease ended 04:12:11"),
        (lost("a", "h", cause=Cause.FAILING, detail="HTTP 503"), "DOWN a h  failing: HTTP 503"),
        (lost("a", cause=Cause.FAILING), "DOWN a  failing: its probe failed 04:12:11"),
        (lost("a", "a", replaced_by="b"), "DOWN a  expired: lost contact, its lease ended 04:12:11, replaced by b"),
        (up("172.31.14.99", "core03"), "UP   172.31.14.99 core03"),
        (up("a", cause=Cause.RECOVERED, since=at(60)), "UP   a  recovered: back 04:13:41"),
        (up("a", malformed=True, raw="\\x00{oops"), "UP   a  malformed value: \\x00{oops"),
        (up("a\nb", "c\td"), "UP   a\\nb c\\td"),
        (up("a", fields={"host": {"no": "text"}}), "UP   a"),
    ],
)
def test_an_instance_is_one_line(facts: InstanceFacts, line: str) -> None:
    """Down ones have their cause always; those up only where it is news, here since the morning."""
    assert instance_line(facts, BERLIN, news_since=at(0).mono) == line


def test_a_raw_value_of_any_size_stays_one_short_line() -> None:
    """A malformed megabyte shows its beginning."""
    line = instance_line(up("a", malformed=True, raw="x\n" * 500_000), BERLIN)
    assert "\n" not in line
    assert len(line) < 300


def test_what_began_and_ended_in_a_gap_has_no_times_of_its_own() -> None:
    """Only between which moments it was is known."""
    gap = at(0)
    before, end = gap.shifted_to(gap.mono - 60), gap.shifted_to(gap.mono + 60)
    assert BERLIN.stretch(end, end, gap) == f"between {BERLIN.clock(gap)} and {BERLIN.stamp(end)}, began and ended"
    assert BERLIN.stretch(before, end, gap).startswith(f"from {BERLIN.clock(before)} until between ")
