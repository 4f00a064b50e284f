"""Flap suppression: how many changes of a condition, within how long, are too many.

Changes are counted before `for`, since that is where something too quick for `for` still shows. Peers judge by a
percentage of the last 20 or so periodic samples; etcd tells changes only, so here it is changes per time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.config.schema import Flap


class FlapCounter:
    """The changes of one alert's condition."""

    __slots__ = ("_times", "changes")

    def __init__(self, flap: Flap) -> None:
        self._times: deque[float] = deque(maxlen=flap.changes)
        self.changes = 0
        """Changes of the current or last flap, those that led to it included."""

    def count(self, at: float, flap: Flap) -> bool:
        """Count a change at `at` (monotonic seconds); return whether it is the `changes`-th `within`."""
        times = self._times
        if times.maxlen != flap.changes:
            self._times = times = deque(times, maxlen=flap.changes)
        times.append(at)
        if len(times) < flap.changes or at - times[0] > flap.within:
            return False
        self.changes = flap.changes
        return True

    @property
    def times(self) -> tuple[float, ...]:
        """The changes that count, in monotonic seconds."""
        return tuple(self._times)

    def resume(self, times: Iterable[float], changes: int) -> None:
        """Go on where another left off."""
        self._times.extend(times)
        self.changes = changes

    def count_more(self) -> None:
        """Count a change while flapping."""
        self.changes += 1

    def clear(self) -> None:
        """Begin anew: what led to the last flapping does not lead to the next."""
        self._times.clear()
