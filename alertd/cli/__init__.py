"""The command line: one small module a command group.

Commands import what is heavy when they run, so that `--help` and `status` start quickly. `main` turns what a user can
cause into one line and an exit code: 1 the answer is no, 2 usage, 3 etcd not reachable.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

import alertd
from alertd.cli import ack, alerts, channel, check, demo, explain, run, secretary, silence, status
from alertd.errors import AlertdError, ConfigError, EtcdUnavailable, NotThere

app = typer.Typer(
    name="alertd",
    help="Alerting for services that register in etcd.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ack")(ack.ack)
app.command("alerts")(alerts.alerts)
app.command("check")(check.check)
app.command("demo")(demo.demo)
app.command("explain")(explain.explain)
app.command("forget")(ack.forget)
app.command("run")(run.run)
app.command("schema")(check.schema)
app.command("secretary")(secretary.secretary)
app.command("status")(status.status)
app.command("unack")(ack.unack)
app.add_typer(channel.app, name="channel")
app.add_typer(silence.app, name="silence")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"alertd {alertd.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line, and exit as the contract says; a terminal that lacks a letter gets it escaped.

    gRPC's own lines, which would stand between the log's, are kept away unless the user asks for them: what they say
    of a failed call is in its error.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except EtcdUnavailable as error:
        _fail(error, 3)
    except (ConfigError, NotThere) as error:
        _fail(error, 1)
    except AlertdError as error:
        _fail(error, 2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _fail(error: AlertdError, code: int) -> None:
    typer.echo(f"alertd: {error}" if not isinstance(error, ConfigError) else str(error), err=True)
    sys.exit(code)
