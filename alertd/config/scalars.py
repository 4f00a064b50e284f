"""What one plain YAML scalar means here, and which ones are refused because readers of YAML disagree about them.

Only `true` and `false` are booleans, decimal numbers are numbers that remember how they were written, nothing at all is
null, and the rest is text. Whatever YAML 1.1 (most libraries) and YAML 1.2 read differently, such as `on`, `010` or
`22:00`, must be quoted, so that nobody has to know which of the two reads a file.
"""

from __future__ import annotations

import math
import re
from typing import Self

from alertd.values import Written as WrittenFloat

LONGEST_NUMBER = 100
"""Characters a number may have; Python itself refuses integers of more than 4,300 digits."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False}
_NULLS = frozenset({"", "~", "null"})

_SURPRISES = (
    (re.compile(r"(?i)on|off|yes|no"), "is a boolean to many readers of YAML; write true or false, or quote it"),
    (re.compile(r"(?i)true|false"), "is spelt true or false in lower case; quote it if it is text"),
    (re.compile(r"(?i)null"), "is spelt null in lower case; quote it if it is text"),
    (re.compile(r"[-+]?0[0-9_]+"), "is octal to many readers of YAML; leave out the leading 0, or quote it"),
    (re.compile(r"[-+]?0[xob][0-9a-fA-F_]+"), "is not a decimal number; write it in decimal, or quote it"),
    (re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?"), "has `_` in a number; leave it out, or quote it"),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"),
        "is a number in base 60 to many readers of YAML; quote it",
    ),
    (re.compile(r"[-+]?\.(?i:inf|nan)"), "is not a finite number; quote it if it is text"),
    (
        re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[ \t]+[0-9].*)?"),
        "is a date to many readers of YAML; quote it",
    ),
)


class WrittenInt(int):
    """A decimal integer that remembers how it was written: `+1` is not `1`."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Read `text`, decimal digits with an optional sign."""
        number = super().__new__(cls, text)
        number.text = text
        return number


Scalar = str | int | float | bool | None


class Refused(ValueError):
    """The scalar must be written another way; the message completes a sentence that begins with the scalar."""


def resolve(text: str) -> Scalar:
    """Return what the unquoted scalar `text` means; raise `Refused` where readers disagree or it cannot be a number."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in "+-.0123456789":
        return _unless_surprising(text) if len(text) <= 5 else text
    if _INTEGER.fullmatch(text):
        return WrittenInt(_not_too_long(text))
    for pattern, complaint in _SURPRISES:
        if pattern.fullmatch(text):
            raise Refused(complaint)
    if _FLOAT.fullmatch(text):
        number = WrittenFloat(_not_too_long(text))
        if not math.isfinite(number):
            raise Refused("is too large for a number; quote it if it is text")
        return number
    return text


def _unless_surprising(text: str) -> str:
    """Check a word; the longest surprising one has five letters."""
    for pattern, complaint in _SURPRISES[:3]:
        if pattern.fullmatch(text):
            raise Refused(complaint)
    return text


def _not_too_long(text: str) -> str:
    if len(text) > LONGEST_NUMBER:
        raise Refused(f"has more than {LONGEST_NUMBER} digits; quote it if it is text")
    return text
