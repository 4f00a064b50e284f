"""What was given up: the last of it in full, all of it counted."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

KEPT = 100
"""Dead letters that are remembered."""
KEPT_EACH = 10
"""Of each target."""


class DeadLetter(NamedTuple):
    """A notification that was given up at one target; `about` is its group, `target` empty where a channel has none."""

    channel: str
    target: str
    id: str
    about: str
    why: str
    at: datetime


class Grave:
    """The dead letters of one target: how many, and the last of them, the latest last."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last: deque[DeadLetter] = deque(maxlen=KEPT_EACH)


class DeadLetters:
    """The last dead letters, the latest last; `graves` are those of each channel and target, until forgotten."""

    def __init__(self) -> None:
        self.last: deque[DeadLetter] = deque(maxlen=KEPT)
        self.graves: dict[tuple[str, str], Grave] = {}

    def add(self, letter: DeadLetter) -> None:
        """Keep one more."""
        self.last.append(letter)
        grave = self.graves.setdefault((letter.channel, letter.target), Grave())
        grave.count += 1
        grave.last.append(letter)

    def restore(self, letters: Iterable[DeadLetter], count: int) -> None:
        """Take over the last letters of one target, and how many there were, as another daemon left them."""
        for letter in letters:
            grave = self.graves.setdefault((letter.channel, letter.target), Grave())
            if letter.id not in {each.id for each in grave.last}:
                grave.last = deque(sorted([*grave.last, letter], key=lambda each: each.at), maxlen=KEPT_EACH)
            grave.count = max(grave.count, count)

    def forget(self, before: datetime) -> None:
        """Forget the targets that have given nothing up since then."""
        for key in [key for key, grave in self.graves.items() if grave.last[-1].at < before]:
            del self.graves[key]
