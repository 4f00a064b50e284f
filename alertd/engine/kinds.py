"""Which kind of condition each `when:` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.engine.conditions import Condition, FieldValue, InstanceDown, InstanceUp, Malformed
from alertd.engine.counting import Changes, Distinct, InstanceCount

if TYPE_CHECKING:
    from alertd.engine.desk import Desk
    from alertd.engine.registry import Service
    from alertd.engine.rules import CompiledRule


def make_condition(rule: CompiledRule, service: Service, desk: Desk) -> Condition:
    """Return what judges `rule` on `service`."""
    when = rule.rule.when
    if when.instances is not None:
        return InstanceCount(rule, service, desk)
    if when.instance == "down":
        return InstanceDown(rule, service, desk)
    if when.instance == "up":
        return InstanceUp(rule, service, desk)
    if when.distinct is not None:
        return Distinct(rule, service, desk)
    if when.changes is not None:
        return Changes(rule, service, desk)
    return FieldValue(rule, service, desk) if when.value is not None else Malformed(rule, service, desk)
