"""Decides what people read: title, body and type of the message that a notification becomes.

Pure: the same notification and settings give the same text. Foreign text passes `wording.plain`. Invariant: whatever
does not fit, the body's last line is always `id <notification id>`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from alertd.config.schema import Templates
from alertd.delivery import variables
from alertd.delivery.layout import Layout, listed
from alertd.delivery.verdict import (
    aside_on,
    fact_of,
    has_lost_its_rule,
    is_up,
    judged,
    own_instance,
    remark_on,
    state_of,
)
from alertd.delivery.wording import (
    DETAIL_ROOM,
    Times,
    cause_of,
    cause_text,
    cut,
    host_of,
    instance_line,
    plain,
    span,
)
from alertd.model import AlertState, Cause, Kind, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from alertd.config.schema import Settings
    from alertd.model import Alert, Entry, InstanceFacts, Instant, Notification, ServiceFacts

TITLE_ROOM = 500
"""Characters of a title where the target sets no tighter limit."""
_LATE = 60.0
"""Seconds between decision and delivery from which a message says that it is late."""
_NO_TEMPLATES = Templates()

_ORDER = (Kind.FIRING, Kind.FLAPPING, Kind.SETTLED, Kind.RESOLVED, Kind.FORGOTTEN)
_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class Tone(StrEnum):
    """The type of a message, in Apprise's words: what colour and which icon people see."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


_TONE_OF = {Severity.INFO: Tone.INFO, Severity.WARNING: Tone.WARNING, Severity.CRITICAL: Tone.FAILURE}


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to one target, its body still to be cut.

    `body(limit)` returns plain text of at most `limit` characters, all of it for None.
    """

    id: str
    title: str
    tone: Tone
    body: Callable[[int | None], str]


def letter(
    notification: Notification, settings: Settings, templates: Templates = _NO_TEMPLATES, *, delivered: datetime
) -> Letter:
    """Return the message that a notification becomes when it is sent at `delivered`."""
    write = partial(body, notification, settings, templates, delivered=delivered)
    return Letter(
        id=notification.id,
        title=title(notification, settings, templates),
        tone=tone(notification),
        body=lambda limit: write(limit=limit),
    )


def tone(notification: Notification) -> Tone:
    """Return the type: success only when nothing in the group fires any more, and never for what was forgotten."""
    over = all(_is_over(entry) for entry in notification.entries)
    if over and notification.still_firing == 0:
        forgotten = any(entry.kind is Kind.FORGOTTEN for entry in notification.entries)
        return Tone.INFO if forgotten or not notification.entries else Tone.SUCCESS
    if notification.kind is Kind.FORGOTTEN:
        return Tone.INFO
    return _TONE_OF[_severity(notification)]


def title(notification: Notification, settings: Settings, templates: Templates = _NO_TEMPLATES) -> str:
    """Return one line: `[FIRING] apache-minimum apache · 1 of 3 up, needs 2 · critical · prod-fra`."""
    entries = notification.entries
    default = " · ".join(
        part
        for part in (
            f"[{_kinds(notification)}] {_subject(entries)}",
            _fact(notification),
            str(_severity(notification)),
            plain(settings.name),
        )
        if part
    )
    source = templates.title or settings.templates.title
    if source:
        times = Times.of(settings.timezone, notification.at.wall)
        default = variables.rendered(source, variables.for_message(notification, times), default)
    return plain(" ".join(default.split()), TITLE_ROOM)


def body(
    notification: Notification,
    settings: Settings,
    templates: Templates = _NO_TEMPLATES,
    *,
    limit: int | None = None,
    delivered: datetime | None = None,
) -> str:
    """Return the text below the title in at most `limit` characters, if the `id` line alone is no longer.

    `delivered` is the time of sending; more than a minute after the decision, the message says so.
    """
    times = Times.of(settings.timezone, notification.at.wall)
    layout = Layout()
    if delivered is not None and (delivered - notification.at.wall).total_seconds() > _LATE:
        layout.head(f"decided {times.minute(notification.at.wall)}, delivered {times.minute(delivered)}")
    source = templates.body or settings.templates.body
    if source:
        layout.text(variables.rendered(source, variables.for_message(notification, times)))
    else:
        _fill(layout, notification, settings, times)
    layout.foot(f"id {notification.id}")
    return layout.fit(limit)


def summary(alert: Alert, service: ServiceFacts | None, times: Times, now: Instant) -> str:
    """Return the rule's rendered summary; if it has none, or a faulty one, the alert in our own words."""
    default = f"{alert.rule.name} {plain(alert.target)}: {state_of(alert, service)}".removesuffix(": ")
    if not alert.rule.summary:
        return default
    return variables.rendered(alert.rule.summary, variables.for_alert(alert, service, times, now), default)


