"""What a check prints to fields, and fields to the bytes of a value."""

from __future__ import annotations

import json

import pytest

from alertd import values
from alertd.secretary.fields import DEEPEST, LARGEST, Output, read, write

NOTHING = "so nothing is merged"


@pytest.mark.parametrize("raw", [b"", b" \n", b"{}", b" {}\n"])
def test_nothing_printed_is_nothing_to_say(raw: bytes) -> None:
    """Most checks are silent when all is well."""
    assert read(raw) == Output({})


@pytest.mark.parametrize(
    ("raw", "remark"),
    [
        (b"OK - 3 users logged in", f"its output is not a JSON object, {NOTHING}"),
        (b'["a"]', f"its output is not a JSON object, {NOTHING}"),
        (b"17", f"its output is not a JSON object, {NOTHING}"),
        (b"null", f"its output is not a JSON object, {NOTHING}"),
        (b'{"a": 1} {"b": 2}', f"its output is not a JSON object, {NOTHING}"),
        (b'{"a": 1', f"its output is not a JSON object, {NOTHING}"),
        (b'{"a": "\xff"}', f"its output is not a JSON object, {NOTHING}"),
        (b'{"a": ' + b"9" * 5000 + b"}", f"its output is not a JSON object, {NOTHING}"),
        (b'{"a": "\\ud800"}', f"its output holds half a character, {NOTHING}"),
        (b'{"\\ud800": 1}', f"its output holds half a character, {NOTHING}"),
        (b'{"a": NaN}', f"its output holds NaN, which is not JSON, {NOTHING}"),
        (b'{"a": [-Infinity]}', f"its output holds -Infinity, which is not JSON, {NOTHING}"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', f"its output holds a name twice, {NOTHING}"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, f"its output nests deeper than 32 levels, {NOTHING}"),
        (b"[" * 50_000, f"its output nests deeper than 32 levels, {NOTHING}"),
        (b'{"a":"' + b"x" * LARGEST + b'"}', f"its output is over 64 KiB, {NOTHING}"),
        (b" " * (LARGEST + 1), f"its output is over 64 KiB, {NOTHING}"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_object_is_told_and_left_out(raw: bytes, remark: str) -> None:
    """Whole: half of it could mean anything."""
    assert read(raw) == Output({}, remark)


@pytest.mark.parametrize(("levels", "is_taken"), [(DEEPEST, True), (DEEPEST + 1, False)])
def test_nesting_has_a_limit(levels: int, is_taken: bool) -> None:  # noqa: FBT001 - a column of the table
    """Lists count as objects do."""
    inner = "[" * (levels - 1) + "]" * (levels - 1)
    assert bool(read(f'{{"a":{inner}}}'.encode()).fields) is is_taken


def test_what_only_the_secretary_may_say_is_left_out() -> None:
    """An instance whose own data said `status: failing` would be down though nobody judged so. Deeper it is data."""
    output = read(b'{"status": "failing", "reason": "x", "a": {"status": 1}}')
    assert output.fields == {"a": {"status": 1}}
    assert output.remark == "its output sets reason and status, which only the secretary may; left out"


def test_the_order_of_members_makes_no_difference() -> None:
    """At any depth, so that a key is not written again; that of a list does."""
    one = read(b'{"b": {"y": [2, 1], "x": null}, "a": true}').fields
    other = read(b'{"a": true,\n "b": {"x": null, "y": [2, 1]}}').fields
    assert write(one) == write(other) == '{"a":true,"b":{"x":null,"y":[2,1]}}'
    assert write(read(b'{"a": [1, 2]}').fields) != write(read(b'{"a": [2, 1]}').fields)


@pytest.mark.parametrize("number", ["1.10", "1e3", "-0.0", "1E400", "12345678901234567890", "0.30000000000000004"])
def test_numbers_stay_as_they_were_written(number: str) -> None:
    """Rules compare them so, and one too large for a float must not become `Infinity`, which is not JSON."""
    assert write(read(f'{{"a": {number}}}'.encode()).fields) == f'{{"a":{number}}}'


def test_what_is_written_can_be_read_by_whom_it_is_for() -> None:
    """Quotes, control characters and all."""
    fields = {"a": 'x"\n\x00\\', "支": ["付", {"": False}], "n": 1.5, "ü": None}
    assert json.loads(write(fields)) == fields
    assert values.read(write(fields).encode()).fields == fields
