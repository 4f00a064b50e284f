"""What a webhook gets: Alertmanager's webhook document, version 4, of a whole group.

Pure. The document is the one that receivers made for Alertmanager read, so what of alertd it has no words for is said
in annotations. `alertname` is the rule, also among the group's labels. A `fingerprint` is the alert's id, the same from
its firing to its end, while its labels tell the cause, which is not. What flaps counts as firing, what was forgotten as
resolved, for there is no third word. A channel's own templates, rendered for each alert, replace `summary` (title) and
`description` (body).
"""

from __future__ import annotations

import json
from datetime import UTC
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from alertd.delivery import outlook, variables
from alertd.delivery.verdict import fact_of, is_over, remark_on
from alertd.delivery.wording import Times, plain
from alertd.model import AlertState, Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from alertd.config.schema import Settings, Templates
    from alertd.delivery.letter import Letter
    from alertd.model import Alert, Notification

NOT_YET = "0001-01-01T00:00:00Z"
"""When an alert ends that has not ended: the zero of the Go types that receivers decode into."""
MOST = 10_000
"""Alerts of one document; those beyond are counted in `truncatedAlerts`."""

Texts = dict[str, str]


def document(
    notification: Notification, settings: Settings, templates: Templates, diverted: str = ""
) -> dict[str, Any]:
    """Return the document of the notification's group: what is told, then what stands beside it.

    `diverted` says why it goes to a fallback; the receiver that it names is the channel that it is for.
    """
    standing = (Entry(Kind.FIRING, alert) for alert in notification.standing)
    entries = sorted((*notification.entries, *standing), key=is_over)
    writer = _Writer(notification, settings, templates, diverted)
    alerts = [writer.alert(entry) for entry in entries[:MOST]]
    labels = {_label(name): value for name, value in notification.labels.items()}
    group = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())
    mark = sha256((notification.key or notification.group).encode()).hexdigest()[:8]
    return _message(
        alerts,
        receiver=notification.channel,
        group_key=f"alertd/{mark}:{{{group}}}",
        group_labels=labels,
        url=settings.url,
        left_out=max(len(entries) - MOST, 0),
    )


def document_of_letter(letter: Letter, receiver: str, at: datetime) -> dict[str, Any]:
    """Return the document of a letter that is about no alert: one alert named as the letter, which fires since `at`."""
    alert = {
        "status": "firing",
        "labels": {"alertname": letter.title, "severity": "info"},
        "annotations": {"summary": letter.title, "description": letter.body(None)},
        "startsAt": _stamp(at),
        "endsAt": NOT_YET,
        "generatorURL": "",
        "fingerprint": sha256(letter.title.encode()).hexdigest()[:12],
    }
    labels = {"alertname": letter.title}
    return _message([alert], receiver=receiver, group_key=f"alertd:{letter.title}", group_labels=labels)


class _Writer:
    """Writes the alerts of one document."""

    def __init__(self, notification: Notification, settings: Settings, templates: Templates, diverted: str) -> None:
        self._diverted = diverted
        self._notification = notification
        self._settings = settings
        self._templates = templates
        self._times = Times.of(settings.timezone, notification.at.wall)
        self._press = variables.Press()

    def alert(self, entry: Entry) -> dict[str, Any]:
        alert = entry.alert
        is_done = is_over(entry)
        base = self._settings.url.rstrip("/")
        until = alert.until if alert.state is AlertState.INACTIVE else None
        return {
            "status": "resolved" if is_done else "firing",
            "labels": _labels_of(alert),
            "annotations": self._annotations(entry),
            "startsAt": _stamp((alert.since or self._notification.at).wall),
            "endsAt": _stamp((until or self._notification.at).wall) if is_done else NOT_YET,
            "generatorURL": f"{base}/alerts/{alert.id}" if base else "",
            "fingerprint": alert.id,
        }

    def _annotations(self, entry: Entry) -> Texts:
        alert = entry.alert
        service = self._notification.services.get(alert.service)
        seen = variables.for_alert(alert, service, self._times, self._notification.at) | {"kind": str(entry.kind)}
        fact = fact_of(entry, service)
        summary = f"{alert.rule.name} {plain(alert.target)}: {fact}".removesuffix(": ")
        if alert.rule.summary:
            summary = self._press.summary(alert, service, seen)
        description = self._press.description(alert, seen)
        if self._templates.title:
            summary = self._press.render(self._templates.title, seen | {"alerts": [seen]}, "", summary)
        if self._templates.body:
            description = self._press.render(self._templates.body, seen | {"alerts": [seen]}, "", description)
        found = {
            "summary": summary,
            "description": description,
            "runbook_url": alert.rule.runbook,
            "reason": "; ".join(part for part in (fact, remark_on(entry)) if part),
            "handling": "; ".join(outlook.hands_on(entry, self._times)),
            "diverted": self._diverted,
        }
        return {name: text for name, text in found.items() if text}


def _message(
    alerts: Sequence[Mapping[str, Any]],
    *,
    receiver: str,
    group_key: str,
    group_labels: Texts,
    url: str = "",
    left_out: int = 0,
) -> dict[str, Any]:
    return {
        "receiver": receiver,
        "status": "firing" if any(alert["status"] == "firing" for alert in alerts) else "resolved",
        "alerts": alerts,
        "groupLabels": group_labels,
        "commonLabels": _common(alert["labels"] for alert in alerts),
        "commonAnnotations": _common(alert["annotations"] for alert in alerts),
        "externalURL": url,
        "version": "4",
        "groupKey": group_key,
        "truncatedAlerts": left_out,
    }


def _labels_of(alert: Alert) -> Texts:
    """Return an alert's labels: the built-in ones win over those of the rule and of the service."""
    built_in = {
        "alertname": alert.rule.name,
        "service": alert.service,
        "instance": alert.instance or "",
        "severity": str(alert.rule.severity),
        "cause": str(alert.cause or ""),
    }
    return {**alert.labels, **(alert.per or {}), **{name: text for name, text in built_in.items() if text}}


def _label(name: str) -> str:
    """Return what Alertmanager calls a name of ours."""
    return "alertname" if name == "rule" else name


def _common(maps: Iterable[Mapping[str, str]]) -> Texts:
    """Return what all the mappings share."""
    shared: Texts | None = None
    for each in maps:
        shared = dict(each) if shared is None else {k: v for k, v in shared.items() if each.get(k) == v}
        if not shared:
            break
    return shared or {}


def _stamp(wall: datetime) -> str:
    """Return RFC 3339 in UTC, with milliseconds."""
    return wall.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
