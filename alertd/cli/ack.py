"""`alertd ack`, `alertd unack` and `alertd forget`: say through etcd, from any node, who acts and what is over."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from alertd import values
from alertd.cli import options, target
from alertd.errors import NotThere

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.cli.scene import AlertRow, Scene
    from alertd.cli.target import Meaning
    from alertd.etcd.channel import EtcdSettings
    from alertd.model import Ack
    from alertd.order import Forget

What = Annotated[str, typer.Argument(metavar="TARGET", help=target.HELP)]

_DOWN = ("failing", "stopped")


def ack(
    what: What,
    for_: Annotated[
        str, typer.Option("--for", envvar="ALERTD_FOR", metavar="DURATION", help="How long, if it fires on.")
    ] = "8h",
    comment: options.Comment = "",
    author: options.Author = "",
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Take on all that fires on TARGET: no reminders and no escalation until it resolves, which is told.

    What begins to fire later is told as ever.
    """
    from alertd.cli.clock import end
    from alertd.cli.scene import whoever_asks
    from alertd.model import Ack

    now = datetime.now(UTC)
    until = now + timedelta(seconds=options.length("--for", for_))
    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    wish = Ack("", author or whoever_asks(), comment, now, until)
    taken = asyncio.run(_ack(settings, options.as_folder(prefix), options.as_folder(namespace), what, wish))
    _print("acknowledged", taken, f", until it resolves or {end(until, now)}")


def unack(
    what: What,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Give back what was taken on: reminders and escalation go on."""
    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    given = asyncio.run(_unack(settings, options.as_folder(prefix), options.as_folder(namespace), what))
    _print("no longer acknowledged", given, "")


def forget(
    what: What,
    author: options.Author = "",
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Let an instance that is gone, or all that are gone of a service, no longer count as lost.

    What has a key in etcd stays.
    """
    from alertd.cli.scene import whoever_asks

    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    by = author or whoever_asks()
    for line in asyncio.run(_forget(settings, options.as_folder(prefix), options.as_folder(namespace), what, by)):
        typer.echo(line)


# --- acknowledging ---------------------------------------------------------------------------------------------------


async def _ack(settings: EtcdSettings, prefix: str, namespace: str, text: str, wish: Ack) -> tuple[AlertRow, ...]:
    """Take on what fires, and return it."""
    from dataclasses import replace

    from alertd.cli.scene import look
    from alertd.order import OrderKind, seconds_to_keep

    async with look(settings, prefix, namespace) as scene:
        firing = (await _mean(scene, text)).firing
        if not firing:
            raise NotThere(f"nothing fires on {text}{await _doubt(scene)}; there is nothing to acknowledge")
        acks = {alert.id: replace(wish, alert_id=alert.id, since=alert.since) for alert in firing}
        await scene.say(OrderKind.ACK, acks, seconds_to_keep(wish.until, wish.at))
    return firing


async def _unack(settings: EtcdSettings, prefix: str, namespace: str, text: str) -> tuple[AlertRow, ...]:
    """Give back what was taken on, and return it."""
    from alertd.cli.scene import look
    from alertd.order import OrderKind

    async with look(settings, prefix, namespace) as scene:
        said = {each.name for each in await scene.said(OrderKind.ACK)}
        meaning = await _mean(scene, text)
        given = tuple(alert for alert in meaning.alerts if alert.id in said)
        if not given:
            raise NotThere(f"nobody has acknowledged anything on {text}")
        await scene.unsay(OrderKind.ACK, [alert.id for alert in given])
    return given


async def _mean(scene: Scene, text: str) -> Meaning:
    """Return what a TARGET means; raise NotThere for a service that nobody has heard of."""
    service = target.service_of(text)
    present = (await scene.instances(service)).get(service, {})
    meaning = target.resolve(text, await scene.alerts(), present)
    if not meaning.is_known:
        raise NotThere(f"there is no alert on {text}, nor is it registered{await _doubt(scene)}")
    return meaning


async def _doubt(scene: Scene) -> str:
    """Return what makes it doubtful that nothing fires."""
    return "" if await scene.leader() is not None else ", as far as is known: no daemon leads"


def _print(done: str, alerts: Iterable[AlertRow], until: str) -> None:
    from alertd.cli.table import plain

    for alert in alerts:
        typer.echo(f"{done}: {plain(alert.rule)} {plain(alert.target)}{until}")


# --- forgetting ------------------------------------------------------------------------------------------------------


async def _forget(settings: EtcdSettings, prefix: str, namespace: str, text: str, by: str) -> list[str]:
    """Ask for what is gone to be forgotten, and return what to say of it."""
    from alertd.cli.scene import look
    from alertd.order import FORGET_WITHIN, OrderKind

    async with look(settings, prefix, namespace) as scene:
        service = target.service_of(text)
        present = (await scene.instances(service)).get(service, {})
        meaning = target.resolve(text, await scene.alerts(), present)
        wishes = _wishes(meaning, by)
        lines = [await _remark(scene, wish) for wish in wishes.values()]
        await scene.say(OrderKind.FORGET, wishes, FORGET_WITHIN)
        if await scene.leader() is None:
            lines.append(f"no daemon leads now; one that starts within {FORGET_WITHIN} s will hear of it")
    return lines


def _wishes(meaning: Meaning, by: str) -> dict[str, Forget]:
    """Return what to ask for, by the name of the request: each target once."""
    from alertd.order import Forget

    at = datetime.now(UTC)
    named = [(alert.service, alert.instance) for alert in meaning.alerts]
    targets = named if meaning.service is None else [(meaning.service, meaning.instance)]
    wishes = [Forget(secrets.token_hex(4), service, instance, by, at) for service, instance in dict.fromkeys(targets)]
    return {wish.id: wish for wish in wishes}


async def _remark(scene: Scene, wish: Forget) -> str:
    """Return what to say of one request; raise NotThere for an instance that has a key."""
    from alertd.cli.table import plain

    present = (await scene.instances(wish.service)).get(wish.service, {})
    if wish.instance is None:
        stay = f"; what has a key in etcd stays ({len(present)})" if present else ""
        return f"all that is gone of {plain(wish.service)} is to be forgotten{stay}"
    name = plain(f"{wish.service}/{wish.instance}")
    if wish.instance in present:
        status = (values.read(present[wish.instance]).fields or {}).get("status")
        state = status if status in _DOWN else "up"
        raise NotThere(f"{name} is {state}, its key is in etcd: only what is gone can be forgotten")
    return f"{name} is to be forgotten"
