"""What every command shares: light starts, exit codes, no tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import alertd
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
