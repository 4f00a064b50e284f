"""Calendar windows: cron's fields, both nights of daylight saving, and that the next change is the next change."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alertd.window import Window, check_cron, next_fire

HOUR = 3600.0
DAY = 24 * HOUR
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text: str) -> datetime:
    """Return a moment written as `2026-03-29 01:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def changes(window: Window, since: str, count: int = 2) -> list[str]:
    """Return the next `count` changes after a moment, in UTC."""
    found: list[str] = []
    moment: datetime | None = at(since)
    while moment is not None and len(found) < count:
        moment = window.next_change(moment)
        found.append("never" if moment is None else f"{moment:%Y-%m-%d %H:%M}")
    return found


def test_a_window_includes_its_beginning_and_not_its_end() -> None:
    """To the microsecond, so that two windows that follow each other neither overlap nor leave a gap."""
    window = Window("0 2 * * *", 2 * HOUR)
    tick = timedelta(microseconds=1)
    begin, end = at("2026-01-05 02:00"), at("2026-01-05 04:00")
    assert [window.is_open(moment) for moment in (begin - tick, begin, end - tick, end)] == [False, True, True, False]
    assert window.next_change(begin - tick) == begin
    assert window.next_change(begin) == end
    assert window.next_change(end - tick) == end


# Day fields, with the dates in January 2026 on which they fire; the 1st is a Thursday.
DAYS = [
    ("* * mon-fri", [1, 2, 5, 6, 7, 8, 9]),
    ("* * 1-5", [1, 2, 5, 6, 7, 8, 9]),
    ("* * sun", [4]),
    ("* * 0", [4]),
    ("* * 7", [4]),
    ("* * 5-7", [2, 3, 4, 9]),
    ("* * 6,0", [3, 4]),
    ("*/3 * *", [1, 4, 7]),
    ("5 jan *", [5]),
    ("5 2 *", []),
    # both restricted: the one or the other
    ("6 * mon", [5, 6]),
    ("1-2 * fri", [1, 2, 9]),
    # one that begins with a star restricts nothing by itself: the one and the other
    ("*/2 * mon", [5]),
]


@pytest.mark.parametrize(("fields", "days"), DAYS)
def test_days_are_those_of_cron(fields: str, days: list[int]) -> None:
    """Sunday is 0 and 7, Monday 1; names in any case; two restrictions are alternatives."""
    for cron in (f"0 12 {fields}", f"0 12 {fields.upper()}"):
        window = Window(cron, HOUR)
        open_on = [day for day in range(1, 10) if window.is_open(datetime(2026, 1, day, 12, 30, tzinfo=UTC))]
        assert open_on == days


def test_a_leap_day_comes_every_four_years() -> None:
    """And in between nothing does."""
    assert changes(Window("0 0 29 2 *", DAY), "2026-01-01", 4) == [
        "2028-02-29 00:00",
        "2028-03-01 00:00",
        "2032-02-29 00:00",
        "2032-03-01 00:00",
    ]


def test_a_window_over_midnight_is_open_on_both_days() -> None:
    """Also where the second day is not one on which it opens."""
    window = Window("0 22 * * fri", 8 * HOUR, BERLIN)
    assert changes(window, "2026-01-09 12:00") == ["2026-01-09 21:00", "2026-01-10 05:00"]
    assert window.is_open(at("2026-01-10 04:59"))
    assert not window.is_open(at("2026-01-10 21:00"))


# A zone, its cron for a window of an hour, and the days around a switch: when it opens, in UTC.
NIGHTS = [
    # spring: there is no 02:30, so it comes right after the lost hour
    (BERLIN, "30 2 * * *", "2026-03-28", ["28 01:30", "29 01:00", "30 00:30"]),
    (NEW_YORK, "30 2 * * *", "2026-03-07", ["07 07:30", "08 07:00", "09 06:30"]),
    # autumn: 02:30 (in New York 01:30) comes twice, and counts once
    (BERLIN, "30 2 * * *", "2026-10-24", ["24 00:30", "25 00:30", "26 01:30"]),
    (NEW_YORK, "30 1 * * *", "2026-10-31", ["31 05:30", "01 05:30", "02 06:30"]),
    # times beside the switch are not moved
    (BERLIN, "30 1 * * *", "2026-03-28", ["28 00:30", "29 00:30", "29 23:30"]),
    (BERLIN, "30 3 * * *", "2026-10-24", ["24 01:30", "25 02:30", "26 02:30"]),
    # two times in the lost hour are one
    (BERLIN, "15,45 2 * * *", "2026-03-29", ["29 01:00", "30 00:15", "30 00:45"]),
    # what happens every hour happens in each hour that there is
    (BERLIN, "30 * * * *", "2026-03-29", ["29 00:30", "29 01:30", "29 02:30"]),
    (BERLIN, "30 * * * *", "2026-10-25", ["25 00:30", "25 01:30", "25 02:30"]),
]


@pytest.mark.parametrize(("zone", "cron", "since", "fires"), NIGHTS)
def test_both_nights_of_daylight_saving(zone: str, cron: str, since: str, fires: list[str]) -> None:
    """Once a day is once a day, on every day."""
    moment: datetime | None = at(since)
    found = []
    for _ in fires:
        assert moment is not None
        moment = next_fire(cron, zone, moment)
        found.append(f"{moment:%d %H:%M}")
    assert found == fires


@pytest.mark.parametrize(
    ("window", "since", "expected"),
    [
        # 22:00 to 06:00 by the clock, were it not for the switch: eight hours have passed at 07:00, or at 05:00
        (Window("0 22 * * *", 8 * HOUR, BERLIN), "2026-03-28 12:00", ["2026-03-28 21:00", "2026-03-29 05:00"]),
        (Window("0 22 * * *", 8 * HOUR, BERLIN), "2026-10-24 12:00", ["2026-10-24 20:00", "2026-10-25 04:00"]),
        (Window("0 22 * * *", 8 * HOUR, NEW_YORK), "2026-11-01 00:00", ["2026-11-01 02:00", "2026-11-01 10:00"]),
        (Window("30 2 * * *", HOUR, BERLIN), "2026-10-25 00:00", ["2026-10-25 00:30", "2026-10-25 01:30"]),
    ],
)
def test_a_duration_is_elapsed_time_also_over_a_switch(window: Window, since: str, expected: list[str]) -> None:
    """A window of eight hours is open for eight hours."""
    assert changes(window, since) == expected


def test_the_double_hour_does_not_open_a_window_again() -> None:
    """Not while it lasts, not in the second of the two hours, and not for what looks back from later."""
    window = Window("30 2 * * *", 2 * HOUR, BERLIN)
    begin, end = at("2026-10-25 00:30"), at("2026-10-25 02:30")
    moment = at("2026-10-24 12:00")
    while moment < at("2026-10-25 12:00"):
        assert window.is_open(moment) is (begin <= moment < end), moment
        if not begin <= moment < end:
            assert window.next_change(moment) in {begin, at("2026-10-26 01:30")}
        moment += timedelta(minutes=5)


def test_openings_that_overlap_are_one_window() -> None:
    """It closes when the last of them is over."""
    weekend = Window("0 0 * * sat,sun", DAY)
    assert changes(weekend, "2026-01-01") == ["2026-01-03 00:00", "2026-01-05 00:00"]
    assert changes(Window("0 0,12 * * mon", 18 * HOUR), "2026-01-01") == ["2026-01-05 00:00", "2026-01-06 06:00"]


def test_one_that_never_closes_gives_a_moment_to_ask_again() -> None:
    """After about a week, so that the answer does not take for ever."""
    change = Window("0 * * * *", 2 * HOUR).next_change(at("2026-01-01"))
    assert change is not None
    assert at("2026-01-08") < change < at("2026-01-09")


# A window, and whether it leaves a time between two openings.
CLOSING = [
    ("* * * * *", 60, True),
    ("* * * * *", 59, False),
    ("0 0 * * *", DAY, True),
    ("0 0 * * *", DAY - 1, False),
    ("0 8,20 * * *", DAY / 2, True),
    ("0 8,19 * * *", DAY / 2, False),
    ("*/5 * * * mon-fri", HOUR, False),
    ("0 0 * * mon-fri", 3 * DAY, True),
    ("0 0 * * mon-fri", 3 * DAY - 1, False),
    ("0 0 1 * *", 31 * DAY, True),
    ("0 0 1 * *", 30 * DAY, False),
    ("0 0 29 2 *", 1461 * DAY, True),
    ("0 0 29 2 *", 365 * DAY, False),
    ("0 0 */30 2 mon", 365 * DAY, False),
]


@pytest.mark.parametrize(("cron", "duration", "is_always"), CLOSING)
def test_a_window_that_never_closes_is_known_as_such(cron: str, duration: float, *, is_always: bool) -> None:
    """Judged by the longest time between two openings, within a day and from day to day."""
    assert Window(cron, duration).never_closes is is_always


NO_CRON = [
    ("", "must be five cron fields such as `0 2 * * mon-fri`"),
    ("@daily", "must be five cron fields such as `0 2 * * mon-fri`"),
    ("0 0 2 * * *", "must be five cron fields such as `0 2 * * mon-fri`"),
    (",".join(["0"] * 300) + " * * * *", "must be five cron fields such as `0 2 * * mon-fri`"),
    ("60 * * * *", "must be five cron fields such as `0 2 * * mon-fri`: bad minute"),
    ("0 24 * * *", "must be five cron fields such as `0 2 * * mon-fri`: bad hour"),
    ("0 2 32 * *", "must be five cron fields such as `0 2 * * mon-fri`: bad day-of-month"),
    ("0 2 31 13 *", "must be five cron fields such as `0 2 * * mon-fri`: bad month"),
    ("0 2 * * 8", "must be five cron fields such as `0 2 * * mon-fri`: bad day-of-week"),
    ("0 2 * * fri-mon", "must be five cron fields such as `0 2 * * mon-fri`: bad day-of-week"),
    ("0 2 * * mo", "must be five cron fields such as `0 2 * * mon-fri`: bad day-of-week"),
    ("*/0 * * * *", "must be five cron fields such as `0 2 * * mon-fri`: bad minute"),
    ("0 0 30 2 *", "never fires: there is no such day"),
    ("0 0 31 4,jun *", "never fires: there is no such day"),
    ("0 0 */30 2 mon#5", "never fires: there is no such day"),
]


@pytest.mark.parametrize(("cron", "said"), NO_CRON)
def test_what_is_no_cron_is_refused(cron: str, said: str) -> None:
    """In words that follow the name of the key; no sixth field, no nicknames, no day that does not exist."""
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        check_cron(cron)


@pytest.mark.parametrize("cron", ["0 2 * * mon-fri", "*/5 0-6 1,15 * 7", "0 0 29 feb *", "0 0 31 4 1-5", "0 0 l * *"])
def test_what_is_cron_is_taken(cron: str) -> None:
    """A day that does not exist is one of two alternatives in the fourth."""
    check_cron(cron)


# --- any window, on any day ------------------------------------------------------------------------------------------


class Fields(NamedTuple):
    """A cron of plain sets: the minutes, hours and weekdays (Sunday is 0) at which it fires, all of them if empty."""

    minutes: frozenset[int]
    hours: frozenset[int]
    weekdays: frozenset[int]

    @property
    def cron(self) -> str:
        """As cron writes it."""
        minutes, hours, weekdays = (",".join(map(str, sorted(field))) or "*" for field in self)
        return f"{minutes} {hours} * * {weekdays}"

    def fires(self, local: datetime) -> bool:
        """Tell whether it fires in a minute."""
        shown = (local.minute, local.hour, local.isoweekday() % 7)
        return all(not field or number in field for field, number in zip(self, shown, strict=True))


FIELDS = st.builds(
    Fields,
    minutes=st.frozensets(st.sampled_from([0, 15, 30, 45]), min_size=1, max_size=2),
    hours=st.frozensets(st.integers(0, 23), max_size=3),
    weekdays=st.frozensets(st.integers(0, 6), max_size=4),
)
QUARTERS = st.integers(1, 40).map(lambda quarters: quarters * 900.0)
QUARTER = timedelta(minutes=15)


@settings(max_examples=150, deadline=None)
@given(fields=FIELDS, duration=QUARTERS, offset=st.integers(0, 4 * 24 * 14))
def test_a_window_is_open_as_long_as_its_last_opening_says(fields: Fields, duration: float, offset: int) -> None:
    """Held against the definition: some minute within the duration before is one at which it opens."""
    window = Window(fields.cron, duration)
    moment = at("2026-01-01") + offset * QUARTER
    back = range(int(duration // 900))
    assert window.is_open(moment) is any(fields.fires(moment - quarter * QUARTER) for quarter in back)


SWITCHES = st.sampled_from(
    [
        (BERLIN, "2026-03-28 12:00"),
        (BERLIN, "2026-10-24 12:00"),
        (NEW_YORK, "2026-03-07 18:00"),
        (NEW_YORK, "2026-10-31 18:00"),
        ("Australia/Lord_Howe", "2026-04-04 00:00"),
        ("UTC", "2026-06-01 00:00"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(fields=FIELDS, duration=QUARTERS, switch=SWITCHES, offset=st.integers(0, 4 * 36))
def test_the_next_change_is_the_first_moment_that_differs(
    fields: Fields, duration: float, switch: tuple[str, str], offset: int
) -> None:
    """Until then nothing changes, and then it does; on the nights of daylight saving as on any other."""
    zone, since = switch
    window = Window(fields.cron, duration, zone)
    moment = at(since) + offset * QUARTER
    change = window.next_change(moment)
    is_open = window.is_open(moment)
    assert change is not None
    assert change > moment
    assert change.astimezone(ZoneInfo(zone)).minute % 15 == 0
    while moment < min(change, at(since) + timedelta(days=3)):
        assert window.is_open(moment) is is_open, moment
        moment += QUARTER
    if change < at(since) + timedelta(days=7):
        assert window.is_open(change) is not is_open
