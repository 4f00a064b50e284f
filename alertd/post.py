"""The targets of one daemon and what is on its way to them.

Targets have threads of their own; how it went comes back here, onto the event loop, is noted in the outbox, and handed
on to whoever listens.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from alertd.delivery.dispatch import Dispatcher
from alertd.delivery.lane import Wiring
from alertd.delivery.outbox import Outbox
from alertd.delivery.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from alertd.config.schema import Ruleset
    from alertd.delivery.dead import DeadLetter
    from alertd.delivery.lane import Attempt, Delivery, Flight, LaneStatus
    from alertd.delivery.letter import Letter
    from alertd.handover import Claim
    from alertd.model import Instant

_log = structlog.get_logger("alertd")


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who hears of what goes on: `ended` of each end at a target, `changed` of each document of letters to be written.

    `may_send` is asked in a target's thread right before each attempt; `observe` hears there how far a notification is.
    """

    ended: Callable[[Delivery], None]
    changed: Callable[[str], None]
    may_send: Callable[[], bool]
    observe: Callable[[Step, str], None]


class Post:
    """Targets and outbox; to be opened before use."""

    outbox: Outbox

    def __init__(self, clock: Callable[[], Instant], listeners: Listeners) -> None:
        self._clock = clock
        self._listeners = listeners
        self._dispatcher: Dispatcher | None = None
        self.claim: Claim | None = None
        """Who hears how what was under way ended, once the daemon stops."""

    async def open(self, ruleset: Ruleset) -> None:
        """Set up the targets of a ruleset."""
        loop = asyncio.get_running_loop()
        wiring = Wiring(
            self._clock,
            lambda delivery: _call_soon(loop, self._note_end, delivery),
            attempted=lambda attempt: _call_soon(loop, self._note_attempt, attempt),
            may_send=self._listeners.may_send,
            observe=self._listeners.observe,
        )
        self._dispatcher = await asyncio.to_thread(Dispatcher, ruleset, wiring)
        self.outbox = Outbox(self._dispatcher, ruleset, self._listeners.changed)

    async def follow(self, ruleset: Ruleset) -> None:
        """Follow new rules; nothing is decided between the targets' change and the outbox's."""
        if self._dispatcher is not None:
            change = await asyncio.to_thread(self._dispatcher.prepare, ruleset)
            self._dispatcher.switch(change)
            self.outbox.follow(ruleset, change.heirs)
            self._dispatcher.retire(change)

    def pause(self) -> None:
        """Begin no more attempts to tell notifications."""
        if self._dispatcher is not None:
            self._dispatcher.pause()

    def under_way(self) -> list[Flight]:
        """Return the notifications whose end is not known; what ended is in the outbox a moment later."""
        return [] if self._dispatcher is None else self._dispatcher.in_flight()

    async def close(self, seconds: float) -> None:
        """Let out letters that no other daemon has, and see how what is under way ends, within so many seconds."""
        if self._dispatcher is not None:
            await asyncio.to_thread(self._dispatcher.drain, seconds)
            self._dispatcher.close()

    def send(self, channel_name: str, letter: Letter) -> int:
        """Queue a letter that is about no alert, and return for how many targets."""
        return 0 if self._dispatcher is None else self._dispatcher.send(channel_name, letter)

    def targets(self) -> tuple[LaneStatus, ...]:
        """Return every target of every channel as it is now; what was given up there without it counts as failed."""
        if self._dispatcher is None:
            return ()
        graves = self.outbox.dead_letters.graves
        lanes = self._dispatcher.status()
        counts = [grave.count if (grave := graves.get((each.channel, each.target))) else 0 for each in lanes]
        return tuple(replace(lane, failed=max(lane.failed, count)) for lane, count in zip(lanes, counts, strict=True))

    def dead_letters(self) -> Iterable[DeadLetter]:
        """Return what was given up last, the latest last."""
        return () if self._dispatcher is None else self.outbox.dead_letters.last

    def _note_attempt(self, attempt: Attempt) -> None:
        self.outbox.note_attempt(attempt, self._clock())
        if self.claim is not None and attempt.error:
            self.claim.note(attempt.notification, attempt.lane, is_taken=False)

    def _note_end(self, delivery: Delivery) -> None:
        self.outbox.note_end(delivery, self._clock())
        if self.claim is not None:
            self.claim.note(delivery.notification, delivery.lane, is_taken=delivery.ok)
        self._listeners.ended(delivery)


def _call_soon(loop: asyncio.AbstractEventLoop, listen: Callable[[Any], None], news: object) -> None:
    """Hand news to the loop; what comes after that has closed has nobody left to hear of it."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(listen, news)
