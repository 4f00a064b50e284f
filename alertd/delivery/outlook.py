"""What a message says around its instances: who has acted, what they share, what came before, what comes next.

Pure. Each function returns a line or lines, empty where there is nothing to say; foreign text passes `wording.plain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.delivery.headline import counted
from alertd.delivery.layout import listed
from alertd.delivery.verdict import is_over, news_since
from alertd.delivery.wording import plain, span
from alertd.model import AlertState, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alertd.config.schema import Settings
    from alertd.delivery.letter import Diversion
    from alertd.delivery.wording import Times
    from alertd.model import Alert, Entry, Escalation, Notification, ServiceFacts, Transition

_HOUR = 3600.0
_RECENT = 5
"""Transitions of the last hour that one line shows."""
_FIELDS = 5
"""Fields in common that one line shows."""
_SERVICES = 3
"""Services whose last hour a message tells."""
_SOURCES = 5
"""Rules that a message names the place of, and runbooks that it links."""


def urgency(notification: Notification, times: Times) -> str:
    """Return why it is told again: `still firing, for 4h 3m`, `nobody has acted for 15m; ops were told 04:12`."""
    now = notification.at
    begun = [entry.alert.since.mono for entry in notification.entries if entry.alert.since is not None]
    lasted = span(now.mono - min(begun)) if begun else ""
    if notification.kind is Kind.REMINDER:
        return f"still firing, {'the longest ' if len(begun) > 1 else ''}for {lasted}" if lasted else "still firing"
    if notification.kind is not Kind.ESCALATED:
        return ""
    if not notification.before:
        return f"nobody has acted for {lasted}" if lasted else "nobody has acted"
    first, *later = notification.before
    told = [f"{_people(first)} were told {times.minute(first.at.wall)}"]
    told += [f"{_people(step)} {times.minute(step.at.wall)}" for step in later]
    return f"nobody has acted for {span(now.mono - first.at.mono)}; {', '.join(told)}"


def in_place_of(diversion: Diversion, times: Times) -> str:
    """Return why a fallback is told: `for ops: ops #1 slack has taken nothing since 04:12 (HTTP 503)`."""
    why = f" ({diversion.error})" if diversion.error else ""
    whose = f"for {plain(diversion.channel)}"
    if diversion.since is not None:
        return f"{whose}: {diversion.target} has taken nothing since {times.minute(diversion.since)}{why}"
    if diversion.target:
        return f"{whose}: {diversion.target} did not take it{why}"
    return whose + (why or ", in whose place this channel was told before")


def others_firing(notification: Notification) -> str:
    """Return how many alerts of the group fire besides those that are told."""
    rest = notification.still_firing - sum(not is_over(entry) for entry in notification.entries)
    if rest <= 0 or notification.kind is Kind.DIGEST:
        return ""
    return f"{counted(rest, 'other alert')} of this group still fire{'s' if rest == 1 else ''}"


def hands_on(entry: Entry, times: Times) -> Iterator[str]:
    """Yield who has taken an alert on, unless it is over, and what mutes it."""
    ack, mute = entry.alert.acknowledged, entry.alert.muted
    if ack is not None and not is_over(entry):
        comment = f": {plain(ack.comment)}" if ack.comment else ""
        yield f"acknowledged by {plain(ack.by)} until {times.minute(ack.until)}{comment}"
    if mute is not None:
        yield muted_text(entry.alert)


def muted_text(alert: Alert) -> str:
    """Return what mutes an alert: `silenced by 3f2a: nightly vacuum`, `inhibited by minimum on apache`; or nothing."""
    mute = alert.muted
    if mute is None:
        return ""
    if mute.reason is Reason.SILENCED:
        return f"silenced by {plain(mute.by)}" + (f": {plain(mute.comment)}" if mute.comment else "")
    return f"inhibited by {plain(mute.by)}" + (f" on {plain(mute.comment)}" if mute.comment else "")


def in_common(notification: Notification) -> list[str]:
    """Return what all the lost of a service share: `Common to all lost: rack=r7`."""
    of = len(notification.services) > 1
    return [
        f"Common to all lost{f' of {plain(service.name)}' if of else ''}: {_fields(service)}"
        for service in notification.services.values()
        if service.common
    ]


def last_hour(notification: Notification, times: Times) -> list[str]:
    """Return what else happened: `Last hour: 04:01 core07 up (registered), 03:58 core07 down (stopped)`."""
    lines = []
    for service in list(notification.services.values())[:_SERVICES]:
        happened = hour_of(notification, service, times)
        if happened:
            of = f" of {plain(service.name)}" if len(notification.services) > 1 else ""
            lines.append(f"Last hour{of}: {listed(happened, _RECENT)}")
    return lines


def hour_of(notification: Notification, service: ServiceFacts, times: Times) -> list[str]:
    """Return what else happened to a service in the last hour, the latest first: `04:01 core07 up (registered)`."""
    return [_happening(each, times) for each in other_transitions(notification, service)]


def other_transitions(notification: Notification, service: ServiceFacts) -> list[Transition]:
    """Return the transitions of the last hour that the message says nothing of, the latest first.

    It speaks of those that its lines show, and of all that happened to its targets while the alerts fired.
    """
    news = news_since(notification, service)
    shown = {
        (each.name, each.since.mono)
        for each in service.instances
        if not each.up or (news is not None and each.since.mono >= news)
    }
    entries = [entry for entry in notification.entries if entry.alert.service == service.name]
    losses: dict[str | None, list[float]] = {each.instance: [] for each in service.recent}
    for each in service.recent:
        if not each.up:
            losses[each.instance].append(each.at.mono)
    by_instance = {entry.alert.instance: entry for entry in entries if entry.alert.instance in losses}
    own = {name: _begin(entry, losses[name]) for name, entry in by_instance.items()}
    begun = [entry.alert.since.mono for entry in entries if entry.alert.instance is None and entry.alert.since]
    told_from = min(begun, default=float("inf"))
    return [
        each
        for each in reversed(service.recent)
        if each.at.mono > notification.at.mono - _HOUR
        and (each.instance, each.at.mono) not in shown
        and each.at.mono < own.get(each.instance, told_from)
    ]


def steps(notification: Notification, times: Times) -> str:
    """Return who is told if nobody acts: `boss at 04:27, cto at 04:42`."""
    return ", ".join(f"{_people(step)} at {times.minute(step.at.wall)}" for step in notification.next)


def links(notification: Notification, settings: Settings) -> str:
    """Return `Runbook …   Open …`: each rule's runbook, and the page of the alert or of what several share."""
    alerts = [entry.alert for entry in notification.entries]
    runbooks = [url for url in _unique(alert.rule.runbook for alert in alerts) if url]
    parts = [f"Runbook {plain(url, 500)}" for url in runbooks[:_SOURCES]]
    if settings.url and alerts:
        base = settings.url.rstrip("/")
        parts.append(f"Open {base}/alerts/{alerts[0].id}" if len(alerts) == 1 else f"Open {base}/")
    return "   ".join(parts)


