"""What a watched key's value says: read the same everywhere, and never a reason to stop."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd import values


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"", None),
        (b" \n", None),
        (b"{}", {}),
        (b'{"host": "core01", "port": 8080}\n', {"host": "core01", "port": 8080}),
        (b"172.31.14.97:8080", {"host": "172.31.14.97", "port": 8080}),
        (b"core-01.example:1", {"host": "core-01.example", "port": 1}),
        (b"[2001:db8::1]:443\n", {"host": "2001:db8::1", "port": 443}),
        ('{"名": "支付"}'.encode(), {"名": "支付"}),
    ],
)
def test_what_can_be_understood(raw: bytes, fields: dict[str, Any] | None) -> None:
    """A JSON object, `address:port`, or empty."""
    assert values.read(raw) == values.Reading(fields)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"host": "core01", "ipv4_addr": 172.31.14.95, "port": 8081}',
        b"NaN",
        b'{"load": NaN}',
        b'{"load": -Infinity}',
        b'{"a": ' * 100_000,
        b"[" * 100_000,
        b'{"n": ' + b"9" * 5_000 + b"}",
        b"\xff\xfe",
        b"\x00",
        b'{"a": 1} {"b": 2}',
        b"[1]",
        b'"text"',
        b"3",
        b"null",
        b"core01:0",
        b"core01:65536",
        b"core01",
        b"http://core01:80",
        b"x" * 1_048_576,
    ],
)
def test_what_cannot_be_understood_is_malformed(raw: bytes) -> None:
    """And only that: nothing is guessed."""
    assert values.read(raw) == values.MALFORMED


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,0123456789.eE+-truefalsn \\', max_size=80).map(str.encode))
def test_no_bytes_raise(raw: bytes) -> None:
    """Whatever a service registers."""
    reading = values.read(raw)
    assert reading.fields is None or not reading.malformed


def test_numbers_remember_how_they_were_written() -> None:
    """`1.10` is not `1.1`, and still a number; also after a copy by pickle."""
    fields = values.read(b'{"version": 1.10, "big": 1e400, "exp": 1E2}').fields
    assert fields is not None
    assert values.as_written(fields["version"]) == "1.10"
    assert values.as_number(fields["version"]) == 1.1
    assert values.as_written(fields["exp"]) == "1E2"
    assert values.as_number(fields["big"]) is None
    assert values.as_written(pickle.loads(pickle.dumps(fields["version"]))) == "1.10"  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("value", "written", "number"),
    [
        ("4.20", "4.20", 4.2),
        (True, "true", None),
        (False, "false", None),
        (7, "7", 7.0),
        (10**400, str(10**400), None),
        (None, None, None),
        ([1], None, None),
        ("nan", "nan", None),
        ("many", "many", None),
    ],
)
def test_scalars_as_text_and_as_number(value: object, written: str | None, number: float | None) -> None:
    """Text as JSON writes it; numbers also from quotes, finite ones only."""
    assert (values.as_written(value), values.as_number(value)) == (written, number)


def test_dotted_paths_reach_inside() -> None:
    """A key that itself has the dots wins; what is not there is None."""
    fields = {"a": {"b": {"c": 1}}, "a.b": 2}
    assert values.look_up(fields, "a.b.c") == 1
    assert values.look_up(fields, "a.b") == 2
    assert values.look_up(fields, "a.x") is None
    assert values.look_up(None, "a") is None
