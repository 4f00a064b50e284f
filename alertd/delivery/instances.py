"""The lines of a message about instances: those that it is about, then the others of their services.

Pure. Of one service that is one list, so that one "and N more" counts all that has no room.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from alertd.delivery.headline import ORDER
from alertd.delivery.outlook import hands_on
from alertd.delivery.verdict import aside_on, fact_of, is_up, judged, news_since
from alertd.delivery.wording import DETAIL_ROOM, cause_of, cause_text, host_of, instance_line, plain, span
from alertd.model import AlertState, Cause, Kind

if TYPE_CHECKING:
    from alertd.delivery.layout import Layout
    from alertd.delivery.wording import Times
    from alertd.model import Entry, InstanceFacts, Notification, ServiceFacts


def list_instances(layout: Layout, notification: Notification, times: Times) -> None:
    """List what the entries speak of, if they are several, then the other instances of their services.

    Of several services those others that are up are left out. The lines of entries are worded only when there is room.
    """
    entries = sorted(notification.entries, key=lambda entry: ORDER.index(entry.kind))
    entries = entries if len(entries) > 1 else []
    names_rule = len({entry.alert.rule.name for entry in entries}) > 1
    by_service = {name: {each.name: each for each in facts.instances} for name, facts in notification.services.items()}

    def word(entry: Entry) -> str:
        alert = entry.alert
        own = None if alert.instance is None else by_service.get(alert.service, {}).get(alert.instance)
        return _entry_line(entry, own, notification, times, names_rule=names_rule)

    lines = map(word, entries)
    is_one = len(notification.services) == 1
    if not is_one:
        layout.listing(lines, len(entries))
    told: dict[str, set[str | None]] = {}
    for entry in entries:
        told.setdefault(entry.alert.service, set()).add(entry.alert.instance)
    for service in notification.services.values():
        spoken = told.get(service.name, set())
        rest = _other_lines(service, spoken, notification, times)
        if is_one:
            layout.listing(chain(lines, rest), len(entries) + len(rest) + _unlisted(service, spoken))
        else:
            layout.listing([f"{plain(service.name)}: {service.up} of {service.known} up", *rest], len(rest) + 1)


def _other_lines(service: ServiceFacts, told: set[str | None], notification: Notification, times: Times) -> list[str]:
    """Return a line for each listed instance but those `told`; what came up since the alerts began says so."""
    news = news_since(notification, service)
    are_wanted = len(notification.services) == 1
    return [
        instance_line(each, times, news_since=news)
        for each in service.instances
        if each.name not in told and (are_wanted or not each.up)
    ]


def _unlisted(service: ServiceFacts, told: set[str | None]) -> int:
    """Return how many of the instances that count have no line, since the facts list only so many."""
    listed_names = {each.name for each in service.instances}
    uncounted = sum(
        1 for each in service.instances if not each.up and (each.cause is Cause.STOPPED or each.replaced_by)
    )
    shown = len(listed_names) - uncounted + len(told - listed_names - {None})
    return max(service.known - shown, 0)


def _entry_line(
    entry: Entry, own: InstanceFacts | None, notification: Notification, times: Times, *, names_rule: bool
) -> str:
    """Return one alert of several: `DOWN a core01  expired: lost contact, its lease ended 04:12:11`.

    The service is named only where the message speaks of several. `own` is the alert's instance, if that is listed.
    """
    alert = entry.alert
    service = notification.services.get(alert.service)
    if alert.instance is None or alert.service not in notification.services:
        line = f"{entry.kind.upper()} {alert.rule.name} {plain(alert.target)}"
        parts = (line, fact_of(entry, service), when(entry, times), *hands_on(entry, times))
        return "  ".join(part for part in parts if part)
    name = plain(alert.instance if len(notification.services) == 1 else alert.target)
    if own is not None and (host := host_of(own)):
        name += f" {host}"
    rule = alert.rule.name if names_rule else ""
    line = f"{'UP  ' if is_up(alert, own) else 'DOWN'} {name}"
    return "  ".join(part for part in (line, rule, _why(entry, own, times)) if part)


def _why(entry: Entry, own: InstanceFacts | None, times: Times) -> str:
    """Return the cause with its time, then what is told of the alert where the cause alone does not say it."""
    alert = entry.alert
    if alert.values:
        cause = judged(alert)
    elif own is not None:
        cause = cause_of(own, times)
    else:
        cause = cause_text(alert.cause) if alert.cause is not None else ""
    parts = [cause, aside_on(entry, is_up=is_up(alert, own))]
    if entry.kind is Kind.RESOLVED and alert.since is not None and alert.until is not None:
        parts.append(f"fired from {times.clock(alert.since)} for {span(alert.until.mono - alert.since.mono)}")
    parts += hands_on(entry, times)
    line = ", ".join(part for part in parts if part)
    if own is not None and own.malformed:
        line += f"  malformed value: {plain(own.raw, DETAIL_ROOM)}"
    return line


def when(entry: Entry, times: Times) -> str:
    """Return since when it stands as it is told, or from when to when it fired."""
    alert = entry.alert
    if alert.since is None or entry.kind is Kind.FLAPPING:
        return ""
    if entry.kind is Kind.SETTLED and alert.state is not AlertState.FIRING:
        return times.since(alert.until, alert.between) if alert.until and alert.state is AlertState.INACTIVE else ""
    if alert.until is not None and alert.state is AlertState.INACTIVE:
        return times.stretch(alert.since, alert.until, alert.between)
    return times.since(alert.since, alert.between)
