"""`deploy/secretary.sh` as a process, under each shell that the machine has."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.end_to_end.process import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.secretaries import Service
    from tests.etcd_server import EtcdServer

SCRIPT = Path(__file__).parents[2] / "deploy/secretary.sh"
QUICK = ("--every", "200ms", "--timeout", "500ms", "--ttl", "2s")
UP = {"host": "core01", "port": 8080}

SHELLS = [shell for shell in ("sh", "bash", "busybox sh") if shutil.which(shell.split()[0])]
"""What `/bin/sh` is differs from host to host."""


def of(service: Service) -> tuple[str, ...]:
    """Return the flags of a secretary for a service."""
    flags = ("--service", "apache", "--instance", "core01", "--check", service.url, *QUICK)
    return (*flags, "--set", "host=core01", "--set", "port=8080")


@contextmanager
def secretary(
    etcd: EtcdServer, *flags: str, shell: str = "sh", log: Path | None = None, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a secretary; in the end the shell is killed if it has not ended by then."""
    command = [*shell.split(), str(SCRIPT), "--etcd", etcd.endpoint, *flags]
    with (log or etcd.folder / "secretary.log").open("ab") as stderr:
        process = subprocess.Popen(command, env=environment(**variables), stderr=stderr)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def run(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a secretary that ends by itself."""
    command = ["sh", str(SCRIPT), *flags]
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=10, check=False
    )
