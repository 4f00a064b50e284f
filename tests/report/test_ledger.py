"""The books: stories of a week, and what is written down of them."""

from __future__ import annotations

import tracemalloc

import pytest

from alertd.model import Cause, Reason
from alertd.report import ledger as ledger_module
from alertd.report.ledger import Ledger
from alertd.report.period import Firings
from alertd.report.summary import Origin
from tests.report.books import WEEK, Books, at, specs


def test_one_instance_up_is_enough_where_nothing_is_expected() -> None:
    """Only the time in which none is up is down time."""
    books = Books().up("pay", "a", "b").down("pay", "a", hour=10)
    books.down("pay", "b", hour=20).up("pay", "a", hour=22)
    record = books.record()
    assert (record.down, record.outages, record.is_out) == (2 * 3600.0, 1, False)
    assert record.share == pytest.approx(1 - 2 / WEEK)


def test_fewer_than_expected_is_an_outage() -> None:
    """Two of three are not enough, whatever is up besides."""
    books = Books(pay=3).up("pay", "a", "b", "c").down("pay", "a", hour=10).down("pay", "b", hour=11)
    books.up("pay", "d", hour=12).up("pay", "e", hour=13)
    record = books.record()
    assert (record.down, record.outages, record.wanted, record.is_expected) == (3 * 3600.0, 1, 3, True)


def test_outages_are_counted_added_up_and_compared() -> None:
    """Three of them, of which the longest is named."""
    books = Books().up("pay", "a")
    for hour, lasts in ((1, 0.5), (10, 2.0), (20, 1.0)):
        books.down("pay", "a", hour=hour).up("pay", "a", hour=hour + lasts)
    record = books.record()
    assert (record.outages, record.down, record.longest) == (3, 3.5 * 3600, 2.0 * 3600)
    assert [(outage.start, outage.end) for outage in record.shown][1] == (at(10), at(12))


def test_an_outage_that_goes_on_counts_in_both_periods() -> None:
    """Up to the report in the one, from it on in the next."""
    books = Books().up("pay", "a").down("pay", "a", hour=WEEK - 1)
    first = books.record()
    assert (first.is_out, first.down) == (True, 3600.0)
    books.up("pay", "a", hour=WEEK + 3)
    second = books.record(hour=2 * WEEK)
    assert (second.is_out, second.down, second.outages) == (False, 3 * 3600.0, 1)


def test_a_moment_without_any_length_is_no_outage() -> None:
    """Of three instances that are found at once the first is not enough, and no time passes until the third is."""
    books = Books(pay=3)
    books.close()
    record = books.up("pay", "a", "b", "c", hour=WEEK).record(hour=2 * WEEK)
    assert (record.outages, record.down, record.share) == (0, 0.0, 1.0)


@pytest.mark.parametrize("cause", [Cause.FAILING, Cause.STOPPED])
def test_one_that_is_first_seen_down_takes_nobody_away(cause: Cause) -> None:
    """Nor does a lost one that turns out to be stopped, which goes down a second time."""
    books = Books(pay=1).up("pay", "a").down("pay", "b", hour=1, cause=cause).down("pay", "b", hour=2, cause=cause)
    assert books.record().outages == 0
    assert books.down("pay", "a", hour=WEEK + 1).record(hour=2 * WEEK).outages == 1


def test_a_service_counts_from_when_it_is_first_seen() -> None:
    """A day of the week it was not there; it is no outage that it did not exist."""
    record = Books().up("pay", "a", hour=24).down("pay", "a", hour=WEEK - 12).record()
    assert record.known_from == at(24)
    assert record.share == pytest.approx(1 - 12 / (WEEK - 24))


def test_what_is_expected_is_known_even_if_never_seen() -> None:
    """It was never there, all the time."""
    record = Books(ghost=2).record("ghost")
    assert (record.share, record.is_out, record.outages) == (0.0, True, 1)


def test_a_new_expectation_is_judged_from_the_reload_on() -> None:
    """One up of two is enough until somebody says otherwise, and again when that is taken back."""
    books = Books().up("pay", "a")
    books.ledger.follow(specs(pay=2), at(10))
    books.ledger.follow(specs(), at(15))
    record = books.record()
    assert (record.outages, record.down) == (1, 5 * 3600.0)


def test_a_service_that_is_gone_for_good_is_told_of_once_more() -> None:
    """In the report at whose time it is forgotten, and in others that run still, but its time stops."""
    books = Books().up("old", "a").up("pay", "a").down("old", "a", hour=10, cause=Cause.STOPPED)
    books.ledger.open("monthly", at(0), Origin.STARTED)
    assert books.record("old").down == (WEEK - 10) * 3600
    assert books.ledger.without_instances == {"old"}
    books.ledger.forget({"pay"}, at(WEEK))
    assert books.record("old", 2 * WEEK).known_until == at(WEEK)
    assert [record.name for record in books.close(3 * WEEK).services] == ["pay"]
    monthly = {record.name: record for record in books.ledger.close("monthly", at(4 * WEEK)).services}
    assert monthly["old"].known_until == at(WEEK)
    assert not monthly["old"].is_out


def test_incidents_are_counted_for_their_service() -> None:
    """Whether the alert is a service's, an instance's or a zone's."""
    books = Books().up("pay", "a").up("x (y", "a")
    for target in ("pay", "pay/a/b", "pay (zone=a/b)", "x (y", "x (y/a", "unknown/a"):
        books.fire(target, hour=1, alert_id=target)
    summary = books.close()
    assert {record.name: record.incidents for record in summary.services} == {"pay": 3, "x (y": 2}
    assert summary.others is not None
    assert (summary.others.incidents, summary.incidents) == (1, 6)


