"""Matching by name: globs for services, patterns for the names of the one namespace.

The namespace of `where`, `match` and templates: built-ins (`rule service instance severity cause`), then the rule's
labels, then the service's, then the instance's last known fields.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from alertd.values import as_written, look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from alertd.engine.alert import LiveAlert
    from alertd.engine.registry import Instance
    from alertd.model import Match

Item = TypeVar("Item")

VARYING = frozenset({"instance", "cause"})
"""Built-ins that differ among the alerts of one rule on one service."""

_RANK = ("instance", "service", "rule", "", "cause", "severity")
"""Names by how likely their value tells one alert from others; "" stands for all other names."""

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
    """The one namespace as one alert fills it, asked by name; each value is that of when it was first asked for."""

    __slots__ = ("_alert", "_constants", "_fields", "_found")

    def __init__(self, alert: LiveAlert) -> None:
        self._alert = alert
        self._constants = alert.condition.constants
        self._fields: Mapping[str, object] | None = None
        self._found: dict[str, str | None] = {}

    def get(self, name: str) -> str | None:
        """Return what `name` stands for, as it is written; None if the alert has no such thing."""
        text = self._constants.get(name)
        if text is not None:
            return text
        if name not in self._found:
            self._found[name] = self._look_up(name)
        return self._found[name]

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


class Place(NamedTuple):
    """Where a matcher may be filed: one of `texts` is how the value of `name` begins, up to `length` (None: all)."""

    name: str
    length: int | None
    texts: tuple[str, ...]


class Matcher:
    """A `match:` made ready. `places` are where it may be filed, those that most likely tell alerts apart first."""

    __slots__ = ("_tests", "places")

    def __init__(self, match: Match) -> None:
        self._tests = [(name, any_of(patterns), True) for name, patterns in match.is_.items()]
        self._tests += [(name, any_of(patterns), False) for name, patterns in match.not_.items()]
        places = (_place_of(name, patterns) for name, patterns in match.is_.items())
        self.places = sorted((place for place in places if place.length != 0), key=_rank)

    @property
    def services(self) -> tuple[str, ...] | None:
        """The only services whose alerts can be meant; None if they cannot be told beforehand."""
        exact = (place.texts for place in self.places if place.name == "service" and place.length is None)
        return next(exact, None)

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
    """Finds who means an alert without asking all: each matcher is filed in the least crowded of its places."""

    __slots__ = ("_filed", "_others", "_places")

    def __init__(self) -> None:
        self._filed: dict[tuple[str, int | None], dict[str, dict[Item, Matcher]]] = {}
        self._others: dict[Item, Matcher] = {}
        self._places: dict[Item, Place] = {}

    def add(self, item: Item, matcher: Matcher) -> None:
        """File `item`, which means what `matcher` matches."""
        place = min(matcher.places, key=self._crowd, default=None)
        if place is None:
            self._others[item] = matcher
            return
        self._places[item] = place
        shelves = self._filed.setdefault((place.name, place.length), {})
        for text in place.texts:
            shelves.setdefault(text, {})[item] = matcher

    def remove(self, item: Item) -> None:
        """Take `item` out again, if it has been added."""
        self._others.pop(item, None)
        place = self._places.pop(item, None)
        if place is None:
            return
        shelves = self._filed[place.name, place.length]
        for text in place.texts:
            del shelves[text][item]
            if not shelves[text]:
                del shelves[text]
        if not shelves:
            del self._filed[place.name, place.length]

    def matching(self, labels: Labels) -> Iterator[Item]:
        """Yield who means an alert."""
        for (name, length), shelves in self._filed.items():
            text = labels.get(name)
            shelf = shelves.get(text[:length]) if text is not None else None
            for item, matcher in shelf.items() if shelf else ():
                if matcher.matches(labels):
                    yield item
        for item, matcher in self._others.items():
            if matcher.matches(labels):
                yield item

    def __bool__(self) -> bool:
        return bool(self._filed or self._others)

    def _crowd(self, place: Place) -> int:
        shelves = self._filed.get((place.name, place.length), {})
        return max(len(shelves.get(text, ())) for text in place.texts)


def _place_of(name: str, patterns: Iterable[str]) -> Place:
    """Return where a matcher that wants `name` to match one of `patterns` may be filed; of length 0 for nowhere."""
    texts = [_WILD.split(pattern, maxsplit=1)[0] for pattern in patterns]
    length = min(map(len, texts)) if any(map(is_glob, patterns)) else None
    return Place(name, length, tuple(dict.fromkeys(text[:length] for text in texts)))


def _rank(place: Place) -> tuple[bool, int]:
    """Return an order: what is wanted exactly first, then by how likely the name tells one alert from others."""
    rank = _RANK.index(place.name) if place.name in _RANK else _RANK.index("")
    return place.length is not None, rank
