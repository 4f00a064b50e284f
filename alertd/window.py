"""Calendar windows: a cron expression says when one opens, a duration how long it stays open.

Pure: whether a moment is inside, and when that changes next, is a question about the calendar alone. Cron is cron's:
numbers of weekdays count from Sunday as 0 (or 7), day of month and day of week are alternatives where both are
restricted, and daylight saving is handled as Debian's cron does it: what the lost hour of spring swallows happens right
after it, what the double hour of autumn would repeat happens once. A duration is elapsed time, whatever the clocks do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Window:
    """Opens when `cron` fires in `timezone`, and stays open for `duration` seconds."""

    cron: str
    duration: float
    timezone: str = "UTC"

    def is_open(self, wall: datetime) -> bool:
        """Tell whether `wall` (aware) lies inside."""
        opening = next(self._openings(wall), None)
        return opening is not None and opening <= wall

    def next_change(self, wall: datetime) -> datetime | None:
        """Return when it opens or closes next after `wall`, in UTC; None if never again.

        For one that stays open for more than a week, a moment by then at which to ask again.
        """
        end: datetime | None = None
        for opening in self._openings(wall):
            if opening > (end or wall):
                return end or opening
            end = opening + timedelta(seconds=self.duration)
            if end > wall + _FAR:
                break
        return end

    def _openings(self, wall: datetime) -> Iterator[datetime]:
        """Yield the openings, in UTC, of all windows that end after `wall`, in order."""
        begin = wall - timedelta(seconds=self.duration)
        return (each.astimezone(UTC) for each in CronSim(self.cron, begin.astimezone(ZoneInfo(self.timezone))))


def next_fire(cron: str, timezone: str, wall: datetime) -> datetime | None:
    """Return when `cron` fires next after `wall` in a time zone, in UTC; None if never (in the next 50 years)."""
    fire = next(CronSim(cron, wall.astimezone(ZoneInfo(timezone))), None)
    return None if fire is None else fire.astimezone(UTC)


def check_cron(cron: str) -> None:
    """Raise ValueError, in words that follow "cron", for an expression that is none, or that never fires."""
    if len(cron.split()) != 5:
        raise ValueError("must be five cron fields such as `0 2 * * mon-fri`")
    try:
        fires = next(CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise ValueError(f"must be five cron fields such as `0 2 * * mon-fri`: {str(error).lower()}") from None
    if fires is None:
        raise ValueError("never fires: there is no such day")
