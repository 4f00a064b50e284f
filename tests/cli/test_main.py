"""What every command shares: light starts, exit codes, no tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

import alertd
from alertd.cli import app
from tests.cli.test_check import alertd as call

HEAVY = ("pydantic", "apprise", "grpc", "etcd3", "apscheduler", "starlette", "uvicorn", "yaml", "jinja2")


def test_the_version_is_told() -> None:
    """On stdout, by its name."""
    assert call("--version").stdout == f"alertd {alertd.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    """What a command needs is imported when it runs; that is what keeps `--help` and completion quick."""
    program = f"import sys, alertd.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


COMMANDS = ["ack", "channel", "check", "explain", "forget", "run", "schema", "silence", "status", "unack"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    """And says what it does."""
    done = call(command, "--help")
    assert done.returncode == 0
    assert f"alertd {command}" in done.stdout


def options_of(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield each option of a command and of those below it: its command, its name, its environment variable."""
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield " ".join(words), parameter.opts[-1], parameter.envvar
    for name, each in getattr(command, "commands", {}).items():
        yield from options_of(each, (*words, name))


def test_every_option_has_its_environment_variable() -> None:
    """`ALERTD_` and the option's name; but for --version, for which a variable may well stand for something else."""
    found = [each for each in options_of(typer.main.get_command(app)) if each[1] != "--version"]
    assert len(found) > 100
    expected = [(where, name, f"ALERTD_{name[2:].upper().replace('-', '_')}") for where, name, _ in found]
    assert found == expected


def test_commands_that_need_etcd_share_one_line_of_options() -> None:
    """So that a script can hand all of them the same, whether they look at services, at alertd's keys or at both."""
    shared = {"--etcd", "--etcd-user", "--etcd-ca", "--etcd-cert", "--etcd-key", "--prefix", "--namespace"}
    by_command: dict[str, set[str]] = {}
    for where, name, _ in options_of(typer.main.get_command(app)):
        by_command.setdefault(where, set()).add(name)
    lacking = {where: shared - names for where, names in by_command.items() if "--etcd" in names and shared - names}
    assert lacking == {}


def test_a_reader_who_goes_away_is_no_fault() -> None:
    """As in `alertd schema | head -1`: no traceback, and the shell's own exit code for it or none."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "alertd", "schema"], stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == ""
    assert done.returncode in {0, 1, 141}
