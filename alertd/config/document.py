"""What may be written where that differs from what is read, and the JSON Schema of a whole file.

`schema.py` holds what the rest of alertd reads; here are only the channels and routes as they stand in YAML, and the
sections of a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from alertd.config.schema import (
    Duration,
    Name,
    Names,
    PositiveDuration,
    Rate,
    Rule,
    Section,
    ServiceSpec,
    Settings,
    Templates,
    parse_duration,
)

PLANNED_SECTIONS = frozenset({"windows", "inhibit", "silences", "heartbeats", "reports", "tests"})
"""What a file may one day hold; refused as not supported until it does something."""

_RATE_HINT = "must be a number of messages and a duration, such as 20/1m"


def _as_rate(value: object) -> object:
    """Return a `Rate` for `20/1m`."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})/(.+)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(_RATE_HINT)
    try:
        seconds = parse_duration(match[2])
    except ValueError:
        raise ValueError(_RATE_HINT) from None
    if seconds <= 0:
        raise ValueError(_RATE_HINT)
    return Rate(count=int(match[1]), seconds=seconds)


def _as_tuple(value: object) -> object:
    """Take one as a list of one; what each target must be is checked where its secrets are filled in."""
    return tuple(value) if isinstance(value, list) else (value,)


_RATE_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^[1-9][0-9]{0,5}/.+$"})
_TARGET_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "description": "an Apprise URL"},
        {
            "type": "object",
            "description": "the same as a mapping, whose values need no URL encoding",
            "required": ["schema"],
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
    ]
}
_TARGETS_SCHEMA = WithJsonSchema({"anyOf": [{"type": "array", "items": _TARGET_SCHEMA, "minItems": 1}, _TARGET_SCHEMA]})


class ChannelText(Section):
    """A channel as it is written."""

    urls: Annotated[tuple[Any, ...], BeforeValidator(_as_tuple), Field(min_length=1), _TARGETS_SCHEMA]
    send_resolved: bool = True
    fallback: Name | None = None
    rate: Annotated[Rate, BeforeValidator(_as_rate), _RATE_SCHEMA] | None = None
    templates: Templates = Templates()


class Escalation(Section):
    """Who is told as well if nobody acts."""

    after: PositiveDuration
    channels: Names


class RouteText(Section):
    """The default route as it is written."""

    default: Literal[True]
    channels: Names | None = None
    group_by: Names | None = None
    group_wait: Duration = 5.0
    group_interval: Duration = 60.0
    repeat_interval: PositiveDuration = 14400.0
    escalate: Annotated[tuple[Escalation, ...], BeforeValidator(_as_tuple)] = ()
    continue_: Annotated[bool, Field(alias="continue")] = False


class Document(Section):
    """One YAML file: any of the sections."""

    settings: Settings | None = None
    services: Mapping[str, ServiceSpec] | None = None
    rules: tuple[Rule, ...] | None = None
    channels: Mapping[str, ChannelText] | None = None
    routes: tuple[RouteText, ...] | None = None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one file, for editors."""
    schema: dict[str, Any] = _tidied(Document.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "alertd rules",
        "description": "One file of an alertd rules directory.",
    }


def _tidied(schema: Any) -> Any:
    """Drop what is true of the types and not of the file: `null`, defaults as they are read, made-up titles."""
    if isinstance(schema, list):
        return [_tidied(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: {name: _tidied(inner) for name, inner in part.items()} if key == "properties" else _tidied(part)
        for key, part in schema.items()
        if not _is_noise(key, part)
    }
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del kept["anyOf"]
        kept |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    return kept


def _is_noise(key: str, part: Any) -> bool:
    return (key == "title" and isinstance(part, str)) or (key == "default" and not isinstance(part, (str, bool)))
