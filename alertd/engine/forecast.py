"""What would happen, were a rule to fire on a target now.

The rule is put on the service as if for the first time, beside what is judged already: no alert, group or filing is
left behind, so that asking changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.engine.alert import LiveAlert
from alertd.engine.conditions import InstanceUp
from alertd.engine.facts import describe_alert
from alertd.engine.group import name_of
from alertd.engine.registry import Instance
from alertd.model import Cause, Forecast, ForecastStep, ForecastWay, Kind, NoForecast

if TYPE_CHECKING:
    from alertd.engine.conditions import Condition
    from alertd.engine.desk import Desk
    from alertd.engine.registry import Service
    from alertd.engine.routing import Way
    from alertd.model import Alert, Instant


def foresee(condition: Condition, name: str | None, cause: Cause | None, now: Instant) -> Forecast | NoForecast:
    """Return what follows if `condition`, made for this alone, holds for the instance `name`, or (None) the service.

    `cause` is that of the loss; None is the one that the instance went down with, if it is down.
    """
    if condition.judges_instances is not (name is not None):
        return NoForecast.WANTS_INSTANCE if condition.judges_instances else NoForecast.WANTS_SERVICE
    instance = None if name is None else _instance(condition.service, name, now)
    if instance is not None and instance.is_known and not condition.where.matches(instance):
        return NoForecast.OTHER_INSTANCE
    alert = LiveAlert(condition, instance, None)
    if cause is None and instance is not None and not instance.up and instance.is_known:
        cause = instance.cause
    alert.cause = alert.fault = cause
    desk = condition.desk
    ways = tuple(_way(way, alert, desk, now) for way in desk.router.ways(alert))
    return Forecast(condition.rule.text, alert.target, desk.mutes.foresee(alert), ways)


def reach(condition: Condition) -> tuple[Alert, tuple[str, ...]]:
    """Return the alert on a service as a whole, were it to fire now, and whom it would tell: nobody if it is muted."""
    alert = LiveAlert(condition, None, None)
    desk = condition.desk
    ways = () if desk.mutes.foresee(alert) is not None else desk.router.ways(alert)
    return describe_alert(alert), tuple(dict.fromkeys(channel for way in ways for channel in way.channels))


def _instance(service: Service, name: str, now: Instant) -> Instance:
    """Return the instance of that name; one that was never seen is made up."""
    return next((each for each in service.instances if each.name == name), None) or Instance(b"", name, service, now)


def _way(way: Way, alert: LiveAlert, desk: Desk, now: Instant) -> ForecastWay:
    route = way.route
    key, labels = desk.place(way, alert)
    group = desk.groups.get(key)
    everyone = dict.fromkeys((*way.channels, *(channel for step in way.steps for channel in step.channels)))
    never_ends = isinstance(alert.condition, InstanceUp)
    return ForecastWay(
        place=route.place,
        is_default=route.default,
        channels=way.channels,
        group=name_of(labels),
        labels=labels,
        after=route.group_wait if group is None else group.wait(now),
        repeat_every=route.repeat_interval,
        steps=tuple(ForecastStep(step.after, step.channels) for step in way.steps),
        unresolved=tuple(c for c in everyone if never_ends or desk.router.wants(c, Kind.RESOLVED) is not None),
        digested=tuple(c for c in way.channels if desk.outlet(c).is_storming(key, now)),
    )
