"""The YAML of `alertd secretary --config`: a list of services to attend, written as strictly as the rules.

Decides only what may be written where; what the options mean is the secretary's. It leaves pydantic out, since the
secretary runs on every host and must stay light.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alertd.config import nodes
from alertd.config.files import read_file
from alertd.config.problems import suggest
from alertd.config.scalars import WrittenInt
from alertd.errors import ConfigError, Problem
from alertd.model import Place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One service as written: its options as text, `fields` as JSON would hold them, and each key's place."""

    place: Place
    options: Mapping[str, str]
    fields: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)


def read(path: Path, known: frozenset[str]) -> tuple[Entry, ...]:
    """Return the entries of the list `secretaries:`; `known` are the options that each may have besides `set`.

    Raises ConfigError with every problem found.
    """
    file, problems = read_file(path)
    if file is None:
        raise ConfigError(problems)
    root, problems = nodes.parse(file.text, file.shown)
    entries: list[Entry] = []
    if isinstance(root, nodes.Mapping):
        for key, (place, node) in root.entries.items():
            if key != "secretaries":
                problems.append(Problem(place, f"unknown key {nodes.quote(key)}{suggest(key, ['secretaries'])}"))
            elif isinstance(node, nodes.Sequence):
                entries = [_entry(item, known, problems) for item in node.items]
            else:
                problems.append(Problem(node.place, "`secretaries` must be a list"))
    if not entries and not problems:
        problems.append(Problem(Place(file.shown), "holds no service; write a list under `secretaries:`"))
    if problems:
        raise ConfigError(problems)
    return tuple(entries)


def _entry(node: nodes.Node, known: frozenset[str], problems: list[Problem]) -> Entry:
    """Read one service; what is wrong with it joins `problems`."""
    options: dict[str, str] = {}
    fields: dict[str, Any] = {}
    places: dict[str, Place] = {}
    if not isinstance(node, nodes.Mapping):
        problems.append(Problem(node.place, "must be a mapping such as {service: apache, instance: core01, check: …}"))
        return Entry(node.place, options)
    for key, (place, value) in node.entries.items():
        places[key] = value.place
        if key == "set" and isinstance(value, nodes.Mapping):
            fields = _as_json(value)
        elif key == "set":
            problems.append(Problem(value.place, "`set` must be a mapping"))
        elif key not in known:
            problems.append(Problem(place, f"unknown key {nodes.quote(key)}{suggest(key, known | {'set'})}"))
        elif isinstance(value, nodes.Scalar):
            options[key] = value.text
        else:
            problems.append(Problem(value.place, f"{nodes.code(key)} must be one value"))
    return Entry(node.place, options, fields, places)


def _as_json(node: nodes.Node) -> Any:
    """Return whole numbers and booleans as such, and all other scalars as text as written: `1.10` is not `1.1`."""
    if isinstance(node, nodes.Mapping):
        return {key: _as_json(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, nodes.Sequence):
        return [_as_json(item) for item in node.items]
    return node.value if isinstance(node.value, (bool, WrittenInt)) else node.text
