"""Sends each report when its time has come.

Part of the shell: it arms a job of the scheduler for each report's next time, closes that report's page of the ledger,
and hands what is written to `send`. The time comes from `window.next_fire`, since the scheduler's own cron counts
weekdays differently. What a report says is decided in `text` and `chart`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from alertd.delivery.letter import Letter, Tone
from alertd.model import AlertState
from alertd.report import chart, text
from alertd.report.summary import Edition, Origin
from alertd.window import next_fire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    from alertd.config.schema import Report, Ruleset
    from alertd.delivery.lane import LaneStatus
    from alertd.model import Alert, Instant, ServiceFacts
    from alertd.report.ledger import Ledger

_log = structlog.get_logger("alertd")

_CHARTS_KEPT = 20
"""Charts that lie ready for targets which have not taken them yet."""


class Source(Protocol):
    """What a report tells of, besides what is in the ledger."""

    @property
    def unready_reason(self) -> str:
        """Why what is known may be out of date, empty if it is not."""

    @property
    def may_speak(self) -> bool:
        """Whether it is for this replica to tell people."""

    @property
    def ruleset(self) -> Ruleset:
        """The ruleset in force."""

    def services(self) -> Iterator[ServiceFacts]:
        """Return all services that are known."""

    def alerts(self) -> Iterator[Alert]:
        """Return the alerts under way."""

    def targets(self) -> Iterable[LaneStatus]:
        """Return every target of every channel as it is now."""


class Reporter:
    """All reports of the ruleset in force; `send` queues a letter for a channel."""

    def __init__(
        self,
        source: Source,
        ledger: Ledger,
        scheduler: AsyncIOScheduler,
        clock: Callable[[], Instant],
        send: Callable[[str, Letter], object],
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._scheduler = scheduler
        self._clock = clock
        self._send = send
        self._folder: Path | None = None
        self._drawing = asyncio.Lock()
        self._armed: dict[str, tuple[str, str]] = {}
        """By what times each report is armed."""

    def follow(self, origin: Origin) -> None:
        """Arm what the ruleset in force wants; one that is new counts from now on, one that stays goes on counting."""
        now = self._clock()
        reports = self._reports()
        for name in self._ledger.open_pages:
            if name not in reports:
                self._ledger.drop(name)
                self._disarm(name)
        for name, report in reports.items():
            if name not in self._ledger.open_pages:
                self._ledger.open(name, now, origin)
            if self._armed.get(name) != _times(report):
                self._arm(report, now.wall)
        self._scheduler.wakeup()  # a reload is a good moment to look at a clock that may have been set

    def close(self) -> None:
        """Drop the charts."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _reports(self) -> dict[str, Report]:
        return {report.name: report for report in self._source.ruleset.reports}

    def _arm(self, report: Report, after: datetime) -> None:
        """Let the report be sent at its next time after a moment."""
        self._disarm(report.name)
        due = next_fire(report.cron, report.timezone, after)
        if due is not None:
            self._armed[report.name] = _times(report)
            self._scheduler.add_job(
                self._publish,
                "date",
                args=[report.name, due],
                run_date=due,
                id=_job(report.name),
                max_instances=2,  # the one that arms the next is still running
            )

    def _disarm(self, name: str) -> None:
        if self._armed.pop(name, None) is not None and self._scheduler.get_job(_job(name)) is not None:
            self._scheduler.remove_job(_job(name))

    async def _publish(self, name: str, due: datetime) -> None:
        """Send a report, and arm the next as the rules then have it."""
        now = self._clock()
        try:
            if name in self._reports():
                await self._send_edition(self._edition(self._reports()[name], now), self._reports()[name].channel)
        finally:
            if name in self._reports():
                self._arm(self._reports()[name], max(now.wall, due))

    async def _send_edition(self, edition: Edition, channel: str) -> None:
        """Send a report, unless another replica speaks; that one has the figures of the time as well."""
        if self._source.may_speak:
            async with self._drawing:
                path = await asyncio.to_thread(self._draw, edition)
            self._send(channel, letter(edition, path))
            _log.info("report", report=edition.name, channel=channel)

    def _edition(self, report: Report, now: Instant) -> Edition:
        """Close the report's page, and add what is true now."""
        source = self._source
        summary = self._ledger.close(report.name, now)
        if self._ledger.without_instances:
            self._ledger.forget({facts.name for facts in source.services()}, now)
        firing = [alert for alert in source.alerts() if alert.flapping or alert.state is AlertState.FIRING]
        return Edition(
            name=report.name,
            zone=report.timezone,
            place=source.ruleset.settings.name,
            summary=summary,
            firing=tuple(sorted(firing, key=lambda alert: alert.since or now)),
            stuck=tuple(lane for lane in source.targets() if lane.stuck_since is not None),
            trouble=source.unready_reason,
        )

    def _draw(self, edition: Edition) -> Path | None:
        """Write the chart to a file of its own; None, and a warning, if there is no room for it."""
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="alertd-"))
            path = self._folder / f"{_file_name(edition.name)}-{edition.summary.ended.wall:%Y%m%dT%H%M%S}.svg"
            path.write_text(chart.draw(edition), encoding="utf-8")
            for old in sorted(self._folder.iterdir(), key=lambda each: each.stat().st_mtime)[:-_CHARTS_KEPT]:
                with suppress(OSError):
                    old.unlink()
        except OSError as error:
            _log.warning("a report goes without its chart", report=edition.name, error=error.strerror)
            return None
        return path


def letter(edition: Edition, path: Path | None) -> Letter:
    """Return what is sent of a report; `path` is the chart."""
    mark = f"report\0{edition.name}\0{edition.summary.ended.wall.isoformat()}"
    identifier = sha256(mark.encode()).hexdigest()[:12]
    return Letter(
        id=identifier,
        title=text.title(edition),
        tone=Tone.INFO,
        body=partial(text.body, edition, identifier),
        attachment=path,
    )


def _times(report: Report) -> tuple[str, str]:
    return report.cron, report.timezone


def _job(name: str) -> str:
    return f"report {name}"


def _file_name(name: str) -> str:
    """Return a report's name as part of a file's: letters, digits and dashes, whatever it is made of."""
    return "".join(each if each.isalnum() and each.isascii() else "-" for each in name)[:40] or "report"
