"""What one secretary is told to do: options as text in, a checked `Plan` out, or the option that is wrong and why.

Decides everything that can be decided before the first probe, so that a mistake ends the command and not the watch over
a service. The command line and the YAML file both come through here. Pure.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, quote, urlsplit

from alertd import duration
from alertd.errors import AlertdError
from alertd.secretary.fields import RESERVED, is_text, write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Value = TypeVar("Value")

OPTIONS = (
    *("service", "instance", "check", "every", "ttl", "timeout", "failures", "successes"),
    *("expect-status", "expect-body"),
)
"""Every option of a secretary that is one text; `set` is a mapping besides."""

SHORTEST_TTL = 2
"""Seconds; etcd itself makes a shorter lease longer."""

_STATUS = range(100, 600)
_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
"""What stays a whole number in every reader of JSON."""


class OptionFault(AlertdError):
    """An option is wrong. `message` completes a sentence that begins with the option's name."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"--{option} {message}")
        self.option = option
        self.message = message


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """Good if the port takes a connection."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """Good if a GET is answered with a status that is expected and a body that contains what is expected.

    `target` is what the request asks for, path and query; redirects are answers, and are not followed.
    """

    host: str
    port: int
    target: str = "/"
    is_tls: bool = False
    statuses: Collection[int] = field(default=range(200, 400))
    body: str = ""

    @property
    def host_header(self) -> str:
        """`host`, or `host:port` where the port is not the scheme's own."""
        own = 443 if self.is_tls else 80
        return _bracketed(self.host) if self.port == own else f"{_bracketed(self.host)}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{self.host_header}{self.target}"


@dataclass(frozen=True, slots=True)
class ExecCheck:
    """Good if the command exits with 0; a JSON object that it prints is merged into the value.

    No shell reads it: `exec:sh -c '…'` is how one gets a shell.
    """

    command: tuple[str, ...]


Check = HttpCheck | TcpCheck | ExecCheck


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the service is probed, how long a probe may take, and how long the key outlives the last one.

    All are seconds; `every + timeout < ttl`, so that a probe that is slow by chance never costs the lease.
    """

    every: float = 10.0
    ttl: int = 30
    timeout: float = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One service to probe and the key to hold: `failures` bad probes in a row end it, `successes` good ones begin it.

    `fields` is the value while the service is well, except for what its check has to add.
    """

    service: str
    instance: str
    check: Check
    fields: Mapping[str, Any] = field(default_factory=dict)
    pace: Pace = Pace()
    failures: int = 2
    successes: int = 1

    @property
    def name(self) -> str:
        """`service/instance`, as people know it."""
        return f"{self.service}/{self.instance}"

    def value(self, data: Mapping[str, Any] = MappingProxyType({}), **announced: str) -> bytes:
        """Return the key's value: the fields, over them the check's `data`, then what is announced as `status`."""
        return write({**self.fields, **data, **announced}).encode()


def read_plan(options: Mapping[str, str], fields: Mapping[str, Any]) -> Plan:
    """Return the plan of one secretary; `options` holds texts by the names in `OPTIONS`; raise OptionFault."""
    for option in ("service", "instance", "check"):
        if not options.get(option):
            raise OptionFault(option, "is missing")
    if "/" in options["service"]:
        raise OptionFault("service", f"{options['service']!r} contains a slash, which ends a service's name in a key")
    for option, text in (*options.items(), ("set", write(fields))):
        if not is_text(text):
            raise OptionFault(option, "holds what is not text in UTF-8")
    for name in fields:
        if name in RESERVED:
            raise OptionFault("set", f"{name}=… is the secretary's own field; choose another name")
    return Plan(
        service=options["service"],
        instance=options["instance"],
        check=_read_check(options),
        fields=dict(fields),
        pace=_read_pace(options),
        failures=_read(options, "failures", _count, 2),
        successes=_read(options, "successes", _count, 1),
    )


