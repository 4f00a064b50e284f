"""The peak that a percentage is of: the highest number up together for at least 5 min in the last 24 h.

Levels that hold now are a stack of the times at which the count rose to each; levels that ended are kept only while no
later one is as high. So a change costs O(1) amortised, and nothing is sampled.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import groupby
from typing import NamedTuple

SUSTAINED = 300.0
"""Seconds for which a number must have been up together to count."""

REMEMBERED = 86_400.0
"""Seconds for which a level that ended counts."""


class PeakPast(NamedTuple):
    """A peak as plain data: `risen` are runs of levels reached at one time, `ended` as in `Peak`."""

    risen: list[tuple[float, int]]
    ended: list[tuple[int, float, float]]


class Peak:
    """The peak of one count; times are monotonic seconds and must not go back."""

    __slots__ = ("_ended", "_risen")

    def __init__(self) -> None:
        self._risen: list[float] = []
        """At index n: since when more than n are up."""
        self._ended: deque[tuple[int, float, float]] = deque()
        """(level, when it ended, from when it is forgotten), levels falling."""

    def count(self, up: int, at: float) -> None:
        """Take note that `up` are up from `at` on."""
        risen = self._risen
        while len(risen) > up:
            level, began = len(risen), risen.pop()
            if at - began >= SUSTAINED:
                self._end(level, at)
                del risen[up:]
        risen.extend([at] * (up - len(risen)))

    def highest(self, at: float, *, held: bool) -> tuple[int, float | None]:
        """Return the peak and when that level ended (None: it holds); while `held`, an ended level does not age."""
        ended = self._ended
        while ended and ended[0][2] < at and not held:
            ended.popleft()
        now = bisect_right(self._risen, at - SUSTAINED)
        if not ended or ended[0][0] <= now:
            return now, None
        level, when, _ = ended[0]
        if held:
            ended[0] = (level, when, at + REMEMBERED)
        return level, when

    def past(self) -> PeakPast:
        """Return what another can go on with."""
        return PeakPast([(at, len(list(run))) for at, run in groupby(self._risen)], list(self._ended))

    def resume(self, past: PeakPast) -> None:
        """Go on where another left off."""
        self._risen = [at for at, number in past.risen for _ in range(number)]
        self._ended = deque(past.ended)

    def _end(self, level: int, at: float) -> None:
        ended = self._ended
        while ended and ended[-1][0] <= level:
            ended.pop()
        ended.append((level, at, at + REMEMBERED))
