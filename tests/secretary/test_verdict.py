"""Probes to a verdict, as tables: `+` a good one, `-` a bad one, `?` one that hung."""

from __future__ import annotations

import pytest

from alertd.secretary.verdict import GOOD, Finding, Judge

FINDINGS = {"+": GOOD, "-": Finding(good=False, reason="HTTP 503"), "?": Finding(good=False, reason="slow", hung=True)}


def standings(probes: str, *, failures: int = 2, successes: int = 1) -> str:
    """Return a letter a probe: `R` up and renewed, `u` up but not renewed, `.` down."""
    judge = Judge(failures=failures, successes=successes)
    heard = [judge.hear(FINDINGS[probe]) for probe in probes]
    return "".join("R" if each.renews else "u" if each.is_up else "." for each in heard)


@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        ("+++", "RRR"),
        ("---", "..."),
        ("+-+-+", "RRRRR"),  # one bad probe is no verdict, and keeps the lease alive
        ("+--", "RR."),
        ("+--+", "RR.R"),
        ("+?+", "RuR"),  # one that hangs keeps nothing alive
        ("+-?", "RR."),  # but counts
        ("+??", "Ru."),
    ],
)
def test_two_failures_end_it_and_one_success_begins_it(probes: str, expected: str) -> None:
    """The defaults."""
    assert standings(probes) == expected


@pytest.mark.parametrize(("probes", "expected"), [("++-+++", ".....R"), ("+++----+++", "..RRRR...R")])
def test_thresholds_count_probes_in_a_row(probes: str, expected: str) -> None:
    """Three good ones, four bad ones; any other between them starts the count anew."""
    assert standings(probes, failures=4, successes=3)[: len(expected)] == expected


def test_with_many_failures_allowed_a_hanging_service_loses_its_lease_first() -> None:
    """Nothing renews it, so it ends by itself, though there is no verdict yet."""
    assert standings("+????", failures=9) == "Ruuuu"


def test_the_reason_is_the_last_one() -> None:
    """It goes into the value."""
    judge = Judge(failures=1, successes=1)
    assert judge.hear(FINDINGS["-"]).reason == "HTTP 503"
    assert judge.hear(FINDINGS["?"]).reason == "slow"
    assert judge.hear(GOOD).reason == ""


def test_the_data_is_that_of_the_last_good_probe() -> None:
    """A bad one has none to give, and does not take it away; a good one that has none does."""
    judge = Judge(failures=2, successes=1)
    probes = [Finding(good=True, data={"a": 1}), *[Finding(good=False, data={"b": 1})] * 2, GOOD]
    assert [judge.hear(probe).data for probe in probes] == [{"a": 1}, {"a": 1}, {"a": 1}, {}]
