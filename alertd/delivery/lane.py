"""One target's queue and the daemon thread that empties it: in order, with retries, for as long as it takes.

Each target has a lane of its own, so one that is slow, dead or trickling delays nobody else, and being a daemon thread
it cannot keep the process alive. An attempt ends in time, whatever the target does: its `Courier` sees to that; one
that is left behind is no longer in flight, and its late success is not heard of. The notification at the head is
retried until it is taken, refused for good, or too old; what comes after it waits, so order holds. A queue has no
limit, for what is decided is told: whoever fills it takes out what has become pointless. Invariant: each notification
ends in exactly one `Delivery`, unless it is withdrawn or recalled, or the lane is closed first; what is then
undelivered is counted, and remains to be sent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from random import random
from typing import TYPE_CHECKING, TypeVar

import structlog

from alertd.config.schema import Settings, Templates
from alertd.delivery import render
from alertd.delivery.courier import ENDS_WITHIN
from alertd.delivery.pace import Pace
from alertd.delivery.step import Step
from alertd.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from alertd.config.schema import Rate
    from alertd.delivery.courier import Courier
    from alertd.delivery.letter import Diversion, Letter
    from alertd.model import Instant, Notification

    Clock = Callable[[], Instant]

Told = TypeVar("Told")

_log = structlog.get_logger("alertd.delivery")

_HANGS_AFTER = 10.0
"""Seconds of one send after which a target counts as stuck."""
_ASK_AGAIN = 0.2
"""Seconds after which one that may not send asks again whether it may."""

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How it ended with one notification at one target. `seconds` run from the decision to this end.

    `lane` is the number of the target's lane, which stays when a reload moves the target and so changes its label.
    """

    notification: str
    channel: str
    target: str
    ok: bool
    attempts: int
    seconds: float
    error: str = ""
    lane: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that is no end: the first of a notification, as it begins, or any that failed and is made again.

    `begun` is when the first one began, `attempts` how many there were; `error` is empty of one that begins.
    """

    notification: str
    channel: str
    target: str
    lane: int
    attempts: int
    begun: Instant
    error: str = ""


@dataclass(frozen=True, slots=True)
class Flight:
    """A notification that a target is being told at this moment, and of which it is not known how that will end."""

    notification: str
    channel: str
    target: str
    lane: int
    digest: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Persistence:
    """How hard a lane tries. Times are seconds; `jitter` gives a number from 0 to 1 for each pause.

    For how long it tries is `settings.give_up_after`; an attempt that has no end after `ends_within` has failed.
    """

    ends_within: float = ENDS_WITHIN
    first_pause: float = 1.0
    longest_pause: float = 300.0
    jitter: Callable[[], float] = random


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """A lane as it is now, by its number. `queued` counts the one being sent.

    `failed` were given up: refused for good, or too old. `withdrawn` were told together with what came after them.
    `stuck_since` is when what failed or hangs was first attempted, if nothing was taken since.
    """

    channel: str
    target: str
    service: str
    queued: int
    sent: int
    failed: int
    withdrawn: int
    last_error: str
    stuck_since: datetime | None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Lettering:
    """What the wording of a lane's letters depends on; a reload may change it."""

    settings: Settings
    templates: Templates


@dataclass(frozen=True, slots=True)
class Wiring:
    """What lanes share: the clock, who hears of each end, and how hard to try; all is called in the lane's thread.

    `attempted` hears of attempts that are no ends. `may_send` is asked right before each attempt and must not wait; as
    long as it says no, what is queued is left alone. `observe` hears of each attempt right before it is made, and of
    each that was accepted as soon as that is known, with the notification's id.
    """

    clock: Clock
    report: Callable[[Delivery], None]
    persistence: Persistence = field(default_factory=Persistence)
    attempted: Callable[[Attempt], None] = lambda _attempt: None
    may_send: Callable[[], bool] = lambda: True
    observe: Callable[[Step, str], None] = lambda _step, _id: None


