"""What alertd keeps in etcd for whoever reads there: each alert as `--json` shows it, and who leads.

Every document is a JSON object that bears `format`, the version of its shape. One of an older format is read; one of a
newer says nothing but that it is newer, and is never overwritten. `format` and `written`, the time of writing, are the
document's own and no part of its content. Nothing here raises on any input.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from alertd import values
from alertd.model import AlertState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from alertd.model import Ack, Alert, Instant

FORMAT = 1

_UNKNOWN_ALERT: Mapping[str, Any] = {
    "id": "",
    "rule": "",
    "service": "",
    "instance": None,
    "per": None,
    "state": "",
    "flapping": False,
    "muted": None,
    "acknowledged": None,
    "severity": "",
    "labels": {},
    "since": None,
    "summary": "",
}
"""The members of an alert in their order, each as it is shown where a document lacks it."""


class Stored(NamedTuple):
    """A document as it was read.

    `content` is None where it is newer than what this alertd knows, or no document at all. `written` is an RFC 3339
    time, empty where it is not said.
    """

    content: dict[str, Any] | None
    written: str = ""
    is_newer: bool = False


def of_alert(alert: Alert, summary: str, told_by: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of an alert's document.

    One that flaps counts as firing, whichever way it points at the moment. `told_by` are the ids of the notifications
    that spoke of it; like the cause they are not shown, but a person who has such an id can find the alert by it.
    """
    is_firing = alert.flapping or alert.state is AlertState.FIRING
    return {
        "id": alert.id,
        "rule": alert.rule.name,
        "service": alert.service,
        "instance": alert.instance,
        "per": None if alert.per is None else dict(alert.per),
        "state": str(AlertState.FIRING if is_firing else AlertState.PENDING),
        "flapping": alert.flapping,
        "muted": None if alert.muted is None else str(alert.muted),
        "acknowledged": None if alert.acknowledged is None else _of_ack(alert.acknowledged),
        "severity": str(alert.rule.severity),
        "labels": dict(alert.labels),
        "since": None if alert.since is None else stamp(alert.since),
        "summary": summary,
        **({} if alert.cause is None else {"cause": str(alert.cause)}),
        **({"notifications": list(told_by)} if told_by else {}),
    }


def _of_ack(ack: Ack) -> dict[str, Any]:
    return {"by": ack.by, "comment": ack.comment, "at": stamp_of(ack.at), "until": stamp_of(ack.until)}


def of_leader(replica: str, since: Instant) -> dict[str, Any]:
    """Return the content of the document that says who leads."""
    return {"replica": replica, "since": stamp(since)}


def stamp(at: Instant) -> str:
    """Return a time as documents have it: RFC 3339, UTC, with milliseconds."""
    return stamp_of(at.wall)


def stamp_of(wall: datetime) -> str:
    """Return an aware time as documents have it."""
    return wall.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: object) -> datetime | None:
    """Return the time that a document names, in UTC; None if it is none, or lies beyond the calendar."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        return time and (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def encode(content: Mapping[str, Any], written: str = "") -> bytes:
    r"""Return a document as etcd holds it; half of a surrogate pair, which a value may contain, stays `\ud800`."""
    marks = {"format": FORMAT, **({"written": written} if written else {})}
    text = json.dumps({**marks, **content}, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def read(raw: bytes) -> Stored:
    """Read a document as etcd holds it."""
    fields = dict(values.read(raw).fields or {})
    version, written = fields.pop("format", None), fields.pop("written", "")
    if isinstance(version, bool) or not isinstance(version, int):
        return Stored(None)
    written = written if isinstance(written, str) else ""
    return Stored(None, written, is_newer=True) if version > FORMAT else Stored(fields, written)


def as_alert(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an alert with exactly the members that `--json` shows, whatever its document has."""
    return {name: content.get(name, default) for name, default in _UNKNOWN_ALERT.items()}


def replica_of(raw: bytes) -> str:
    """Return the name of the replica that the leader's document names; what cannot be understood is shown raw."""
    name = (read(raw).content or {}).get("replica")
    return name if isinstance(name, str) else values.show(raw)
