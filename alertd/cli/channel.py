"""`alertd channel`: how each target was understood, and whether a message really arrives there.

No address is shown but masked; targets are spoken of by channel and position.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertd.cli import options
from alertd.errors import AlertdError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.config.schema import Ruleset, Target, Webhook
    from alertd.delivery.letter import Letter
    from alertd.model import Instant

app = typer.Typer(help="Show the channels, or send a test message to one.", no_args_is_help=True, rich_markup_mode=None)

_COLUMNS = ("channel", "target", "service", "host", "address", "title", "body", "apart")


@app.command("list")
def list_channels(
    rules_dir: options.RulesArgument = None,
    rules: options.RulesOption = None,
    as_json: options.Json = False,
) -> None:
    """Show how each target was understood, its secrets masked; exit 1 if one cannot be used."""
    from alertd.delivery import channel

    ruleset = _load(options.rules_directory(rules_dir, rules))
    for problem in channel.verify(ruleset):
        if problem.is_warning:
            typer.echo(str(problem), err=True)
    found = [
        _understood(name, position, target)
        for name, each in ruleset.channels.items()
        for position, target in enumerate(channel.targets_of(each), 1)
    ]
    if "log" not in ruleset.channels:
        found.append({"channel": "log", "position": 1, "schema": "log", "service": "the daemon's log", "error": None})
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print_table([_row(each) for each in found])
    if any(each["error"] for each in found):
        raise typer.Exit(1)


@app.command("test")
def send_test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The channel.")],
    rules_dir: options.RulesArgument = None,
    rules: options.RulesOption = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            envvar="ALERTD_RULE",
            metavar="RULE",
            help="Show and send a sample of this rule's message instead.",
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", envvar="ALERTD_KIND", help="What the sample tells: firing, resolved, reminder, …")
    ] = "firing",
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            envvar="ALERTD_SET",
            metavar="FIELD=VALUE",
            help="A field of the sample's instances that a template sees.",
        ),
    ] = None,
    print_only: Annotated[
        bool, typer.Option("--print", envvar="ALERTD_PRINT", help="Show the sample and send nothing.")
    ] = False,
) -> None:
    """Send an awkward test message to each target of a channel; exit 1 if one does not take it."""
    from alertd.cli import logs
    from alertd.delivery import channel, trial

    ruleset = _load(options.rules_directory(rules_dir, rules))
    if name not in ruleset.channels and name != "log":
        known = ", ".join(sorted({*ruleset.channels, "log"}))
        raise AlertdError(f"there is no channel {name!r}; there are: {known}")
    if rule is None and (print_only or fields):
        raise AlertdError("--print and --set go with --rule RULE: without it a fixed test message is sent")
    logs.set_up("console")
    targets = channel.targets_of(ruleset.channels[name]) if name in ruleset.channels else ()
    now = trial.read_clock()
    letter = trial.letter_for(name, f"test-{now.wall:%Y%m%dT%H%M%S}")
    if rule is not None:
        letter = _sample(ruleset, name, rule, kind, _pairs(fields or []), now)
        _show(letter, as_document=any(channel.schema_of(target) == "webhook" for target in targets))
    is_taken = print_only or _is_taken(name, targets, letter)
    if letter.faults or not is_taken:
        raise typer.Exit(1)


def _is_taken(name: str, targets: Sequence[Target | Webhook], letter: Letter) -> bool:
    """Send a letter to each target of a channel and say how that ended; return whether all took it."""
    from alertd.delivery import trial

    is_taken = True
    for result in trial.try_targets(name, targets, letter):
        is_taken &= result.ok
        outcome = "sent" if result.ok else f"failed: {result.error}"
        typer.echo(f"{result.target}  {outcome} ({result.seconds:.2f} s)")
        sys.stdout.flush()
    return is_taken


def _sample(ruleset: Ruleset, name: str, rule: str, kind: str, fields: dict[str, str], now: Instant) -> Letter:
    """Return a sample of a rule's message as the channel `name` would get it."""
    from alertd.config.schema import Channel
    from alertd.delivery import render, sample
    from alertd.model import Kind

    found = next((each for each in ruleset.rules if each.name == rule), None)
    if found is None:
        near = difflib.get_close_matches(rule, [each.name for each in ruleset.rules], n=1)
        raise AlertdError(f"there is no rule {rule!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if kind not in sample.KINDS:
        raise AlertdError(f"--kind {kind}: there is no such sample; there are: {', '.join(sample.KINDS)}")
    made_up = sample.notification_of(found, ruleset, name, Kind(kind), now=now, fields=fields)
    templates = ruleset.channels.get(name, Channel()).templates
    return render.letter(made_up, ruleset.settings, templates, delivered=now.wall)


def _show(letter: Letter, *, as_document: bool) -> None:
    """Print what is sent; a template that does not render is told on stderr."""
    if as_document and letter.document is not None:
        typer.echo(json.dumps(letter.document(), indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{letter.title}\n\n{letter.body(None)}\n\ntype {letter.tone}")
    for fault in letter.faults:
        typer.echo(f"{fault}; a field that only real values have can be given by --set FIELD=VALUE", err=True)


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    if not all("=" in text and not text.startswith("=") for text in texts):
        raise AlertdError("--set takes FIELD=VALUE, such as --set load.one=4.2")
    return pairs


def _load(directory: Any) -> Ruleset:
    """Read the rules; what is to be warned of in the targets goes to stderr, such as a secret that is not set."""
    from datetime import UTC, datetime

    from alertd.config.load import load

    loaded = load(directory, environ=os.environ, now=datetime.now(UTC), secrets_required=False)
    places = {target.place for each in loaded.ruleset.channels.values() for target in each.targets}
    for problem in loaded.warnings:
        if problem.place in places:
            typer.echo(str(problem), err=True)
    return loaded.ruleset


def _understood(name: str, position: int, target: Target | Webhook) -> dict[str, Any]:
    """Return what `--json` shows of a target; `error` is null unless it cannot be used."""
    from dataclasses import asdict

    from alertd.delivery import channel
    from alertd.errors import ConfigError

    try:
        return {**asdict(channel.describe(name, position, target)), "error": None}
    except ConfigError as error:
        why = "; ".join(problem.message for problem in error.problems)
        return {"channel": name, "position": position, "schema": channel.schema_of(target), "error": why}


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    """Return one target as the cells of a line; what cannot be used says why instead of what it is."""
    target = f"#{each['position']} {each['schema']}"
    if each["error"]:
        return (each["channel"], target, f"unusable: {each['error']}")
    if "address" not in each:
        return (each["channel"], target, each["service"])
    host = f"{each['host']}:{each['port']}" if each["port"] else each["host"]
    limits = (each["title_limit"] or "in body", each["body_limit"], f"{each['seconds_apart']:g}s")
    if each["schema"] == "webhook":
        limits = ("-", "-", limits[2])
    return (each["channel"], target, each["service"], host or "-", each["address"], *map(str, limits))


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """Print aligned columns; a row with fewer cells does not widen those that it lacks."""
    full = [_COLUMNS, *(row for row in rows if len(row) == len(_COLUMNS))]
    widths = [max(len(row[column]) for row in full) for column in range(len(_COLUMNS))]
    for row in [_COLUMNS, *rows]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())
