"""Matching by name: globs for services, patterns for the fields of the one namespace.

The namespace of `where`, `match` and templates: built-ins (`rule service instance severity cause`), then the rule's
labels, then the service's, then the instance's last known fields.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

from alertd.values import as_written, look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from alertd.engine.registry import Instance

_WILD = re.compile(r"[*?\[]")


def is_glob(pattern: str) -> bool:
    """Tell whether `pattern` can match anything but itself."""
    return _WILD.search(pattern) is not None


def any_of(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a test for a text that matches one of `patterns`, exact or glob, with regard to case."""
    patterns = tuple(patterns)
    exact = frozenset(pattern for pattern in patterns if not is_glob(pattern))
    globs = [translate(pattern) for pattern in patterns if is_glob(pattern)]
    if not globs:
        return exact.__contains__
    matches = re.compile("|".join(globs)).match
    return lambda text: text in exact or matches(text) is not None


class Where:
    """A rule's `where:` on one service: which instances count.

    What is constant there (built-ins but `instance` and `cause`, and labels) is judged once.
    """

    __slots__ = ("_fields", "_is_never")

    def __init__(self, patterns: Mapping[str, tuple[str, ...]], constants: Mapping[str, str]) -> None:
        self._is_never = False
        self._fields: list[tuple[str, Callable[[str], bool]]] = []
        for name, wanted in patterns.items():
            test = any_of(wanted)
            if name not in constants:
                self._fields.append((name, test))
            elif not test(constants[name]):
                self._is_never = True

    @property
    def is_always(self) -> bool:
        """Whether every instance counts, so that none need be asked."""
        return not self._fields and not self._is_never

    def matches(self, instance: Instance) -> bool:
        """Tell whether `instance` counts; a field that is absent, or in a malformed value, never matches."""
        if self._is_never:
            return False
        fields = None
        for name, test in self._fields:
            if name == "instance":
                text: str | None = instance.name
            elif name == "cause":
                text = instance.cause
            else:
                fields = fields if fields is not None else instance.read_fields()
                text = as_written(look_up(fields, name))
            if text is None or not test(text):
                return False
        return True
