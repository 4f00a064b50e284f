"""Understands one target as written in the rules: builds its sender, describes it, says what is wrong with it.

Speaks of a target by its channel, position and schema, never by its address. Errors are `ConfigError`s at the
target's place, with what Apprise logged, secrets removed.
"""

from __future__ import annotations

import logging
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from alertd.config.schema import Webhook
from alertd.delivery import webhook
from alertd.delivery.incident import can_close
from alertd.delivery.options import as_plugin_arguments
from alertd.delivery.scrub import HARMLESS, MASK, Scrubber, of_options, of_url
from alertd.delivery.sender import AppriseSender, asset, library, plugin_of
from alertd.delivery.wording import plain
from alertd.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from apprise import NotifyBase

    from alertd.config.schema import Channel, Ruleset, Target
    from alertd.delivery.sender import Sender
    from alertd.model import Instant

_LOG_ROOM = 300
"""Characters of Apprise's own words that a problem shows."""
_SCHEMA = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_COPIED = frozenset({"http", "https"})
"""Schemas of addresses as providers show them, of which Apprise knows those of many services."""
_COMMON = frozenset({"format", "overflow", "emojis", "tz", "verify", "rto", "cto", "retry", "wait", "optional"})
_UNREMARKABLE = frozenset({"overflow", "retry", "wait", "optional", "emojis", "rto", "cto"})
"""Parameters that Apprise adds to every URL, and that say nothing here."""
_SHOWN = HARMLESS | {"to", "from", "cc", "bcc", "reply", "smtp", "name"}
"""Parameters whose values are shown: whoever checks a channel wants to see whom it reaches."""


@dataclass(frozen=True, slots=True)
class Understanding:
    """How a target was understood, fit to be shown: `address` is masked, sizes are in characters, 0 is "none"."""

    channel: str
    position: int
    service: str
    schema: str
    host: str
    port: int | None
    address: str
    title_limit: int
    body_limit: int
    seconds_apart: float


def targets_of(channel: Channel) -> tuple[Target | Webhook, ...]:
    """Return all that a channel sends to."""
    return channel.targets if channel.webhook is None else (channel.webhook,)


def label_of(channel: str, position: int, target: Target | Webhook) -> str:
    """Return what a target is called wherever people read of it: `ops #1 slack`; positions count from 1."""
    return f"{channel} #{position} {schema_of(target)}".rstrip()


def schema_of(target: Target | Webhook) -> str:
    """Return the schema, lower case, or an empty string where there is none to see."""
    if isinstance(target, Webhook):
        return webhook.SCHEMA
    if target.url is not None:
        match = _SCHEMA.match(target.url.get_secret_value())
        return match[1].lower() if match else ""
    if target.options is not None and (schema := target.options.get("schema")) is not None:
        return plain(schema.get_secret_value(), 30).lower()
    return ""


def is_set(target: Target) -> bool:
    """Say whether the target's secrets were there when the rules were read."""
    return target.url is not None or target.options is not None


def build(target: Target, label: str) -> AppriseSender:
    """Return a sender for `target`, called `label` in errors; raise `ConfigError` at its place."""
    plugin = _instantiate(target, label)
    return AppriseSender(plugin, scrubber_of(target, plugin))


def sender_of(name: str, label: str, target: Target | Webhook, clock: Callable[[], Instant]) -> Sender:
    """Return a sender for a target of the channel `name`; `label` names it in the `ConfigError` that this may raise."""
    if isinstance(target, Webhook):
        return webhook.WebhookSender(target, name, clock)
    return build(target, label)


def verify(ruleset: Ruleset) -> list[Problem]:
    """Return what is wrong with the targets of all channels; those whose secret is not set are skipped."""
    problems: list[Problem] = []
    for name, channel in ruleset.channels.items():
        for position, target in enumerate(channel.targets, 1):
            if not is_set(target):
                continue
            label = label_of(name, position, target)
            problems += _doubts(target, label)
            try:
                plugin = _instantiate(target, label)
            except ConfigError as error:
                problems += error.problems
            else:
                if channel.send_resolved and not can_close(plugin):
                    doubt = "opens an incident with every message and closes none; set `send_resolved: false`"
                    problems.append(Problem(target.place, f"target {label}: its service {doubt}", is_warning=True))
    return problems


def describe(channel: str, position: int, target: Target | Webhook) -> Understanding:
    """Return how a target was understood; raise `ConfigError` at its place."""
    if isinstance(target, Webhook):
        return _describe_webhook(channel, position, target)
    plugin = _instantiate(target, label_of(channel, position, target))
    return Understanding(
        channel=channel,
        position=position,
        service=str(plugin.service_name),
        schema=schema_of(target),
        host=_real_host(plugin, target),
        port=plugin.port if isinstance(plugin.port, int) else None,
        address=_masked_address(plugin, target),
        title_limit=int(plugin.title_maxlen),
        body_limit=int(plugin.body_maxlen),
        seconds_apart=float(plugin.request_rate_per_sec),
    )


def _describe_webhook(channel: str, position: int, target: Webhook) -> Understanding:
    host, port = webhook.host_and_port(target)
    return Understanding(
        channel=channel,
        position=position,
        service=webhook.WebhookSender.service,
        schema=webhook.SCHEMA,
        host=host,
        port=port,
        address=webhook.masked_address(target),
        title_limit=0,
        body_limit=0,
        seconds_apart=0.0,
    )


