"""The first line of a message: its kind, what it is about, how bad that is, where.

Pure. `[FIRING] apache-minimum apache · 1 of 3 up, needs 2 · critical · prod-fra`. What an incident is called is another
line, since that must stay the same while the facts change.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING

from alertd.delivery.layout import listed
from alertd.delivery.letter import Incident
from alertd.delivery.verdict import fact_of, is_over
from alertd.delivery.wording import plain
from alertd.model import Kind, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.config.schema import Settings
    from alertd.model import Entry, Notification

ORDER = (
    Kind.FIRING,
    Kind.REMINDER,
    Kind.ESCALATED,
    Kind.FLAPPING,
    Kind.SETTLED,
    Kind.RESOLVED,
    Kind.FORGOTTEN,
)
"""The kinds of entries, in the order in which a message speaks of them."""
_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_BARE = ("rule", "service", "instance")
"""What a group is grouped by that needs no name beside its value."""


def headline(notification: Notification, settings: Settings) -> str:
    """Return the built-in title."""
    parts = (
        f"[{_kinds(notification)}] {_subject(notification)}",
        _fact(notification),
        str(severity_of(notification.entries)),
        plain(settings.name),
    )
    return " · ".join(part for part in parts if part)


def severity_of(entries: Sequence[Entry]) -> Severity:
    """Return the worst severity of what does not end here, else of all."""
    bad = [entry for entry in entries if not is_over(entry)] or entries
    return max((entry.alert.rule.severity for entry in bad), key=_RANK.__getitem__, default=Severity.INFO)


def ends_group(notification: Notification) -> bool:
    """Say whether nothing in the group fires any more once this is told."""
    return notification.still_firing == 0 and all(is_over(entry) for entry in notification.entries)


def incident_of(notification: Notification, settings: Settings) -> Incident:
    """Return what the message is to a target that keeps incidents: `instance-lost apache · prod-fra`, and its key."""
    name = plain(settings.name)
    about = (settings.name, notification.channel, notification.key or notification.group)
    mark = sha256("\0".join(about).encode()).hexdigest()[:20]
    title = " · ".join(part for part in (_group(notification), name) if part)
    return Incident(f"alertd-{mark}", title, ends_group(notification))


def _kinds(notification: Notification) -> str:
    """Return the kind, or what there is of each: `FIRING:2 RESOLVED:1`."""
    if len(notification.entries) <= 1 or notification.kind is Kind.DIGEST:
        return notification.kind.upper()
    counts = Counter(entry.kind for entry in notification.entries)
    return " ".join(f"{kind.upper()}:{counts[kind]}" for kind in ORDER if counts[kind])


def _subject(notification: Notification) -> str:
    """Return rule and target; for several alerts the rules and what their targets share."""
    entries = notification.entries
    if notification.kind is Kind.DIGEST:
        return counted(len(notification.services), "service")
    if len(entries) == 1:
        return f"{entries[0].alert.rule.name} {plain(entries[0].alert.target)}"
    rules = listed(entry.alert.rule.name for entry in entries)
    services = dict.fromkeys(entry.alert.service for entry in entries)
    return f"{rules} {listed(map(plain, services))}"


def _fact(notification: Notification) -> str:
    """Return the few words that say how bad it is, or how it stands now."""
    services = notification.services
    if notification.kind is Kind.DIGEST:
        return _extent(notification)
    if len(notification.entries) == 1:
        entry = notification.entries[0]
        return fact_of(entry, services.get(entry.alert.service))
    if not services:
        return ""
    up, known = (sum(getattr(service, name) for service in services.values()) for name in ("up", "known"))
    return f"{up} of {known} up"


def _extent(notification: Notification) -> str:
    """Return how much of it there is: instances that are down, else alerts that fire, else that all is over."""
    firing = sum(not is_over(entry) for entry in notification.entries)
    if not firing:
        return "all over" if any(entry.kind is Kind.FORGOTTEN for entry in notification.entries) else "all resolved"
    down = sum(service.known - service.up for service in notification.services.values())
    return f"{down} down" if down else f"{firing} firing"


def _group(notification: Notification) -> str:
    """Return what the group is grouped by, in words that stay the same: `instance-lost apache`, `team=web`."""
    if notification.kind is Kind.DIGEST:
        return "storm"
    if notification.labels:
        parts = (
            plain(value) if name in _BARE else f"{plain(name)}={plain(value)}"
            for name, value in notification.labels.items()
        )
        return " ".join(parts)
    return plain(notification.group)


def counted(number: int, what: str) -> str:
    """`1 service`, `15 services`."""
    return f"{number} {what}" + ("" if number == 1 else "s")
