"""`alertd check` and `alertd schema`: what is wrong with rules, before a daemon loads them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from alertd.cli import options

if TYPE_CHECKING:
    from alertd.config.load import Survey
    from alertd.errors import Problem


def check(
    rules_dir: options.RulesArgument = None,
    rules: options.RulesOption = None,
    no_secrets: Annotated[
        bool,
        typer.Option(
            "--no-secrets",
            envvar="ALERTD_NO_SECRETS",
            help="A variable or secret file that is not there is only a warning.",
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Check a rules directory: every problem on a line, then a summary; exit 1 if there is an error."""
    from datetime import UTC, datetime

    from alertd.config.files import show_path
    from alertd.config.load import survey
    from alertd.delivery import channel, proof

    directory = options.rules_directory(rules_dir, rules)
    found = survey(directory, environ=os.environ, now=datetime.now(UTC), secrets_required=not no_secrets)
    found = found.with_more([*channel.verify(found.draft), *proof.verify(found.draft)])
    if as_json:
        typer.echo(json.dumps([_as_json(problem) for problem in found.problems], ensure_ascii=False, indent=2))
    else:
        for problem in found.problems:
            typer.echo(str(problem))
        typer.echo(f"{show_path(directory)}: {_summary(found)}")
    raise typer.Exit(1 if found.has_errors else 0)


def schema() -> None:
    """Print the JSON Schema of a rules file, for editors."""
    from alertd.config.document import json_schema

    typer.echo(json.dumps(json_schema(), ensure_ascii=False, indent=2))


def _as_json(problem: Problem) -> dict[str, str | int]:
    return {
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "level": "warning" if problem.is_warning else "error",
        "message": problem.message,
    }


def _summary(found: Survey) -> str:
    """Return what is there and what is wrong with it, such as `3 files, 12 rules, 2 channels: 1 error`."""
    warnings = sum(1 for problem in found.problems if problem.is_warning)
    errors = len(found.problems) - warnings
    faults = [_count(number, word) for number, word in ((errors, "error"), (warnings, "warning")) if number]
    there = ((found.files, "file"), (found.rules, "rule"), (found.channels, "channel"))
    return f"{', '.join(_count(*part) for part in there)}: {', '.join(faults) or 'no problems'}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
