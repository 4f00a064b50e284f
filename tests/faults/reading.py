"""What a receiver makes of a request: which message it is, and which news it brings of which alerts.

Pure. A message of the `json://` channel says its kind in the title, or a line for each alert in a body made by
`GROUP_BODY`; one of the `webhook:` channel is Alertmanager's document. The notification's id is the last line of the
one, and the header `X-Alertd-Notification` of the other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.faults.truth import Alert

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "ops"
WEBHOOK = "hook"
CHANNELS = (JSON, WEBHOOK)

FIRING, RESOLVED, DIGEST = "firing", "resolved", "digest"

GROUP_BODY = (
    "{% for a in alerts %}ALERT {{ a.kind }} {{ a.rule }} {{ a.service }}/{{ a.instance }} "
    "from {{ a.since }} to {{ a.until }}.\\n{% endfor %}"
)
"""A template for the body of messages about several alerts, so that they can be read without guessing."""

_TITLE = re.compile(r"\[([A-Z]+)(?::\d+)?[^\]]*\] (\S+) (\S+)")
_LINE = re.compile(r"^ALERT (\w+) (\S+) (\S+) from (.*) to (.*)\.$", re.MULTILINE)
_BOTH_TIMES = re.compile(r"^from .+ (?:to|until) .+|^between .+ and .+", re.MULTILINE)
_NOT_YET = "0001-01-01T00:00:00Z"


class News(NamedTuple):
    """What a message says of one alert: `firing`, `resolved`, or another kind, which is then unexpected."""

    alert: Alert
    kind: str
    has_both_times: bool


class Message(NamedTuple):
    """One request that a target accepted: `at` in monotonic seconds; no `id` means that it has none.

    `is_picture`: it shows how the whole group stands, so that what it says of an alert need not be new.
    """

    channel: str
    at: float
    id: str
    news: tuple[News, ...]
    title: str
    is_picture: bool = False


class Unreadable(Exception):
    """A request that is no message of alertd."""


def read(channel: str, arrival: Mapping[str, Any], *, has_groups: bool = False) -> Message:
    """Return the message in a request; raise Unreadable."""
    try:
        reader = _read_document if channel == WEBHOOK else _read_text
        return reader(arrival, has_groups=has_groups)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Unreadable(f"{channel}: {bytes(arrival.get('raw', b''))[:300]!r}") from error


def _read_document(arrival: Mapping[str, Any], *, has_groups: bool) -> Message:
    headers = {name.lower(): value for name, value in arrival["headers"].items()}
    identity = headers.get("x-alertd-notification", "")
    news = tuple(
        News(
            _alert(alert["labels"]["alertname"], alert["labels"].get("service", ""), alert["labels"].get("instance")),
            alert["status"],
            alert["startsAt"] != _NOT_YET and alert["endsAt"] != _NOT_YET,
        )
        for alert in arrival["alerts"]
    )
    is_picture = has_groups or "alertname" not in arrival["groupLabels"]
    return Message(WEBHOOK, arrival["at"], identity, news, arrival["groupKey"], is_picture)


def _read_text(arrival: Mapping[str, Any], *, has_groups: bool) -> Message:
    title, body = arrival["title"], arrival["message"]
    last = body.rstrip("\n").rpartition("\n")[2]
    identity = last.removeprefix("id ") if last.startswith("id ") else ""
    match = _TITLE.match(title)
    if match is None:
        raise Unreadable(f"title {title!r}")
    kind, rule, target = match.groups()
    if kind == "DIGEST":
        return Message(JSON, arrival["at"], identity, (), title, is_picture=True)
    lines = _LINE.findall(body) if has_groups else []
    if lines and not rule.startswith("alertd-"):
        news = tuple(News(Alert(r, t.rstrip("/")), k, bool(a and b)) for k, r, t, a, b in lines)
    else:
        news = (News(Alert(rule, target), kind.lower(), bool(_BOTH_TIMES.search(body))),)
    return Message(JSON, arrival["at"], identity, news, title)


def _alert(rule: str, service: str, instance: str | None) -> Alert:
    return Alert(rule, f"{service}/{instance}" if instance else service)
