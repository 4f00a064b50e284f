"""What a watched key's value says: the one reading of it, for the engine, the CLI and the page.

A value is a JSON object, `address:port`, or empty. Anything else cannot be understood: it is `malformed`, which never
makes an instance down. Nothing here raises on any input.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


class Written(float):
    """A JSON number with a point or exponent that remembers how it was written: `1.10` is not `1.1`."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Read `text`, a JSON number."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[Written], tuple[str]]:
        return (Written, (self.text,))


class Reading(NamedTuple):
    """What a value says. `fields` is None where the value holds none or cannot be understood."""

    fields: Mapping[str, Any] | None
    malformed: bool = False


EMPTY = Reading(None)
MALFORMED = Reading(None, malformed=True)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_float=Written, parse_constant=_refuse)
_SCAN: Callable[[str, int], tuple[Any, int]] = _DECODER.scan_once  # type: ignore[attr-defined]  # typeshed lacks it
"""What a decoder does at a place of a text, without what it does around that: values are read by the 100,000."""


def read(raw: bytes) -> Reading:
    """Read a value as etcd holds it.

    `address:port` gives the fields `host` and `port`. `NaN` and the infinities, which are not JSON, nesting too deep
    for the parser, and bytes that are not UTF-8 make a value malformed.
    """
    try:
        text = raw.decode().strip()
        if not text:
            return EMPTY
        if text[0] == "{":
            fields, end = _SCAN(text, 0)
            return Reading(fields) if end == len(text) else MALFORMED
    except (ValueError, StopIteration, RecursionError):
        return MALFORMED
    address = _ADDRESS.fullmatch(text)
    if address and 0 < int(address["port"]) < 65536:
        return Reading({"host": address["host"].strip("[]"), "port": int(address["port"])})
    return MALFORMED


def look_up(fields: Mapping[str, Any] | None, path: str) -> Any:
    """Return the field at a dotted path, or None. A key that itself contains the dots wins over the way inside."""
    if fields is None:
        return None
    if path in fields:
        return fields[path]
    found: Any = fields
    for step in path.split("."):
        if not isinstance(found, dict) or step not in found:
            return None
        found = found[step]
    return found


def pick(fields: Mapping[str, Any] | None, paths: Iterable[str]) -> dict[str, str]:
    """Return the scalars among the fields at these paths, as they are written."""
    found = ((path, as_written(look_up(fields, path))) for path in paths)
    return {path: text for path, text in found if text is not None}


def as_written(value: Any) -> str | None:
    """Return a scalar as its JSON was written, for comparing; None for null, objects and lists."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Written)):
        return str(value)
    return None


def as_number(value: Any) -> float | None:
    """Return a finite number given as a JSON number or as a string that holds one, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def show(raw: bytes) -> str:
    r"""Return bytes from etcd as text for people and JSON: what is not UTF-8 appears as `\\xNN`."""
    return raw.decode(errors="backslashreplace")
