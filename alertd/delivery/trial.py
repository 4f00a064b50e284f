"""Sends a test message to targets, all at once and without retries, to see what really arrives.

The message is awkward on purpose: markup, long, many scripts. What survives it survives an alert.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING

from alertd.delivery import channel
from alertd.delivery.layout import Layout
from alertd.delivery.letter import Letter, Tone
from alertd.delivery.sender import LogSender, library
from alertd.errors import ConfigError, DeliveryError
from alertd.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alertd.config.schema import Target, Webhook
    from alertd.delivery.sender import Sender

PATIENCE = 30.0
"""Seconds after which a target that does not answer counts as failed."""

_AWKWARD = (
    "Markup must arrive as it is: <b>&amp;</b> *not bold* _not italic_ ~~no~~ `code` [a](b) # no heading",
    "Quotes and slashes: \"double\" 'single' back\\slash 100% $HOME {{ braces }} <!channel>",
    "Scripts: Grüße · Привет · 支付 · こんにちは · नमस्ते · مرحبا · ✓ 🚨",
    "DOWN 172.31.14.97 core01  expired: lost contact, its lease ended 04:12:11",
)
_LINES = 200
"""Lines that make the message longer than most targets take."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of the test message at one target."""

    target: str
    ok: bool
    seconds: float
    error: str = ""


def letter_for(name: str, identifier: str) -> Letter:
    """Return the test message for the channel `name`; `identifier` tells it from other tests."""
    layout = Layout()
    for line in _AWKWARD:
        layout.head(line)
    layout.listing([f"UP   10.0.{number // 256}.{number % 256} <test_{number}>" for number in range(_LINES)], _LINES)
    layout.foot(f"id {identifier}")
    return Letter(id=identifier, title=f"[TEST] {name} · <>&_* · Grüße 支付 🚨 · info", tone=Tone.INFO, body=layout.fit)


def try_targets(name: str, targets: Sequence[Target | Webhook], letter: Letter) -> Iterator[Trial]:
    """Yield what came of `letter` at each target, in the order in which they answer; no targets are the log's."""
    library()
    results: SimpleQueue[Trial] = SimpleQueue()
    waiting: set[str] = set()
    begun = monotonic()
    for label, target in _labelled(name, targets):
        waiting.add(label)
        threading.Thread(target=_try, args=(name, label, target, letter, results), daemon=True).start()
    while waiting:
        try:
            trial = results.get(timeout=max(begun + PATIENCE - monotonic(), 0.0))
        except Empty:
            break
        waiting.discard(trial.target)
        yield trial
    for label in sorted(waiting):
        yield Trial(label, ok=False, seconds=PATIENCE, error=f"no answer within {PATIENCE:g} s")


def read_clock() -> Instant:
    """Read both clocks, for a command that runs once and has no daemon to tell it the time."""
    return Instant(monotonic(), datetime.now(UTC))


def _labelled(name: str, targets: Sequence[Target | Webhook]) -> list[tuple[str, Target | Webhook | None]]:
    if not targets:
        return [(name, None)]
    return [(channel.label_of(name, position, target), target) for position, target in enumerate(targets, 1)]


def _try(name: str, label: str, target: Target | Webhook | None, letter: Letter, results: SimpleQueue[Trial]) -> None:
    begun = monotonic()
    error = ""
    try:
        sender: Sender = LogSender() if target is None else channel.sender_of(name, label, target, read_clock)
        sender.send(letter)
    except ConfigError as fault:
        error = "; ".join(problem.message for problem in fault.problems)
    except DeliveryError as fault:
        error = str(fault)
    results.put(Trial(label, not error, monotonic() - begun, error))
