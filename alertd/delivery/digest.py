"""The body of a digest: every service of a storm with its counts, the worst first.

Pure. Of a storm nobody reads one alert after the other; what counts is which services are hit and how badly.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from alertd.delivery.headline import counted
from alertd.delivery.layout import listed
from alertd.delivery.verdict import is_over
from alertd.delivery.wording import plain
from alertd.model import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.delivery.layout import Layout
    from alertd.delivery.wording import Times
    from alertd.model import Entry, Notification, ServiceFacts

_NAMED = 3
"""Instances of a service that are named; of more, only how many they are is said."""

_WORDS = {
    Kind.REMINDER: "still firing",
    Kind.ESCALATED: "still firing",
    Kind.FORGOTTEN: "forgotten",
    Kind.FLAPPING: "flapping",
}
"""What is said of entries that neither fire anew nor resolve."""


def fill(layout: Layout, notification: Notification, times: Times) -> None:
    """Lay out how much there is in all, then a line a service."""
    layout.head(_overview(notification.entries, times))
    by_service: dict[str, list[Entry]] = {}
    for entry in notification.entries:
        by_service.setdefault(entry.alert.service, []).append(entry)
    worst_first = sorted(by_service, key=lambda name: (-_firing(by_service[name]), name))
    lines = [_line(name, by_service[name], notification.services.get(name)) for name in worst_first]
    layout.listing(lines, len(lines), "services")


def _overview(entries: Iterable[Entry], times: Times) -> str:
    """Return `375 alerts fire since 04:12:41 CEST: instance-lost, minimum`, or that nothing of it does any more."""
    firing = [entry for entry in entries if not is_over(entry)]
    rules = listed(entry.alert.rule.name for entry in firing or entries)
    if not firing:
        return f"nothing of it fires any more: {rules}"
    begun = min((entry.alert.since for entry in firing if entry.alert.since is not None), default=None)
    since = f" since {times.stamp(begun)}" if begun is not None else ""
    unheeded = "; nobody has acted" if any(entry.kind is Kind.ESCALATED for entry in firing) else ""
    return f"{counted(len(firing), 'alert')} fire{'s' if len(firing) == 1 else ''}{since}{unheeded}: {rules}"


def _line(name: str, entries: list[Entry], service: ServiceFacts | None) -> str:
    """Return `apache  0 of 25 up, 25 firing`, `pay  2 of 3 up, 1 firing: a`, `mail  25 of 25 up, all resolved`."""
    counts = Counter(_word(entry) for entry in entries)
    if len(counts) == 1 and not _firing(entries):
        what = f"all {next(iter(counts))}"
    else:
        what = ", ".join(f"{number} {word}" for word, number in counts.most_common())
    stand = f"{service.up} of {service.known} up, " if service is not None else ""
    return f"{plain(name)}  {stand}{what}{_which(entries)}"


def _which(entries: Iterable[Entry]) -> str:
    """Return which instances it is about, `: a, b`, if these are few enough to be read and any of it fires."""
    instances = {e.alert.instance: None for e in entries if e.alert.instance is not None and not is_over(e)}
    return f": {', '.join(map(plain, instances))}" if 0 < len(instances) <= _NAMED else ""


def _word(entry: Entry) -> str:
    if entry.kind in _WORDS:
        return _WORDS[entry.kind]
    return "resolved" if is_over(entry) else "firing"


def _firing(entries: list[Entry]) -> int:
    return sum(not is_over(entry) for entry in entries)
