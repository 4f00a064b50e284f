"""`alertd status`: services, instances and alerts straight from etcd, from any node, with or without a daemon."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from alertd.cli import options
from alertd.errors import AlertdError

if TYPE_CHECKING:
    from alertd.cli.picture import Picture, Scope
    from alertd.etcd.channel import EtcdSettings


def status(
    service: Annotated[str | None, typer.Argument(help="Show only this service, with each instance.")] = None,
    as_json: options.Json = False,
    watching: Annotated[
        bool,
        typer.Option(
            "--watch", envvar="ALERTD_WATCH", help="Show it anew whenever it changes, until Ctrl-C (exit code 130)."
        ),
    ] = False,
    exit_code: options.ExitCode = False,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Show the services and instances that are registered in etcd, and the alerts; needs no daemon.

    The alerts are those that the leading daemon keeps in etcd, each as of its last decision.
    """
    from alertd.cli.picture import Scope

    if watching and exit_code:
        raise AlertdError("--watch ends when you end it, and has no answer for --exit-code; leave one of them out")
    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    scope = Scope(options.as_folder(prefix), options.as_folder(namespace), service)
    if watching:
        _watch(settings, scope, as_json=as_json)
        return
    picture = asyncio.run(_look(settings, scope))
    if as_json:
        for note in picture.notes:
            typer.echo(f"alertd: {note}", err=True)
        typer.echo(json.dumps(picture.as_json(), ensure_ascii=False, default=str))
    else:
        _print(picture)
    if exit_code and picture.is_firing:
        raise typer.Exit(1)


async def _look(settings: EtcdSettings, scope: Scope) -> Picture:
    from alertd.cli.picture import look
    from alertd.etcd.client import Client

    async with Client(settings) as client:
        return await look(client, scope)


def _print(picture: Picture) -> None:
    from datetime import UTC, datetime

    from alertd.cli.sketch import sketch

    typer.echo("\n".join(sketch(picture, datetime.now(UTC)).lines()))


def _watch(settings: EtcdSettings, scope: Scope, *, as_json: bool) -> None:
    from alertd.cli.live import Pipe, Terminal, watch
    from alertd.cli.picture import TTL_LEASES

    terminal = Terminal() if sys.stdout.isatty() and not as_json else None
    with terminal.screen() if terminal is not None else nullcontext():
        most_ttls = TTL_LEASES if scope.service is None else sys.maxsize
        asyncio.run(watch(settings, scope, terminal or Pipe(as_json=as_json, most_ttls=most_ttls)))
