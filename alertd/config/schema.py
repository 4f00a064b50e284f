"""The YAML sections as types: what may be written, and what the rest of alertd reads.

Field names here are the YAML's. Durations are float seconds. Scalars that are compared as written (`where`, `match`,
`labels`) are strings. What a reader of the rules gets is a `Ruleset`, and nothing in it can be changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError

from alertd import duration, template
from alertd.config.calendar import Zone
from alertd.model import Match, Place, Severity, Silence
from alertd.window import Window


def text_as_written(value: object) -> object:
    """Return a YAML scalar as it was written; the loader's numbers remember that as `text`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return getattr(value, "text", str(value))
    return value


def parse_duration(value: object) -> float:
    """Return seconds for `500ms 30s 5m 1h30m 7d`; raise ValueError for anything else, bare numbers too."""
    if isinstance(value, str):
        return duration.parse(value)
    written = text_as_written(value)
    found = f", not `{written[:40]}`" if isinstance(written, str) else ""
    raise ValueError(f"must be a duration with its unit, such as 500ms, 30s, 5m, 1h30m or 7d{found}")


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
        context = {"fault": str(fault), "line": fault.line}
        raise PydanticCustomError("template", "{fault}", context) from None
    return source


def _as_percent(value: object) -> object:
    """Return `50%` as the string it is, checked; what is no string passes through."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%", value)
        if match is None or not 0 < float(match[1]) <= 100:
            raise ValueError("must be a percentage above 0% and at most 100%, such as 50%")
    return value


def _as_count_or_percent(value: object) -> object:
    """Return a count of at least 1, or a percentage as a string."""
    try:
        if _as_percent(value) is value and isinstance(value, str):
            return value
    except ValueError:
        value = None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("must be a whole number of at least 1, or a percentage such as 50%")
    return value


def _without_control_characters(name: str) -> str:
    if not name.isprintable() or name != name.strip():
        raise ValueError("must be one line without control characters, and without spaces around it")
    return name


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


class OneOrMore:
    """Marks a list that may be written as its one element, for the JSON Schema; it holds `least` at least."""

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        items = handler(core_schema)["items"]
        return {"anyOf": [items, {"type": "array", "items": items, "minItems": self.least}]}


def _kind_of_flap(value: object) -> str | None:
    """Tell which branch of `flap` is meant; None is an error that says what both are."""
    if value is False:
        return "off"
    return "on" if isinstance(value, (dict, Flap)) else None


_DURATION_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$", "minLength": 2}
)
Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION_SCHEMA]
PositiveDuration = Annotated[Duration, AfterValidator(_not_zero)]
Name = Annotated[str, Field(min_length=1), AfterValidator(_without_control_characters)]
AnyNames = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple), AfterValidator(_each_once), OneOrMore(0)]
Names = Annotated[
    tuple[Name, ...], BeforeValidator(_as_tuple), Field(min_length=1), AfterValidator(_each_once), OneOrMore()
]
TemplateText = Annotated[str, AfterValidator(_checked_template)]

_PERCENT_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,9})?%$"}
Percent = Annotated[str, BeforeValidator(_as_percent), WithJsonSchema(_PERCENT_SCHEMA)]
CountOrPercent = Annotated[
    int | str,
    BeforeValidator(_as_count_or_percent),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _PERCENT_SCHEMA]}),
]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""How many; the bound keeps what is computed from it small."""


