"""The options that commands share, each with its environment variable, and what they come to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alertd import duration
from alertd.errors import AlertdError

if TYPE_CHECKING:
    from alertd.etcd.channel import EtcdSettings

_ETCD = "etcd"

Endpoints = Annotated[
    str,
    typer.Option("--etcd", envvar="ALERTD_ETCD", metavar="HOST:PORT[,…]", help="Where etcd is.", rich_help_panel=_ETCD),
]
User = Annotated[
    str,
    typer.Option(
        "--etcd-user",
        envvar="ALERTD_ETCD_USER",
        help="User in etcd; the password comes from ALERTD_ETCD_PASSWORD or ALERTD_ETCD_PASSWORD_FILE.",
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option("--etcd-ca", envvar="ALERTD_ETCD_CA", help="Certificate authority of etcd; turns TLS on."),
]
Cert = Annotated[Path | None, typer.Option("--etcd-cert", envvar="ALERTD_ETCD_CERT", help="Our certificate.")]
Key = Annotated[Path | None, typer.Option("--etcd-key", envvar="ALERTD_ETCD_KEY", help="The key of our certificate.")]
Prefix = Annotated[str, typer.Option("--prefix", envvar="ALERTD_PREFIX", help="The watched keys begin with this.")]
Namespace = Annotated[
    str, typer.Option("--namespace", envvar="ALERTD_NAMESPACE", help="alertd's own keys begin with this.")
]
RulesArgument = Annotated[
    Path | None, typer.Argument(metavar="[DIR]", help="The rules directory.", show_default="./rules")
]
RulesOption = Annotated[
    Path | None,
    typer.Option("--rules", envvar="ALERTD_RULES", metavar="DIR", help="The rules directory.", show_default="./rules"),
]
Comment = Annotated[str, typer.Option("--comment", envvar="ALERTD_COMMENT", help="Why, for whoever reads it.")]
Author = Annotated[
    str, typer.Option("--author", envvar="ALERTD_AUTHOR", help="Who says so.", show_default="login@host")
]
Json = Annotated[bool, typer.Option("--json", envvar="ALERTD_JSON", help="Print JSON.")]
ExitCode = Annotated[
    bool, typer.Option("--exit-code", envvar="ALERTD_EXIT_CODE", help="Exit with 1 if an alert that is shown fires.")
]

DEFAULT_ETCD = "127.0.0.1:2379"
DEFAULT_PREFIX = "/services/"
DEFAULT_NAMESPACE = "/alertd/"
DEFAULT_RULES = Path("rules")


def rules_directory(argument: Path | None, option: Path | None = None) -> Path:
    """Return the rules directory that the user named, one way or the other."""
    return argument or option or DEFAULT_RULES


def length(option: str, text: str) -> float:
    """Return the seconds that a duration on the command line has; raise AlertdError for none, and for nothing."""
    try:
        seconds = duration.parse(text)
    except ValueError as error:
        raise AlertdError(f"{option} {error}") from None
    if not seconds:
        raise AlertdError(f"{option} must be longer than 0s")
    return seconds


def as_folder(prefix: str) -> str:
    """Return a key prefix that ends with a slash; raise AlertdError for an empty one."""
    if not prefix.strip("/"):
        raise AlertdError(f"--prefix, --namespace: {prefix!r} names no folder of keys; use one such as /services/")
    return prefix if prefix.endswith("/") else f"{prefix}/"


def etcd_settings(endpoints: str, user: str, ca: Path | None, cert: Path | None, key: Path | None) -> EtcdSettings:
    """Return how to reach etcd; raise AlertdError for what cannot be."""
    from alertd.etcd.channel import EtcdSettings, parse_endpoints

    return EtcdSettings(
        endpoints=parse_endpoints(endpoints), user=user, password=_password() if user else "", ca=ca, cert=cert, key=key
    )


def _password() -> str:
    if file := os.environ.get("ALERTD_ETCD_PASSWORD_FILE"):
        try:
            return Path(file).read_text().rstrip("\n")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise AlertdError(f"ALERTD_ETCD_PASSWORD_FILE: cannot read {file}: {why}") from None
    password = os.environ.get("ALERTD_ETCD_PASSWORD", "")
    if not password:
        raise AlertdError("--etcd-user needs a password: set ALERTD_ETCD_PASSWORD or ALERTD_ETCD_PASSWORD_FILE")
    return password
