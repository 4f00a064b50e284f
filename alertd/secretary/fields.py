"""The fields of a value as JSON: read from what a check prints, written as the key's value. Pure.

Invariant: the same data gives the same bytes, in whatever order a command prints it, so that a key is written only when
its data changes. Numbers stay as they were written: `1.10` is not `1.1`. Whatever `read` accepts, `write` can write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from alertd.values import Written

RESERVED = frozenset({"status", "reason"})
"""The secretary itself writes these: a `status` from elsewhere could make an instance fail for ever."""

LARGEST = 64 * 1024
"""Bytes of output that are read."""

DEEPEST = 32
"""Levels of nesting, far from where any parser gives up."""

_TOO_DEEP = f"nests deeper than {DEEPEST} levels"


class Output(NamedTuple):
    """What a check printed: its fields in an order of ours, and a remark on what of it was not taken."""

    fields: Mapping[str, Any]
    remark: str = ""


class _Unfit(ValueError):
    """The output does not do; the message completes a sentence that begins with it."""


def read(raw: bytes) -> Output:
    """Read what a check printed: a JSON object, or nothing at all; of anything else no field is taken."""
    try:
        fields = _object_in(raw)
    except _Unfit as unfit:
        return Output({}, f"its output {unfit}, so nothing is merged")
    taken = sorted(RESERVED & fields.keys())
    if not taken:
        return Output(fields)
    rest = {name: value for name, value in fields.items() if name not in RESERVED}
    return Output(rest, f"its output sets {' and '.join(taken)}, which only the secretary may; left out")


def write(value: Any) -> str:
    """Return JSON without spaces; objects keep their order."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{write(name)}:{write(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return value.text if isinstance(value, Written) else json.dumps(value, ensure_ascii=False)


def _object_in(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`, none if that is blank; raise _Unfit."""
    if len(raw) > LARGEST:
        raise _Unfit(f"is over {LARGEST // 1024} KiB")
    if not raw.strip():
        return {}
    try:
        fields = _DECODER.decode(raw.decode())
    except _Unfit:
        raise
    except RecursionError:
        raise _Unfit(_TOO_DEEP) from None
    except ValueError:
        raise _Unfit("is not a JSON object") from None
    if not isinstance(fields, dict):
        raise _Unfit("is not a JSON object")
    if _is_deeper(fields, DEEPEST):
        raise _Unfit(_TOO_DEEP)
    if not is_text(write(fields)):
        raise _Unfit("holds half a character")
    return fields


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: half of a surrogate pair, which JSON and YAML can spell, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether a value nests more than `levels` objects and lists."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _sorted(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; of two with one name it cannot be known which is meant."""
    fields = dict(sorted(members, key=lambda member: member[0]))
    if len(fields) != len(members):
        raise _Unfit("holds a name twice")
    return fields


def _refuse(constant: str) -> NoReturn:
    raise _Unfit(f"holds {constant}, which is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_sorted, parse_float=Written, parse_constant=_refuse)