# --- the title's parts -----------------------------------------------------------------------------------------------


def _kinds(notification: Notification) -> str:
    counts = Counter(entry.kind for entry in notification.entries)
    if len(notification.entries) <= 1:
        return notification.kind.upper()
    return " ".join(f"{kind.upper()}:{counts[kind]}" for kind in _ORDER if counts[kind])


def _subject(entries: tuple[Entry, ...]) -> str:
    """Return rule and target; for several alerts the rules and what their targets share."""
    if len(entries) == 1:
        return f"{entries[0].alert.rule.name} {plain(entries[0].alert.target)}"
    rules = listed(entry.alert.rule.name for entry in entries)
    return f"{rules} {listed(plain(entry.alert.service) for entry in entries)}"


def _severity(notification: Notification) -> Severity:
    """Return the worst severity of what does not end here, else of all."""
    bad = [entry for entry in notification.entries if not _is_over(entry)] or notification.entries
    return max((entry.alert.rule.severity for entry in bad), key=_RANK.__getitem__, default=Severity.INFO)


def _is_over(entry: Entry) -> bool:
    if entry.kind is Kind.SETTLED:
        return entry.alert.state is not AlertState.FIRING
    return entry.kind in (Kind.RESOLVED, Kind.FORGOTTEN)


def _fact(notification: Notification) -> str:
    """Return the few words that say how bad it is, or how it stands now."""
    if len(notification.entries) == 1:
        entry = notification.entries[0]
        return fact_of(entry, notification.services.get(entry.alert.service))
    if len(notification.services) == 1:
        (service,) = notification.services.values()
        return f"{service.up} of {service.known} up"
    return f"{len(notification.entries)} alerts"


# --- the body's parts ------------------------------------------------------------------------------------------------


def _fill(layout: Layout, notification: Notification, settings: Settings, times: Times) -> None:
    """Lay out the built-in body, from what was asked for by the rule down to where the rule stands."""
    for text in _texts(notification, times):
        layout.text(text)
    if len(notification.entries) == 1:
        for line in _entry_head(notification.entries[0], times):
            layout.head(line)
    _list_instances(layout, notification, times)
    # What all the lost have in common, who is told next, and how to acknowledge belong here, in this order around the
    # links, once the parts that know them exist.
    if links := _links(notification, settings):
        layout.foot(links)
    for source in _unique(entry.alert.rule.source for entry in notification.entries):
        layout.foot(source)


def _texts(notification: Notification, times: Times) -> list[str]:
    """Return the rules' own summaries and descriptions, each once."""
    texts: list[str] = []
    for _, alert in notification.entries:
        service = notification.services.get(alert.service)
        if alert.rule.summary:
            texts.append(summary(alert, service, times, notification.at))
        if alert.rule.description:
            seen = variables.for_alert(alert, service, times, notification.at)
            texts.append(variables.rendered(alert.rule.description, seen))
    return [cut(text, variables.SUMMARY_ROOM) for text in _unique(texts) if text]


def _entry_head(entry: Entry, times: Times) -> list[str]:
    """Return when one alert began or how long it lasted, what it came to, and for a service what tipped it."""
    alert = entry.alert
    lines = [_when(entry, times), remark_on(entry)]
    if alert.instance is None and alert.cause is not None and not has_lost_its_rule(entry):
        lines.append(f"cause {cause_text(alert.cause)}")
    return [line for line in lines if line]


