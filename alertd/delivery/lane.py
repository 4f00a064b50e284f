"""One target's queue and the daemon thread that empties it: in order, with retries, for as long as it takes.

Each target has a lane of its own, so one that is slow, dead or trickling delays nobody else, and being a daemon thread
it cannot keep the process alive. The notification at the head is retried until it is taken, refused for good, or too
old; what comes after it waits, so order holds. Invariant: each notification ends in exactly one `Delivery`, unless the
lane is closed first; what is then undelivered is counted, and remains to be sent.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from random import random
from typing import TYPE_CHECKING

import structlog

from alertd.config.schema import Settings, Templates
from alertd.delivery import render
from alertd.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from alertd.delivery.letter import Letter
    from alertd.delivery.pace import Pace
    from alertd.delivery.sender import Sender
    from alertd.model import Instant, Notification

    Clock = Callable[[], Instant]

_log = structlog.get_logger("alertd.delivery")

_HANGS_AFTER = 10.0
"""Seconds of one send after which a target counts as stuck."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How it ended with one notification at one target. `seconds` run from the decision to this end."""

    notification: str
    channel: str
    target: str
    ok: bool
    attempts: int
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How hard a lane tries. Times are seconds; `jitter` gives a number from 0 to 1 for each pause."""

    capacity: int = 1000
    first_pause: float = 1.0
    longest_pause: float = 300.0
    give_up_after: float = 86400.0
    jitter: Callable[[], float] = random


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """A lane as it is now. `queued` counts the one being sent; `dropped` are among the `failed`.

    `stuck_since` is when the notification at the head was first attempted, if that failed or hangs.
    """

    channel: str
    target: str
    service: str
    queued: int
    sent: int
    failed: int
    dropped: int
    last_error: str
    stuck_since: datetime | None


@dataclass(frozen=True, slots=True)
class Lettering:
    """What the wording of a lane's letters depends on; a reload may change it."""

    settings: Settings
    templates: Templates


@dataclass(frozen=True, slots=True)
class Wiring:
    """What lanes share: the clock, who hears of each end (called in the lane's thread), and how hard to try."""

    clock: Clock
    report: Callable[[Delivery], None]
    persistence: Persistence = field(default_factory=Persistence)


@dataclass(slots=True)
class _Parcel:
    """One letter to be: `write(lettering, delivered)` makes it, anew for each attempt. `at` is when it was decided."""

    id: str
    at: Instant
    write: Callable[[Lettering, datetime], Letter]
    attempts: int = 0
    begun: Instant | None = None
    error: str = ""


class _Mood(IntEnum):
    """How far a lane is from its end; it never goes back."""

    WORKING = 0
    RETIRING = 1
    """Its target is no longer in the rules: what is queued is tried once."""
    HURRYING = 2
    """The daemon stops: waiting retries are made now, and the first failure is the end."""
    CLOSED = 3


