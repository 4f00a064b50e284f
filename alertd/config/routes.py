"""What routes do to each other: whom an escalation finds already told, and which route no alert ever comes to."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from alertd.config.nodes import items_of, quote, texts_of, value_of
from alertd.config.patterns import match_covers
from alertd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from alertd.config.alerts import Alerts
    from alertd.config.build import Placed
    from alertd.config.schema import Route
    from alertd.model import Place

MOST_COMPARED = 500
"""Routes that are compared with those before them, which takes the square of their number."""

_NAMES = frozenset({"rule", "service"})


def check_routes(routes: Sequence[Placed[Route]], everyone: Iterable[str]) -> Iterator[Problem]:
    """Yield what is wrong with routes that are each sound by themselves; `everyone` are all channels.

    `routes` are in their order, the default one last, if it is written.
    """
    chosen = routes[-1].value.channels if routes and routes[-1].value.default else None
    default = tuple(everyone) if chosen is None else chosen
    for route in routes:
        chosen = route.value.channels
        how = "by the route itself" if chosen else "by the route itself, which leaves `channels` out"
        yield from _check_escalation(route, dict.fromkeys(chosen or default, how))
    yield from _unreached(routes)
    if routes and routes[-1].value.continue_ and routes[-1].value.default:
        place = _place(routes[-1], "continue")
        yield Problem(place, "`continue` does nothing here: no route comes after the default one", is_warning=True)


def doubt_routes(routes: Iterable[Placed[Route]], alerts: Alerts) -> Iterator[Problem]:
    """Warn of rules, services and labels that a route wants and that nothing has."""
    for route in routes:
        yield from alerts.doubt_match(value_of(route.node, "match"), _NAMES)
        yield from alerts.doubt_names(value_of(route.node, "group_by"))


def _check_escalation(route: Placed[Route], told: dict[str, str]) -> Iterator[Problem]:
    """Yield every step that tells somebody a second time, or comes before the step above it.

    `told` says of each channel that knows already by what.
    """
    latest = 0.0
    for step, node in zip(route.value.escalate, items_of(value_of(route.node, "escalate")), strict=True):
        for scalar in texts_of(value_of(node, "channels")):
            if scalar.text in told:
                message = f"{quote(scalar.text)} is told {told[scalar.text]} anyway; escalate to somebody else"
                yield Problem(scalar.place, message)
        told.update(dict.fromkeys(step.channels, "by a step above"))
        after = value_of(node, "after")
        if step.after <= latest and after is not None:
            yield Problem(
                after.place, "`after` must be longer than in the step above; both count from the first message"
            )
        latest = max(latest, step.after)


def _unreached(routes: Sequence[Placed[Route]]) -> Iterator[Problem]:
    """Yield the routes that match only what one before them has taken."""
    taking: list[Placed[Route]] = []
    for route in islice(routes, MOST_COMPARED):
        first = next((earlier for earlier in taking if _takes_all(earlier.value, route.value)), None)
        if first is not None:
            message = (
                f"no alert comes to this route: the one at {first.node.place} matches all that it matches, "
                "and does not `continue`"
            )
            yield Problem(route.node.place, message, is_warning=True)
        elif not route.value.continue_:
            taking.append(route)


def _takes_all(earlier: Route, later: Route) -> bool:
    is_open = not earlier.during or (bool(later.during) and set(later.during) <= set(earlier.during))
    return is_open and match_covers(earlier.match, later.match)


def _place(route: Placed[Route], key: str) -> Place:
    found = value_of(route.node, key)
    return route.node.place if found is None else found.place
