"""One daemon as a process: `alertd run`, started, killed, frozen and brought back with the same name and state dir."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from alertd.tether import tethered
from tests.end_to_end.process import environment
from tests.etcd_server import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_READY = (b'"event": "ready"', b'"event":"ready"')
START_SECONDS = 60.0
"""For a daemon to be ready, on a machine that has other things to do."""


class Replica:
    """A daemon that is not started yet; `variables` are added to its environment."""

    def __init__(self, name: str, folder: Path, rules: Path, endpoints: Sequence[str]) -> None:
        self.name = name
        self.rules = rules
        self.state_dir = folder / "state"
        self.state_dir.mkdir(parents=True)
        self.log_path = folder / "log"
        self.endpoints = list(endpoints)
        self.variables: dict[str, str] = {}
        self.flags: list[str] = []
        self.victim: tuple[str, ...] = ()
        """What `tests.faults.victim` is told, if the next start is to be one."""
        self.process: subprocess.Popen[bytes] | None = None
        self._started_at = 0

    def command(self) -> list[str]:
        """Return the command line."""
        program = ["tests.faults.victim", *self.victim, "--"] if self.victim else ["alertd"]
        return [
            *(sys.executable, "-m", *program, "run", "--rules", str(self.rules), "--etcd", ",".join(self.endpoints)),
            *("--replica", self.name, "--state-dir", str(self.state_dir), "--listen", "", "--log-format", "json"),
            *self.flags,
        ]

    def start(self, *, is_waiting: bool = True) -> Self:
        """Start it, and wait until it has judged its first snapshot, or has ended again."""
        assert not self.is_running, f"{self.name} runs already"
        self._started_at = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                tethered(self.command(), signal.SIGKILL),
                stdout=log,
                stderr=log,
                env=environment(**self.variables),
                start_new_session=True,
            )
        if is_waiting:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Wait until it has judged its first snapshot; one that ends instead is waited for no longer."""
        wait_until(
            lambda: self.is_ready or not self.is_running, f"{self.name} is ready; see {self.log_path}", START_SECONDS
        )

    @property
    def is_ready(self) -> bool:
        """Whether it has said so since it was started."""
        said = self.said()
        return any(ready in said for ready in _READY)

    def said(self) -> bytes:
        """Return what it has logged since it was started."""
        with self.log_path.open("rb") as log:
            log.seek(self._started_at)
            return log.read()

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it without warning, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """Stop it in its tracks; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """Have it read its rules again."""
        self._signal(signal.SIGHUP)

    def terminate(self, seconds: float = 15.0) -> int:
        """Ask it to end, and return its exit code; it is killed if it does not."""
        assert self.process is not None
        self._signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def wait_for_end(self, seconds: float) -> bool:
        """Wait until it has ended by itself, and say whether it has."""
        deadline = time.monotonic() + seconds
        while self.is_running and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.is_running

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
