"""Templates that users write: Jinja2, sandboxed, strict about unknown names, and capped.

A template can neither reach outside its variables nor grow without bound. Errors are `TemplateFault`s: one sentence
without a traceback.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.filters import do_round
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alertd.errors import AlertdError

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUT_CAP = 16_384
"""Characters that a rendered template may have; the rest is cut."""

SOURCE_CAP = 16_384
"""Characters that a template itself may have; what is longer takes seconds to compile."""

# fmt: off
FILTERS = frozenset({
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "join",
    "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round",
    "select", "selectattr", "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper", "urlencode",
    "wordcount",
})
# fmt: on
"""Jinja2's filters that templates may use: those whose cost their input bounds."""

_GROWING = frozenset({"center", "format", "format_map", "ljust", "rjust", "zfill", "expandtabs"})
"""Methods of strings whose argument, not whose input, decides how long the result is."""

_LARGEST = 2**63
"""No number in a template grows beyond this."""


class TemplateFault(AlertdError):
    """A template does not parse or does not render; `line` counts from 1 within the template, 0 where unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox without what lets a slip of the pen grow faster than its input."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not all(isinstance(side, (int, float)) for side in (left, right)):
            raise TemplateFault(f"`{operator}` works on numbers only")
        if operator == "**" and abs(right) > 16:
            raise TemplateFault("`**` takes an exponent of at most 16")
        result = super().call_binop(context, operator, left, right)
        if abs(result) > _LARGEST:
            raise TemplateFault(f"`{operator}` gives a number that is too large")
        return result

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _GROWING and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Give `str.format` no special treatment: its widths have no bound, so it is refused like the others."""


def _round(value: Any, precision: int = 0, method: str = "common") -> Any:
    """Round as Jinja2 does, but not to a power of ten that takes hours to compute."""
    if abs(precision) > 15:
        raise TemplateFault("`round` takes a precision of at most 15")
    return do_round(value, precision, method)  # type: ignore[arg-type]  # Jinja2 itself refuses other methods


def _make_environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, autoescape=False, cache_size=0)
    environment.globals.clear()
    for name in environment.filters.keys() - FILTERS:
        del environment.filters[name]
    environment.filters["round"] = _round
    return environment


_ENVIRONMENT = _make_environment()


@lru_cache(maxsize=1024)
def _compile(source: str) -> Template:
    return _ENVIRONMENT.from_string(source)


def check(source: str) -> None:
    """Raise `TemplateFault` unless `source` parses.

    Jinja2 makes Python of a template, so that besides its own errors one gets Python's for what is too deep, too large
    a number, or (`SyntaxError`, `MemoryError`) too much for its compiler.
    """
    if len(source) > SOURCE_CAP:
        raise TemplateFault(f"must be at most {SOURCE_CAP:,} characters long")
    try:
        _compile(source)
    except TemplateSyntaxError as error:
        raise TemplateFault(f"does not parse as a template: {error.message}", error.lineno) from None
    except (RecursionError, ValueError, OverflowError, SyntaxError, MemoryError):
        raise TemplateFault("does not parse as a template: nested too deep, or a number too large") from None


def names_in(source: str) -> frozenset[str]:
    """Return the variables that a template asks for; it must parse."""
    return frozenset(find_undeclared_variables(_ENVIRONMENT.parse(source)))


def render(source: str, variables: Mapping[str, Any]) -> str:
    """Render `source`, cut to `OUTPUT_CAP` characters; raise `TemplateFault` if it fails.

    Whatever a template does wrong at run time (an unknown name, a wrong type, a division by zero) is a fault of the
    template, hence the broad catch.
    """
    check(source)
    parts: list[str] = []
    room = OUTPUT_CAP
    try:
        for part in _compile(source).generate(variables):
            parts.append(part[:room])
            room -= len(part)
            if room <= 0:
                break
    except TemplateFault:
        raise
    except Exception as error:  # noqa: BLE001 - see the docstring
        raise TemplateFault(f"template does not render: {error}") from None
    return "".join(parts)