Written = Annotated[
    str,
    BeforeValidator(text_as_written),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""A scalar that is compared as written."""


WrittenList = Annotated[tuple[Written, ...], BeforeValidator(_as_tuple), Field(min_length=1), OneOrMore()]


class Section(BaseModel):
    """The base of all: immutable, and strict about unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


# --- settings and services -------------------------------------------------------------------------------------------


class Flap(Section):
    """Flap suppression: the `changes`-th change `within` starts it, `settle` without a change ends it."""

    changes: Annotated[int, Field(ge=2, le=1000)] = 6
    within: PositiveDuration = 1800.0
    settle: PositiveDuration = 600.0


FlapOrOff = Annotated[
    Annotated[Flap, Tag("on")] | Annotated[Literal[False], Tag("off")],
    Discriminator(
        _kind_of_flap,
        custom_error_type="flap",
        custom_error_message="must be a mapping such as {changes: 6, within: 30m, settle: 10m}, or false",
    ),
]


class RegistryTrouble(Section):
    """When trouble with etcd itself is told, and how long services are not judged after it."""

    unreachable_after: Duration = 30.0
    settle: Duration = 60.0
    suspect: Percent = "50%"


class Storm(Section):
    """How many new groups a channel is told of within a time before the rest becomes one digest."""

    above: Annotated[int, Field(ge=1)] = 5
    within: PositiveDuration = 30.0


Texts = Annotated[Mapping[str, Place], SkipJsonSchema(), Field(exclude=True)]
"""Where templates stand, by the key that each has."""


class Templates(Section):
    """Title and body of messages, in place of the built-in ones."""

    title: TemplateText | None = None
    body: TemplateText | None = None


class Settings(Section):
    """What holds for all rules."""

    name: str = ""
    url: str = ""
    timezone: Zone = "UTC"
    flap: FlapOrOff = Flap()
    registry: RegistryTrouble = RegistryTrouble()
    storm: Storm = Storm()
    forget_after: PositiveDuration = 7 * 86400.0
    give_up_after: PositiveDuration = 86_400.0
    """How long a message that a target does not take is tried again."""
    resolve_muted: bool = True
    """Whether what was told and resolves while it is muted is told as resolved at once, or only when the mute ends."""
    templates: Templates = Templates()
    texts: Texts = {}

    @field_validator("url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        if url and not re.fullmatch(r"https?://\S+", url):
            raise ValueError("must be the address of a web page, such as https://alertd.example")
        try:
            _ = urlsplit(url).port
        except ValueError:
            raise ValueError("must have a port between 1 and 65535") from None
        return url


class ServiceSpec(Section):
    """What is known of a service beforehand."""

    expected: Count | None = None
    labels: Mapping[str, Written] = {}


# --- rules -----------------------------------------------------------------------------------------------------------

DownCause = Literal["failing", "stopped", "deleted", "expired", "missed"]


class InstanceCount(Section):
    """How many instances are up: exactly one of `below` and `above`."""

    below: CountOrPercent | None = None
    above: Count | None = None
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
    cause: Annotated[tuple[DownCause, ...], BeforeValidator(_as_tuple), Field(min_length=1), OneOrMore()] | None = None
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

    @property
    def kind(self) -> str:
        """What kind of condition it is: its key, or what `instance` says."""
        kinds = ("instances", "distinct", "changes", "value", "malformed")
        return self.instance or next(name for name in kinds if getattr(self, name) is not None)


class Rule(Section):
    """A condition over instances or services, and what to say of it."""

    name: Name
    service: Names
    where: Mapping[str, WrittenList] = {}
    when: When
    for_: Annotated[Duration, Field(alias="for")] = 0.0
    keep_firing_for: Duration = 0.0
    flap: FlapOrOff | None = None
    severity: Annotated[Severity, Field(strict=False)] = Severity.WARNING
    labels: Mapping[str, Written] = {}
    summary: TemplateText = ""
    description: TemplateText = ""
    runbook: str = ""
    channels: Names | None = None
    place: Annotated[Place, SkipJsonSchema(), Field(exclude=True)] = Place("")
    texts: Texts = {}

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
    place: Annotated[Place, SkipJsonSchema(), Field(exclude=True)] = Place("")


class Channel(Section):
    """A name for one or more targets, or for one webhook."""

    targets: tuple[Target, ...] = ()
    webhook: Webhook | None = None
    send_resolved: bool = True
    fallback: Name | None = None
    rate: Rate | None = None
    templates: Templates = Templates()
    place: Annotated[Place, SkipJsonSchema(), Field(exclude=True)] = Place("")
    texts: Texts = {}


class EscalationStep(Section):
    """Who is told as well if nobody acts within `after`, counted from when the alert was first told."""

    after: PositiveDuration
    channels: Names


class Route(Section):
    """Which channels are told of what it matches, grouped how, and when.

    The default route, the last one, matches everything. `channels` is None where it chooses none: the default route's
    then, and for that one every channel. `during` are names of windows, one of which must be open. An empty `group_by`
    makes one group of all.
    """

    match: Match = Match()
    during: tuple[str, ...] = ()
    default: bool = False
    channels: Names | None = None
    group_by: AnyNames = ("rule", "service")
    group_wait: Duration = 5.0
    group_interval: Duration = 60.0
    repeat_interval: PositiveDuration = 14_400.0
    escalate: tuple[EscalationStep, ...] = ()
    continue_: bool = False
    place: Annotated[Place, SkipJsonSchema(), Field(exclude=True)] = Place("")


# --- what keeps quiet ------------------------------------------------------------------------------------------------


class Inhibition(Section):
    """While an alert that `if_` matches fires, those that `mute` matches are muted where all of `equal` are equal.

    What one of the two has not is not equal.
    """

    if_: Match
    mute: Match
    equal: tuple[str, ...] = ()
    place: Annotated[Place, SkipJsonSchema(), Field(exclude=True)] = Place("")


class Heartbeat(Section):
    """A sign of life, to a channel or a URL, `every` so often; withheld while alertd could not tell of anything."""

    name: Name
    every: PositiveDuration
    channel: Name | None = None
    url: SecretStr | None = None
    place: Annotated[Place, SkipJsonSchema(), Field(exclude=True)] = Place("")


class Report(Section):
    """A summary to a channel, whenever `cron` says so in the time zone."""

    name: Name
    cron: str
    channel: Name
    timezone: str = "UTC"
    place: Annotated[Place, SkipJsonSchema(), Field(exclude=True)] = Place("")


class Webhook(Section):
    """Where Alertmanager's webhook document (version 4) goes, with which headers; `secret` signs it."""

    url: SecretStr
    headers: Mapping[str, SecretStr] = {}
    secret: SecretStr | None = None


class Ruleset(Section):
    """All that the rules directory says. `digest` is a short hash of its files."""

    settings: Settings = Settings()
    services: Mapping[str, ServiceSpec] = {}
    rules: tuple[Rule, ...] = ()
    channels: Mapping[str, Channel] = {}
    routes: tuple[Route, ...] = (Route(default=True),)
    """In their order; the last is the default one."""
    windows: Mapping[str, Window] = {}
    inhibit: tuple[Inhibition, ...] = ()
    silences: tuple[Silence, ...] = ()
    heartbeats: tuple[Heartbeat, ...] = ()
    reports: tuple[Report, ...] = ()
    digest: str = ""

    @property
    def route(self) -> Route:
        """The default route."""
        return self.routes[-1]


def source_of(rule: Rule, digest: str) -> str:
    """Return where a rule stands as people read it: `rules/web.yaml:12 @4f2c9e1`."""
    return f"{rule.place.file}:{rule.place.line}" + (f" @{digest}" if digest else "")
