"""What people tell alertd, as documents: their shape, what is read of others', and that no content can break it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd import order
from alertd.errors import NotUnderstood
from alertd.model import Ack, Match, Silence
from alertd.order import Forget, OrderKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)

SILENCE = Silence(
    id="1a2b3c4d",
    match=Match({"service": ("web-*",), "instance": ("a", "b")}, {"team": ("lab",)}),
    until=LATER,
    until_resolved=True,
    author="ann@host",
    comment="new racks",
    at=NOW,
)
ACK = Ack("573c199ba2e5", "安娜", "我来", NOW, LATER, NOW - timedelta(minutes=5))
FORGET = Forget("9f", "支付", "10.0.0.1", "ann", NOW)


def raw(**content: Any) -> bytes:
    """Return a document with these members."""
    return json.dumps({"format": 1, **content}).encode()


def why_not(kind: OrderKind, document: bytes) -> str:
    """Return why a document cannot be understood."""
    with pytest.raises(NotUnderstood) as caught:
        order.read(kind, "x", document)
    return str(caught.value)


def test_a_silence_stands_as_in_the_rules() -> None:
    """So that whoever can write rules can write one with plain etcdctl."""
    assert json.loads(order.encode(SILENCE)) == {
        "format": 1,
        "match": {"service": "web-*", "instance": ["a", "b"], "not": {"team": "lab"}},
        "until": "2026-01-01T02:00:00.000Z",
        "until_resolved": True,
        "author": "ann@host",
        "comment": "new racks",
        "at": "2026-01-01T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (OrderKind.SILENCE, SILENCE.id, SILENCE),
        (OrderKind.ACK, ACK.alert_id, ACK),
        (OrderKind.FORGET, FORGET.id, FORGET),
        (OrderKind.FORGET, "all", Forget("all", "pay", None, "", NOW)),
    ],
)
def test_what_was_written_is_read(kind: OrderKind, name: str, said: order.Order) -> None:
    """Nothing is lost on the way."""
    assert order.read(kind, name, order.encode(said)) == said


def test_the_least_that_a_person_must_write() -> None:
    """By hand: what is matched and until when; who takes an alert on, when, and until when."""
    silence = order.read(
        OrderKind.SILENCE, "s", raw(match={"port": 8080, "up": True}, until="2026-01-01T03:00:00+01:00")
    )
    assert silence == Silence("s", Match({"port": ("8080",), "up": ("true",)}), LATER)
    ack = order.read(OrderKind.ACK, "a", raw(at="2026-01-01T00:00:00Z", until="2026-01-01T02:00:00Z"))
    assert ack == Ack("a", "", "", NOW, LATER)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "no JSON object"),
        (b"\xff{", "no JSON object"),
        (b'{"match": {"service": "a"}, "until": "2026-01-01T00:00:00Z"}', "`format`"),
        (b'{"format": 2, "match": {"service": "a"}}', "newer alertd"),
        (raw(until="2026-01-01T00:00:00Z"), "`match`"),
        (raw(match={}, until="2026-01-01T00:00:00Z"), "`match` is empty"),
        (raw(match=["service"], until="2026-01-01T00:00:00Z"), "`match`"),
        (raw(match={"service": []}, until="2026-01-01T00:00:00Z"), "'service'"),
        (raw(match={"service": None}, until="2026-01-01T00:00:00Z"), "'service'"),
        (raw(match={"service": {"a": 1}}, until="2026-01-01T00:00:00Z"), "'service'"),
        (raw(match={"during": "nightly"}, until="2026-01-01T00:00:00Z"), "'during'"),
        (raw(match={"service": "a", "not": "lab"}, until="2026-01-01T00:00:00Z"), "`not`"),
        (raw(match={"a\n\u202e": []}, until="2026-01-01T00:00:00Z"), r"'a\n\u202e'"),
        (raw(match={"service": "a"}), "`until`"),
        (raw(match={"service": "a"}, until="tomorrow"), "`until`"),
        (raw(match={"service": "a"}, until="2026-01-01T00:00:00Z", until_resolved="no"), "`until_resolved`"),
        (raw(match={"service": "a"}, until="2026-01-01T00:00:00Z", comment=5), "`comment`"),
    ],
)
def test_a_silence_that_cannot_be_understood_says_why(document: bytes, says: str) -> None:
    """In one line, whatever stands there."""
    text = why_not(OrderKind.SILENCE, document)
    assert says in text
    assert text.isprintable()


@pytest.mark.parametrize("members", [{}, {"service": ""}, {"service": 5}, {"service": "a", "instance": 7}])
def test_a_request_to_forget_must_name_a_service(members: dict[str, Any]) -> None:
    """And an instance by a text, if one."""
    assert why_not(OrderKind.FORGET, raw(at="2026-01-01T00:00:00Z", **members))


WORDS = st.text(max_size=4)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.just("2026-01-01T00:00:00Z")
JSON = (
    SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(WORDS, SCALARS | st.lists(WORDS, max_size=2), max_size=2)
)
NAMES = st.sampled_from(["match", "not", "until", "at", "since", "by", "author", "comment", "service", "instance"])


@given(st.sampled_from(OrderKind), st.dictionaries(NAMES, JSON, max_size=6))
def test_nothing_breaks_the_reading(kind: OrderKind, content: dict[str, Any]) -> None:
    """It is read, or not understood."""
    try:
        said = order.read(kind, "x", raw(**content))
    except NotUnderstood:
        return
    assert order.read(kind, "x", order.encode(said)) == said


def test_a_lease_outlives_what_it_collects() -> None:
    """By an hour, in whole seconds, wherever on the globe the times were written."""
    until = LATER.astimezone(timezone(timedelta(hours=9)))
    assert order.seconds_to_keep(until, NOW + timedelta(seconds=0.5)) == 3 * 3600
