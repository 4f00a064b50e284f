"""What really happened: which alerts ought to have fired and ended when, and when nobody could see or speak.

Times are monotonic seconds of this process, in which the receivers' clocks run as well. Invariant: the edges of one
alert alternate, beginning with a firing.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOWN = "down"
"""The rule on every instance: it is down, and not because it was stopped on purpose."""
FEW = "few"
"""The rule on services with a minimum: fewer instances are up."""


class Alert(NamedTuple):
    """A rule and its target: `down web/a`, `few web`."""

    rule: str
    target: str

    def __str__(self) -> str:
        return f"{self.rule} {self.target}"


class Standing(Enum):
    """How an instance stands."""

    UP = "up"
    LOST = "lost"
    STOPPED = "stopped"


class Edge(NamedTuple):
    """An alert began to be due, or ended.

    It happened at `revision`, not before `since` and not after `by`, which lie apart by what etcd took to answer.
    """

    is_firing: bool
    since: float
    by: float
    revision: int


class Window(NamedTuple):
    """A time in which a fault kept alertd from speaking; where not `is_watched`, also from seeing.

    It holds for one channel if that is named, and counts as over at `end`, when the fault lets alertd work again.
    """

    start: float
    end: float
    is_watched: bool
    channel: str = ""


class Truth:
    """The record of one run; may be used by several threads. `minimums` are how many must be up, by service."""

    def __init__(self, minimums: Mapping[str, int]) -> None:
        self.minimums = dict(minimums)
        self.edges: dict[Alert, list[Edge]] = {}
        self.breaks: list[float] = []
        """When a process was killed, or a connection broken, so that what was accepted just then is not recorded."""
        self.stalls: list[tuple[float, float]] = []
        """When a process was frozen that may have been about to send, and when it went on."""
        self.transitions = 0
        self._windows: list[Window] = []
        self._open: dict[int, Window] = {}
        self._instances: dict[str, Standing] = {}
        self._lock = threading.RLock()

    # --- services ----------------------------------------------------------------------------------------------------

    def standing_of(self, instance: str) -> Standing:
        """Return how an instance stands; one that was never up counts as stopped."""
        return self._instances.get(instance, Standing.STOPPED)

    def instances(self) -> dict[str, Standing]:
        """Return how all stand."""
        with self._lock:
            return dict(self._instances)

    def begin_with(self, instances: Mapping[str, Standing]) -> None:
        """Set how instances stand before anybody watches."""
        self._instances.update(instances)

    def note(self, changes: Mapping[str, Standing], since: float, by: float, revision: int) -> None:
        """Record that instances changed, all at one revision, some time between `since` and `by`."""
        with self._lock:
            for instance, standing in changes.items():
                self.transitions += standing is not self._instances.get(instance)
                self._instances[instance] = standing
            for alert, is_firing in self._due(changes).items():
                edges = self.edges.setdefault(alert, [])
                if is_firing is not bool(len(edges) % 2):
                    edges.append(Edge(is_firing, since, by, revision))

    def _due(self, changes: Mapping[str, Standing]) -> dict[Alert, bool]:
        """Return which of the alerts that the changes touch ought to fire now."""
        due = {Alert(DOWN, name): self._instances[name] is Standing.LOST for name in changes}
        for service in {name.partition("/")[0] for name in changes} & self.minimums.keys():
            up = sum(
                standing is Standing.UP
                for name, standing in self._instances.items()
                if name.partition("/")[0] == service
            )
            due[Alert(FEW, service)] = up < self.minimums[service]
        return due

    def firing(self) -> set[Alert]:
        """Return the alerts that ought to fire now."""
        with self._lock:
            return {alert for alert, edges in self.edges.items() if len(edges) % 2}

    # --- faults ------------------------------------------------------------------------------------------------------

    @contextmanager
    def dark(
        self, *, is_watched: bool, channel: str = "", forced: float = 0.0, since: float | None = None
    ) -> Iterator[None]:
        """Record a window around the block, from `since` if that is earlier, and for `forced` seconds after it."""
        window = Window(time.monotonic() if since is None else since, inf, is_watched, channel)
        with self._lock:
            self._open[id(window)] = window
        try:
            yield
        finally:
            with self._lock:
                del self._open[id(window)]
                self._windows.append(window._replace(end=time.monotonic() + forced))

    def windows(self) -> list[Window]:
        """Return all windows, those that are still open without an end."""
        with self._lock:
            return sorted([*self._windows, *self._open.values()])

    def note_break(self) -> None:
        """Record that what is accepted about now may be told again, because of what is done now."""
        self.breaks.append(time.monotonic())