def test_what_fires_while_it_flaps_is_the_flapping() -> None:
    """Two incidents, one flap, and after it has settled incidents again."""
    books = Books().up("pay", "a").fire(hour=1).decide(Reason.FLAPPING_BEGAN, hour=2)
    books.fire(hour=3).fire(hour=4).decide(Reason.FLAPPING_ENDED, hour=5).fire(hour=6)
    record = books.record()
    assert (record.incidents, record.flaps) == (2, 1)


def test_an_alert_that_is_pending_or_told_once_is_no_incident() -> None:
    """Only what fires is."""
    books = Books().up("pay", "a")
    for reason in (Reason.CONDITION_TRUE, Reason.BROKE_BEFORE_FOR, Reason.TOLD_ONCE, Reason.TOLD):
        books.decide(reason, hour=1)
    assert books.close().incidents == 0


def test_the_noisiest_rules_come_first() -> None:
    """A message counts once for each rule in it, however many alerts it names."""
    summary = Books().tell("few").tell("lost", "lost", "few").tell("lost").tell("lost").close()
    assert summary.rules == (("lost", 3), ("few", 2))


def test_deliveries_are_counted_by_channel() -> None:
    """With the last error of those that failed."""
    books = Books().deliver("ops").deliver("ops").deliver("mail", "HTTP 500").deliver("mail", "refused").deliver("mail")
    mail, ops = books.close().channels
    assert (ops.name, ops.sent, ops.failed, ops.error) == ("ops", 2, 0, "")
    assert (mail.sent, mail.failed, mail.error) == (1, 2, "mail #1 json: refused")


def test_each_report_has_its_own_page() -> None:
    """The daily one is closed at noon, and the weekly one knows all the same."""
    books = Books().up("pay", "a").fire(hour=1)
    books.ledger.open("daily", at(0), Origin.ADDED)
    books.fire(hour=2)
    daily = books.ledger.close("daily", at(4))
    assert (daily.origin, daily.incidents) == (Origin.ADDED, 1)
    books.fire(hour=5)
    assert (books.ledger.close("daily", at(8)).incidents, books.close().incidents) == (1, 3)
    assert books.close(2 * WEEK).origin is Origin.LAST


def test_a_page_that_is_dropped_counts_no_more() -> None:
    """And one that is opened again begins anew."""
    books = Books().up("pay", "a").fire(hour=1)
    books.ledger.drop("weekly")
    books.fire(hour=2)
    assert books.ledger.open_pages == ()
    books.ledger.open("weekly", at(3), Origin.ADDED)
    assert books.close().incidents == 0


def test_services_beyond_the_limit_are_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fires of them is counted, by no name."""
    monkeypatch.setattr(ledger_module, "MOST", 2)
    books = Books().up("a", "1").up("b", "1").up("c", "1").down("c", "1", hour=1).fire("c/1", hour=1)
    summary = books.close()
    assert [record.name for record in summary.services] == ["a", "b"]
    assert summary.others is not None
    assert summary.others.incidents == 1


def test_many_outages_are_joined_where_they_lie_closest() -> None:
    """What is drawn is bounded, what is counted is not."""
    books = Books().up("pay", "a")
    for number in range(100):
        start = number + (0.5 if number == 50 else 0.0)
        books.down("pay", "a", hour=start).up("pay", "a", hour=start + 0.4)
    record = books.record()
    assert (record.outages, len(record.shown)) == (100, 40)
    assert record.down == pytest.approx(100 * 0.4 * 3600)
    assert (record.shown[0].start, record.shown[-1].end) == (at(0), at(99.4))


def test_the_firings_of_a_second_and_of_a_month_have_room() -> None:
    """None gets lost as the slots grow, and each stays where it was in time."""
    firings = Firings(1000.0)
    moments = [0.0, 0.5, 95.9, 96.0, 5_000.0, 604_800.0, 2_592_000.0]
    for moment in moments:
        firings.count(1000.0 + moment)
    counts = firings.until(1000.0 + moments[-1])
    assert sum(counts) == len(moments)
    assert len(counts) <= 96
    for moment in moments:
        assert counts[int(moment / firings.slot)] > 0


def test_a_time_before_the_last_one_does_no_harm() -> None:
    """A deadline that is told late bears its own time; nothing gets lost, and no figure is negative."""
    books = Books().up("pay", "a").down("pay", "a", hour=5).up("pay", "a", hour=4).fire(hour=-1)
    summary = books.close()
    assert summary.incidents == 1
    assert summary.services[0].down == 0.0


def test_memory_is_bounded_by_names() -> None:
    """Five thousand flips of ten services leave no more behind than a thousand."""
    books = Books()
    tracemalloc.start()
    try:
        _flip(books.ledger, 1_000)
        before, _ = tracemalloc.get_traced_memory()
        _flip(books.ledger, 5_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 80_000, "a hundred bytes a flip would be five times as much"


def _flip(ledger: Ledger, times: int) -> None:
    books = Books()
    books.ledger = ledger
    for number in range(times):
        service = f"s{number % 10}"
        books.up(service, "a", hour=number / 1000).down(service, "a", hour=number / 1000 + 0.0001)
        books.fire(service, hour=number / 1000, alert_id=service).tell("lost").deliver("ops")
