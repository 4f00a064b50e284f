"""A real `alertd run` as a process, its log read as it is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Self

from tests.etcd_server import EtcdServer, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sinks import HttpInbox

ROUTES = "routes: [{default: true, group_wait: 0s, group_interval: 0s}]\n"


def environment(**variables: str) -> dict[str, str]:
    """Return the environment without what alertd would read from it, and with `variables`.

    Also without the size of a terminal, which readline leaves there for the processes that it starts.
    """
    read = ("ALERTD_", "ETCD", "COLUMNS", "LINES")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(read)}
    return {**plain, **variables}


def alertd(*arguments: str, timeout: float = 30, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of alertd to its end."""
    return subprocess.run(
        [sys.executable, "-m", "alertd", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class DaemonProcess:
    """`alertd run` on the rules in `folder/rules`, telling an inbox."""

    def __init__(self, folder: Path, etcd: EtcdServer, *flags: str, **variables: str) -> None:
        self.rules = folder / "rules"
        self.rules.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log_path = folder / "alertd.log"
        self.command = [
            *(sys.executable, "-m", "alertd", "run", "--rules", str(self.rules), "--etcd", etcd.endpoint),
            *("--listen", f"127.0.0.1:{self.port}", "--log-format", "json", *flags),
        ]
        self.variables = variables
        self.process: subprocess.Popen[bytes] | None = None

    def write_rules(self, text: str, inbox: HttpInbox | None = None, *, name: str = "rules.yaml") -> Self:
        """Write a rules file; with an inbox, it becomes the only channel."""
        channel = f'channels: {{ops: {{urls: ["{inbox.url}/"]}}}}\n' if inbox is not None else ""
        (self.rules / name).write_text(text + channel)
        return self

    def start(self, *, is_waiting: bool = True) -> Self:
        """Start it, and wait until it has judged its first snapshot."""
        with self.log_path.open("ab") as log:
            variables = {"ALERTD_STATE_DIR": str(self.log_path.parent / "state"), **self.variables}
            self.process = subprocess.Popen(self.command, stderr=log, env=environment(**variables))
        if is_waiting:
            self.wait_for_log("ready")
        return self

    def log(self) -> list[dict[str, Any]]:
        """Return what it has logged."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def wait_for_log(self, event: str, seconds: float = 15) -> None:
        """Wait until an event has been logged."""
        wait_until(lambda: event in self.events(), f"alertd logs {event!r}; see {self.log_path}", seconds)

    def events(self) -> list[str]:
        """Return the events it has logged."""
        return [str(line["event"]) for line in self.log()]

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of what it serves at `path`; (0, "") if nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=3) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def cpu_seconds(self) -> float:
        """Return the processor time it has used."""
        assert self.process is not None
        with open(f"/proc/{self.process.pid}/stat") as stat:  # noqa: PTH123 - /proc
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without warning, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        return self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
