"""Which calendar windows are open, and what ends at a moment of the wall clock.

The one place of the engine that asks the calendar. It is looked at when a window is due to open or close, or something
to end, and every minute besides, since the wall clock may be stepped meanwhile.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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

    def due(self, now: Instant, *ends: datetime | None) -> float | None:
        """Return when to look again, in monotonic seconds: for the windows, and for what `ends` at some moments."""
        moments = [moment for moment in (self._next, *ends) if moment is not None]
        if not moments:
            return None
        return now.mono + min(max((min(moments) - now.wall).total_seconds(), 0.0), LOOK_AGAIN)


class Ends:
    """What ends when: a heap with lazy deletion, as that of `Timers`, but by the wall clock.

    `end_of` says when something ends as things are now, or None if it is gone; entries that say otherwise are stale.
    """

    __slots__ = ("_end_of", "_heap")

    def __init__(self, end_of: Callable[[str], datetime | None]) -> None:
        self._end_of = end_of
        self._heap: list[tuple[datetime, str]] = []

    def add(self, name: str) -> None:
        """Take note of when something ends, if it does."""
        end = self._end_of(name)
        if end is not None:
            heapq.heappush(self._heap, (end, name))

    def next(self) -> datetime | None:
        """Return when the next end is."""
        heap = self._heap
        while heap and self._end_of(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take(self, wall: datetime) -> list[str]:
        """Return what has ended by now, each once, the first first; it is told of no more."""
        taken: dict[str, None] = {}
        while (end := self.next()) is not None and end <= wall:
            taken[heapq.heappop(self._heap)[1]] = None
        return list(taken)
