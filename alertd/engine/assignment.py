"""Which rules judge which service, with what is known of the service beforehand.

A service is given its conditions when it first appears, and others when other rules are loaded; conditions of a rule of
the same name go on with what the old ones knew.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from alertd.config.alerts import BUILT_INS
from alertd.engine.kinds import make_condition
from alertd.engine.registry import Registry, Service
from alertd.engine.rules import RuleIndex, SpecIndex, compile_rules, named_fields
from alertd.model import SELF, NoForecast, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.config.schema import Ruleset
    from alertd.engine.conditions import Condition
    from alertd.engine.desk import Desk
    from alertd.engine.rules import CompiledRule
    from alertd.model import Instant


class Assignment:
    """The rules in force, and the services that they are to judge; `install` is to be called first."""

    def __init__(self, registry: Registry, desk: Desk) -> None:
        self._registry = registry
        self._desk = desk
        self._index: RuleIndex
        self._specs: SpecIndex
        self._fields: set[str] = set()
        """Names that others than rules go by."""
        self.rules: Mapping[str, CompiledRule] = {}
        """The rules in force, by name."""
        self.unjudged: dict[Service, None] = {}
        """Services that are new by name, or judged by new rules, and have not been looked at as a whole since."""

    @property
    def own_labels(self) -> dict[str, str]:
        """What is said beforehand of alertd itself."""
        return self._specs.about(SELF)[1]

    def install(self, ruleset: Ruleset, now: Instant | None) -> None:
        """Put rules in force; without `now` before anything is known."""
        self.rules = {rule.rule.name: rule for rule in compile_rules(ruleset)}
        self._index = RuleIndex(tuple(self.rules.values()))
        self._specs = SpecIndex(ruleset.services)
        self._fields = named_fields(ruleset)
        registry = self._registry
        named = dict.fromkeys((*self._index.named, *self._specs.named))
        for service in list(registry.services.values()):
            service.is_named = service.name in named
            if now is not None:
                self._rematch(service, now)
        for name in named:
            if name not in registry.services:
                service = registry.service(name)
                service.is_named = True
                self.unjudged[service] = None

    def match(self, service: Service) -> None:
        """Give a service its labels, expectation and conditions."""
        service.expected, service.labels = self._specs.about(service.name)
        rules = self._index.matching(service.name)
        service.conditions = tuple(make_condition(rule, service, self._desk) for rule in rules)
        service.keeps_fields = any(condition.reads_fields for condition in service.conditions)
        own = (name for each in service.conditions for name in (*each.rule.rule.where, each.per_field))
        kept = tuple(sorted(self._fields.union(own) - {*BUILT_INS, *service.labels, ""}))
        if kept != service.kept_fields:
            service.kept_fields = kept
            self._registry.touched |= dict.fromkeys(each.service.name for each in islice(service.instances, 1))

    def judge_unjudged(self, now: Instant) -> None:
        """Judge the services of which more is to be judged than what happened to them."""
        for service in self.unjudged:
            for condition in service.conditions:
                condition.judge_all(now)
        self.unjudged.clear()

    def leave(self, service: Service, reason: Reason, now: Instant) -> None:
        """End all that is judged about a service that is no longer known."""
        self.unjudged.pop(service, None)
        for condition in service.conditions:
            _end_all(condition, reason, now)

    def suppose(self, rule: str, name: str) -> Condition | NoForecast:
        """Return a rule's condition on a service, to ask what would follow from it; it is judged by nobody."""
        compiled = self.rules.get(rule)
        if compiled is None:
            return NoForecast.UNKNOWN_RULE
        if compiled not in self._index.matching(name):
            return NoForecast.OTHER_SERVICE
        service = self._registry.services.get(name)
        if service is None:
            service = Service(name)
            service.expected, service.labels = self._specs.about(name)
        return make_condition(compiled, service, self._desk)

    def _rematch(self, service: Service, now: Instant) -> None:
        """Judge a service by new rules, going on with what they have in common with the old."""
        old = {condition.rule.rule.name: condition for condition in service.conditions}
        self.match(service)
        for condition in service.conditions:
            before = old.pop(condition.rule.rule.name, None)
            if before is not None:
                condition.take_over(before, now)
        for gone in old.values():
            _end_all(gone, Reason.RULE_GONE, now)
        if service.instances or service.is_named:
            self.unjudged[service] = None
        else:
            self.leave(service, Reason.RULE_GONE, now)
            del self._registry.services[service.name]


def _end_all(condition: Condition, reason: Reason, now: Instant) -> None:
    for alert in condition.alerts.values():
        alert.end(reason, now)
    condition.alerts.clear()
