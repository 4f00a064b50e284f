"""An instance's fields made fit to be stored: as much of them as a message can show, and no more.

Pure. A value in etcd may hold anything in any size, and a document holds many. What templates see of a value is cut
(`variables`); here the same cuts are made a little later, so that what is read again is shown alike. Beyond `ROOM` the
later fields are left out. A number is stored as one where JSON writes it as it was written, else as `{"=": "1.10"}`; an
object that looks like that is stored as `{"=": [object]}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alertd.delivery.wording import DETAIL_ROOM
from alertd.values import Written

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOM = 4_000
"""Characters of one instance's fields that are stored, more or less."""
TEXT = DETAIL_ROOM + 1
"""Characters of one text that are stored: one more than is shown, so that a cut one is still seen to be cut."""
_DEEPEST = 8
_WIDEST = 200
_TAG = "="
_TINY = 8
"""What anything takes at least, in characters."""


def pack(fields: Mapping[str, Any], *, is_own: bool) -> dict[str, Any]:
    """Return what is stored of an instance's fields; if no alert is about it, only `host`, which its line shows."""
    if not is_own:
        return {"host": _Cutter().copy(fields["host"], _DEEPEST)} if "host" in fields else {}
    return _Cutter().members(fields, _DEEPEST + 1, len(fields))


def unpack(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that `pack` stored; raise ValueError or TypeError for what it cannot have stored."""
    return {name: _restored(value) for name, value in stored.items()}


class _Cutter:
    """Copies JSON while there is room for it."""

    def __init__(self) -> None:
        self._room = ROOM

    def members(self, value: Mapping[str, Any], depth: int, most: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, member in value.items():
            if len(found) >= most or self._room <= 0:
                break
            self._room -= len(name)
            found[name[:TEXT]] = self.copy(member, depth - 1)
        return found

    def copy(self, value: Any, depth: int) -> Any:
        self._room -= _TINY
        if isinstance(value, str):
            text = value[:TEXT]
            self._room -= len(text)
            return text
        if isinstance(value, dict):
            copied = self.members(value, depth, _WIDEST) if depth else {}
            return {_TAG: [copied]} if _TAG in copied and len(copied) == 1 else copied
        if isinstance(value, list):
            return self._items(value, depth) if depth else []
        if isinstance(value, Written):
            return float(value) if repr(float(value)) == value.text else {_TAG: value.text}
        if isinstance(value, int):
            self._room -= value.bit_length() // 3
        return value

    def _items(self, value: list[Any], depth: int) -> list[Any]:
        found: list[Any] = []
        for item in value[:_WIDEST]:
            if self._room <= 0:
                break
            found.append(self.copy(item, depth - 1))
        return found


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_TAG}:
            inner = value[_TAG]
            return Written(inner) if isinstance(inner, str) else unpack(inner[0])
        return unpack(value)
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return Written(repr(float(value))) if isinstance(value, float) else value
