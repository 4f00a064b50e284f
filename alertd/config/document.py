"""A whole file of rules: its sections, and their JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alertd.config.schema import Rule, Section, ServiceSpec, Settings
from alertd.config.written import (
    ChannelText,
    HeartbeatText,
    InhibitionText,
    ReportText,
    RouteText,
    SilenceText,
    WindowText,
)

PLANNED_SECTIONS = frozenset({"tests"})
"""What a file may one day hold; refused as not supported until it does something."""


class Document(Section):
    """One YAML file: any of the sections."""

    settings: Settings | None = None
    services: Mapping[str, ServiceSpec] | None = None
    rules: tuple[Rule, ...] | None = None
    channels: Mapping[str, ChannelText] | None = None
    windows: Mapping[str, WindowText] | None = None
    routes: tuple[RouteText, ...] | None = None
    inhibit: tuple[InhibitionText, ...] | None = None
    silences: tuple[SilenceText, ...] | None = None
    heartbeats: tuple[HeartbeatText, ...] | None = None
    reports: tuple[ReportText, ...] | None = None


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
