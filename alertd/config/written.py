"""The sections as they stand in YAML, where that differs from what the rest of alertd reads.

Each shape says what may be written, alone and together; `schema.py` holds what becomes of it. Names of channels and
windows are only text here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema

from alertd.config.calendar import Cron, Moment, Zone
from alertd.config.nodes import code, quote
from alertd.config.patterns import is_glob, meets_any
from alertd.config.problems import suggest
from alertd.config.schema import (
    AnyNames,
    Duration,
    EscalationStep,
    Name,
    Names,
    OneOrMore,
    PositiveDuration,
    Rate,
    Route,
    Section,
    Templates,
    Written,
    WrittenList,
    parse_duration,
)
from alertd.model import Cause, Match, Severity

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


def _one_of(*keys: str) -> dict[str, Any]:
    """Return what the JSON Schema says where exactly one of `keys` must be given."""
    return {"oneOf": [{"required": [key]} for key in keys]}


# --- matches ---------------------------------------------------------------------------------------------------------


def _known_word(kind: str, words: tuple[str, ...]) -> AfterValidator:
    """Return a check that a pattern can match one of `words`."""

    def check(pattern: str) -> str:
        if not any(meets_any(word, [pattern]) for word in words):
            hint = "" if is_glob(pattern) else suggest(pattern, words)
            raise ValueError(f"must be a {kind}, not {quote(pattern)}{hint}")
        return pattern

    return AfterValidator(check)


def _not_here(_: object) -> None:
    raise ValueError("does not belong here: in a route it stands in `match`, in a silence beside it")


_Severity = Annotated[Written, _known_word("severity", tuple(Severity))]
_Severities = Annotated[tuple[_Severity, ...], BeforeValidator(_as_tuple), Field(min_length=1), OneOrMore()]
_Cause = Annotated[Written, _known_word("cause", tuple(Cause))]
_Causes = Annotated[tuple[_Cause, ...], BeforeValidator(_as_tuple), Field(min_length=1), OneOrMore()]
_NotHere = Annotated[SkipJsonSchema[None], BeforeValidator(_not_here)]


class _Patterns(Section):
    """Names of the one namespace, each with its patterns."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, WrittenList]
    severity: _Severities | None = None
    cause: _Causes | None = None

    def patterns(self) -> dict[str, tuple[str, ...]]:
        """Return the patterns of each name."""
        named = {"severity": self.severity, "cause": self.cause}
        given = {name: patterns for name, patterns in named.items() if patterns is not None}
        return {**self.__pydantic_extra__, **given}


class Unless(_Patterns):
    """Which alerts are not meant, under `not`."""

    during: _NotHere = None


class _Meaning(_Patterns):
    """Which alerts are meant."""

    not_: Annotated[Unless, Field(alias="not")] = Unless()

    def meaning(self) -> Match:
        """Return the match; windows are no part of it."""
        return Match(self.patterns(), self.not_.patterns())


class MatchText(_Meaning):
    """Which alerts are meant, by a silence or an inhibition."""

    during: _NotHere = None


class RouteMatch(_Meaning):
    """Which alerts take a route, and while which windows are open."""

    during: Names = ()


def _means_something(match: MatchText) -> MatchText:
    if match.meaning() == Match():
        raise ValueError("must not be empty: it would match everything")
    return match


SomeMatch = Annotated[MatchText, AfterValidator(_means_something)]


# --- who is told -----------------------------------------------------------------------------------------------------

_DEFAULT = Route(default=True)


class ChannelText(Section):
    """A channel as it is written: Apprise targets, or one webhook."""

    model_config = ConfigDict(json_schema_extra=_one_of("urls", "webhook"))
    urls: Annotated[tuple[Any, ...], BeforeValidator(_as_tuple), Field(min_length=1), _TARGETS_SCHEMA] | None = None
    webhook: str | None = None
    headers: Mapping[str, Written] = {}
    secret: Written | None = None
    send_resolved: bool = True
    fallback: Name | None = None
    rate: Annotated[Rate, BeforeValidator(_as_rate), _RATE_SCHEMA] | None = None
    templates: Templates = Templates()

    @model_validator(mode="after")
    def _one_kind(self) -> ChannelText:
        if (self.urls is None) == (self.webhook is None):
            raise ValueError("must have either `urls` or a `webhook`")
        beside = [key for key in ("headers", "secret") if key in self.model_fields_set]
        if beside and self.webhook is None:
            raise ValueError(f"must not have {code(beside[0])}, which goes with `webhook` only")
        return self


class RouteText(Section):
    """A route as it is written."""

    model_config = ConfigDict(json_schema_extra=_one_of("default", "match"))
    default: Literal[True] | None = None
    match: RouteMatch | None = None
    channels: Names | None = None
    group_by: AnyNames = _DEFAULT.group_by
    group_wait: Duration = _DEFAULT.group_wait
    group_interval: Duration = _DEFAULT.group_interval
    repeat_interval: PositiveDuration = _DEFAULT.repeat_interval
    escalate: Annotated[tuple[EscalationStep, ...], BeforeValidator(_as_tuple), OneOrMore(0)] = ()
    continue_: Annotated[bool, Field(alias="continue")] = False

    @model_validator(mode="after")
    def _one_meaning(self) -> RouteText:
        if self.default and self.match is not None:
            raise ValueError("must not have a `match`: the default route is for whatever no other route matched")
        is_empty = self.match is None or (self.match.meaning() == Match() and not self.match.during)
        if is_empty and not self.default:
            raise ValueError("must `match` something; one that matches everything is the last: `default: true`")
        return self


# --- what keeps quiet ------------------------------------------------------------------------------------------------


class WindowText(Section):
    """A window as it is written; `timezone` is the settings' where it is left out."""

    cron: Cron
    duration: PositiveDuration
    timezone: Zone | None = None


class SilenceText(Section):
    """A silence as code."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["until"]}, {"required": ["during"]}]})
    match: SomeMatch
    until: Moment | None = None
    during: Names | None = None
    comment: str = ""

    @model_validator(mode="after")
    def _has_an_end(self) -> SilenceText:
        if self.until is None and self.during is None:
            raise ValueError("must have `until` or `during`: a silence without an end is forgotten, and then missed")
        return self


class InhibitionText(Section):
    """An inhibition as it is written."""

    if_: Annotated[SomeMatch, Field(alias="if")]
    mute: SomeMatch
    equal: AnyNames = ()


# --- signs of life ---------------------------------------------------------------------------------------------------


class HeartbeatText(Section):
    """A heartbeat as it is written."""

    model_config = ConfigDict(json_schema_extra=_one_of("channel", "url"))
    name: Name
    every: PositiveDuration
    channel: Name | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> HeartbeatText:
        if (self.channel is None) == (self.url is None):
            raise ValueError("must have either a `channel` or a `url`")
        return self


class ReportText(Section):
    """A report as it is written; `timezone` is the settings' where it is left out."""

    name: Name
    cron: Cron
    channel: Name
    timezone: Zone | None = None
