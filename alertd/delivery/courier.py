"""Takes letters to one target, each within a time, whatever the target does: what has no end by then is left behind.

The timeouts of HTTP and mail clients run from one byte to the next, so a target that trickles holds a thread for hours,
and no thread can be ended from outside. So a letter is handed to a thread beside, the *runner*, which serves for as
long as its attempts end. One that does not end in time has failed; its runner is left to itself, with the sender, which
is not made for two threads, and the next attempt has new ones of both.

What was left behind may yet be taken by the target. Nobody hears of that, so the same message may then come twice, with
the same id: whoever cannot wait for an answer cannot know it.

Invariant: a sender is used by one thread only, and at most `MOST_LEFT` attempts at a target are left behind and alive.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from alertd.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from alertd.delivery.letter import Letter
    from alertd.delivery.sender import Sender

ENDS_WITHIN = 60.0
"""Seconds after which an attempt has failed: far more than any service takes that works."""
MOST_LEFT = 4
"""Attempts left behind, each a thread and a connection, beyond which a target is not tried again before one ends."""


class Courier:
    """The way to one target, to be used by one thread at a time.

    `build` makes a sender, and another whenever the last one is left behind; it must not raise.
    """

    def __init__(self, build: Callable[[], Sender], ends_within: float = ENDS_WITHIN) -> None:
        """Build the first sender; there is no thread before there is a letter."""
        self._build = build
        self._sender: Sender | None = build()
        self.service = self._sender.service
        self.seconds_apart = self._sender.seconds_apart
        self._ends_within = ends_within + self._sender.seconds_more
        self._runner: _Runner | None = None
        self._left: list[_Runner] = []

    def send(self, letter: Letter) -> None:
        """Deliver in time, or raise `DeliveryError`; any other exception is a fault of the letter's."""
        runner = self._runner or self._engage()
        try:
            error = runner.take(letter, self._ends_within)
        except Empty:
            self._leave(runner)
            raise DeliveryError(f"no end within {self._ends_within:g} s") from None
        if error is not None:
            raise error

    def close(self) -> None:
        """Let the runner go; there is no letter after this."""
        if self._runner is not None:
            self._runner.dismiss()

    def _engage(self) -> _Runner:
        self._left = [runner for runner in self._left if runner.is_alive]
        if len(self._left) >= MOST_LEFT:
            raise DeliveryError(f"{len(self._left)} attempts before have no end yet")
        sender, self._sender = self._sender or self._build(), None
        try:
            self._runner = _Runner(sender)
        except RuntimeError as error:  # as many threads as the system allows
            self._sender = sender
            raise DeliveryError(f"no thread is to be had for it: {error}") from None
        return self._runner

    def _leave(self, runner: _Runner) -> None:
        runner.dismiss()
        self._left.append(runner)
        self._runner = None


class _Runner:
    """A thread, and the sender that it alone uses. Being a daemon thread it holds up no exit."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._letters: SimpleQueue[Letter | None] = SimpleQueue()
        self._ends: SimpleQueue[Exception | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"alertd runner {sender.service}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def take(self, letter: Letter, seconds: float) -> Exception | None:
        """Send, and return what went wrong; raise `Empty` if there is no end after so many seconds."""
        self._letters.put(letter)
        return self._ends.get(timeout=seconds)

    def dismiss(self) -> None:
        """Let it end, once what it does has ended."""
        self._letters.put(None)

    def _work(self) -> None:
        while (letter := self._letters.get()) is not None:
            try:
                self._sender.send(letter)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told to whoever waits
                self._ends.put(error)
            else:
                self._ends.put(None)
