"""`alertd channel`: how each target was understood, and whether a message really arrives there.

No address is shown but masked; targets are spoken of by channel and position.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertd.cli import options
from alertd.errors import AlertdError

if TYPE_CHECKING:
    from alertd.config.schema import Ruleset, Target

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
        for position, target in enumerate(each.targets, 1)
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
    rules: options.RulesOption = None,
) -> None:
    """Send an awkward test message to each target of a channel; exit 1 if one does not take it."""
    from datetime import UTC, datetime

    from alertd.cli import logs
    from alertd.delivery import trial

    ruleset = _load(options.rules_directory(None, rules))
    if name not in ruleset.channels and name != "log":
        known = ", ".join(sorted({*ruleset.channels, "log"}))
        raise AlertdError(f"there is no channel {name!r}; there are: {known}")
    logs.set_up("console")
    targets = ruleset.channels[name].targets if name in ruleset.channels else ()
    letter = trial.letter_for(name, f"test-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    has_failed = False
    for result in trial.try_targets(name, targets, letter):
        has_failed |= not result.ok
        outcome = "sent" if result.ok else f"failed: {result.error}"
        typer.echo(f"{result.target}  {outcome} ({result.seconds:.2f} s)")
        sys.stdout.flush()
    if has_failed:
        raise typer.Exit(1)


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


def _understood(name: str, position: int, target: Target) -> dict[str, Any]:
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
    return (each["channel"], target, each["service"], host or "-", each["address"], *map(str, limits))


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """Print aligned columns; a row with fewer cells does not widen those that it lacks."""
    full = [_COLUMNS, *(row for row in rows if len(row) == len(_COLUMNS))]
    widths = [max(len(row[column]) for row in full) for column in range(len(_COLUMNS))]
    for row in [_COLUMNS, *rows]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())