@dataclass(slots=True)
class _Parcel:
    """One letter to be: `write(lettering, delivered)` makes it, anew for each attempt. `at` is when it was decided."""

    id: str
    at: Instant
    write: Callable[[Lettering, datetime], Letter]
    attempts: int = 0
    begun: Instant | None = None
    error: str = ""
    is_recalled: bool = False
    is_free: bool = False
    """Whether it is no notification, and so is sent whoever leads: no other daemon has it."""


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

    def __init__(self, channel: str, label: str, courier: Courier, pace: Pace, wiring: Wiring) -> None:
        """Begin with an empty queue; `follow` sets it going."""
        self.number = next(_numbers)
        self.channel = channel
        self.label = label
        self.digest = ""
        self._lettering = Lettering(Settings(), Templates())
        self._courier = courier
        self._pace = pace
        self._wiring = wiring
        self._queue: OrderedDict[str, _Parcel] = OrderedDict()
        self._current: _Parcel | None = None
        self._in_flight = ""
        """The id of the notification being attempted, until how that ended is reported."""
        self._mood = _Mood.WORKING
        self._is_paused = self._is_held = self._is_retired = False
        self._sent = self._failed = self._withdrawn = 0
        self._last_error = ""
        self._stuck_at: Instant | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"alertd {label}", daemon=True)

    def follow(self, lettering: Lettering) -> None:
        """Word what is sent from now on as `lettering` says; the first call sets the lane going."""
        self._lettering = lettering
        if self._thread.ident is None:
            self._thread.start()

    def keep_to(self, rate: Rate | None) -> None:
        """Send at a channel's `rate` from now on, what waits for the last one included."""
        with self._changed:
            self._pace.become(Pace.of(rate, self._courier.seconds_apart))
            self._changed.notify_all()

    def submit(self, notification: Notification, diversion: Diversion | None = None) -> None:
        """Queue a notification, by `diversion` for another channel; what is queued already is so once."""

        def write(lettering: Lettering, delivered: datetime) -> Letter:
            settings, templates = lettering.settings, lettering.templates
            return render.letter(notification, settings, templates, delivered=delivered, diversion=diversion)

        self._queue_up(_Parcel(notification.id, notification.at, write))

    def send(self, letter: Letter) -> None:
        """Queue a letter that is ready, in its turn like the others."""
        self._queue_up(_Parcel(letter.id, self._wiring.clock(), lambda _lettering, _delivered: letter, is_free=True))

    def _queue_up(self, parcel: _Parcel) -> None:
        with self._changed:
            current = self._current
            if current is not None and current.id == parcel.id:
                current.is_recalled = False
            elif self._mood is not _Mood.CLOSED:
                self._queue.setdefault(parcel.id, parcel)
                self._changed.notify_all()
            is_refused = self._mood is _Mood.CLOSED and self._is_retired
        if is_refused:
            self._end(parcel, "its target is no longer in the rules")

    def withdraw(self, identifier: str) -> bool:
        """Take a notification out without a report; False if it is being attempted at this moment, or not here."""
        with self._changed:
            current = self._current
            if current is not None and current.id == identifier and not self._in_flight:
                self._current = None
            elif self._queue.pop(identifier, None) is None:
                return False
            self._withdrawn += 1
            self._changed.notify_all()
            return True

    def recall(self) -> None:
        """Drop all notifications without a report; of an attempt under way only its end is reported still."""
        with self._changed:
            current = self._current
            self._queue = OrderedDict((each.id, each) for each in self._queue.values() if each.is_free)
            if current is not None and not current.is_free:
                if self._in_flight:
                    current.is_recalled = True
                else:
                    self._current = None
            self._changed.notify_all()

    def pause(self, *, is_paused: bool = True) -> None:
        """Begin no new attempt to tell a notification, or go on; one under way is not touched, its end is reported."""
        with self._changed:
            self._is_paused = is_paused
            self._changed.notify_all()

    def hold(self, *, is_held: bool = True) -> None:
        """Begin no new attempt while another daemon's is under way, or go on; the same as `pause`, beside it."""
        with self._changed:
            self._is_held = is_held
            self._changed.notify_all()

    @property
    def in_flight(self) -> Flight | None:
        """The notification being attempted right now, or accepted and not yet reported."""
        with self._changed:
            is_letter = self._current is not None and self._current.is_free
            if not self._in_flight or is_letter:
                return None
            return Flight(self._in_flight, self.channel, self.label, self.number, self.digest)

    def retire(self) -> None:
        """Try what is queued once, then end."""
        self._is_retired = True
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
        """Wait at most `seconds` until nothing is left, and reported, or the lane has ended; say if nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_empty() or self._mood is _Mood.CLOSED, max(seconds, 0.0))
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
                service=self._courier.service,
                queued=self._left(),
                sent=self._sent,
                failed=self._failed,
                withdrawn=self._withdrawn,
                last_error=self._last_error,
                stuck_since=self._stuck_since(now),
                number=self.number,
            )

    def _stuck_since(self, now: Instant) -> datetime | None:
        head = self._current
        if head is None or head.begun is None:
            return None
        if self._stuck_at is not None:
            return self._stuck_at.wall
        return head.begun.wall if now.mono - head.begun.mono > _HANGS_AFTER else None

    # --- the thread --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (parcel := self._next()) is not None:
            self._carry(parcel)
        self._courier.close()

    def _next(self) -> _Parcel | None:
        """Wait for the next parcel; None at the lane's end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._mood in (_Mood.RETIRING, _Mood.CLOSED))
            if self._mood is _Mood.CLOSED or not self._queue:
                self._mood = _Mood.CLOSED
                self._changed.notify_all()
                return None
            self._current = self._queue.popitem(last=False)[1]
            return self._current

    def _carry(self, parcel: _Parcel) -> None:
        """Try until the parcel has ended or is withdrawn, or the lane has ended."""
        while (mood := self._begin(parcel)) is not None:
            error = self._attempt(parcel)
            if error is None or self._is_final(parcel, error, mood):
                self._end(parcel, str(error or ""))
                self._land()
                return
            self._land(error, parcel)
            pause = self._pause(parcel, error)
            self._say_retry(parcel, error, pause)
            if mood is _Mood.HURRYING:
                self._turn(_Mood.CLOSED)
            self._rest(parcel, pause, mood)

    def _begin(self, parcel: _Parcel) -> _Mood | None:
        """Wait until the parcel may be attempted; return the mood in which it is, or None if it is not any more.

        The provider's rate is kept, hurry or not. Who hurries and may not send has come to the end.
        """
        has_token = False
        with self._changed:
            while self._current is parcel and self._mood is not _Mood.CLOSED:
                seconds = 0.0 if has_token else self._pace.take(self._wiring.clock().mono)
                has_token = seconds <= 0
                if has_token and (parcel.is_free or self._may_tell()):
                    self._in_flight = parcel.id
                    return self._mood
                if has_token and self._mood is _Mood.HURRYING:
                    self._turn(_Mood.CLOSED)
                else:
                    self._changed.wait(seconds or _ASK_AGAIN)
            return None

    def _may_tell(self) -> bool:
        return not self._is_paused and not self._is_held and self._wiring.may_send()

    def _land(self, error: DeliveryError | None = None, parcel: _Parcel | None = None) -> None:
        """Let go of the notification that was attempted; the `parcel` that it failed with stays, unless recalled."""
        with self._changed:
            self._in_flight = ""
            if parcel is not None:
                parcel.error = self._last_error = str(error)
                self._stuck_at = self._stuck_at or parcel.begun
                if parcel.is_recalled:
                    self._current = None
            self._changed.notify_all()

    def _attempt(self, parcel: _Parcel) -> DeliveryError | None:
        """Send once; return what went wrong."""
        now = self._wiring.clock()
        if parcel.begun is None:
            parcel.begun = now
            self._say_attempt(parcel)
        parcel.attempts += 1
        try:
            letter = parcel.write(self._lettering, now.wall)
            self._say_faults(letter, parcel)
            self._wiring.observe(Step.ATTEMPTED, parcel.id)
            self._courier.send(letter)
            self._wiring.observe(Step.ACCEPTED, parcel.id)
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
        too_old = age > self._lettering.settings.give_up_after
        return not error.recoverable or too_old or mood is _Mood.RETIRING

    def _pause(self, parcel: _Parcel, error: DeliveryError) -> float:
        """Return the seconds until the next attempt: exponential with full jitter, but no sooner than asked for."""
        persistence = self._wiring.persistence
        ceiling = min(persistence.first_pause * 2.0 ** min(parcel.attempts - 1, 30), persistence.longest_pause)
        return max(ceiling * persistence.jitter(), error.retry_after or 0.0)

    def _say_retry(self, parcel: _Parcel, error: DeliveryError, pause: float) -> None:
        """Report the failure, and log the 1st, 2nd, 4th, 8th … of a parcel: loud at first, then rarer."""
        self._say_attempt(parcel)
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

    def _say_attempt(self, parcel: _Parcel) -> None:
        begun = parcel.begun or parcel.at
        attempt = Attempt(parcel.id, self.channel, self.label, self.number, parcel.attempts, begun, parcel.error)
        self._tell(self._wiring.attempted, attempt)

    def _end(self, parcel: _Parcel, error: str = "") -> None:
        """Count how it ended and report it, which is what makes a failure loud; a listener that fails is logged."""
        with self._changed:
            self._sent += not error
            self._failed += bool(error)
            self._last_error = error
            if self._current is parcel:
                self._current = None
            self._stuck_at = None
            self._changed.notify_all()
        seconds = self._wiring.clock().mono - parcel.at.mono
        said = error or parcel.error
        delivery = Delivery(parcel.id, self.channel, self.label, not error, parcel.attempts, seconds, said, self.number)
        self._tell(self._wiring.report, delivery)

    def _tell(self, listener: Callable[[Told], None], told: Told) -> None:
        try:
            listener(told)
        except Exception as fault:  # noqa: BLE001 - e.g. an event loop that is closed already
            _log.warning("a delivery could not be reported", target=self.label, error=type(fault).__name__)

    def _rest(self, parcel: _Parcel, seconds: float, mood: _Mood) -> None:
        """Wait until the next attempt, unless the parcel is withdrawn or the lane in another mood than at the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._mood is not mood or self._current is not parcel, seconds)

    def _turn(self, mood: _Mood) -> None:
        with self._changed:
            self._mood = max(self._mood, mood)
            self._changed.notify_all()

    def _is_empty(self) -> bool:
        return not self._left() and not self._in_flight

    def _left(self) -> int:
        return len(self._queue) + (self._current is not None)
