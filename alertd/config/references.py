"""Names that speak of each other: channels and windows, and whoever names them.

Judges what one place alone cannot show. What is written but faulty counts as known, so that one fault is told once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.config.build import BUILT_IN_CHANNEL
from alertd.config.nodes import Scalar, items_of, quote, texts_of, value_of
from alertd.config.problems import suggest
from alertd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alertd.config.nodes import Node
    from alertd.config.sections import Sections


def check_references(sections: Sections) -> list[Problem]:
    """Return every name that nothing has, every circle of fallbacks, and every channel that nobody uses."""
    known = {BUILT_IN_CHANNEL, *sections.channels}
    mentions = list(_channels_named(sections))
    problems = _unknown("channel", mentions, known)
    problems += _unknown("window", _windows_named(sections), set(sections.windows))
    problems += list(_circles(sections)) or _told_anyway(sections)
    if _default_route_chooses(sections):
        problems += _unused(sections, {scalar.text for scalar in mentions})
    return problems


def _routes(sections: Sections) -> list[Node]:
    return items_of(sections.routes.node if sections.routes else None)


def _channels_named(sections: Sections) -> Iterator[Scalar]:
    """Walk every place that names a channel."""
    for node in sections.rules:
        yield from texts_of(value_of(node, "channels"))
    for _, node in sections.channels.values():
        yield from texts_of(value_of(node, "fallback"))
    for route in _routes(sections):
        yield from texts_of(value_of(route, "channels"))
        for step in items_of(value_of(route, "escalate")):
            yield from texts_of(value_of(step, "channels"))
    for node in (*sections.heartbeats, *sections.reports):
        yield from texts_of(value_of(node, "channel"))


def _windows_named(sections: Sections) -> Iterator[Scalar]:
    """Walk every place that names a window."""
    for route in _routes(sections):
        yield from texts_of(value_of(value_of(route, "match"), "during"))
    for silence in sections.silences:
        yield from texts_of(value_of(silence, "during"))


def _unknown(kind: str, named: Iterator[Scalar] | list[Scalar], known: set[str]) -> list[Problem]:
    return [
        Problem(scalar.place, f"unknown {kind} {quote(scalar.text)}{suggest(scalar.text, known)}")
        for scalar in named
        if scalar.text not in known
    ]


def _told_anyway(sections: Sections) -> Iterator[Problem]:
    """Warn of each fallback that is told the same by itself, and so twice when the channel fails."""
    routes = [
        (route.place, {scalar.text for scalar in texts_of(value_of(route, "channels"))}) for route in _routes(sections)
    ]
    chooses = _default_route_chooses(sections)
    for name, (_, node) in sections.channels.items():
        for fallback in texts_of(value_of(node, "fallback")):
            place = next((place for place, told in routes if {name, fallback.text} <= told), None)
            if place is not None or (not chooses and fallback.text in sections.channels):
                how = (
                    f"by the route at {place}"
                    if place is not None
                    else "of everything, as no default route has `channels`"
                )
                message = f"{quote(fallback.text)} is told {how}; it is told twice when {quote(name)} fails"
                yield Problem(fallback.place, message, is_warning=True)


def _circles(sections: Sections) -> Iterator[Problem]:
    """Yield each circle of fallbacks once, at the fallback of the channel in it that comes first by name."""
    fallbacks = {
        name: scalar for name, (_, node) in sections.channels.items() for scalar in texts_of(value_of(node, "fallback"))
    }
    done: set[str] = set()
    for start in sorted(fallbacks):
        path: list[str] = []
        name = start
        while name in fallbacks and name not in done:
            done.add(name)
            path.append(name)
            name = fallbacks[name].text
        if name in path:
            circle = [*path[path.index(name) :], name]
            yield Problem(fallbacks[name].place, f"a circle of fallbacks: {' → '.join(quote(each) for each in circle)}")


def _default_route_chooses(sections: Sections) -> bool:
    """Tell whether the default route names channels; without that it means all of them."""
    return any(
        value_of(route, "default") is not None and value_of(route, "channels") is not None
        for route in _routes(sections)
    )


def _unused(sections: Sections, used: set[str]) -> Iterator[Problem]:
    for name, (place, _) in sections.channels.items():
        if name not in used:
            message = f"channel {quote(name)} is used nowhere: nobody is told through it"
            yield Problem(place, message, is_warning=True)
