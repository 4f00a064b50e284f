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
from alertd.delivery.wording import Times, cause_of, cause_text, cut, host_of, instance_line, plain
from alertd.model import AlertState, Kind, Severity

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
    default = f"{alert.rule.name} {plain(alert.target)}: {_alert_fact(alert, service)}".removesuffix(": ")
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
        service = notification.services.get(entry.alert.service)
        return ", ".join(part for part in (_flap_words(entry), _alert_fact(entry.alert, service)) if part)
    if len(notification.services) == 1:
        (service,) = notification.services.values()
        return f"{service.up} of {service.known} up"
    return f"{len(notification.entries)} alerts"


def _flap_words(entry: Entry) -> str:
    """Say how often a flapping alert changed, or how a settled one stands.

    That is `now firing`, `now resolved`, or `not firing` while `for` still runs.
    """
    if entry.kind is Kind.FLAPPING and entry.alert.changes:
        return f"{entry.alert.changes} changes"
    if entry.kind is not Kind.SETTLED:
        return ""
    if entry.alert.state is AlertState.FIRING:
        return "now firing"
    return "now resolved" if entry.alert.state is AlertState.INACTIVE and entry.alert.until else "not firing"


def _alert_fact(alert: Alert, service: ServiceFacts | None) -> str:
    """Return `1 of 3 up, needs 2` for a count, what was judged for values, the cause for an instance."""
    own = _own_instance(alert, service)
    if own is not None and own.malformed and own.up and alert.state is AlertState.FIRING:
        return "its value cannot be understood"
    if alert.values:
        return _judged(alert) + _bounds(alert)
    if alert.instance is None:
        return f"{alert.up} of {alert.known} up{_bounds(alert)}"
    if alert.cause is not None:
        return cause_text(alert.cause, own.detail if own is not None and own.cause is alert.cause else "")
    return cause_text(own.cause, own.detail) if own is not None else ""


def _judged(alert: Alert) -> str:
    """Return the values that were judged, with their number where that is what counts."""
    values = listed(plain(value) for value in alert.values)
    return f"{len(alert.values)} different: {values}" if len(alert.values) > 1 or alert.minimum is not None else values


def _bounds(alert: Alert) -> str:
    """Return the thresholds behind a figure: `, needs 2`, `, at most 4`."""
    low = f", needs {alert.minimum}" if alert.minimum is not None else ""
    return low + (f", at most {alert.maximum}" if alert.maximum is not None else "")


def _own_instance(alert: Alert, service: ServiceFacts | None) -> InstanceFacts | None:
    if alert.instance is None or service is None:
        return None
    return next((each for each in service.instances if each.name == alert.instance), None)


# --- the body's parts ------------------------------------------------------------------------------------------------


def _fill(layout: Layout, notification: Notification, settings: Settings, times: Times) -> None:
    """Lay out the built-in body, from what was asked for by the rule down to where the rule stands."""
    for text in _texts(notification, times):
        layout.text(text)
    if len(notification.entries) == 1:
        for line in _entry_head(notification.entries[0], times):
            layout.head(line)
    else:
        lines = [_entry_line(entry, notification, times) for entry in notification.entries]
        layout.listing(lines, len(lines))
    for service in notification.services.values():
        _list_instances(layout, service, notification, times)
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
    """Return when one alert began or how long it lasted, and for a service what tipped it."""
    alert = entry.alert
    lines = [line] if (line := _when(alert, times)) else []
    if entry.kind is Kind.SETTLED:
        after = f", after {alert.changes} changes" if alert.changes else ""
        lines.append(f"settled: {_flap_words(entry)}{after}")
    elif entry.kind is Kind.FLAPPING:
        lines.append("flapping: nothing more is told until it settles")
    if alert.instance is None and alert.cause is not None:
        lines.append(f"cause {cause_text(alert.cause)}")
    return lines


def _when(alert: Alert, times: Times) -> str:
    if alert.since is None:
        return ""
    if alert.until is not None and alert.state is AlertState.INACTIVE:
        return times.stretch(alert.since, alert.until, alert.between)
    return times.since(alert.since, alert.between)


def _entry_line(entry: Entry, notification: Notification, times: Times) -> str:
    """Return one alert of several: `FIRING instance-lost apache/a core01  expired: …  since 04:12:41 CEST`."""
    alert = entry.alert
    service = notification.services.get(alert.service)
    own = _own_instance(alert, service)
    line = f"{entry.kind.upper()} {alert.rule.name} {plain(alert.target)}"
    if own is not None and (host := host_of(own)):
        line += f" {host}"
    fact = cause_of(own, times) if own is not None and not alert.values else _alert_fact(alert, service)
    return "  ".join(part for part in (line, _flap_words(entry), fact, _when(alert, times)) if part)


def _list_instances(layout: Layout, service: ServiceFacts, notification: Notification, times: Times) -> None:
    """List a service's instances that have no line yet: the lost first, as the facts hold them.

    One that came up since the first of the alerts began says so.
    """
    alerts = [entry.alert for entry in notification.entries if entry.alert.service == service.name]
    own_line = {alert.instance for alert in alerts} if len(notification.entries) > 1 else set()
    news = min((alert.since.mono for alert in alerts if alert.since is not None), default=None)
    facts = [each for each in service.instances if each.name not in own_line]
    lines = [instance_line(each, times, news_since=news) for each in facts]
    left_out = max(service.known - len(service.instances), 0)
    if len(notification.services) > 1:
        lines.insert(0, f"{plain(service.name)}: {service.up} of {service.known} up")
    layout.listing(lines, len(lines) + left_out)


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
