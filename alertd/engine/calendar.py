"""Which calendar windows are open.

The one place of the engine that asks the calendar. Windows are looked at when one is due to open or close, and every
minute besides, since the wall clock may be stepped meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from alertd.model import Instant
    from alertd.window import Window

LOOK_AGAIN = 60.0
"""Seconds after which the wall clock is looked at again, should it have been stepped."""


class Calendar:
    """The windows of one ruleset; `open` holds the names of those that are."""

    __slots__ = ("_next", "_windows", "open")

    def __init__(self, windows: Mapping[str, Window], wall: datetime | None = None) -> None:
        self._windows = windows
        self._next: datetime | None = None
        self.open: frozenset[str] = frozenset()
        if wall is not None:
            self.turn(wall)

    def turn(self, wall: datetime) -> None:
        """Look at the clock."""
        self.open = frozenset(name for name, window in self._windows.items() if window.is_open(wall))
        changes = (window.next_change(wall) for window in self._windows.values())
        self._next = min((change for change in changes if change is not None), default=None)

    def due(self, now: Instant, ends: Iterable[datetime]) -> float | None:
        """Return when to look again, in monotonic seconds: for the windows, and for what `ends` at some moments."""
        moments = [moment for moment in (self._next, *ends) if moment is not None]
        if not moments:
            return None
        return now.mono + min(max((min(moments) - now.wall).total_seconds(), 0.0), LOOK_AGAIN)
