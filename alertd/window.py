"""Calendar windows: a cron expression says when one opens, a duration how long it stays open.

Pure: whether a moment is inside, and when that changes next, is a question about the calendar alone. Cron is cron's:
numbers of weekdays count from Sunday as 0 (or 7), day of month and day of week are alternatives where both are
restricted, and daylight saving is handled as Debian's cron does it: what the lost hour of spring swallows happens right
after it, what the double hour of autumn would repeat happens once. A duration is elapsed time, whatever the clocks do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise, takewhile
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAR = timedelta(days=7)
_DAY = timedelta(days=1)
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_YEARS_LATER = datetime(2034, 1, 1, tzinfo=UTC)
"""Further away than the longest duration, and than the second leap day."""
_LONGEST = 500
"""Characters of an expression; one that names every minute, hour and day has 400."""


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

        For one whose openings follow so closely that it stays open for more than a week, a moment by then at which to
        ask again.
        """
        end: datetime | None = None
        for opening in self._openings(wall):
            if opening > (end or wall):
                return end or opening
            end = opening + timedelta(seconds=self.duration)
            if end > wall + _FAR:
                break
        return end

    @property
    def never_closes(self) -> bool:
        """Whether it always opens again before it closes; the hour that daylight saving moves is not looked at."""
        duration = timedelta(seconds=self.duration)
        minutes, hours, *day = self.cron.split()
        times = list(_until(_SOME_DAY + _DAY, f"{minutes} {hours} * * *"))
        if any(later - earlier > duration for earlier, later in pairwise(times)):
            return False
        longest = duration + (times[-1] - times[0])
        if day == ["*", "*", "*"]:
            return longest >= _DAY
        days = chain([_SOME_DAY], _until(_YEARS_LATER, f"0 0 {' '.join(day)}"), [_YEARS_LATER])
        return all(later - earlier <= longest for earlier, later in pairwise(days))

    def _openings(self, wall: datetime) -> Iterator[datetime]:
        """Yield the openings, in UTC, of all windows that end after `wall`, in order."""
        return _fires(self.cron, self.timezone, wall - timedelta(seconds=self.duration))


def next_fire(cron: str, timezone: str, wall: datetime) -> datetime | None:
    """Return when `cron` fires next after `wall` in a time zone, in UTC; None if never (in the next 50 years)."""
    return next(_fires(cron, timezone, wall), None)


def check_cron(cron: str) -> None:
    """Raise ValueError, in words that follow "cron", for an expression that is none, or that never fires."""
    fields = cron.split()
    if len(fields) != 5 or len(cron) > _LONGEST:
        raise ValueError("must be five cron fields such as `0 2 * * mon-fri`")
    try:
        fires = next(CronSim(cron, _SOME_DAY), None)
    except CronSimError as error:
        if _is_cron(" ".join([*fields[:3], "*", fields[4]])) and _is_cron(f"0 0 1 {fields[3]} *"):
            fires = None
        else:
            raise ValueError(f"must be five cron fields such as `0 2 * * mon-fri`: {str(error).lower()}") from None
    if fires is None:
        raise ValueError("never fires: there is no such day")


def _is_cron(cron: str) -> bool:
    try:
        CronSim(cron, _SOME_DAY)
    except CronSimError:
        return False
    return True


def _fires(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Yield when `cron` fires after a moment, in UTC, in order.

    Asked within the second of autumn's double hours, CronSim answers with what happened in the first.
    """
    found = CronSim(cron, after.astimezone(ZoneInfo(timezone)))
    return (fire for fire in (each.astimezone(UTC) for each in found) if fire > after)


def _until(end: datetime, cron: str) -> Iterator[datetime]:
    """Yield when `cron` fires, in UTC, from some day on and before `end`."""
    return takewhile(lambda fire: fire < end, CronSim(cron, _SOME_DAY - timedelta(minutes=1)))
