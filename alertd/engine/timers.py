"""Deadlines: one heap for all, with lazy deletion.

A timer that is stopped or moved to later leaves its entry in the heap until that entry's time comes; so stopping costs
nothing, and a timer that is moved on at every event has one entry, not one an event. The price is a wake-up at which
nothing is due.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from alertd.model import Instant


class Timer:
    """One deadline that can be set again and again; `due` is in monotonic seconds, None while it does not run."""

    __slots__ = ("_fire", "due", "queued")

    def __init__(self, fire: Callable[[Instant], None]) -> None:
        self._fire = fire
        self.due: float | None = None
        self.queued: float | None = None

    def fire(self, now: Instant) -> None:
        """Do what is to be done then."""
        self._fire(now)


class Timers:
    """All deadlines of one engine."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0

    def start(self, timer: Timer, at: float) -> None:
        """Let `timer` fire at `at` (monotonic seconds) instead of any time set before."""
        timer.due = at
        if timer.queued is None or at < timer.queued:
            self._push(timer, at)

    def next_due(self) -> float | None:
        """Return when to `run` next, in monotonic seconds: no later than the earliest deadline."""
        return self._heap[0][0] if self._heap else None

    def run(self, now: Instant) -> None:
        """Fire all that is due at `now`, in order, each with its own deadline as its time."""
        heap = self._heap
        at = now
        while heap and heap[0][0] <= now.mono:
            queued, _, timer = heapq.heappop(heap)
            if timer.queued != queued:
                continue
            timer.queued = None
            if timer.due is None:
                continue
            if timer.due > queued:
                self._push(timer, timer.due)
                continue
            timer.due = None
            if at.mono != queued:
                at = now.shifted_to(queued)
            timer.fire(at)

    def _push(self, timer: Timer, at: float) -> None:
        self._count += 1
        timer.queued = at
        heapq.heappush(self._heap, (at, self._count, timer))


def stop(timer: Timer | None) -> None:
    """Let `timer` not fire; None is a timer that was never needed."""
    if timer is not None:
        timer.due = None
