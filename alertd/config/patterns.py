"""What can be said of patterns, and of matches made of them, before there is an alert.

Patterns are exact texts or globs (`fnmatch`, with regard to case). Every answer errs to one side only: `covers` says
yes where it is certain, `may_meet` says no where it is certain.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.model import Match

ALWAYS_THERE = frozenset({"rule", "service", "severity"})
"""What every alert has, so that `*` matches it."""

_WILD = re.compile(r"[*?\[]")
_TRICKY = re.compile(r"[?\[]")


def is_glob(pattern: str) -> bool:
    """Tell whether `pattern` can match anything but itself."""
    return _WILD.search(pattern) is not None


def beginning(pattern: str) -> str:
    """Return what every text that `pattern` matches begins with."""
    return _WILD.split(pattern, maxsplit=1)[0]


def meets_any(text: str, patterns: Iterable[str]) -> bool:
    """Tell whether one of `patterns` matches a text."""
    return any(pattern == text or (is_glob(pattern) and fnmatchcase(text, pattern)) for pattern in patterns)


def covers(wide: str, narrow: str) -> bool:
    """Tell whether `wide` certainly matches all that `narrow` matches.

    A glob of stars alone covers another that it matches as a text: its stars have to take in the other's wildcards.
    """
    if wide == narrow or set(wide) == {"*"}:
        return True
    if not is_glob(wide) or "[" in narrow or (_TRICKY.search(wide) and is_glob(narrow)):
        return False
    return fnmatchcase(narrow, wide)


def may_meet(one: str, other: str) -> bool:
    """Tell whether there may be a text that both patterns match."""
    if not is_glob(one):
        return meets_any(one, [other])
    if not is_glob(other):
        return meets_any(other, [one])
    return beginning(one).startswith(beginning(other)) or beginning(other).startswith(beginning(one))


def is_everything(match: Match) -> bool:
    """Tell whether a match means every alert there can be."""
    return not match.not_ and all(_is_any(key, patterns) for key, patterns in match.is_.items())


def match_covers(wide: Match, narrow: Match) -> bool:
    """Tell whether `wide` certainly means every alert that `narrow` means."""
    return all(
        _is_any(key, patterns) or _all_covered(patterns, narrow.is_.get(key, ())) for key, patterns in wide.is_.items()
    ) and all(
        _all_covered(narrow.not_.get(key, ()), patterns) or _keeps_clear(narrow.is_.get(key, ()), patterns)
        for key, patterns in wide.not_.items()
    )


def _is_any(key: str, patterns: Iterable[str]) -> bool:
    return key in ALWAYS_THERE and any(set(pattern) == {"*"} for pattern in patterns)


def _all_covered(wide: Iterable[str], narrow: Iterable[str]) -> bool:
    """Tell whether there is something narrow, and each of it is covered."""
    narrow = tuple(narrow)
    return bool(narrow) and all(any(covers(pattern, each) for pattern in wide) for each in narrow)


def _keeps_clear(wanted: Iterable[str], unwanted: Iterable[str]) -> bool:
    """Tell whether what is wanted can never be one of the unwanted."""
    wanted = tuple(wanted)
    return bool(wanted) and not any(may_meet(each, pattern) for each in wanted for pattern in unwanted)
