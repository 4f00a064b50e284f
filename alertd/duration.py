"""Durations as people write them: `500ms 30s 5m 1h30m 7d`; the one reading of them, for YAML and the command line."""

from __future__ import annotations

import re

_DURATION = re.compile(
    r"(?=.)(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m(?!s))?(?:([0-9]{1,9})s)?(?:([0-9]{1,9})ms)?"
)
_UNIT_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_LONGEST = 3650 * 86400.0
"""Ten years; a date that lies further away than the calendar reaches could not be computed."""


def parse(text: str) -> float:
    """Return seconds; raise ValueError, a sentence without its subject, for anything else, bare numbers too."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a duration with its unit, such as 500ms, 30s, 5m, 1h30m or 7d, not `{text[:40]}`")
    seconds = sum(int(count) * unit for count, unit in zip(match.groups(), _UNIT_SECONDS, strict=True) if count)
    if seconds > _LONGEST:
        raise ValueError("must be at most 3650d")
    return seconds


def show(seconds: float) -> str:
    """Return whole seconds as people write them: `45s`, `1m30s`, `2h`."""
    rest = round(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        parts.append(f"{count}{unit}" if count else "")
    return "".join(parts) or "0s"
