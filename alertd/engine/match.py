"""Matching by name: globs for services, patterns for the names of the one namespace.

The namespace of `where`, `match` and templates: built-ins (`rule service instance severity cause`), then the rule's
labels, then the service's, then the instance's last known fields.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, Generic, TypeVar

from alertd.values import as_written, look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from alertd.engine.alert import LiveAlert
    from alertd.engine.registry import Instance
    from alertd.model import Match

Item = TypeVar("Item")

VARYING = frozenset({"instance", "cause"})
"""Built-ins that differ among the alerts of one rule on one service."""

_UNSELECTIVE = ("cause", "severity")
_SELECTIVE = ("instance", "service", "rule")

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


class Labels:
    """The one namespace as one alert fills it, asked by name; the values are those of the moment of asking."""

    __slots__ = ("_alert", "_constants", "_fields")

    def __init__(self, alert: LiveAlert) -> None:
        self._alert = alert
        self._constants = alert.condition.constants
        self._fields: Mapping[str, object] | None = None

    def get(self, name: str) -> str | None:
        """Return what `name` stands for, as it is written; None if the alert has no such thing."""
        text = self._constants.get(name)
        return text if text is not None else self._look_up(name)

    def _look_up(self, name: str) -> str | None:
        alert = self._alert
        if name == "cause":
            return alert.fault
        instance = alert.instance
        if instance is None:
            return alert.per if name == alert.condition.per_field else None
        if name == "instance":
            return instance.name
        if self._fields is None:
            self._fields = instance.read_fields()
        return as_written(look_up(self._fields, name))


class Matcher:
    """A `match:` made ready. `exact` has the names that it wants to have one of a few values, without a wildcard."""

    __slots__ = ("_tests", "exact")

    def __init__(self, match: Match) -> None:
        self._tests = [(name, any_of(patterns), True) for name, patterns in match.is_.items()]
        self._tests += [(name, any_of(patterns), False) for name, patterns in match.not_.items()]
        self.exact = {name: values for name, values in match.is_.items() if not any(map(is_glob, values))}

    def matches(self, labels: Labels) -> bool:
        """Tell whether an alert is meant."""
        for name, test, wanted in self._tests:
            text = labels.get(name)
            if (text is not None and test(text)) is not wanted:
                return False
        return True

    def foresee(self, constants: Mapping[str, str]) -> bool | None:
        """Tell whether all, or none, of the alerts that have `constants` in common are meant; None if it depends."""
        depends = False
        for name, test, wanted in self._tests:
            if name not in constants:
                depends = True
            elif test(constants[name]) is not wanted:
                return False
        return None if depends else True


class MatcherIndex(Generic[Item]):
    """Finds who means an alert without asking all: each matcher is filed under one name that it wants exactly."""

    __slots__ = ("_filed", "_others")

    def __init__(self) -> None:
        self._filed: dict[str, dict[str, dict[Item, Matcher]]] = {}
        self._others: dict[Item, Matcher] = {}

    def add(self, item: Item, matcher: Matcher) -> None:
        """File `item`, which means what `matcher` matches."""
        for shelf in self._shelves(matcher):
            shelf[item] = matcher

    def remove(self, item: Item, matcher: Matcher) -> None:
        """Take `item` out again."""
        for shelf in self._shelves(matcher):
            shelf.pop(item, None)

    def matching(self, labels: Labels) -> Iterator[Item]:
        """Yield who means an alert."""
        for name, shelves in self._filed.items():
            text = labels.get(name)
            for item, matcher in shelves.get(text, {}).items() if text is not None else ():
                if matcher.matches(labels):
                    yield item
        for item, matcher in self._others.items():
            if matcher.matches(labels):
                yield item

    def __bool__(self) -> bool:
        return bool(self._filed or self._others)

    def _shelves(self, matcher: Matcher) -> list[dict[Item, Matcher]]:
        name = _most_selective(matcher.exact)
        if name is None:
            return [self._others]
        shelves = self._filed.setdefault(name, {})
        return [shelves.setdefault(value, {}) for value in dict.fromkeys(matcher.exact[name])]


def _most_selective(exact: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return the name whose value most likely tells one alert from others."""
    names = [name for name in _SELECTIVE if name in exact]
    names += [name for name in exact if name not in _SELECTIVE and name not in _UNSELECTIVE]
    names += [name for name in _UNSELECTIVE if name in exact]
    return names[0] if names else None