def read_field(text: str) -> tuple[str, str | int]:
    """Return the name and value of `--set name=value`; raise OptionFault.

    A value that is a whole number, as `8080`, is a number in JSON; all else is text as it is given, so that version
    `1.10` stays that.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise OptionFault("set", f"{text!r} is not name=value, such as host=core01")
    return name, int(value) if _WHOLE_NUMBER.fullmatch(value) else value


def _read_pace(options: Mapping[str, str]) -> Pace:
    default = Pace()
    pace = Pace(
        every=_read(options, "every", _positive_duration, default.every),
        ttl=_read(options, "ttl", _lease_seconds, default.ttl),
        timeout=_read(options, "timeout", _positive_duration, default.timeout),
    )
    if pace.every + pace.timeout >= pace.ttl:
        raise OptionFault(
            "ttl",
            f"of {pace.ttl}s is too short: --every {pace.every:g}s and --timeout {pace.timeout:g}s together must be "
            "less, else one slow probe would let the key expire",
        )
    return pace


def _read(options: Mapping[str, str], option: str, read: Callable[[str], Value], default: Value) -> Value:
    """Return an option read by `read`, whose ValueError completes the sentence."""
    text = options.get(option)
    if text is None:
        return default
    try:
        return read(text)
    except ValueError as error:
        raise OptionFault(option, str(error)) from None


def _positive_duration(text: str) -> float:
    seconds = duration.parse(text)
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _lease_seconds(text: str) -> int:
    seconds = duration.parse(text)
    if seconds < SHORTEST_TTL or seconds != int(seconds):
        raise ValueError(f"must be whole seconds and at least {SHORTEST_TTL}s, the least that etcd grants")
    return int(seconds)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise ValueError(f"must be a whole number from 1 to 9999, not `{text[:40]}`")
    return int(text)


# --- checks ----------------------------------------------------------------------------------------------------------


def _read_check(options: Mapping[str, str]) -> Check:
    text = options["check"]
    scheme = text.partition(":")[0].lower()
    if scheme not in ("http", "https", "tcp", "exec"):
        raise OptionFault("check", f"{text!r} is none of http://…, https://…, tcp://host:port and exec:COMMAND")
    if scheme not in ("http", "https"):
        for option in ("expect-status", "expect-body"):
            if option in options:
                raise OptionFault(option, "goes with http:// and https:// only")
    if scheme == "exec":
        return _exec_check(text)
    parts, host, port = _split(text)
    if scheme == "tcp":
        return _tcp_check(text, parts, host, port)
    return HttpCheck(
        host=host,
        port=port or (443 if scheme == "https" else 80),
        target=_target(parts),
        is_tls=scheme == "https",
        statuses=_read(options, "expect-status", _statuses, range(200, 400)),
        body=options.get("expect-body", ""),
    )


def _split(text: str) -> tuple[SplitResult, str, int | None]:
    """Return a URL's parts, its host and its port; the message never shows a password."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise OptionFault("check", f"is not a URL: {str(error).lower()}") from None
    if parts.username is not None:
        raise OptionFault("check", "must not hold a user or password: every user of this host could read it")
    if not host or port == 0 or not host.isprintable() or " " in host:
        raise OptionFault("check", f"{text!r} names no host, such as http://127.0.0.1:8080/")
    return parts, host, port


def _tcp_check(text: str, parts: SplitResult, host: str, port: int | None) -> TcpCheck:
    if port is None or parts.path.strip("/") or parts.query:
        raise OptionFault("check", f"{text!r} is not tcp://host:port")
    return TcpCheck(host, port)


def _exec_check(text: str) -> ExecCheck:
    try:
        command = shlex.split(text.partition(":")[2])
    except ValueError as error:
        raise OptionFault("check", f"cannot be split into words: {str(error).lower()}") from None
    if not command or not command[0]:
        raise OptionFault("check", "names no command, such as exec:/usr/local/bin/check-apache")
    if any("\0" in word for word in command):
        raise OptionFault("check", "holds a NUL, which no command can be given")
    return ExecCheck(tuple(command))


def _target(parts: SplitResult) -> str:
    """Return what a request asks for, with what may not stand in a request line encoded."""
    path = parts.path or "/"
    return quote(f"{path}?{parts.query}" if parts.query else path, safe="/%:@!$&'()*+,;=?~[]-._")


def _statuses(text: str) -> Collection[int]:
    """Read `200`, `200,204` or `200-299`, also mixed."""
    statuses: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{3})(?:-([0-9]{3}))?\s*", part)
        if match is None or int(match[1]) not in _STATUS or int(match[2] or match[1]) not in _STATUS:
            raise ValueError(f"must be HTTP statuses such as 200, 200,204 or 200-299, not `{text[:40]}`")
        statuses.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(statuses)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
