"""The YAML sections as types: what may be written, and what the rest of alertd reads.

Field names here are the YAML's. Durations are float seconds. Scalars that are compared as written (`where`, `match`,
`labels`) are strings. What a reader of the rules gets is a `Ruleset`, and nothing in it can be changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from alertd import template
from alertd.model import Place, Severity

_DURATION = re.compile(r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?")
_UNIT_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_DURATION_HINT = "write a duration with its unit, such as 500ms, 30s, 5m, 1h30m or 7d"


def parse_duration(value: object) -> float:
    """Return seconds for `500ms 30s 5m 1h30m 7d`; raise ValueError for anything else, bare numbers too."""
    if not isinstance(value, str):
        raise ValueError(f"{value} has no unit; {_DURATION_HINT}")  # noqa: TRY004 - pydantic wants ValueError
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a duration; {_DURATION_HINT}")
    return sum(int(count) * unit for count, unit in zip(match.groups(), _UNIT_SECONDS, strict=True) if count)


def _not_zero(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _as_tuple(value: object) -> object:
    """Take one scalar as a list of one."""
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, (tuple, dict)) else (value,)


def _checked_template(source: str) -> str:
    try:
        template.check(source)
    except template.TemplateFault as fault:
        raise ValueError(str(fault)) from None
    return source


def _as_percent(value: object) -> object:
    """Return `50%` as the string it is, checked; numbers pass through."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)%", value)
        if match is None:
            raise ValueError(f"{value!r} is neither a number nor a percentage such as 50%")
        if not 0 < float(match[1]) <= 100:
            raise ValueError("a percentage must be above 0% and at most 100%")
    return value


