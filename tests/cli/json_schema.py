"""JSON Schema 2020-12 as far as our schema uses it: a keyword that is not in the table fails the test that meets it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_ANNOTATIONS = {"$schema", "$defs", "title", "description", "default"}


def fits(value: Any, schema: Schema, root: Schema) -> bool:
    """Tell whether a value fits a schema; `root` is where `$ref` leads."""
    return all(_KEYWORDS[keyword](value, schema, root) for keyword in schema.keys() - _ANNOTATIONS)


def _has_type(value: Any, schema: Schema, _: Schema) -> bool:
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return any(type(value) in _TYPES[name] for name in names)


def _is_one_of(value: Any, choices: list[Any]) -> bool:
    return any(type(value) is type(choice) and value == choice for choice in choices)


def _properties_fit(value: Any, schema: Schema, root: Schema) -> bool:
    parts = schema["properties"]
    return not isinstance(value, dict) or all(fits(value[key], parts[key], root) for key in parts.keys() & value)


def _rest_fits(value: Any, schema: Schema, root: Schema) -> bool:
    wanted = schema["additionalProperties"]
    rest = value.keys() - schema.get("properties", {}).keys() if isinstance(value, dict) else set()
    return not rest if wanted is False else wanted is True or all(fits(value[key], wanted, root) for key in rest)


def _number(check: Callable[[float], bool], value: Any) -> bool:
    return type(value) not in (int, float) or check(value)


_KEYWORDS: Mapping[str, Callable[[Any, Schema, Schema], bool]] = {
    "$ref": lambda value, schema, root: fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root),
    "type": _has_type,
    "const": lambda value, schema, _: _is_one_of(value, [schema["const"]]),
    "enum": lambda value, schema, _: _is_one_of(value, schema["enum"]),
    "anyOf": lambda value, schema, root: any(fits(value, choice, root) for choice in schema["anyOf"]),
    "oneOf": lambda value, schema, root: sum(fits(value, choice, root) for choice in schema["oneOf"]) == 1,
    "minimum": lambda value, schema, _: _number(lambda number: number >= schema["minimum"], value),
    "maximum": lambda value, schema, _: _number(lambda number: number <= schema["maximum"], value),
    "minLength": lambda value, schema, _: not isinstance(value, str) or len(value) >= schema["minLength"],
    "minItems": lambda value, schema, _: not isinstance(value, list) or len(value) >= schema["minItems"],
    "pattern": lambda value, schema, _: not isinstance(value, str) or bool(re.search(schema["pattern"], value)),
    "required": lambda value, schema, _: not isinstance(value, dict) or value.keys() >= set(schema["required"]),
    "properties": _properties_fit,
    "additionalProperties": _rest_fits,
    "items": lambda value, schema, root: (
        not isinstance(value, list) or all(fits(part, schema["items"], root) for part in value)
    ),
}