def commands(notification: Notification) -> str:
    """Return what to type to take it on or to keep it quiet, where something fires."""
    alerts = [entry.alert for entry in notification.entries if not is_over(entry)]
    if not any(alert.state is AlertState.FIRING or alert.flapping for alert in alerts):
        return ""
    return f"alertd ack {notification.id} · alertd silence add {notification.id} --for 1h"


def sources(notification: Notification) -> list[str]:
    """Return where the rules stand, one a line."""
    places = _unique(entry.alert.rule.source for entry in notification.entries)
    more = [f"and {counted(len(places) - _SOURCES, 'more rule')}"] if len(places) > _SOURCES else []
    return [*places[:_SOURCES], *more]


def _begin(entry: Entry, losses: Iterable[float]) -> float:
    """Return from when on (monotonic seconds) what happened to an entry's own instance is what the message tells.

    `losses` are when it was lost lately.
    """
    since = entry.alert.since
    if since is None or entry.kind in (Kind.FLAPPING, Kind.SETTLED):
        return float("-inf")
    return max((at for at in losses if at <= since.mono), default=since.mono)


def _happening(transition: Transition, times: Times) -> str:
    way = "up" if transition.up else "down"
    return f"{times.minute(transition.at.wall)} {plain(transition.instance)} {way} ({transition.cause})"


def _fields(service: ServiceFacts) -> str:
    return listed((f"{plain(name)}={plain(value)}" for name, value in service.common.items()), _FIELDS)


def _people(step: Escalation) -> str:
    return " and ".join(plain(channel) for channel in step.channels)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
