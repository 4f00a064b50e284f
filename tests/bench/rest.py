"""What it costs when nothing happens: secretaries that hold their keys, and a daemon that watches them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.live import an_etcd, resident_megabytes
from tests.end_to_end.process import DaemonProcess, environment
from tests.etcd_server import EtcdServer, wait_until
from tests.sinks import http_inbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.engine import Row

PROCESSES = 10
SERVICES = 100
"""Held by each process, probed every 10 s as by default."""
REST_SECONDS = 120
RULES = "rules: [{name: lost, service: '*', when: {instance: down}}]\n"


class _Well(BaseHTTPRequestHandler):
    """A service that is well."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet."""


@contextmanager
def a_service() -> Iterator[str]:
    """Give the address of a service that is well."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Well) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def start_secretary(etcd: EtcdServer, folder: Path, name: str, services: int, check: str) -> subprocess.Popen[bytes]:
    """Start a process that holds so many keys."""
    file = folder / f"{name}.yaml"
    entries = [
        {"service": f"s{number}", "instance": name, "check": check, "set": {"host": name}} for number in range(services)
    ]
    file.write_text(json.dumps({"secretaries": entries}))
    command = [sys.executable, "-m", "alertd", "secretary", "--etcd", etcd.endpoint, "--config", str(file)]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rest() -> list[Row]:
    """Let a thousand keys, and then one more secretary with a single one, be at rest."""
    with ExitStack() as stack:
        etcd, check = stack.enter_context(an_etcd()), stack.enter_context(a_service())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        daemon = stack.enter_context(DaemonProcess(folder / "alertd", etcd))
        daemon.write_rules(RULES, stack.enter_context(http_inbox())).start()
        many = [start_secretary(etcd, folder, f"host{number}", SERVICES, check) for number in range(PROCESSES)]
        one = start_secretary(etcd, folder, "alone", 1, check)
        for process in (*many, one):
            stack.callback(process.wait)
            stack.callback(process.kill)
        keys = PROCESSES * SERVICES + 1
        wait_until(lambda: f'"Count" : {keys}' in count(etcd), f"{keys} keys", 60)
        time.sleep(15)
        assert daemon.process is not None
        pids = [daemon.process.pid, one.pid, *(process.pid for process in many)]
        revision, before = etcd.revision(), [cpu_seconds(pid) for pid in pids]
        time.sleep(REST_SECONDS)
        events = etcd.revision() - revision
        shares = [100 * (cpu_seconds(pid) - was) / REST_SECONDS for pid, was in zip(pids, before, strict=True)]
        sizes = [resident_megabytes(pid) for pid in pids]
    where = f"1,000 keys of ten secretaries at rest for {REST_SECONDS} s"
    return [
        (f"{where}: key events", f"{events}", "0"),
        (f"{where}: the daemon, of a core", f"{shares[0]:.2f} %", "< 1 %"),
        (f"{where}: a secretary of 100 services, of a core", f"{max(shares[2:]):.2f} %", ""),
        ("a secretary of 100 services: resident memory", f"{max(sizes[2:]):.0f} MB", "≤ 80 MB"),
        ("a secretary of one service: of a core", f"{shares[1]:.2f} %", "≤ 0.2 %"),
        ("a secretary of one service: resident memory", f"{sizes[1]:.0f} MB", "≤ 60 MB"),
    ]


def count(etcd: EtcdServer) -> str:
    """Return how many keys are watched, as etcdctl prints it."""
    return etcd.ctl("get", "/services/", "--prefix", "--count-only", "-w", "fields")
