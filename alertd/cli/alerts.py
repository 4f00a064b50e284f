"""`alertd alerts`: the alerts under way, as the leading daemon keeps them in etcd; needs no daemon to be read."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import typer

from alertd.cli import options

if TYPE_CHECKING:
    from alertd.cli.picture import Picture, Scope
    from alertd.etcd.channel import EtcdSettings


def alerts(
    as_json: options.Json = False,
    exit_code: options.ExitCode = False,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Show the alerts under way, each as of its last decision."""
    from alertd.cli.picture import Scope

    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    picture = asyncio.run(_look(settings, Scope(options.as_folder(prefix), options.as_folder(namespace))))
    _print(picture, as_json=as_json)
    if exit_code and picture.is_firing:
        raise typer.Exit(1)


async def _look(settings: EtcdSettings, scope: Scope) -> Picture:
    from alertd.cli.picture import Picture, look_at_alerts
    from alertd.etcd.client import Client

    picture = Picture(scope)
    async with Client(settings) as client:
        await look_at_alerts(client, picture)
    return picture


def _print(picture: Picture, *, as_json: bool) -> None:
    """Print the alerts on stdout, and on stderr what must be known of them."""
    from datetime import UTC, datetime

    from alertd.cli.sketch import alert_lines, standing

    now = datetime.now(UTC)
    remarks = picture.notes if picture.leader is not None else [*picture.notes, standing(picture, now)]
    for remark in remarks:
        typer.echo(f"alertd: {remark}", err=True)
    if as_json:
        typer.echo(json.dumps(picture.alerts, ensure_ascii=False, default=str))
    else:
        typer.echo("\n".join(alert_lines(picture, now)))
