"""What was given up: the last of it in full, all of it counted."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

KEPT = 100
"""Dead letters that are remembered."""


class DeadLetter(NamedTuple):
    """A notification that was given up at one target; `about` is its group, `target` empty where a channel has none."""

    channel: str
    target: str
    id: str
    about: str
    why: str
    at: datetime


class DeadLetters:
    """The last dead letters, the latest last; `count` is of all since the start."""

    def __init__(self) -> None:
        self.count = 0
        self.last: deque[DeadLetter] = deque(maxlen=KEPT)

    def add(self, letter: DeadLetter) -> None:
        """Keep one more."""
        self.count += 1
        self.last.append(letter)
