"""Rules made ready for judging: what can be worked out once a rule, or once a rule and service, is.

A rule is matched to a service when the service first appears, and the result is kept. Exact names are looked up, so the
number of rules does not matter; only globs are tried one by one, and only then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alertd.config.schema import Flap, source_of
from alertd.engine.match import any_of, is_glob
from alertd.model import RuleText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from alertd.config.schema import Rule, Ruleset, ServiceSpec


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its defaults filled in; `flap` is None where suppression is off."""

    rule: Rule
    text: RuleText
    flap: Flap | None
    order: int


def compile_rules(ruleset: Ruleset) -> tuple[CompiledRule, ...]:
    """Return all rules of `ruleset`, in order."""
    default = ruleset.settings.flap or None
    compiled = []
    for order, rule in enumerate(ruleset.rules):
        text = RuleText(
            name=rule.name,
            severity=rule.severity,
            source=source_of(rule, ruleset.digest),
            summary=rule.summary,
            description=rule.description,
            runbook=rule.runbook,
        )
        compiled.append(CompiledRule(rule, text, _flap_of(rule, default), order))
    return tuple(compiled)


def named_fields(ruleset: Ruleset) -> set[str]:
    """Return the names that routes, inhibitions and silences kept as code go by: of fields, of labels, and built in."""
    inhibitions = ruleset.inhibit
    matches = [each.match for each in ruleset.routes] + [each.match for each in ruleset.silences]
    matches += [match for each in inhibitions for match in (each.if_, each.mute)]
    names = {name for match in matches for name in (*match.is_, *match.not_)}
    return names.union(*(each.group_by for each in ruleset.routes), *(each.equal for each in inhibitions))


def _flap_of(rule: Rule, default: Flap | None) -> Flap | None:
    """Return what a rule says of flapping, and what it does not say as in the settings."""
    if not rule.flap:
        return default if rule.flap is None else None
    return (default or Flap()).model_copy(update=rule.flap.model_dump(exclude_unset=True))


class RuleIndex:
    """Which rules speak of a service, and which services the rules name exactly."""

    __slots__ = ("_exact", "_globs")

    def __init__(self, rules: tuple[CompiledRule, ...]) -> None:
        self._exact: dict[str, list[CompiledRule]] = {}
        self._globs: list[tuple[Callable[[str], bool], CompiledRule]] = []
        for rule in rules:
            names = rule.rule.service
            for name in dict.fromkeys(name for name in names if not is_glob(name)):
                self._exact.setdefault(name, []).append(rule)
            globs = [name for name in names if is_glob(name)]
            if globs:
                self._globs.append((any_of(globs), rule))

    @property
    def named(self) -> Iterator[str]:
        """The services that a rule names exactly."""
        return iter(self._exact)

    def matching(self, service: str) -> list[CompiledRule]:
        """Return the rules for `service`, in their order."""
        found = {rule.order: rule for rule in self._exact.get(service, ())}
        found.update((rule.order, rule) for test, rule in self._globs if test(service))
        return [found[order] for order in sorted(found)]


class SpecIndex:
    """What `services:` says beforehand: every entry that matches counts, an exact name last and so strongest."""

    __slots__ = ("_exact", "_globs")

    def __init__(self, specs: Mapping[str, ServiceSpec]) -> None:
        self._exact = {name: spec for name, spec in specs.items() if not is_glob(name)}
        self._globs = [(any_of([name]), spec) for name, spec in specs.items() if is_glob(name)]

    @property
    def named(self) -> Iterator[str]:
        """The services that are named exactly."""
        return iter(self._exact)

    def about(self, service: str) -> tuple[int | None, dict[str, str]]:
        """Return the expected number (None: not known) and the labels of `service`."""
        expected: int | None = None
        labels: dict[str, str] = {}
        specs = [spec for test, spec in self._globs if test(service)]
        if service in self._exact:
            specs.append(self._exact[service])
        for spec in specs:
            expected = spec.expected if spec.expected is not None else expected
            labels.update(spec.labels)
        return expected, labels
