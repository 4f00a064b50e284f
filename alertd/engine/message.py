"""How a notification is put together: of the parts of one group, or of a storm."""

from __future__ import annotations

from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from alertd.engine.facts import describe_alert, describe_service
from alertd.model import Entry, Escalation, Instant, Kind, Notification

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from alertd.engine.group import Group
    from alertd.engine.membership import Membership
    from alertd.model import ServiceFacts

DIGEST = "digest"
"""The name of the group that a digest speaks of."""


class Part(NamedTuple):
    """What one channel is told of one alert."""

    member: Membership
    kind: Kind


Parts = dict[str, list[Part]]
"""What each channel is told."""


def compose(group: Group, channel: str, parts: Sequence[Part], now: Instant) -> Notification:
    """Return the message of a group to a channel, whose members have taken note of it already."""
    entries = _entries(parts)
    spoken = {part.member for part in parts}
    standing = [member for member in group.members if channel in member.beliefs and member.is_firing]
    is_urgent = entries[0].kind in (Kind.REMINDER, Kind.ESCALATED)
    wants_all = channel in group.desk.router.whole_groups
    return Notification(
        id=_name(channel, group.name, parts, *([str(group.reminders)] if is_urgent else ())),
        kind=Kind.FIRING if any(entry.kind is Kind.FIRING for entry in entries) else entries[0].kind,
        channel=channel,
        group=group.name,
        entries=entries,
        services=_services(parts),
        still_firing=len(standing),
        at=now,
        next=_next_steps(parts, now),
        standing=tuple(describe_alert(m.alert) for m in standing if m not in spoken) if wants_all else (),
        labels=group.labels,
        key=group.id,
        before=_told_before(parts, channel) if entries[0].kind is Kind.ESCALATED else (),
    )


def compose_digest(channel: str, parts: Sequence[Part], number: int, still_firing: int, now: Instant) -> Notification:
    """Return the one message of a storm, the channel's `number`-th."""
    conditions = (part.member.alert.condition for part in parts)
    services = dict.fromkeys(condition.service for condition in conditions if not condition.is_about_self)
    return Notification(
        id=_name(channel, DIGEST, parts, str(number)),
        kind=Kind.DIGEST,
        channel=channel,
        group=DIGEST,
        entries=_entries(parts),
        services={service.name: describe_service(service, listed=0) for service in services},
        still_firing=still_firing,
        at=now,
    )


def _entries(parts: Sequence[Part]) -> tuple[Entry, ...]:
    return tuple(Entry(part.kind, describe_alert(part.member.alert, part.kind)) for part in parts)


def _services(parts: Sequence[Part]) -> Mapping[str, ServiceFacts]:
    """Return the facts of the services spoken of, each with the instances spoken of first; alertd itself has none."""
    alerts = [part.member.alert for part in parts if not part.member.alert.condition.is_about_self]
    facts = {}
    for service in dict.fromkeys(alert.condition.service for alert in alerts):
        spoken_of = [a.instance for a in alerts if a.instance is not None and a.condition.service is service]
        facts[service.name] = describe_service(service, spoken_of)
    return facts


def _name(channel: str, about: str, parts: Sequence[Part], *which: str) -> str:
    """Return what names a message: the same on every replica, another for each that differs."""
    marks = sorted(part.member.mark(part.kind) for part in parts)
    return sha256("\0".join((channel, about, *marks, *which)).encode()).hexdigest()[:12]


def _next_steps(parts: Sequence[Part], now: Instant) -> tuple[Escalation, ...]:
    """Return who is told next if nobody acts."""
    steps: dict[tuple[str, ...], float] = {}
    for member, _ in parts:
        if member.steps_done >= len(member.steps):
            continue
        first_told = member.first_told if member.is_pressing(now.mono) else None
        if first_told is not None:
            for step in member.steps[member.steps_done :]:
                steps[step.channels] = min(first_told + step.after, steps.get(step.channels, inf))
    in_order = sorted(steps.items(), key=lambda step: step[1])
    return tuple(Escalation(channels, now.shifted_to(at)) for channels, at in in_order)


def _told_before(parts: Sequence[Part], channel: str) -> tuple[Escalation, ...]:
    """Return who was told before `channel`, and when, the first first."""
    first: dict[str, Instant] = {}
    for member, _ in parts:
        for other, belief in member.beliefs.items():
            since = belief.since
            if since is not None and other != channel and (other not in first or since.mono < first[other].mono):
                first[other] = since
    moments: dict[Instant, list[str]] = {}
    for other, since in sorted(first.items(), key=lambda told: told[1].mono):
        moments.setdefault(since, []).append(other)
    return tuple(Escalation(tuple(channels), since) for since, channels in moments.items())
