"""What alerts the rules can raise: which names they have, and whether a match means any of them.

An instance's fields are its own affair, so what only they decide counts as possible. The answers are for warnings.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import takewhile
from typing import TYPE_CHECKING

from alertd.config.nodes import Mapping, Scalar, items_of, quote, value_of
from alertd.config.patterns import beginning, is_glob, may_meet, meets_any
from alertd.config.problems import closest, suggest
from alertd.errors import Problem
from alertd.model import SELF, BuiltIn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Mapping as MappingType

    from alertd.config.nodes import Node
    from alertd.config.schema import Rule, ServiceSpec
    from alertd.model import Match, Place

BUILT_IN_RULES = frozenset(map(str, BuiltIn))
"""Rules that nobody writes, and that are routed as any other."""

OWN_NAMES = f"{SELF}-"
"""How the names of built-in rules begin, those of later versions too."""

BUILT_INS = frozenset({"rule", "service", "instance", "severity", "cause"})
"""Names of what every alert has, labels and fields aside."""

MOST_JUDGED = 100_000
"""How often a rule is held against a match; who has more rules and silences than that is not kept waiting."""

_COMPLAINTS = {
    "rule": "no rule is called",
    "service": "no rule speaks of a service",
    "severity": "no rule has severity",
}
_USUAL_FIELDS = frozenset({"host", "ipv4_addr", "port"})


class Alerts:
    """All alerts that there can be by the rules and by what is known of services."""

    def __init__(self, rules: Iterable[Rule], services: MappingType[str, ServiceSpec]) -> None:
        self.rules = {rule.name: rule for rule in rules}
        self._service_labels = {name for spec in services.values() for name in spec.labels}
        self._known = {
            "rule": _Words({*self.rules, *BUILT_IN_RULES}),
            "service": _Words([SELF, *(pattern for rule in self.rules.values() for pattern in rule.service)]),
            "severity": _Words(str(rule.severity) for rule in self.rules.values()),
        }
        self._judged = 0
        self._names = {*BUILT_INS, *_USUAL_FIELDS, *self._service_labels}
        for rule in self.rules.values():
            self._names.update(rule.labels, rule.where, _fields_of(rule))

    # --- names -------------------------------------------------------------------------------------------------------

    def doubt_name(self, name: str, place: Place) -> Iterator[Problem]:
        """Warn of a name that only a field nobody speaks of could have; one with a dot is a way into a value."""
        if name in self._names or "." in name:
            return
        close = closest(name, self._names)
        hint = f"; did you mean {quote(close)}?" if close else ": only instances whose value has such a field have it"
        yield Problem(place, f"no rule and no service gives a label {quote(name)}{hint}", is_warning=True)

    def doubt_names(self, node: Node | None) -> Iterator[Problem]:
        """Warn of such names in a list."""
        for item in items_of(node):
            if isinstance(item, Scalar):
                yield from self.doubt_name(item.text, item.place)

    # --- matches -----------------------------------------------------------------------------------------------------

    def doubt_match(self, node: Node | None, names: frozenset[str]) -> Iterator[Problem]:
        """Warn of the names in a match, and of every pattern under `names` that is no rule's."""
        for part in (node, value_of(node, "not")):
            for name, (place, value) in part.entries.items() if isinstance(part, Mapping) else ():
                if part is node and name in ("not", "during"):
                    continue
                yield from self.doubt_name(name, place)
                for item in items_of(value) if name in names else ():
                    if isinstance(item, Scalar):
                        yield from self._doubt_pattern(name, item)

    def _doubt_pattern(self, name: str, item: Scalar) -> Iterator[Problem]:
        known = self._known[name]
        if not known.meet(item.text):
            hint = suggest(item.text, self.rules if name == "rule" else known.exact)
            yield Problem(item.place, f"{_COMPLAINTS[name]} {quote(item.text)}{hint}", is_warning=True)

    def has_any(self, match: Match) -> bool:
        """Tell whether some rule may raise an alert that `match` means; after so many questions the answer is yes."""
        if means_built_in(match) or self._judged > MOST_JUDGED:
            return True
        names = match.is_.get("rule", ())
        exact = bool(names) and not any(map(is_glob, names))
        rules = [self.rules[name] for name in names if name in self.rules] if exact else self.rules.values()
        return any(self._may_raise(rule, match) for rule in rules)

    def _may_raise(self, rule: Rule, match: Match) -> bool:
        self._judged += 1
        for name, patterns in match.is_.items():
            values = self._values(rule, name)
            if values is not None and not any(_meets(pattern, values) for pattern in patterns):
                return False
        for name, patterns in match.not_.items():
            values = self._values(rule, name)
            if values and not any(map(is_glob, values)) and all(meets_any(value, patterns) for value in values):
                return False
        return True

    def _values(self, rule: Rule, name: str) -> tuple[str, ...] | None:
        """Return what alerts of a rule may have under a name, as patterns; None if that cannot be known."""
        fixed = {"rule": (rule.name,), "service": rule.service, "severity": (str(rule.severity),)}
        if name in fixed:
            return fixed[name]
        if name not in BUILT_INS and name in rule.labels:
            return (rule.labels[name],)
        is_open = name == "cause" or name in self._service_labels or _is_of_instances(rule) or name in _fields_of(rule)
        return None if is_open else ()


class _Words:
    """Patterns to look others up in; of the exact ones only those that begin alike are asked."""

    def __init__(self, patterns: Iterable[str]) -> None:
        words = sorted(set(patterns))
        self.exact = [pattern for pattern in words if not is_glob(pattern)]
        self._globs = [pattern for pattern in words if is_glob(pattern)]

    def meet(self, pattern: str) -> bool:
        """Tell whether there may be a text that `pattern` and one of these match."""
        begin = beginning(pattern)
        alike = takewhile(lambda word: word.startswith(begin), self.exact[bisect_left(self.exact, begin) :])
        return _meets(pattern, alike) or _meets(pattern, self._globs)


def means_built_in(match: Match) -> bool:
    """Tell whether a match names a built-in rule, or all that is about alertd; nothing else is known of those here."""
    rules = match.is_.get("rule")
    if rules is None:
        return any(_meets(pattern, (SELF,)) for pattern in match.is_.get("service", ()))
    return any(_meets(pattern, BUILT_IN_RULES) for pattern in rules)


def _is_of_instances(rule: Rule) -> bool:
    """Tell whether a rule's alerts are about one instance each, so that they have its fields."""
    when = rule.when
    return bool(when.instance or when.value or when.malformed or (when.changes and when.changes.per))


def _fields_of(rule: Rule) -> set[str]:
    """Return the fields that a rule's condition speaks of."""
    when = rule.when
    spoken = (
        when.instances and when.instances.per,
        when.distinct and when.distinct.field,
        when.value and when.value.field,
    )
    return {field for field in spoken if field}


def _meets(pattern: str, others: Iterable[str]) -> bool:
    return any(may_meet(pattern, other) for other in others)
