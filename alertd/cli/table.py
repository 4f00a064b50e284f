"""Tables for people: columns aligned by what a terminal shows, foreign text made fit for it, the last column cut."""

from __future__ import annotations

import json
import shutil
from typing import Any

from alertd import values

_NARROWEST = 20
"""Room of a last column where long names leave less: the lines are longer then."""


def plain(value: Any) -> str:
    """Return any value as text for one cell: control characters escaped, objects and lists as JSON."""
    text = values.as_written(value)
    shown = json.dumps(value, ensure_ascii=False, default=str) if text is None else text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shown)


def columns(table: list[tuple[str, ...]]) -> list[str]:
    """Return the rows as lines; the last column has what room the terminal (80 if there is none) leaves it."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[column]) for row in table) for column in range(len(table[0]))]
    room = max(_NARROWEST, shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * len(widths[:-1]))
    lines = []
    for *cells, last in table:
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=False)]
        lines.append("  ".join((*padded, cut(last, room))).rstrip())
    return lines


def cut(text: str, room: int) -> str:
    """Return `text` in at most `room` columns of a terminal."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= room else f"{set_cell_size(text, room - 1)}…"
