"""What people tell alertd through etcd: silences, acknowledgements, and what to forget.

Each is a document below the namespace, made by whoever may write there, and readable with plain `etcdctl`:

* `silences/<id>`: `match` as in the rules (`{"service": "web-*", "not": {"team": "lab"}}`), `until`, `until_resolved`,
  `author`, `comment`, `at`.
* `acks/<alert id>`: `by`, `comment`, `at`, `until`, and the `since` of the alert as it was shown to that person.
* `forget/<id>`: `service`, `instance` (null is all of the service's), `by`, `at`.

Times are RFC 3339. It is `until` that ends a silence or an acknowledgement; the lease that the key lies under collects
it some time later. A request to forget is obeyed once by each daemon that meets it, and is collected soon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from alertd import document, values
from alertd.errors import NotUnderstood
from alertd.model import Ack, Match, Silence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

REMEMBERED = 3600.0
"""Seconds for which what is over stays in etcd: `silence list --all` shows it, and clocks may differ by so much."""

FORGET_WITHIN = 60
"""Seconds for which a request to forget stays in etcd; a daemon that is away for longer never hears of it."""

_WORDS_OF_THE_RULES = ("not", "during")
"""Under `match:` these say how to match, and so name nothing to match."""


class OrderKind(StrEnum):
    """What is asked for; the value is the name of the folder that holds such keys."""

    SILENCE = "silences"
    ACK = "acks"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Forget:
    """A request to forget an instance that is gone, or (None) all that are gone of a service."""

    id: str
    service: str
    instance: str | None
    by: str
    at: datetime


Order = Silence | Ack | Forget


def key_of(namespace: str, kind: OrderKind, name: str) -> bytes:
    """Return the key of a document."""
    return f"{namespace}{kind}/{name}".encode(errors="surrogateescape")


def seconds_to_keep(until: datetime, now: datetime) -> int:
    """Return how long the lease must last, in whole seconds, for what rules until a moment."""
    return math.ceil((until - now).total_seconds() + REMEMBERED)


# --- writing ---------------------------------------------------------------------------------------------------------


def encode(order: Order) -> bytes:
    """Return the document as etcd holds it."""
    return document.encode(content_of(order))


def content_of(order: Order) -> dict[str, Any]:
    """Return what a document says."""
    if isinstance(order, Silence):
        return {
            "match": match_as_written(order.match),
            "until": _written(order.until),
            "until_resolved": order.until_resolved,
            "author": order.author,
            "comment": order.comment,
            "at": _written(order.at),
        }
    if isinstance(order, Ack):
        times = {"at": _written(order.at), "until": _written(order.until), "since": _written(order.since)}
        return {"by": order.by, "comment": order.comment, **times}
    return {"service": order.service, "instance": order.instance, "by": order.by, "at": _written(order.at)}


def match_as_written(match: Match) -> dict[str, Any]:
    """Return a match as it stands in the rules: one pattern as a string, several as a list."""
    wanted = _patterns_as_written(match.is_)
    return {**wanted, "not": _patterns_as_written(match.not_)} if match.not_ else wanted


def _patterns_as_written(patterns: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return {name: texts[0] if len(texts) == 1 else list(texts) for name, texts in patterns.items()}


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else document.stamp_of(moment)


# --- reading ---------------------------------------------------------------------------------------------------------


def read(kind: OrderKind, name: str, raw: bytes) -> Order:
    """Return what the document under a name says.

    Raises NotUnderstood for all else that it may hold; the message is a clause that says why.
    """
    stored = document.read(raw)
    if stored.is_newer:
        raise NotUnderstood("a newer alertd has written it; update this one")
    if stored.content is None:
        raise NotUnderstood("it is no JSON object with a `format`")
    fields = _Fields(stored.content)
    if kind is OrderKind.SILENCE:
        return _read_silence(name, fields)
    return _read_ack(name, fields) if kind is OrderKind.ACK else _read_forget(name, fields)


def _read_silence(name: str, fields: _Fields) -> Silence:
    return Silence(
        id=name,
        match=read_match(fields.get("match")),
        until=fields.moment("until"),
        until_resolved=fields.flag("until_resolved"),
        author=fields.text("author", ""),
        comment=fields.text("comment", ""),
        at=fields.moment_if_any("at"),
    )


def _read_ack(name: str, fields: _Fields) -> Ack:
    return Ack(
        alert_id=name,
        by=fields.text("by", ""),
        comment=fields.text("comment", ""),
        at=fields.moment("at"),
        until=fields.moment("until"),
        since=fields.moment_if_any("since"),
    )


def _read_forget(name: str, fields: _Fields) -> Forget:
    instance = None if fields.get("instance") is None else fields.text("instance")
    return Forget(name, fields.text("service"), instance, fields.text("by", ""), fields.moment("at"))


def read_match(value: object) -> Match:
    """Return a match that is written as in the rules; raise NotUnderstood for one that would match everything."""
    if not isinstance(value, dict):
        raise NotUnderstood("its `match` is no object")
    unless = value.get("not", {})
    if not isinstance(unless, dict):
        raise NotUnderstood("its `not` is no object")
    match = Match(_read_patterns({k: v for k, v in value.items() if k != "not"}), _read_patterns(unless))
    if not match.is_ and not match.not_:
        raise NotUnderstood("its `match` is empty: it would keep everything quiet")
    return match


def _read_patterns(patterns: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, written in patterns.items():
        texts = [values.as_written(each) for each in (written if isinstance(written, list) else [written])]
        if not texts or None in texts or not is_matchable(name):
            raise NotUnderstood(f"its `match` cannot say {name[:40]!r} so")
        found[name] = tuple(text for text in texts if text is not None)
    return found


def is_matchable(name: str) -> bool:
    """Whether a match can ask for what has this name."""
    return bool(name) and name not in _WORDS_OF_THE_RULES


class _Fields:
    """The members of a document, each asked for by its type."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def get(self, name: str) -> object:
        """Return a member of any type, None if it is missing."""
        return self._content.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without a default it must not be missing or empty."""
        found = self._content.get(name, default)
        if not isinstance(found, str) or (not found and default is None):
            raise NotUnderstood(f"its `{name}` is no text")
        return found

    def flag(self, name: str) -> bool:
        """Return a truth value, false if it is missing."""
        found = self._content.get(name, False)
        if not isinstance(found, bool):
            raise NotUnderstood(f"its `{name}` is neither true nor false")
        return found

    def moment(self, name: str) -> datetime:
        """Return a time."""
        found = document.moment(self._content.get(name))
        if found is None:
            raise NotUnderstood(f"its `{name}` is no RFC 3339 time")
        return found

    def moment_if_any(self, name: str) -> datetime | None:
        """Return a time, None if it is missing."""
        return None if self._content.get(name) is None else self.moment(name)
