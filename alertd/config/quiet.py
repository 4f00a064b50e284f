"""Doubts about what keeps alerts quiet: silences that are over or mean nothing, inhibitions that do nothing, windows.

All are warnings: each file does what it says, and probably not what was meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.config.alerts import means_built_in
from alertd.config.nodes import value_of
from alertd.config.patterns import is_everything
from alertd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from alertd.config.alerts import Alerts
    from alertd.config.build import Placed
    from alertd.config.nodes import Node
    from alertd.config.schema import Inhibition
    from alertd.config.sections import Named
    from alertd.model import Match, Silence
    from alertd.window import Window

_NAMES = frozenset({"rule", "service", "severity"})
_NAMES_OF_BUILT_IN = frozenset({"rule"})


def doubt_silences(silences: Iterable[Placed[Silence]], now: datetime) -> Iterator[Problem]:
    """Warn of silences that are over, and of those that mute everything."""
    for silence, node in silences:
        until = value_of(node, "until")
        if until is not None and silence.until is not None and silence.until <= now:
            yield _warning(until, f"this silence is over since {silence.until:%Y-%m-%dT%H:%M:%SZ}; remove it")
        match = value_of(node, "match")
        if is_everything(silence.match) and match is not None:
            yield _warning(match, "this matches everything: while the silence holds, nobody is told of anything")


def doubt_inhibitions(inhibitions: Iterable[Placed[Inhibition]]) -> Iterator[Problem]:
    """Warn of inhibitions that can mute nothing, and of those that mute without regard to where."""
    for inhibition, node in inhibitions:
        mute = value_of(node, "mute")
        if inhibition.if_ == inhibition.mute and mute is not None:
            yield _warning(mute, "the same as `if`: alerts that are both never mute each other, so this mutes nothing")
        if not inhibition.equal:
            why = "one alert mutes those of all services; say what both must share, such as `equal: [service]`"
            yield _warning(value_of(node, "equal") or node, f"without `equal` {why}")


def doubt_windows(windows: Mapping[str, Window], named: Mapping[str, Named]) -> Iterator[Problem]:
    """Warn of windows that never close."""
    for name, window in windows.items():
        if window.never_closes:
            node = value_of(named[name].node, "duration") or named[name].node
            yield _warning(node, "the window opens again before it closes, so it is always open")


def doubt_meaning(
    silences: Iterable[Placed[Silence]], inhibitions: Iterable[Placed[Inhibition]], alerts: Alerts
) -> Iterator[Problem]:
    """Warn of matches that mean no alert that the rules can raise, and of names that nothing has."""
    for silence, node in silences:
        yield from _doubt_match(silence.match, value_of(node, "match"), alerts)
    for inhibition, node in inhibitions:
        yield from _doubt_match(inhibition.if_, value_of(node, "if"), alerts)
        yield from _doubt_match(inhibition.mute, value_of(node, "mute"), alerts)
        yield from alerts.doubt_names(value_of(node, "equal"))


def _doubt_match(match: Match, node: Node | None, alerts: Alerts) -> Iterator[Problem]:
    found = list(alerts.doubt_match(node, _NAMES_OF_BUILT_IN if means_built_in(match) else _NAMES))
    yield from found
    if node is not None and not found and not alerts.has_any(match):
        yield _warning(node, "this matches no alert that any rule can raise")


def _warning(node: Node, message: str) -> Problem:
    return Problem(node.place, message, is_warning=True)
