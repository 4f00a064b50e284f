"""Turns the dict form of a target into the arguments of Apprise's plugin.

The names are those that Apprise documents for URLs (`to`, `from`, `+Header`) or its own (`targets`, `from_addr`); a
name that the service does not know is an error, where Apprise would say nothing. Values need no URL encoding.
"""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from alertd.delivery.sender import plugin_of
from alertd.delivery.wording import plain
from alertd.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.model import Place

_OF_EVERY_URL = frozenset(
    {"schema", "host", "port", "user", "password", "fullpath", "verify", "rto", "cto", "redirect"}
)
"""Arguments that the root of all plugins takes."""
_DECODED_AGAIN = frozenset({"host", "user", "password", "fullpath"})
"""Arguments that the root of all plugins URL-decodes, also in the dict form: they are encoded for it."""


def as_plugin_arguments(options: Mapping[str, str], place: Place, label: str) -> dict[str, Any]:
    """Return the arguments for `Apprise.instantiate`; raise `ConfigError` at `place` for what it does not know."""
    schema = options.get("schema", "").lower()
    plugin_type = plugin_of(schema)
    if plugin_type is None:
        problem = f"no service has the schema {plain(schema, 30)!r}" if schema else "its `schema` is missing"
        raise ConfigError([Problem(place, f"target {label}: {problem}")])
    arguments: dict[str, Any] = {"schema": schema}
    unknown: list[str] = []
    for name, value in options.items():
        if name != "schema" and not _put(arguments, plugin_type, name, value):
            unknown.append(name)
    if unknown:
        raise ConfigError([Problem(place, f"target {label}: {_advice(name, plugin_type)}") for name in unknown])
    return arguments


def _put(arguments: dict[str, Any], plugin_type: Any, name: str, value: str) -> bool:
    """Put one option where the plugin looks for it; False if it looks for no such."""
    for spec_name, spec in plugin_type.template_kwargs.items():
        if name[:1] and name[:1] == spec.get("prefix"):
            arguments.setdefault(spec.get("map_to", spec_name), {})[name[1:]] = value
            return True
    argument = _argument_of(name, plugin_type)
    if argument in _DECODED_AGAIN:
        arguments[argument] = quote(value, safe="")
    elif argument == "port":
        arguments[argument] = int(value) if value.isdigit() else value
    elif argument in _OF_EVERY_URL or argument in _parameters(plugin_type):
        arguments[argument] = value
    else:
        return False
    return True


def _argument_of(name: str, plugin_type: Any) -> str:
    """Return the constructor's name for a documented one, following aliases."""
    name = {"pass": "password", "path": "fullpath"}.get(name, name)
    for _ in range(3):
        spec = plugin_type.template_args.get(name) or plugin_type.template_tokens.get(name) or {}
        alias = spec.get("alias_of")
        alias = alias[0] if isinstance(alias, (list, tuple)) and alias else alias
        if not alias:
            return str(spec.get("map_to", name))
        name = str(alias)
    return name


def _parameters(plugin_type: Any) -> set[str]:
    """Return what the constructors of a plugin and of its bases take by name."""
    found: set[str] = set()
    for each in plugin_type.__mro__:
        if "__init__" in vars(each):
            found |= set(inspect.signature(each.__init__).parameters)
    return found - {"self", "args", "kwargs"}


def _advice(name: str, plugin_type: Any) -> str:
    known = {*_OF_EVERY_URL, *plugin_type.template_args, *plugin_type.template_tokens}
    near = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"its service knows no option `{plain(name, 30)}`{hint}"
