"""When reports go out, with which chart, and what a reload changes; on the real scheduler.

The clock is the test's own and lies in the past, so that whatever is armed is due at once.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from alertd.config.schema import Report, Ruleset, Settings
from alertd.delivery.lane import LaneStatus
from alertd.delivery.letter import Letter
from alertd.model import Alert, AlertState, Instant, ServiceFacts
from alertd.report import reporter as module
from alertd.report.ledger import Ledger
from alertd.report.reporter import Reporter
from alertd.report.summary import Origin
from tests.report.books import alert

YEARS_AGO = datetime(2020, 10, 5, 7, 59, tzinfo=UTC)
"""A Monday, a minute before eight."""
WEEKLY = Report(name="weekly", cron="0 8 * * mon", channel="mail")
DAILY = Report(name="daily", cron="0 8 * * *", channel="ops", timezone="Asia/Kolkata")


@dataclass
class Scene:
    """The daemon as the reporter sees it, the clock, and what it sent."""

    reports: tuple[Report, ...] = (WEEKLY,)
    may_speak: bool = True
    unready_reason: str = ""
    under_way: tuple[Alert, ...] = ()
    wall: datetime = YEARS_AGO
    sent: list[tuple[str, Letter]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    """What sending raises, one each time, before it works."""
    looks: int = 0
    """How often a report asked for the alerts."""

    @property
    def ruleset(self) -> Ruleset:
        """The ruleset in force."""
        return Ruleset(settings=Settings(name="prod-fra"), reports=self.reports)

    def services(self) -> Iterator[ServiceFacts]:
        """Return none."""
        return iter(())

    def alerts(self) -> Iterator[Alert]:
        """Return the alerts under way."""
        self.looks += 1
        return iter(self.under_way)

    def targets(self) -> tuple[LaneStatus, ...]:
        """Return one that is well and one that is stuck."""
        well = LaneStatus("ops", "ops #1 json", "json", 0, 1, 0, 0, "", None)
        return well, LaneStatus("boss", "boss #1 json", "json", 2, 0, 0, 0, "refused", YEARS_AGO)

    def clock(self) -> Instant:
        """Return the time; both clocks go together."""
        return Instant((self.wall - YEARS_AGO).total_seconds(), self.wall)

    def send(self, channel: str, letter: Letter) -> int:
        """Take a letter, and move on by a week."""
        if self.faults:
            raise self.faults.pop()
        self.sent.append((channel, letter))
        self.wall += timedelta(weeks=1)
        return 1


def play(scene: Scene, act: Callable[[Reporter, AsyncIOScheduler], Awaitable[None]]) -> None:
    """Run a reporter and the scheduler while `act` lasts."""

    async def run() -> None:
        scheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True})
        reporter = Reporter(scene, Ledger(), scheduler, scene.clock, scene.send)
        scheduler.start()
        try:
            reporter.follow(Origin.STARTED)
            await act(reporter, scheduler)
        finally:
            scheduler.shutdown(wait=False)
            reporter.close()

    asyncio.run(run())


async def until(holds: Callable[[], object]) -> None:
    """Let the loop run until a condition holds, for at most 5 s."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - the condition is the reporter's
            await asyncio.sleep(0.005)


def test_each_report_goes_out_at_each_of_its_times() -> None:
    """The first tells of the time since the start, the next ones of the time since the last; each id is another."""
    scene = Scene()

    async def act(_: Reporter, __: AsyncIOScheduler) -> None:
        await until(lambda: len(scene.sent) >= 3)

    play(scene, act)
    first, second, third = [letter for _, letter in scene.sent[:3]]
    assert {channel for channel, _ in scene.sent} == {"mail"}
    assert first.title == "[REPORT] weekly · no services, no outages · no incidents · prod-fra"
    assert first.body(None).startswith("since alertd started:")
    assert "since the last report:\nfrom Mon 2020-10-05 07:59 to Mon 2020-10-12 07:59 UTC, 7d" in second.body(None)
    assert len({each.id for each in (first, second, third)}) == 3
    assert all(each.body(None).splitlines()[-1] == f"id {each.id}" for each in (first, second, third))


def test_the_next_time_is_cron_s_in_the_report_s_time_zone() -> None:
    """Monday is Monday, and eight in Kolkata is half past two in Greenwich."""
    scene = Scene(reports=(WEEKLY, DAILY), wall=datetime.now(UTC))

    async def act(_: Reporter, scheduler: AsyncIOScheduler) -> None:
        due = {job.id: job.next_run_time.astimezone(UTC) for job in scheduler.get_jobs()}
        assert (due["report weekly"].strftime("%a %H:%M")) == "Mon 08:00"
        assert due["report daily"].strftime("%H:%M") == "02:30"

    play(scene, act)


