"""Which targets take nothing, since when, and from when on that is long enough to tell somebody else.

Pure. A target is *stuck* after `FAILURES` attempts in a row that failed, whichever notifications they were of, or
`PATIENCE` after the first attempt since which it took nothing: one that hangs fails no attempt. All that waits behind
what it does not take waits as long, so it is the target that counts and not the notification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alertd.delivery.lane import Attempt, Delivery
    from alertd.model import Instant

FAILURES = 3
PATIENCE = 120.0
"""Seconds."""


class Trouble:
    """What is wrong with one target; `since` is when the first attempt of it began."""

    __slots__ = ("error", "failures", "is_stuck", "label", "since")

    def __init__(self, label: str, since: Instant) -> None:
        self.label = label
        self.since = since
        self.failures = 0
        self.error = ""
        self.is_stuck = False


class Troubles:
    """The targets that took nothing since they were last attempted, by the numbers of their boxes."""

    def __init__(self) -> None:
        self._by_box: dict[int, Trouble] = {}

    def of(self, number: int) -> Trouble | None:
        """Return the trouble of a target that is stuck."""
        trouble = self._by_box.get(number)
        return trouble if trouble is not None and trouble.is_stuck else None

    def note_attempt(self, attempt: Attempt) -> bool:
        """Take note of an attempt that is no end; return whether the target is stuck by it, and was not before."""
        trouble = self._by_box.setdefault(attempt.lane, Trouble(attempt.target, attempt.begun))
        if not attempt.error:
            return False
        trouble.failures += 1
        trouble.error = attempt.error
        return self._judge(trouble, trouble.failures >= FAILURES)

    def note_end(self, delivery: Delivery, *, is_idle: bool) -> None:
        """Take note of an end: one that was taken ends the trouble.

        So does one that was refused, if nothing failed before it or the target has nothing more to be told.
        """
        trouble = self._by_box.get(delivery.lane)
        if trouble is not None and (delivery.ok or is_idle or not trouble.failures):
            del self._by_box[delivery.lane]

    def seed(self, number: int, trouble: Trouble, now: Instant) -> None:
        """Take over what another daemon knew of a target; of several the one that began first counts."""
        known = self._by_box.get(number)
        if known is None or trouble.since.mono < known.since.mono:
            trouble.failures = max(trouble.failures, known.failures if known is not None else 0)
            self._by_box[number] = trouble
            self._judge(trouble, trouble.failures >= FAILURES or trouble.since.mono + PATIENCE <= now.mono)

    def due(self, now: Instant) -> list[int]:
        """Return the targets whose time is up, which are stuck from now on."""
        return [
            number
            for number, trouble in self._by_box.items()
            if self._judge(trouble, trouble.since.mono + PATIENCE <= now.mono)
        ]

    def next_deadline(self) -> float | None:
        """Return when the next target will be stuck, in monotonic seconds."""
        return min((each.since.mono + PATIENCE for each in self._by_box.values() if not each.is_stuck), default=None)

    def forget(self, number: int) -> None:
        """Forget a target that is gone."""
        self._by_box.pop(number, None)

    def clear(self) -> None:
        """Forget all."""
        self._by_box.clear()

    def _judge(self, trouble: Trouble, is_stuck: bool) -> bool:  # noqa: FBT001 - what is judged
        is_new = is_stuck and not trouble.is_stuck
        trouble.is_stuck = trouble.is_stuck or is_stuck
        return is_new