_DURATION_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$", "minLength": 2}
)
Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION_SCHEMA]
PositiveDuration = Annotated[Duration, AfterValidator(_not_zero)]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
TemplateText = Annotated[str, AfterValidator(_checked_template)]
Percent = Annotated[str, BeforeValidator(_as_percent), WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?%$"})]


def text_as_written(value: object) -> object:
    """Return a YAML scalar as it was written; the loader's numbers remember that as `text`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return getattr(value, "text", str(value))
    return value


Written = Annotated[
    str,
    BeforeValidator(text_as_written),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""A scalar that is compared as written."""


WrittenList = Annotated[tuple[Written, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Section(BaseModel):
    """The base of all: immutable, and strict about unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


# --- settings and services -------------------------------------------------------------------------------------------


class Flap(Section):
    """Flap suppression: the `changes`-th change `within` starts it, `settle` without a change ends it."""

    changes: Annotated[int, Field(ge=2, le=1000)] = 6
    within: PositiveDuration = 1800.0
    settle: PositiveDuration = 600.0


class RegistryTrouble(Section):
    """When trouble with etcd itself is told, and how long services are not judged after it."""

    unreachable_after: Duration = 30.0
    settle: Duration = 60.0
    suspect: Percent = "50%"


class Storm(Section):
    """How many new groups a channel is told of within a time before the rest becomes one digest."""

    above: Annotated[int, Field(ge=1)] = 5
    within: PositiveDuration = 30.0


class Templates(Section):
    """Title and body of messages, in place of the built-in ones."""

    title: TemplateText | None = None
    body: TemplateText | None = None


class Settings(Section):
    """What holds for all rules."""

    name: str = ""
    url: str = ""
    timezone: str = "UTC"
    flap: Flap | Literal[False] = Flap()
    registry: RegistryTrouble = RegistryTrouble()
    storm: Storm = Storm()
    forget_after: PositiveDuration = 7 * 86400.0
    templates: Templates = Templates()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {name!r}; use a name such as Europe/Berlin or UTC") from None
        return name


class ServiceSpec(Section):
    """What is known of a service beforehand."""

    expected: Annotated[int, Field(ge=0)] | None = None
    labels: Mapping[str, Written] = {}


# --- rules -----------------------------------------------------------------------------------------------------------

DownCause = Literal["failing", "stopped", "deleted", "expired", "missed"]


class InstanceCount(Section):
    """How many instances are up: exactly one of `below` and `above`."""

    below: Annotated[int, Field(ge=1)] | Percent | None = None
    above: Annotated[int, Field(ge=0)] | None = None
    per: Name | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> InstanceCount:
        if (self.below is None) == (self.above is None):
            raise ValueError("give exactly one of below and above")
        return self


class Distinct(Section):
    """How many values of a field the instances up show: exactly one of `below` and `above`."""

    field: Name
    below: Annotated[int, Field(ge=1)] | None = None
    above: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Distinct:
        if (self.below is None) == (self.above is None):
            raise ValueError("give exactly one of below and above")
        return self


class Changes(Section):
    """How often it went up and down."""

    above: Annotated[int, Field(ge=0, le=10_000)]
    within: PositiveDuration
    per: Literal["instance"] | None = None


class FieldValue(Section):
    """What an instance's data says: exactly one of the conditions; `clear` goes with `above` and `below`."""

    field: Name
    above: float | int | None = None
    below: float | int | None = None
    equals: Written | None = None
    matches: Written | None = None
    missing: Literal[True] | None = None
    clear: float | int | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> FieldValue:
        conditions = (self.above, self.below, self.equals, self.matches, self.missing)
        if sum(condition is not None for condition in conditions) != 1:
            raise ValueError("give exactly one of above, below, equals, matches and missing")
        if self.clear is not None:
            if self.above is not None and self.clear > self.above:
                raise ValueError("clear must not lie above `above`")
            if self.below is not None and self.clear < self.below:
                raise ValueError("clear must not lie below `below`")
            if self.above is None and self.below is None:
                raise ValueError("clear goes with above or below only")
        return self


class When(Section):
    """A rule's condition: exactly one of the six; `cause` goes with `instance: down`."""

    instances: InstanceCount | None = None
    instance: Literal["down", "up"] | None = None
    cause: Annotated[tuple[DownCause, ...], BeforeValidator(_as_tuple), Field(min_length=1)] | None = None
    distinct: Distinct | None = None
    changes: Changes | None = None
    value: FieldValue | None = None
    malformed: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> When:
        kinds = (self.instances, self.instance, self.distinct, self.changes, self.value, self.malformed)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("give exactly one of instances, instance, distinct, changes, value and malformed")
        if self.cause is not None and self.instance != "down":
            raise ValueError("cause goes with `instance: down` only")
        return self


class Rule(Section):
    """A condition over instances or services, and what to say of it."""

    name: Name
    service: Names
    where: Mapping[str, WrittenList] = {}
    when: When
    for_: Annotated[Duration, Field(alias="for")] = 0.0
    keep_firing_for: Duration = 0.0
    flap: Flap | Literal[False] | None = None
    severity: Annotated[Severity, Field(strict=False)] = Severity.WARNING
    labels: Mapping[str, Written] = {}
    summary: TemplateText = ""
    description: TemplateText = ""
    runbook: str = ""
    channels: Names | None = None
    place: Annotated[Place, Field(exclude=True)] = Place("")

    @model_validator(mode="after")
    def _instance_up_is_bare(self) -> Rule:
        if self.when.instance == "up" and (self.for_ or self.keep_firing_for or self.flap):
            raise ValueError("`instance: up` tells once: it takes no for, no keep_firing_for and no flap")
        return self


# --- channels and routes ---------------------------------------------------------------------------------------------


class Rate(Section):
    """At most `count` messages within `seconds`."""

    count: int
    seconds: float


class Target(Section):
    """One Apprise target: a URL or the dict form, its secrets already filled in; None where one is not set."""

    url: SecretStr | None = None
    options: Mapping[str, SecretStr] | None = None
    place: Annotated[Place, Field(exclude=True)] = Place("")


class Channel(Section):
    """A name for one or more targets."""

    targets: tuple[Target, ...]
    send_resolved: bool = True
    fallback: Name | None = None
    rate: Rate | None = None
    templates: Templates = Templates()
    place: Annotated[Place, Field(exclude=True)] = Place("")


class Route(Section):
    """Which channels are told, and when."""

    default: Literal[True] = True
    channels: Names | None = None
    group_wait: Duration = 5.0
    group_interval: Duration = 60.0


class Ruleset(Section):
    """All that the rules directory says. `digest` is a short hash of its files."""

    settings: Settings = Settings()
    services: Mapping[str, ServiceSpec] = {}
    rules: tuple[Rule, ...] = ()
    channels: Mapping[str, Channel] = {}
    route: Route = Route()
    digest: str = ""


def source_of(rule: Rule, digest: str) -> str:
    """Return where a rule stands as people read it: `rules/web.yaml:12 @4f2c9e1`."""
    return f"{rule.place.file}:{rule.place.line}" + (f" @{digest}" if digest else "")
