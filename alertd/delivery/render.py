"""Decides what people read: title, body and type of the message that a notification becomes.

Pure: the same notification and settings give the same text. Foreign text passes `wording.plain`. Invariant: whatever
does not fit, the body's last line is always `id <notification id>`. A template that does not render leaves the built-in
text in its place, with a note of what is wrong, and is named in the letter's `faults`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from alertd.config.schema import Templates
from alertd.delivery import digest, outlook, variables
from alertd.delivery.document import document
from alertd.delivery.headline import ends_group, headline, incident_of, severity_of
from alertd.delivery.instances import list_instances, when
from alertd.delivery.layout import Layout
from alertd.delivery.letter import Diversion, Letter, Tone
from alertd.delivery.verdict import has_lost_its_rule, remark_on
from alertd.delivery.wording import Times, cause_text, cut, plain
from alertd.model import Kind, Severity

if TYPE_CHECKING:
    from datetime import datetime

    from alertd.config.schema import Settings
    from alertd.model import Alert, Entry, Instant, Notification, ServiceFacts

TITLE_ROOM = 500
"""Characters of a title where the target sets no tighter limit."""
_LATE = 60.0
"""Seconds between decision and delivery from which a message says that it is late."""
_NO_TEMPLATES = Templates()
_TEXTS = 20
"""Summaries and descriptions that one message shows."""

_TONE_OF = {Severity.INFO: Tone.INFO, Severity.WARNING: Tone.WARNING, Severity.CRITICAL: Tone.FAILURE}


def letter(
    notification: Notification,
    settings: Settings,
    templates: Templates = _NO_TEMPLATES,
    *,
    delivered: datetime,
    diversion: Diversion | None = None,
) -> Letter:
    """Return the message that a notification becomes when it is sent at `delivered`, by `diversion` to a fallback."""
    press = variables.Press()
    first_line = _write_title(notification, settings, templates, press)
    why = ""
    if diversion is not None:
        why = outlook.in_place_of(diversion, Times.of(settings.timezone, notification.at.wall))
    layout = _lay_out(notification, settings, templates, press, delivered, why)
    return Letter(
        id=notification.id,
        title=first_line,
        tone=tone(notification),
        body=layout.fit,
        incident=incident_of(notification, settings),
        document=partial(document, notification, settings, templates, why),
        faults=tuple(press.faults),
    )


def tone(notification: Notification) -> Tone:
    """Return the type: success only when nothing in the group fires any more, and never for what was forgotten."""
    if ends_group(notification):
        forgotten = any(entry.kind is Kind.FORGOTTEN for entry in notification.entries)
        return Tone.INFO if forgotten or not notification.entries else Tone.SUCCESS
    if notification.kind is Kind.FORGOTTEN:
        return Tone.INFO
    return _TONE_OF[severity_of(notification.entries)]


def title(notification: Notification, settings: Settings, templates: Templates = _NO_TEMPLATES) -> str:
    """Return one line: `[FIRING] apache-minimum apache · 1 of 3 up, needs 2 · critical · prod-fra`."""
    return _write_title(notification, settings, templates, variables.Press())


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
    return _lay_out(notification, settings, templates, variables.Press(), delivered).fit(limit)


def summary(alert: Alert, service: ServiceFacts | None, times: Times, now: Instant) -> str:
    """Return the rule's rendered summary; if it has none, or a faulty one, the alert in our own words."""
    seen = variables.for_alert(alert, service, times, now) if alert.rule.summary else {}
    return variables.Press().summary(alert, service, seen)


def _write_title(notification: Notification, settings: Settings, templates: Templates, press: variables.Press) -> str:
    text = headline(notification, settings)
    source = templates.title or settings.templates.title
    if source:
        times = Times.of(settings.timezone, notification.at.wall)
        where = _place(templates.title, notification, "title")
        text = press.render(source, variables.for_message(notification, times), where, text)
    return plain(" ".join(text.split()), TITLE_ROOM)


def _lay_out(
    notification: Notification,
    settings: Settings,
    templates: Templates,
    press: variables.Press,
    delivered: datetime | None,
    diverted: str = "",
) -> Layout:
    """Return the body, still to be cut: the user's own or the built-in one, and below it the id."""
    times = Times.of(settings.timezone, notification.at.wall)
    layout = Layout()
    if diverted:
        layout.head(diverted)
    if delivered is not None and (delivered - notification.at.wall).total_seconds() > _LATE:
        layout.head(f"decided {times.minute(notification.at.wall)}, delivered {times.minute(delivered)}")
    source = templates.body or settings.templates.body
    text = None
    if source:
        where = _place(templates.body, notification, "body")
        text = press.attempt(source, variables.for_message(notification, times), where)
        layout.text(text if text is not None else f"({press.fault})")
    if text is None:
        _fill(layout, notification, settings, times, press)
    layout.foot(f"id {notification.id}")
    return layout


def _place(own: str | None, notification: Notification, what: str) -> str:
    """Return where a message's template stands, for the log."""
    return f"the {what} template of {f'channel {notification.channel}' if own else 'the settings'}"


def _fill(layout: Layout, notification: Notification, settings: Settings, times: Times, press: variables.Press) -> None:
    """Lay out the built-in body, from what was asked for by the rule down to where the rule stands."""
    if notification.kind is Kind.DIGEST:
        digest.fill(layout, notification, times)
    else:
        _tell(layout, notification, times, press)
    steps = outlook.steps(notification, times)
    for line in (
        f"Next: {steps}" if steps else "",
        outlook.links(notification, settings),
        outlook.commands(notification),
        *outlook.sources(notification),
    ):
        if line:
            layout.foot(line)


def _tell(layout: Layout, notification: Notification, times: Times, press: variables.Press) -> None:
    """Lay out what is told of the alerts of one group."""
    for text in _texts(notification, times, press):
        layout.text(text)
    head = [outlook.urgency(notification, times)]
    if len(notification.entries) == 1:
        head = _entry_head(notification.entries[0], head[0], times)
    for line in (*head, outlook.others_firing(notification)):
        if line:
            layout.head(line)
    list_instances(layout, notification, times)
    for line in (*outlook.in_common(notification), *outlook.last_hour(notification, times)):
        layout.aside(line)


def _texts(notification: Notification, times: Times, press: variables.Press) -> list[str]:
    """Return the rules' own summaries and descriptions, each once."""
    texts: dict[str, None] = {}
    for entry in notification.entries:
        rule = entry.alert.rule
        if len(texts) < _TEXTS and (rule.summary or rule.description):
            service = notification.services.get(entry.alert.service)
            seen = variables.for_alert(entry.alert, service, times, notification.at)
            words = press.summary(entry.alert, service, seen) if rule.summary else ""
            texts |= dict.fromkeys((words, press.description(entry.alert, seen)))
    return [cut(text, variables.SUMMARY_ROOM) for text in texts if text]


def _entry_head(entry: Entry, urgency: str, times: Times) -> list[str]:
    """Return when one alert began or how long it lasted, what it came to, who has it, and what tipped a service."""
    alert = entry.alert
    lines = [when(entry, times), urgency or remark_on(entry), *outlook.hands_on(entry, times)]
    if alert.instance is None and alert.cause is not None and not has_lost_its_rule(entry):
        lines.append(f"cause {cause_text(alert.cause)}")
    return lines
