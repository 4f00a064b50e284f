"""Decides what gives way when a message is too long for its target.

A message is built of texts (the rule's own words), head lines, listings and foot lines. Listings give way first, from
their ends and with `and N more`; then the texts; then the head and the foot, last their last line, the id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alertd.delivery.wording import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXT_SHARE = 0.5
"""The part of the room that texts may take while there are listings which they would push out."""


def listed(items: Iterable[str], most: int = 3) -> str:
    """Return the different items in order, joined by commas: `a, b, c and 4 more`."""
    names = list(dict.fromkeys(items))
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


@dataclass(slots=True)
class _Listing:
    lines: list[str]
    total: int

    def fit(self, room: int) -> str:
        """Return as many lines as fit into `room` characters, the last of them saying how many there are besides."""
        whole = "\n".join(self.lines)
        if len(whole) <= room and self.total <= len(self.lines):
            return whole
        shown: list[str] = []
        used = 0
        for line in self.lines:
            rest = self.total - len(shown) - 1
            note = len(f"\nand {rest} more") if rest else 0
            if used + len(line) + note > room:
                break
            shown.append(line)
            used += len(line) + 1
        more = f"and {self.total - len(shown)} more"
        lines = [*shown, more] if self.total > len(shown) else shown
        return "\n".join(lines) if shown or len(more) <= room else ""


class Layout:
    """The parts of one message in the making."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._head: list[str] = []
        self._listings: list[_Listing] = []
        self._foot: list[str] = []

    def text(self, text: str) -> None:
        """Add words of the rule's author; they may have several lines."""
        self._texts.append(text)

    def head(self, line: str) -> None:
        """Add a line that stands above the listings."""
        self._head.append(line)

    def listing(self, lines: list[str], total: int) -> None:
        """Add a list of which `total` exist, though `lines` may hold fewer."""
        if lines or total:
            self._listings.append(_Listing(lines, total))

    def foot(self, line: str) -> None:
        """Add a line below; the last one added is the last to give way."""
        self._foot.append(line)

    def fit(self, limit: int | None) -> str:
        """Return the message in at most `limit` characters, or the last foot line if even that has no room."""
        room = limit if limit is not None else 1 << 30
        foot = _lines_from_end(self._foot, room)
        room -= len(foot) + 1
        head = _lines_from_start(self._head, room)
        room -= len(head) + 1 if head else 0
        texts = self._fit_texts(room)
        room -= len(texts) + 1 if texts else 0
        blocks: list[str] = []
        for listing in self._listings:
            block = listing.fit(room)
            room -= len(block) + 1 if block else 0
            blocks.append(block)
        return "\n".join(part for part in (texts, head, *blocks, foot) if part)

    def _fit_texts(self, room: int) -> str:
        """Return the texts, cut to their share only if what else is there needs the room."""
        text = "\n".join(self._texts)
        wanted = sum(len(line) + 1 for listing in self._listings for line in listing.lines)
        share = max(room - wanted, int(room * _TEXT_SHARE)) if wanted else room
        return cut(text, max(min(room, share), 0))


def _lines_from_end(lines: list[str], room: int) -> str:
    """Return the last lines that fit; the very last whatever its length."""
    kept = lines[-1:]
    for line in reversed(lines[:-1]):
        if len("\n".join([line, *kept])) > room:
            break
        kept.insert(0, line)
    return "\n".join(kept)


def _lines_from_start(lines: list[str], room: int) -> str:
    kept: list[str] = []
    for line in lines:
        if len("\n".join([*kept, line])) > room:
            break
        kept.append(line)
    return "\n".join(kept)
