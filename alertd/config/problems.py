"""Pydantic's findings as problems at their places, in words that tell what to do.

Decides the wording only. No input value appears in any message, apart from what the schema's own checks put there,
and those never see a secret.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, NamedTuple

from alertd.config.nodes import Mapping, Node, Sequence, code, printable, quote
from alertd.errors import Problem
from alertd.model import Place

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as MappingType

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

_KINDS: MappingType[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "enum": "{expected}",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
"""What the value must be, by pydantic's name for the fault; the braces are filled from the fault's context."""


class _Spot(NamedTuple):
    """Where a fault's path ends: the value, the last key on the way, and that key's place."""

    node: Node
    key: str
    key_place: Place


def closest(word: str, known: Iterable[str]) -> str:
    """Return what is known and close to a word, or nothing."""
    return next(iter(difflib.get_close_matches(word[:80], sorted(set(known)), n=1, cutoff=0.6)), "")


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` if something known is close, the short list of what is known, or nothing."""
    candidates = sorted(set(known))
    close = closest(word, candidates)
    if close:
        return f"; did you mean {quote(close)}?"
    if 0 < len(candidates) <= 20:
        return f"; known here: {', '.join(quote(candidate) for candidate in candidates)}"
    return ""


def problems_of(error: ValidationError, model: type[BaseModel], node: Node, key: str = "") -> list[Problem]:
    """Return one problem a faulty place below `node`, which was to be a `model`; `key` is what `node` is under."""
    found: dict[Place, Problem] = {}
    missing: dict[Place, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "missing":
            place = _follow(node, detail["loc"][:-1], key).node.place
            missing.setdefault(place, []).append(code(str(detail["loc"][-1])))
        else:
            problem = _problem(detail, model, node, key)
            found.setdefault(problem.place, problem)
    return [*(Problem(place, _say_missing(keys)) for place, keys in missing.items()), *found.values()]


def _say_missing(keys: list[str]) -> str:
    if len(keys) == 1:
        return f"{keys[0]} is missing"
    return f"{', '.join(keys[:-1])} and {keys[-1]} are missing"


def _problem(detail: ErrorDetails, model: type[BaseModel], node: Node, key: str) -> Problem:
    spot = _follow(node, detail["loc"], key)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, detail["loc"][:-1])
        return Problem(spot.key_place, f"unknown key {quote(spot.key)}{suggest(spot.key, known)}")
    subject = code(spot.key) if spot.key else "this entry"
    line = detail.get("ctx", {}).get("line", 0)
    return Problem(_within(spot.node, line), f"{subject} {_complaint(detail, spot.node)}")


def _within(node: Node, line: int) -> Place:
    """Return the place of a line of a block text, where it is known, else of the whole value."""
    if line and getattr(node, "is_block", False):
        return Place(node.place.file, node.place.line + line, 1)
    return node.place


def _complaint(detail: ErrorDetails, node: Node) -> str:
    """Return the rest of a sentence whose subject is the key."""
    context: dict[str, Any] = detail.get("ctx", {})
    kind = detail["type"]
    if kind in _KINDS:
        wanted = _KINDS[kind].format_map(context).replace("True", "true").replace("'", "`")
        return f"must be {wanted}, not {_describe(node, kind)}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    message = printable(str(context["error"]) if kind == "value_error" else detail["msg"])
    return message if message.startswith(("must ", "does ", "never ")) else f"is wrong: {message}"


def _describe(node: Node, kind: str) -> str:
    """Say what was found, by kind or, where one of several words or a range is wanted, as written."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if kind not in ("string_type", "int_type", "float_type", "bool_type", "int_from_float"):
        return quote(node.text) if isinstance(node.value, str) else code(node.text)
    if isinstance(node.value, str):
        return "text"
    return f"{code(node.text)} (quote it)" if kind == "string_type" else code(node.text)


def _follow(node: Node, path: tuple[int | str, ...], key: str) -> _Spot:
    """Walk as far as the path's steps are really there; steps that name a branch of the schema match nothing."""
    spot = _Spot(node, key, node.place)
    for step in path:
        here = spot.node
        if isinstance(here, Mapping) and step in here.entries:
            key_place, value = here.entries[str(step)]
            spot = _Spot(value, str(step), key_place)
        elif isinstance(here, Sequence) and isinstance(step, int) and step < len(here.items):
            spot = _Spot(here.items[step], spot.key, spot.key_place)
    return spot


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the model nested at `path` knows, the innermost that the path leads to."""
    here = model
    for step in path:
        field = next((info for name, info in here.model_fields.items() if step in (name, info.alias)), None)
        if field is not None:
            here = _model_within(field.annotation) or here
    return [info.alias or name for name, info in here.model_fields.items() if not info.exclude]


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """Return the one model that a field's annotation speaks of, however wrapped."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        model = _model_within(part)
        if model is not None:
            return model
    return None
