"""Names that speak of each other: channels in rules, routes and fallbacks.

Judges what one place alone cannot show. A channel that is written but faulty counts as known, so that one fault is
told once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.config.build import BUILT_IN_CHANNEL
from alertd.config.nodes import Mapping, Node, Scalar, Sequence, quote
from alertd.config.problems import suggest
from alertd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alertd.config.sections import Sections


def check_references(sections: Sections) -> list[Problem]:
    """Return every name that nothing has, every circle of fallbacks, and every channel that nobody uses."""
    known = {BUILT_IN_CHANNEL, *sections.channels}
    problems: list[Problem] = []
    used: set[str] = set()
    for scalar in _mentions(sections):
        used.add(scalar.text)
        if scalar.text not in known:
            message = f"unknown channel {quote(scalar.text)}{suggest(scalar.text, known)}"
            problems.append(Problem(scalar.place, message))
    problems += _circles(sections)
    if _route_names_channels(sections):
        problems += _unused(sections, used)
    return problems


def _mentions(sections: Sections) -> Iterator[Scalar]:
    """Walk every place that names a channel."""
    for node in sections.rules:
        yield from _names_in(node, "channels")
    for _, node in sections.channels.values():
        yield from _names_in(node, "fallback")
    for route in _items(sections.routes.node if sections.routes else None):
        yield from _names_in(route, "channels")
        for step in _items(_value(route, "escalate")):
            yield from _names_in(step, "channels")


def _names_in(node: Node, key: str) -> Iterator[Scalar]:
    """Walk the texts under a key, one or a list; other kinds are the schema's to refuse."""
    value = _value(node, key)
    for item in value.items if isinstance(value, Sequence) else [value]:
        if isinstance(item, Scalar) and isinstance(item.value, str):
            yield item


def _value(node: Node, key: str) -> Node | None:
    entry = node.entries.get(key) if isinstance(node, Mapping) else None
    return None if entry is None else entry[1]


def _items(node: Node | None) -> list[Node]:
    return node.items if isinstance(node, Sequence) else []


def _circles(sections: Sections) -> Iterator[Problem]:
    """Yield each circle of fallbacks once, at the fallback of the channel in it that comes first by name."""
    fallbacks = {
        name: scalar for name, (_, node) in sections.channels.items() for scalar in _names_in(node, "fallback")
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


def _route_names_channels(sections: Sections) -> bool:
    """Tell whether the default route chooses; without that it means all channels."""
    routes = _items(sections.routes.node if sections.routes else None)
    return any(_value(route, "channels") is not None for route in routes)


def _unused(sections: Sections, used: set[str]) -> Iterator[Problem]:
    for name, (place, _) in sections.channels.items():
        if name not in used:
            message = f"channel {quote(name)} is used by no rule and no route: nobody is told through it"
            yield Problem(place, message, is_warning=True)
