"""`alertd secretary`: probe services and hold their keys, as a process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alertd.cli import options
from alertd.errors import AlertdError, ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.etcd.channel import EtcdSettings
    from alertd.secretary.plan import Plan


def _option(name: str, text: str, default: str | None = None) -> typer.models.OptionInfo:
    """Return an option of one service; a default is shown only, since a file of many must not be mixed with them."""
    variable = f"ALERTD_{name.upper().replace('-', '_')}"
    shown = default or False
    option: typer.models.OptionInfo = typer.Option(f"--{name}", envvar=variable, help=text, show_default=shown)
    return option


def secretary(
    service: Annotated[str | None, _option("service", "The service's name.")] = None,
    instance: Annotated[str | None, _option("instance", "The instance's name.")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", envvar="ALERTD_SET", metavar="NAME=VALUE", help="A field of the value; repeatable."),
    ] = None,
    check: Annotated[str | None, _option("check", "http://…, https://…, tcp://host:port or exec:COMMAND.")] = None,
    every: Annotated[str | None, _option("every", "How often to probe.", "10s")] = None,
    ttl: Annotated[str | None, _option("ttl", "How long the key outlives the last probe.", "30s")] = None,
    timeout: Annotated[str | None, _option("timeout", "How long a probe may take.", "3s")] = None,
    failures: Annotated[str | None, _option("failures", "Bad probes in a row that end it.", "2")] = None,
    successes: Annotated[str | None, _option("successes", "Good probes in a row that begin it.", "1")] = None,
    expect_status: Annotated[str | None, _option("expect-status", "Good HTTP statuses.", "200-399")] = None,
    expect_body: Annotated[str | None, _option("expect-body", "Text that the HTTP body must contain.")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", envvar="ALERTD_CONFIG", help="A YAML file with `secretaries:`, instead of the above."),
    ] = None,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,  # noqa: ARG001 - commands share one line of options
) -> None:
    """Probe a service and hold its key in etcd while it is well.

    SIGTERM announces the stop and removes the key. Without etcd it goes on trying.
    """
    given = {
        "service": service,
        "instance": instance,
        "check": check,
        "every": every,
        "ttl": ttl,
        "timeout": timeout,
        "failures": failures,
        "successes": successes,
        "expect-status": expect_status,
        "expect-body": expect_body,
    }
    texts = {name: text for name, text in given.items() if text is not None}
    plans = _plan_one(texts, fields or []) if config is None else _plan_many(config, [*texts, *(fields or [])])
    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    folder = options.as_folder(prefix)
    _set_up_log()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who was started with it ignored is not told how a child ended
    asyncio.run(_run(plans, settings, folder))


def _set_up_log() -> None:
    """Log to stderr with the standard library alone: structlog and what it loads take a tenth of our memory."""
    logging.Formatter.converter = time.gmtime
    form = "%(asctime)s.%(msecs)03dZ [%(levelname)s] %(message)s"
    logging.basicConfig(stream=sys.stderr, format=form, datefmt="%Y-%m-%dT%H:%M:%S")
    logging.getLogger("alertd").setLevel(logging.INFO)


def _plan_one(texts: dict[str, str], fields: Sequence[str]) -> list[Plan]:
    from alertd.secretary.plan import read_field, read_plan

    return [read_plan(texts, dict(map(read_field, fields)))]


def _plan_many(path: Path, besides: Sequence[str]) -> list[Plan]:
    """Return the plans of a file; raise ConfigError with all that is wrong in it."""
    from alertd.config.secretaries import read
    from alertd.secretary.plan import OPTIONS, OptionFault, read_plan

    if besides:
        raise AlertdError("--config stands instead of the options of one service; put them into the file")
    plans: dict[str, Plan] = {}
    problems = []
    for entry in read(path, frozenset(OPTIONS)):
        try:
            plan = read_plan(entry.options, entry.fields)
        except OptionFault as fault:
            place = entry.places.get(fault.option, entry.place)
            problems.append(Problem(place, f"`{fault.option}` {fault.message}"))
            continue
        if plan.name in plans:
            problems.append(Problem(entry.place, f"{plan.name} is already held by a secretary above"))
        plans[plan.name] = plan
    if problems:
        raise ConfigError(problems)
    return list(plans.values())


async def _run(plans: Sequence[Plan], settings: EtcdSettings, prefix: str) -> None:
    """Work until a signal ends it; a call to etcd may take no longer than leaves time for another in a lease."""
    from alertd.sdnotify import ServiceManager
    from alertd.secretary.secretary import run

    stop = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    shortest = min(plan.pace.ttl for plan in plans)
    etcd = replace(settings, timeout=min(settings.timeout, shortest / 3))
    await run(plans, etcd, prefix, stop, ServiceManager(os.environ))
