"""Decides what gives way when a message is too long for its target.

A message is built of texts (the rule's own words), head lines, listings, asides and foot lines. Listings give way
first, from their ends and with `and N more`, down to a share that asides leave them; then the texts; then the head and
the foot, last their last line, the id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.delivery.wording import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXT_SHARE = 0.5
"""The part of the room that texts may take while there are listings which they would push out."""
_ASIDE_SHARE = 0.25
"""The same for asides."""
_FOOT_SHARE = 0.35
"""The part of all room that the foot may take, but for its last line."""


def listed(items: Iterable[str], most: int = 3) -> str:
    """Return the different items in order, joined by commas: `a, b, c and 4 more`."""
    names = list(dict.fromkeys(items))
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


class _Listing:
    """A list whose lines are made only as far as there may be room for them."""

    def __init__(self, lines: Iterable[str], total: int, what: str) -> None:
        self._total = total
        self._what = what
        self._made: list[str] = []
        self._rest = iter(lines)
        self._length = 0
        """Of what is made, with a line break after each line."""

    def wanted(self, room: int) -> int:
        """Return the characters that all lines would take, with their line breaks; or some number beyond `room`."""
        while self._length <= room and (line := next(self._rest, None)) is not None:
            self._made.append(line)
            self._length += len(line) + 1
        return self._length

    def fit(self, room: int) -> str:
        """Return as many lines as fit into `room` characters, the last of them saying how many there are besides."""
        if self.wanted(room + 1) <= room + 1 and self._total <= len(self._made):
            return "\n".join(self._made)
        shown: list[str] = []
        used = 0
        for line in self._made:
            rest = self._total - len(shown) - 1
            note = len(self._more(rest)) + 1 if rest else 0
            if used + len(line) + note > room:
                break
            shown.append(line)
            used += len(line) + 1
        more = self._more(self._total - len(shown))
        lines = [*shown, more] if self._total > len(shown) else shown
        return "\n".join(lines) if shown or len(more) <= room else ""

    def _more(self, number: int) -> str:
        return f"and {number} more {self._what}".rstrip()


class Layout:
    """The parts of one message in the making."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._head: list[str] = []
        self._listings: list[_Listing] = []
        self._asides: list[str] = []
        self._foot: list[str] = []

    def text(self, text: str) -> None:
        """Add words of the rule's author; they may have several lines."""
        self._texts.append(text)

    def head(self, line: str) -> None:
        """Add a line that stands above the listings."""
        self._head.append(line)

    def listing(self, lines: Iterable[str], total: int, what: str = "") -> None:
        """Add a list of which `total` exist, though `lines` may hold fewer; `what` they are, for `and 3 more`."""
        if total:
            self._listings.append(_Listing(lines, total, what))

    def aside(self, line: str) -> None:
        """Add a line that stands below the listings, and may take a little of their room."""
        self._asides.append(line)

    def foot(self, line: str) -> None:
        """Add a line below; the last one added is the last to give way."""
        self._foot.append(line)

    def fit(self, limit: int | None) -> str:
        """Return the message in at most `limit` characters, or the last foot line if even that has no room."""
        room = limit if limit is not None else 1 << 30
        foot = _lines_from_end(self._foot, room if self._is_bare() else int(room * _FOOT_SHARE))
        room -= len(foot) + 1
        head = _lines_from_start(self._head, room)
        room -= len(head) + 1 if head else 0
        texts = self._fit_texts(room)
        room -= len(texts) + 1 if texts else 0
        asides = _lines_from_start(self._asides, max(room - self._wanted(room), int(room * _ASIDE_SHARE)))
        room -= len(asides) + 1 if asides else 0
        blocks: list[str] = []
        for listing in self._listings:
            block = listing.fit(room)
            room -= len(block) + 1 if block else 0
            blocks.append(block)
        return "\n".join(part for part in (texts, head, *blocks, asides, foot) if part)

    def _is_bare(self) -> bool:
        """Whether there is nothing but the foot."""
        return not (self._texts or self._head or self._listings)

    def _wanted(self, room: int) -> int:
        """Return the characters that all listings would take, or some number beyond `room`."""
        wanted = 0
        for listing in self._listings:
            wanted += listing.wanted(room - wanted)
        return wanted

    def _fit_texts(self, room: int) -> str:
        """Return the texts, cut to their share only if what else is there needs the room."""
        text = "\n".join(self._texts)
        wanted = self._wanted(room)
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