class Lane:
    """One target. All methods may be called from any thread, and none but `drain` waits."""

    def __init__(self, channel: str, label: str, sender: Sender, pace: Pace, wiring: Wiring) -> None:
        """Begin with an empty queue; `follow` sets it going."""
        self.channel = channel
        self.label = label
        self._lettering = Lettering(Settings(), Templates())
        self._sender = sender
        self._pace = pace
        self._wiring = wiring
        self._queue: deque[_Parcel] = deque()
        self._current: _Parcel | None = None
        self._mood = _Mood.WORKING
        self._sent = self._failed = self._dropped = 0
        self._last_error = ""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"alertd {label}", daemon=True)

    def follow(self, lettering: Lettering) -> None:
        """Word what is sent from now on as `lettering` says; the first call sets the lane going."""
        self._lettering = lettering
        if self._thread.ident is None:
            self._thread.start()

    def submit(self, notification: Notification) -> None:
        """Queue a notification; if the queue is full, the oldest that waits ends as failed, and says so."""

        def write(lettering: Lettering, delivered: datetime) -> Letter:
            return render.letter(notification, lettering.settings, lettering.templates, delivered=delivered)

        self._queue_up(_Parcel(notification.id, notification.at, write))

    def send(self, letter: Letter) -> None:
        """Queue a letter that is ready, in its turn like the others."""
        self._queue_up(_Parcel(letter.id, self._wiring.clock(), lambda _lettering, _delivered: letter))

    def _queue_up(self, parcel: _Parcel) -> None:
        capacity = self._wiring.persistence.capacity
        oldest = None
        with self._changed:
            is_closed = self._mood is _Mood.CLOSED
            if not is_closed:
                oldest = self._queue.popleft() if len(self._queue) >= capacity else None
                self._dropped += oldest is not None
                self._queue.append(parcel)
                self._changed.notify_all()
        if oldest is not None:
            self._end(oldest, f"{capacity} are queued already, so the oldest gave way")
        if is_closed:
            self._end(parcel, "its target is closed")

    def retire(self) -> None:
        """Try what is queued once, then end."""
        self._turn(_Mood.RETIRING)

    def hurry(self) -> None:
        """Make waiting retries now, and let the next failure be the end."""
        self._turn(_Mood.HURRYING)

    def close(self) -> int:
        """Begin no more sends, and return how many notifications are left; one under way is not waited for."""
        self._turn(_Mood.CLOSED)
        with self._changed:
            return self._left()

    def drain(self, seconds: float) -> bool:
        """Wait at most `seconds` until nothing is left or the lane has ended; say whether nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._left() or self._mood is _Mood.CLOSED, max(seconds, 0.0))
            return not self._left()

    @property
    def has_ended(self) -> bool:
        """Whether the thread is gone."""
        return not self._thread.is_alive()

    def status(self) -> LaneStatus:
        """Return a snapshot."""
        now = self._wiring.clock()
        with self._changed:
            return LaneStatus(
                channel=self.channel,
                target=self.label,
                service=self._sender.service,
                queued=self._left(),
                sent=self._sent,
                failed=self._failed,
                dropped=self._dropped,
                last_error=self._last_error,
                stuck_since=self._stuck_since(now),
            )

    def _stuck_since(self, now: Instant) -> datetime | None:
        head = self._current
        if head is None or head.begun is None:
            return None
        return head.begun.wall if head.error or now.mono - head.begun.mono > _HANGS_AFTER else None

    # --- the thread --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (parcel := self._next()) is not None:
            self._carry(parcel)

    def _next(self) -> _Parcel | None:
        """Wait for the next parcel; None at the lane's end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._mood in (_Mood.RETIRING, _Mood.CLOSED))
            if self._mood is _Mood.CLOSED or not self._queue:
                self._mood = _Mood.CLOSED
                self._changed.notify_all()
                return None
            self._current = self._queue.popleft()
            return self._current

    def _carry(self, parcel: _Parcel) -> None:
        """Try until the parcel has ended, or the lane."""
        while (mood := self._keep_pace()) is not _Mood.CLOSED:
            error = self._attempt(parcel)
            if error is None or self._is_final(parcel, error, mood):
                self._end(parcel, str(error or ""))
                return
            pause = self._pause(parcel, error)
            self._say_retry(parcel, error, pause)
            if mood is _Mood.HURRYING:
                self._turn(_Mood.CLOSED)
            self._rest(pause, mood)

    def _attempt(self, parcel: _Parcel) -> DeliveryError | None:
        """Send once; return what went wrong."""
        now = self._wiring.clock()
        parcel.begun = parcel.begun or now
        parcel.attempts += 1
        try:
            letter = parcel.write(self._lettering, now.wall)
            self._say_faults(letter, parcel)
            self._sender.send(letter)
        except DeliveryError as error:
            return error
        except Exception as error:  # noqa: BLE001 - one message that cannot be written must not end the thread
            return DeliveryError(f"cannot be written: {type(error).__name__}", recoverable=False)
        return None

    def _say_faults(self, letter: Letter, parcel: _Parcel) -> None:
        """Log, once a message, which templates did not render."""
        if parcel.attempts == 1:
            for fault in letter.faults:
                _log.warning("a built-in text stands in for a template", target=self.label, id=letter.id, error=fault)

    def _is_final(self, parcel: _Parcel, error: DeliveryError, mood: _Mood) -> bool:
        age = self._wiring.clock().mono - parcel.at.mono
        too_old = age > self._wiring.persistence.give_up_after
        return not error.recoverable or too_old or mood is _Mood.RETIRING

    def _pause(self, parcel: _Parcel, error: DeliveryError) -> float:
        """Return the seconds until the next attempt: exponential with full jitter, but no sooner than asked for."""
        persistence = self._wiring.persistence
        ceiling = min(persistence.first_pause * 2.0 ** min(parcel.attempts - 1, 30), persistence.longest_pause)
        return max(ceiling * persistence.jitter(), error.retry_after or 0.0)

    def _say_retry(self, parcel: _Parcel, error: DeliveryError, pause: float) -> None:
        """Remember the failure, and log the 1st, 2nd, 4th, 8th … of a parcel: loud at first, then rarer."""
        with self._changed:
            parcel.error = self._last_error = str(error)
        is_told = parcel.attempts & (parcel.attempts - 1) == 0 and self._mood is not _Mood.CLOSED
        if is_told:
            _log.warning(
                "delivery failed, will be tried again",
                target=self.label,
                notification=parcel.id,
                attempts=parcel.attempts,
                again_in=round(pause, 1),
                error=str(error),
            )

    def _end(self, parcel: _Parcel, error: str = "") -> None:
        """Count how it ended and report it, which is what makes a failure loud; a listener that fails is logged."""
        with self._changed:
            self._sent += not error
            self._failed += bool(error)
            self._last_error = error
            if self._current is parcel:
                self._current = None
            self._changed.notify_all()
        seconds = self._wiring.clock().mono - parcel.at.mono
        delivery = Delivery(
            parcel.id, self.channel, self.label, not error, parcel.attempts, seconds, error or parcel.error
        )
        try:
            self._wiring.report(delivery)
        except Exception as fault:  # noqa: BLE001 - e.g. an event loop that is closed already
            _log.warning("a delivery could not be reported", target=self.label, error=type(fault).__name__)

    def _keep_pace(self) -> _Mood:
        """Wait until the provider's rate allows a message, hurry or not; return the mood in which it is attempted."""
        with self._changed:
            while self._mood is not _Mood.CLOSED:
                seconds = self._pace.take(self._wiring.clock().mono)
                if seconds <= 0:
                    break
                self._changed.wait(seconds)
            return self._mood

    def _rest(self, seconds: float, mood: _Mood) -> None:
        """Wait until the next attempt, unless the lane is no longer in the mood in which the last one was made."""
        with self._changed:
            self._changed.wait_for(lambda: self._mood is not mood, seconds)

    def _turn(self, mood: _Mood) -> None:
        with self._changed:
            self._mood = max(self._mood, mood)
            self._changed.notify_all()

    def _left(self) -> int:
        return len(self._queue) + (self._current is not None)
