"""Which routes an alert takes, and so which channels are told of it and what it is grouped with.

Routes are tried in their order; the first that matches is taken, and those after it only if it says `continue`. A
channel that two routes reach is told by the first. What can be known of all alerts of a rule on a service is worked out
once; only matchers that look at the instance, and windows, are asked each time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from alertd.engine.match import Labels, Matcher, MatcherIndex
from alertd.model import Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from alertd.config.schema import Route, Ruleset
    from alertd.engine.alert import LiveAlert
    from alertd.engine.calendar import Calendar
    from alertd.engine.conditions import Condition

LOG_CHANNEL = "log"
"""The built-in channel, told where no channel is configured."""


@dataclass(frozen=True, slots=True)
class Step:
    """Who is told as well, `after` seconds from the first message about an alert, if nobody acts."""

    after: float
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """One route as one alert takes it: the channels that it leads to, and whom it escalates to.

    `key` is the same for the same route of another ruleset, whatever its channels and times.
    """

    route: Route
    key: str
    channels: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class _Leg:
    """A route made ready; `order` is its place among all."""

    order: int
    route: Route
    key: str
    matcher: Matcher
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the router knows of all alerts of one condition: their ways, or the legs that are still in question."""

    router: Router
    ways: tuple[Way, ...] | None
    legs: tuple[tuple[_Leg, bool], ...]
    """Each with whether it is certain."""


class Router:
    """Answers who is told, by the ruleset in force."""

    __slots__ = ("_calendar", "_default_channels", "_index", "_legs", "_resolved_wanted", "name", "whole_groups")

    def __init__(self, ruleset: Ruleset, calendar: Calendar) -> None:
        self._calendar = calendar
        everyone = tuple(ruleset.channels) or (LOG_CHANNEL,)
        self._default_channels = ruleset.route.channels or everyone
        self._legs = _make_legs(ruleset.routes)
        self.name = sha256("\n".join(leg.key for leg in self._legs).encode()).hexdigest()[:12]
        """What names these routes, whatever their channels and times."""
        self._index: MatcherIndex[int] = MatcherIndex()
        for leg in self._legs:
            self._index.add(leg.order, leg.matcher)
        self._resolved_wanted = {name: channel.send_resolved for name, channel in ruleset.channels.items()}
        self._resolved_wanted[LOG_CHANNEL] = True
        self.whole_groups = {name for name, channel in ruleset.channels.items() if channel.webhook is not None}
        """Channels that want the whole group with every message."""

    def ways(self, alert: LiveAlert) -> tuple[Way, ...]:
        """Return the ways that `alert` takes now."""
        condition = alert.condition
        plan = self._plan_of(condition)
        return plan.ways if plan.ways is not None else self._decide(plan, Labels(alert), condition)

    def ways_by(self, keys: Container[str], condition: Condition) -> tuple[Way, ...]:
        """Return the ways of these keys, as an alert of `condition` takes them; those that are gone are left out."""
        return self._make_ways((leg for leg in self._legs if leg.key in keys), condition)

    def is_certain(self, condition: Condition) -> bool:
        """Tell whether all alerts of a condition always belong to the same groups, whatever its data says."""
        ways = self._plan_of(condition).ways
        return ways is not None and all(name in condition.constants for way in ways for name in way.route.group_by)

    def find(self, key: str) -> Route | None:
        """Return the route that ways of this key take, if there is one."""
        return next((leg.route for leg in self._legs if leg.key == key), None)

    def route_of(self, key: str) -> Route:
        """Return the route that ways of this key take, the default one if it is gone."""
        return self.find(key) or self._legs[-1].route

    @property
    def channels(self) -> Iterable[str]:
        """All channels that there are."""
        return self._resolved_wanted

    def has(self, channel: str) -> bool:
        """Tell whether a channel is there."""
        return channel in self._resolved_wanted

    def wants(self, channel: str, kind: Kind) -> Reason | None:
        """Return why `channel` is not told of `kind`, or None if it is."""
        if channel not in self._resolved_wanted:
            return Reason.CHANNEL_GONE
        if kind is Kind.RESOLVED and not self._resolved_wanted[channel]:
            return Reason.RESOLVE_NOT_WANTED
        return None

    def _plan_of(self, condition: Condition) -> Plan:
        plan = condition.plan
        if plan is None or plan.router is not self:
            plan = condition.plan = self._plan(condition)
        return plan

    def _plan(self, condition: Condition) -> Plan:
        legs: list[tuple[_Leg, bool]] = []
        for leg in self._legs:
            means = leg.matcher.foresee(condition.constants)
            if means is False:
                continue
            is_certain = means is True and not leg.route.during
            legs.append((leg, is_certain))
            if is_certain and not leg.route.continue_:
                break
        if not all(is_certain for _, is_certain in legs):
            return Plan(self, None, tuple(legs))
        return Plan(self, self._make_ways((leg for leg, _ in legs), condition), ())

    def _decide(self, plan: Plan, labels: Labels, condition: Condition) -> tuple[Way, ...]:
        taken: list[_Leg] = []
        matching = set(self._index.matching(labels))
        for leg, is_certain in plan.legs:
            if is_certain or (leg.order in matching and self._is_open(leg.route)):
                taken.append(leg)
                if not leg.route.continue_:
                    break
        return self._make_ways(taken, condition)

    def _is_open(self, route: Route) -> bool:
        return not route.during or any(name in self._calendar.open for name in route.during)

    def _make_ways(self, legs: Iterable[_Leg], condition: Condition) -> tuple[Way, ...]:
        """Turn routes into ways; a rule's own channels stand instead of all that they choose."""
        own = condition.rule.rule.channels
        ways: list[Way] = []
        told: set[str] = set()
        for leg in legs:
            if own is not None:
                return (Way(leg.route, leg.key, own, ()),)
            wanted = leg.route.channels or self._default_channels
            channels = tuple(channel for channel in wanted if channel not in told)
            told.update(channels)
            if channels or leg.steps:
                ways.append(Way(leg.route, leg.key, channels, leg.steps))
        return tuple(ways)


def _make_legs(routes: Iterable[Route]) -> tuple[_Leg, ...]:
    """Make routes ready. Those that want and group by the same are told apart by which of them comes first."""
    seen: Counter[str] = Counter()
    legs = []
    for order, route in enumerate(routes):
        match = route.match
        about = (route.default, sorted(match.is_.items()), sorted(match.not_.items()), route.during, route.group_by)
        text = repr(about)
        steps = tuple(Step(step.after, step.channels) for step in route.escalate)
        legs.append(_Leg(order, route, f"{text} {seen[text]}", Matcher(match), steps))
        seen[text] += 1
    return tuple(legs)