def _masked_address(plugin: NotifyBase, target: Target) -> str:
    """Return an address of which only what cannot be secret is readable: the host, and harmless parameters.

    Built from what the plugin holds and not by masking its URL, for Apprise's own masks leave headers and paths.
    """
    understood = str(plugin.url(privacy=True))  # type: ignore[no-untyped-call]  # Apprise's
    main, _, query = understood.partition("://")[2].partition("?")
    account = "***@" if plugin.user or plugin.password else ""
    port = f":{plugin.port}" if plugin.port else ""
    path = "/***" if main.rpartition("@")[2].partition("/")[2] else ""
    shown = [_masked_parameter(name, value) for name, value in parse_qsl(query) if name not in _UNREMARKABLE]
    host = _real_host(plugin, target) or MASK
    return f"{schema_of(target)}://{account}{host}{port}{path}" + ("?" + "&".join(shown) if shown else "")


def _masked_parameter(name: str, value: str) -> str:
    is_harmless = name in _SHOWN or value in {"yes", "no"}
    return f"{plain(name, 40)}={plain(value, 80) if is_harmless else MASK}"


def scrubber_of(target: Target, plugin: NotifyBase | None) -> Scrubber:
    """Return what removes this target's secrets from a text; without a plugin the host counts as one too."""
    host = _real_host(plugin, target) if plugin is not None else ""
    if target.url is not None:
        return Scrubber(of_url(target.url.get_secret_value(), host))
    options = {name: value.get_secret_value() for name, value in (target.options or {}).items()}
    return Scrubber(of_options(options, host))


def _real_host(plugin: NotifyBase, target: Target) -> str:
    """Return the host, but not where a token, or a piece of a password, is likely to stand in its place."""
    templates: Iterable[str] = plugin.templates
    has_host = all("{host}" in template for template in templates)
    return str(plugin.host) if has_host and plugin.host and not _is_ambiguous(target) else ""


def _is_ambiguous(target: Target) -> bool:
    """Say whether a URL can be read in several ways, so that what looks like its host may be none."""
    if target.url is None:
        return False
    rest = target.url.get_secret_value().partition("://")[2]
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    return authority.count("@") > 1 or "#" in authority


def _instantiate(target: Target, label: str) -> NotifyBase:
    """Return Apprise's plugin for a target; raise `ConfigError` with its words about what is wrong."""
    apprise = library()
    schema = schema_of(target)
    if schema not in _COPIED and schema and plugin_of(schema) is None:
        raise ConfigError([Problem(target.place, f"target {label}: no service has the schema {schema!r}")])
    scrub = scrubber_of(target, None)
    said: list[str] = []
    try:
        with _listening(said):
            plugin = apprise.Apprise.instantiate(_as_written(target, label), asset=asset(), suppress_exceptions=False)
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises about a URL is the URL's fault
        said.append(str(error))
        plugin = None
    if plugin is None and schema in _COPIED:
        why = "no service knows this address; for a webhook of your own write json:// or jsons://"
        raise ConfigError([Problem(target.place, f"target {label}: {why}")])
    if plugin is None:
        why = plain(scrub("; ".join(dict.fromkeys(said))), _LOG_ROOM) or "it does not say why"
        raise ConfigError([Problem(target.place, f"target {label}: Apprise cannot use it: {why}")])
    if plugin.port and not 0 < int(plugin.port) < 65536:
        raise ConfigError([Problem(target.place, f"target {label}: its port is not within 1-65535")])
    return plugin  # type: ignore[no-any-return]  # Apprise declares less than it does


def _as_written(target: Target, label: str) -> str | dict[str, Any]:
    if target.url is not None:
        return target.url.get_secret_value()
    if target.options is None:
        raise ConfigError([Problem(target.place, f"target {label}: its secret is not set")])
    options = {name: value.get_secret_value() for name, value in target.options.items()}
    return as_plugin_arguments(options, target.place, label)


def _doubts(target: Target, label: str) -> list[Problem]:
    """Return warnings about what Apprise takes without a word and probably otherwise than it was meant."""
    if target.url is None:
        return []
    query = target.url.get_secret_value().partition("?")[2]
    doubts: list[str] = []
    if _is_ambiguous(target):
        doubts.append("a user or password seems to hold `@` or `#`; write %40 or %23, or use the dict form")
    if (plugin_type := plugin_of(schema_of(target))) is not None:
        names = [parameter.partition("=")[0] for parameter in query.split("&") if "=" in parameter]
        unknown = [name for name in names if not _is_known(name, plugin_type)]
        doubts += [f"its service knows no parameter `{plain(name, 30)}`, which is ignored" for name in unknown]
    return [Problem(target.place, f"target {label}: {doubt}", is_warning=True) for doubt in doubts]


def _is_known(name: str, plugin_type: type[NotifyBase]) -> bool:
    """Say whether a service reads a URL parameter; `+`, `-` and `:` begin free ones where it has such."""
    if name[:1] in {"+", "-", ":"}:
        return any(each.get("prefix") == name[0] for each in plugin_type.template_kwargs.values())
    known = {*plugin_type.template_args, *plugin_type.template_tokens, *HARMLESS, *_COMMON, "user", "pass", "password"}
    return name.lower() in known


class _Ear(logging.Handler):
    """Hears what Apprise logs in this thread; others may be sending meanwhile."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._said.append(" ".join(record.getMessage().split()))


@contextmanager
def _listening(said: list[str]) -> Iterator[None]:
    log = logging.getLogger("apprise")
    ear = _Ear(said)
    log.addHandler(ear)
    try:
        yield
    finally:
        log.removeHandler(ear)
