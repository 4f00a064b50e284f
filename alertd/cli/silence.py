"""`alertd silence`: keep alerts quiet until a moment, through etcd, from any node."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertd.cli import options, target
from alertd.errors import AlertdError, NotThere

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from alertd.cli.scene import AlertRow, Said, Scene
    from alertd.etcd.channel import EtcdSettings
    from alertd.model import Match, Silence

app = typer.Typer(
    help="Keep alerts quiet for a time, or see what keeps them so.", no_args_is_help=True, rich_markup_mode=None
)

_SHOWN = 10
"""Alerts that are named of those that a silence mutes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What `silence add` is asked for."""

    target: str | None
    match: Match
    until: datetime
    until_resolved: bool
    author: str
    comment: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Made:
    """A silence that was made, the alerts that it mutes now, and the instances whose alerts it would mute."""

    silence: Silence
    mutes: list[AlertRow]
    covers: list[str]


Patterns = Annotated[
    list[str] | None,
    typer.Option(
        "--match",
        envvar="ALERTD_MATCH",
        metavar="NAME=PATTERN",
        help="What alerts must have, or with != not; repeatable.",
    ),
]
UntilResolved = Annotated[
    bool,
    typer.Option(
        "--until-resolved",
        envvar="ALERTD_UNTIL_RESOLVED",
        help="End it sooner, once all that it mutes has resolved.",
    ),
]


@app.command("add")
def add(
    for_: Annotated[
        str, typer.Option("--for", envvar="ALERTD_FOR", metavar="DURATION", help="How long, such as 30m or 2h.")
    ],
    what: Annotated[
        str | None, typer.Argument(metavar="TARGET", help=f"{target.HELP} Where no such service is, a pattern.")
    ] = None,
    match: Patterns = None,
    comment: options.Comment = "",
    until_resolved: UntilResolved = False,
    author: options.Author = "",
    as_json: options.Json = False,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Keep quiet what TARGET names, or what every --match asks for; of a TARGET, only what they ask for.

    Names are rule, service, instance, severity, cause, the labels of rules and services, and fields of the instance;
    patterns are globs. Prints the silence's id, what it mutes now, and when it ends.
    """
    from datetime import UTC, datetime

    from alertd.cli.matching import read_matches
    from alertd.cli.scene import whoever_asks

    now = datetime.now(UTC)
    until = now + timedelta(seconds=options.length("--for", for_))
    wish = Wish(what, read_matches(match or []), until, until_resolved, author or whoever_asks(), comment, now)
    if what is None and not (wish.match.is_ or wish.match.not_):
        raise AlertdError("a silence of everything is refused; give TARGET or --match")
    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    made = asyncio.run(_add(settings, options.as_folder(prefix), options.as_folder(namespace), wish))
    if as_json:
        shown = [{**_as_json(each.silence), "mutes": [alert.id for alert in each.mutes]} for each in made]
        typer.echo(json.dumps(shown, ensure_ascii=False))
    else:
        _print(made, now)


def _print(made: Sequence[Made], now: datetime) -> None:
    for each in made:
        typer.echo("\n".join(_describe(each, now)))
        if not each.mutes and not each.covers:
            typer.echo("alertd: warning: it matches nothing that is known now", err=True)


async def _add(settings: EtcdSettings, prefix: str, namespace: str, wish: Wish) -> list[Made]:
    from alertd.cli.matching import covered_by, muted_by
    from alertd.cli.scene import look
    from alertd.model import Silence
    from alertd.order import OrderKind, seconds_to_keep

    async with look(settings, prefix, namespace) as scene:
        alerts = await scene.alerts()
        matches = await _matches(scene, wish, alerts)
        silences = {
            name: Silence(
                name,
                match,
                wish.until,
                until_resolved=wish.until_resolved,
                author=wish.author,
                comment=wish.comment,
                at=wish.at,
            )
            for name, match in ((secrets.token_hex(4), match) for match in matches)
        }
        await scene.say(OrderKind.SILENCE, silences, seconds_to_keep(wish.until, wish.at))
        instances = await scene.instances(_only_service(matches))
    return [
        Made(each, muted_by(each.match, alerts, instances), covered_by(each.match, instances))
        for each in silences.values()
    ]


async def _matches(scene: Scene, wish: Wish, alerts: list[AlertRow]) -> list[Match]:
    """Return what is to be matched, one for each silence that this takes."""
    from alertd.cli.matching import matches_of, narrow

    if wish.target is None:
        return [wish.match]
    service = target.service_of(wish.target)
    present = (await scene.instances(service)).get(service, {})
    meaning = target.resolve(wish.target, alerts, present)
    return [narrow(match, wish.match) for match in matches_of(meaning)]


def _only_service(matches: list[Match]) -> str | None:
    """Return the one service that all matches name, whose keys are then all that need be read."""
    from alertd.config.patterns import is_glob

    named = {match.is_.get("service", ()) for match in matches}
    (only,) = named if len(named) == 1 else ((),)
    return only[0] if len(only) == 1 and not is_glob(only[0]) else None