def test_the_chart_goes_along_as_a_file() -> None:
    """It is there until the daemon ends."""
    scene = Scene()
    paths: list[Path] = []

    async def act(_: Reporter, __: AsyncIOScheduler) -> None:
        await until(lambda: scene.sent)
        path = scene.sent[-1][1].attachment
        assert path is not None
        assert path.read_text().startswith("<?xml")
        assert path.suffix == ".svg"
        paths.append(path)

    play(scene, act)
    assert not paths[0].exists()
    assert not paths[0].parent.exists()


def test_charts_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are kept, for targets that have yet to take them."""
    monkeypatch.setattr(module, "_CHARTS_KEPT", 3)
    scene = Scene()

    async def act(_: Reporter, __: AsyncIOScheduler) -> None:
        await until(lambda: len(scene.sent) >= 8)
        newest = scene.sent[-1][1].attachment
        assert newest is not None
        assert newest.exists()
        assert len(list(newest.parent.iterdir())) <= 4

    play(scene, act)


def test_without_room_for_the_chart_the_words_go_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full disk does not keep a report back."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    scene = Scene()

    async def act(_: Reporter, __: AsyncIOScheduler) -> None:
        await until(lambda: scene.sent)

    play(scene, act)
    assert scene.sent[0][1].attachment is None


def test_what_is_true_at_the_end_is_in_it() -> None:
    """What fires, not what is pending; who is stuck, and not who is well; that the watch is stale."""
    pending = alert("pending-rule", state=AlertState.PENDING)
    scene = Scene(under_way=(alert("lost"), pending), unready_reason="the watch on etcd is stale")

    async def act(_: Reporter, __: AsyncIOScheduler) -> None:
        await until(lambda: scene.sent)

    play(scene, act)
    body = scene.sent[0][1].body(None)
    assert "lost pay" in body
    assert "pending-rule" not in body
    assert "boss · stuck" in body
    assert "ops" not in body
    assert "may be out of date: the watch on etcd is stale" in body


def test_a_replica_that_may_not_speak_sends_nothing_and_begins_anew() -> None:
    """So that what it sends once it may is of the time since the last report, whoever sent that."""
    scene = Scene(may_speak=False)

    async def act(reporter: Reporter, scheduler: AsyncIOScheduler) -> None:
        await until(lambda: scene.looks)
        scene.may_speak = True
        await until(lambda: scene.sent)

    play(scene, act)
    assert scene.sent[0][1].body(None).startswith("since the last report:")


def test_a_reload_replaces_what_is_armed() -> None:
    """One that is gone is not sent, one that is new counts from now on, one that stays goes on counting."""
    scene = Scene(wall=datetime.now(UTC))

    async def act(reporter: Reporter, scheduler: AsyncIOScheduler) -> None:
        scene.reports = (WEEKLY.model_copy(update={"cron": "0 9 * * tue"}), DAILY)
        reporter.follow(Origin.ADDED)
        due = {job.id: job.next_run_time.astimezone(UTC) for job in scheduler.get_jobs()}
        assert sorted(due) == ["report daily", "report weekly"]
        assert due["report weekly"].strftime("%a %H:%M") == "Tue 09:00"
        scene.reports = (DAILY,)
        reporter.follow(Origin.ADDED)
        assert [job.id for job in scheduler.get_jobs()] == ["report daily"]

    play(scene, act)


def test_a_new_report_says_since_when_it_counts() -> None:
    """It came with a reload."""
    scene = Scene(reports=())

    async def act(reporter: Reporter, _: AsyncIOScheduler) -> None:
        scene.reports = (DAILY,)
        reporter.follow(Origin.ADDED)
        await until(lambda: scene.sent)

    play(scene, act)
    assert scene.sent[0][1].body(None).startswith("since this report came into the rules:")


def test_one_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    """The next goes out at its time."""
    scene = Scene(faults=[RuntimeError()])

    async def act(_: Reporter, __: AsyncIOScheduler) -> None:
        await until(lambda: scene.sent)

    play(scene, act)
    assert "RuntimeError" in caplog.text


def test_a_clock_that_is_put_back_repeats_nothing() -> None:
    """The next is after the one that was sent, also if the clock says that this one is yet to come."""
    scene = Scene(wall=datetime.now(UTC))

    async def act(reporter: Reporter, scheduler: AsyncIOScheduler) -> None:
        due = scheduler.get_job("report weekly").next_run_time
        await reporter._publish("weekly", due)
        assert scheduler.get_job("report weekly").next_run_time == due + timedelta(weeks=1)

    play(scene, act)
