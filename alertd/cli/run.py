"""`alertd run`: the daemon as a process, with its options and signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alertd.cli import options
from alertd.errors import AlertdError

if TYPE_CHECKING:
    from alertd.daemon import Daemon
    from alertd.settings import DaemonSettings


class LogFormat(StrEnum):
    """How to log."""

    CONSOLE = "console"
    JSON = "json"


def run(
    rules_dir: options.RulesArgument = None,
    rules: options.RulesOption = None,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
    listen: Annotated[
        str, typer.Option("--listen", envvar="ALERTD_LISTEN", help='Serve the page and probes here; "" serves nothing.')
    ] = "127.0.0.1:9490",
    state_dir: Annotated[
        Path, typer.Option("--state-dir", envvar="ALERTD_STATE_DIR", help="What must outlive the process lies here.")
    ] = Path(".alertd"),
    embedded: Annotated[
        bool, typer.Option("--embedded", envvar="ALERTD_EMBEDDED", help="Start and supervise an etcd in the state dir.")
    ] = False,
    replica: Annotated[
        str,
        typer.Option("--replica", envvar="ALERTD_REPLICA", help="The name of this replica.", show_default="host name"),
    ] = "",
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", envvar="ALERTD_LOG_FORMAT", help="How to log, on stderr.")
    ] = LogFormat.CONSOLE,
) -> None:
    """Watch the services in etcd, judge them by the rules, and tell people.

    SIGHUP reads the rules again; SIGTERM hands over to another replica and ends.
    """
    from alertd.cli import logs
    from alertd.delivery import sender
    from alertd.settings import DaemonSettings

    settings = DaemonSettings(
        rules=options.rules_directory(rules_dir, rules),
        etcd=options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key),
        prefix=options.as_folder(prefix),
        namespace=options.as_folder(namespace),
        listen=listen,
        replica=replica or socket.gethostname(),
        state_dir=state_dir,
    )
    _check(settings)
    logs.set_up(log_format)
    sender.library()  # Apprise is not made to be loaded by several threads
    asyncio.run(_run(settings, state_dir if embedded else None))


def _check(settings: DaemonSettings) -> None:
    """Raise AlertdError for settings that cannot go together."""
    if settings.namespace.startswith(settings.prefix):
        raise AlertdError(
            f"--namespace {settings.namespace} lies inside --prefix {settings.prefix}: "
            "alertd would watch its own keys; choose one outside"
        )


async def _run(settings: DaemonSettings, state_dir: Path | None) -> None:
    """Run until a signal ends it; with a `state_dir`, on an etcd of its own there."""
    from alertd.daemon import Daemon, read_clock
    from alertd.rulebook import Home, first_rules

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()
    daemon: Daemon | None = None

    def reload() -> None:
        if daemon is None:
            return
        task = loop.create_task(daemon.reload(), name="reload")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, stop.set)
    async with AsyncExitStack() as stack:
        if state_dir is not None:
            from alertd.etcd.embedded import EmbeddedEtcd

            server = await stack.enter_async_context(EmbeddedEtcd(state_dir / "etcd", port=_only_port(settings)))
            settings = replace(settings, etcd=replace(settings.etcd, endpoints=(server.endpoint,)))
        home, now = Home(settings.etcd, settings.namespace), read_clock().wall
        rules = await first_rules(settings.rules, home, os.environ, now)
        daemon = Daemon(settings, environ=os.environ, rules=rules)
        await daemon.run(stop)


def _only_port(settings: DaemonSettings) -> int:
    """Return the port that `--etcd` names, for an embedded etcd to listen on."""
    return int(settings.etcd.endpoints[0].rpartition(":")[2])