# --- list and expire -------------------------------------------------------------------------------------------------


@app.command("list")
def list_silences(
    all_: Annotated[
        bool, typer.Option("--all", envvar="ALERTD_ALL", help="Also those that ended within the last hour or so.")
    ] = False,
    as_json: options.Json = False,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,  # noqa: ARG001 - commands share one line of options
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Show the silences that people made; those kept as code stand in the rules."""
    from datetime import UTC, datetime

    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    now = datetime.now(UTC)
    silences = []
    for name, silence, fault in asyncio.run(_read(settings, options.as_folder(namespace))):
        if silence is None:
            typer.echo(f"alertd: silence {name} does not hold: {fault}", err=True)
        elif all_ or _is_active(silence, now):
            silences.append(silence)
    silences.sort(key=lambda silence: (silence.until or now, silence.id))
    if as_json:
        shown = [{**_as_json(each), "state": "active" if _is_active(each, now) else "ended"} for each in silences]
        typer.echo(json.dumps(shown, ensure_ascii=False))
    else:
        typer.echo("\n".join(_table(silences, now)))


@app.command("expire")
def expire(
    names: Annotated[list[str], typer.Argument(metavar="ID…", help="The silences, or the beginnings of their ids.")],
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,  # noqa: ARG001 - commands share one line of options
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """End silences now; what still fires is told."""
    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    for name in asyncio.run(_expire(settings, options.as_folder(namespace), names)):
        typer.echo(f"silence {name} has ended")


async def _read(settings: EtcdSettings, namespace: str) -> list[tuple[str, Silence | None, str]]:
    from alertd.cli.scene import look
    from alertd.model import Silence
    from alertd.order import OrderKind

    async with look(settings, "", namespace) as scene:
        said = await scene.said(OrderKind.SILENCE)
    return [(name, order if isinstance(order, Silence) else None, fault) for name, order, fault in said]


async def _expire(settings: EtcdSettings, namespace: str, wanted: list[str]) -> list[str]:
    from alertd.cli.scene import look
    from alertd.order import OrderKind

    async with look(settings, "", namespace) as scene:
        said = await scene.said(OrderKind.SILENCE)
        names = list(dict.fromkeys(_find(text, said) for text in wanted))
        await scene.unsay(OrderKind.SILENCE, names)
    return names


def _find(text: str, said: list[Said]) -> str:
    """Return the one silence whose id begins so."""
    found = [each.name for each in said if each.name == text] or [
        each.name for each in said if each.name.startswith(text)
    ]
    if not found:
        raise NotThere(
            f"etcd has no silence {text}; `alertd silence list` shows them, and those of the rules end there"
        )
    if len(found) > 1:
        raise AlertdError(f"{text} is the beginning of {len(found)} silences, such as {found[0]}; give more of it")
    return found[0]


# --- for people ------------------------------------------------------------------------------------------------------


def _is_active(silence: Silence, now: datetime) -> bool:
    return silence.until is not None and silence.until > now


def _as_json(silence: Silence) -> dict[str, Any]:
    from alertd.order import content_of

    return {"id": silence.id, **content_of(silence)}


def _describe(made: Made, now: datetime) -> list[str]:
    """Return what `add` prints of one silence."""
    from alertd.cli.matching import in_words
    from alertd.cli.table import plain

    silence, mutes, covers = made.silence, made.mutes, made.covers
    lines = [f"silence {silence.id}  {plain(in_words(silence.match))}"]
    if mutes:
        lines.append(f"mutes {_count(len(mutes), 'alert')} now:")
        lines += [f"  {plain(alert.rule)} {plain(alert.target)}" for alert in mutes[:_SHOWN]]
        lines += [f"  and {len(mutes) - _SHOWN} more"] if len(mutes) > _SHOWN else []
    else:
        lines.append("mutes nothing now" + (f"; would mute what befalls {_some(covers)}" if covers else ""))
    sooner = ", or when all that it mutes has resolved" if silence.until_resolved else ""
    return [*lines, f"ends {_end(silence, now)}{sooner}"]


def _some(covers: list[str]) -> str:
    from alertd.cli.table import plain

    return plain(covers[0]) if len(covers) == 1 else f"any of {len(covers)} instances, such as {plain(covers[0])}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _end(silence: Silence, now: datetime) -> str:
    from alertd.cli.clock import end

    return "" if silence.until is None else end(silence.until, now)


def _table(silences: list[Silence], now: datetime) -> list[str]:
    """Return two lines a silence: what it matches and until when, and below who made it and why."""
    from alertd.cli.matching import in_words
    from alertd.cli.table import columns, plain

    if not silences:
        return ["no silences"]
    rows: list[tuple[str, ...]] = [("ID", "ENDS", "MATCHES")]
    for each in silences:
        sooner = " until resolved" if each.until_resolved else ""
        rows.append((plain(each.id), _end(each, now), f"{plain(in_words(each.match))}{sooner}"))
        said = ": ".join(plain(text) for text in (each.author, each.comment) if text)
        rows.append(("", "", said)) if said else None
    return columns(rows)
