"""How fast one target may be sent to: some at once, then one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alertd.config.schema import Rate

_BURST = 10
"""Messages that a provider is trusted to take at once where Apprise names a pause between them."""


class Pace:
    """A bucket of `burst` tokens that gains one every `seconds_apart`; used under its lane's lock."""

    def __init__(self, burst: int, seconds_apart: float) -> None:
        """Begin with a full bucket; 0 seconds apart is no limit."""
        self._burst = burst
        self._apart = seconds_apart
        self._spent = 0.0
        self._seen = 0.0

    @classmethod
    def of(cls, rate: Rate | None, seconds_apart: float) -> Pace:
        """Return the pace of a channel's `rate`, or else of what Apprise holds its service to."""
        if rate is not None:
            return cls(rate.count, rate.seconds / rate.count)
        return cls(_BURST, seconds_apart)

    def become(self, other: Pace) -> None:
        """Go on at another's pace; what was taken counts there, up to a bucket that is just empty."""
        self._burst, self._apart = other._burst, other._apart
        self._spent = min(self._spent, self._burst)

    def take(self, now: float) -> float:
        """Take a token at the monotonic time `now` and return 0, or return the seconds until there is one."""
        if self._apart <= 0:
            return 0.0
        self._spent = max(self._spent - (now - self._seen) / self._apart, 0.0)
        self._seen = now
        missing = self._spent + 1 - self._burst
        if missing > 1e-9:
            return missing * self._apart
        self._spent += 1
        return 0.0