def _when(entry: Entry, times: Times) -> str:
    """Return since when it stands as it is told, or from when to when it fired."""
    alert = entry.alert
    if alert.since is None or entry.kind is Kind.FLAPPING:
        return ""
    if entry.kind is Kind.SETTLED and alert.state is not AlertState.FIRING:
        return times.since(alert.until, alert.between) if alert.until and alert.state is AlertState.INACTIVE else ""
    if alert.until is not None and alert.state is AlertState.INACTIVE:
        return times.stretch(alert.since, alert.until, alert.between)
    return times.since(alert.since, alert.between)


def _list_instances(layout: Layout, notification: Notification, times: Times) -> None:
    """List what the entries speak of, if they are several, then the other instances of their services.

    Of one service that is one list, so that one "and N more" counts all that has no room.
    """
    entries = sorted(notification.entries, key=lambda entry: _ORDER.index(entry.kind))
    entries = entries if len(entries) > 1 else []
    lines = [_entry_line(entry, notification, times) for entry in entries]
    if len(notification.services) != 1:
        layout.listing(lines, len(lines))
        lines = []
    for service in notification.services.values():
        told = {entry.alert.instance for entry in entries if entry.alert.service == service.name}
        rest = _other_lines(service, told, notification, times)
        if len(notification.services) > 1:
            rest.insert(0, f"{plain(service.name)}: {service.up} of {service.known} up")
        layout.listing([*lines, *rest], len(lines) + len(rest) + _unlisted(service, told))


def _other_lines(service: ServiceFacts, told: set[str | None], notification: Notification, times: Times) -> list[str]:
    """Return a line for each listed instance but those `told`; what came up since the alerts began says so."""
    begun = [entry.alert.since for entry in notification.entries if entry.alert.service == service.name]
    news = min((since.mono for since in begun if since is not None), default=None)
    return [instance_line(each, times, news_since=news) for each in service.instances if each.name not in told]


def _unlisted(service: ServiceFacts, told: set[str | None]) -> int:
    """Return how many of the instances that count have no line, since the facts list only so many."""
    listed_names = {each.name for each in service.instances}
    uncounted = sum(
        1 for each in service.instances if not each.up and (each.cause is Cause.STOPPED or each.replaced_by)
    )
    shown = len(listed_names) - uncounted + len(told - listed_names - {None})
    return max(service.known - shown, 0)


def _entry_line(entry: Entry, notification: Notification, times: Times) -> str:
    """Return one alert of several: `DOWN a core01  expired: lost contact, its lease ended 04:12:11`.

    The rule and the service are named only where the message speaks of several.
    """
    alert = entry.alert
    service = notification.services.get(alert.service)
    if alert.instance is None:
        line = f"{entry.kind.upper()} {alert.rule.name} {plain(alert.target)}"
        return "  ".join(part for part in (line, fact_of(entry, service), _when(entry, times)) if part)
    name = plain(alert.instance if len(notification.services) == 1 else alert.target)
    own = own_instance(alert, service)
    if own is not None and (host := host_of(own)):
        name += f" {host}"
    rule = alert.rule.name if len({each.alert.rule.name for each in notification.entries}) > 1 else ""
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
        parts.append(f"fired for {span(alert.until.mono - alert.since.mono)}")
    line = ", ".join(part for part in parts if part)
    if own is not None and own.malformed:
        line += f"  malformed value: {plain(own.raw, DETAIL_ROOM)}"
    return line


def _links(notification: Notification, settings: Settings) -> str:
    """Return `Runbook …   Open …`: each rule's runbook, and the page of the alert or of what several share."""
    alerts = [entry.alert for entry in notification.entries]
    parts = [f"Runbook {plain(url, 500)}" for url in _unique(alert.rule.runbook for alert in alerts) if url]
    if settings.url and alerts:
        base = settings.url.rstrip("/")
        parts.append(f"Open {base}/alerts/{alerts[0].id}" if len(alerts) == 1 else f"Open {base}/")
    return "   ".join(parts)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
