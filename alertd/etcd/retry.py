"""How long to wait before trying again, and how often to say that it still does not work.

Nothing here sleeps or logs by itself but `Trouble`, whose log lines are few by construction: the first failure, then
after 1, 10 and 60 minutes and every hour, and the end. Between them once more, if what was an etcd out of reach turns
out to be one that refuses: only an operator can end that.
"""

from __future__ import annotations

import logging
import random

from alertd.errors import EtcdRefused

_log = logging.getLogger("alertd.etcd")

_REPEATS = (60.0, 600.0, 3600.0)
_THEN_EVERY = 3600.0


class Backoff:
    """Exponential backoff with jitter, so that many clients of one etcd do not come back in step."""

    def __init__(self, first: float, cap: float) -> None:
        self._first = first
        self._cap = cap
        self._failures = 0

    def reset(self) -> None:
        """Start anew: it worked."""
        self._failures = 0

    def next_delay(self) -> float:
        """Return the seconds to wait after one more failure: between half and all of the doubled delay."""
        delay = min(self._cap, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


class Trouble:
    """A trouble that lasts, told once and then rarely. Times are monotonic seconds, handed in."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._since: float | None = None
        self._told = 0
        self._next_at = 0.0
        self._is_refusal = False
        self.last = ""
        """What was noted last, while it lasts."""

    def note(self, error: Exception, now: float) -> None:
        """Tell of a failure if it is the first, the first refusal, or the last telling is long ago."""
        self.last = str(error)
        if self._since is None:
            self._since, self._told, self._next_at, self._is_refusal = now, 0, now, False
        is_worse = isinstance(error, EtcdRefused) and not self._is_refusal
        self._is_refusal = self._is_refusal or is_worse
        if now < self._next_at:
            if is_worse:
                _log.warning("%s: %s; trying on", self._what, error)
            return
        lasts = f", for {(now - self._since) / 60:.0f} min now" if self._told else ""
        _log.warning("%s%s: %s; trying on", self._what, lasts, error)
        after = _REPEATS[self._told] if self._told < len(_REPEATS) else now - self._since + _THEN_EVERY
        self._next_at = self._since + after
        self._told += 1

    def end(self, now: float) -> None:
        """Tell that it is over, if there was any."""
        self.last = ""
        if self._since is not None:
            _log.info("%s no more, after %.1f s", self._what, now - self._since)
            self._since = None
