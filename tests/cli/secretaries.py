"""Real secretaries as processes, the services that they watch over, and what etcd sees of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from tests.end_to_end.process import environment
from tests.etcd_server import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.etcd_server import EtcdServer

ALERTD = (sys.executable, "-m", "alertd")
QUICK = ("--every", "200ms", "--timeout", "500ms", "--ttl", "2s")


class Service:
    """A small HTTP service whose status can be set; with status 0 it never answers."""

    def __init__(self) -> None:
        self.status = 200
        self.over = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not service.status:
                    service.over.wait()
                    return
                self.send_response(service.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Keys:
    """What `etcdctl watch` has seen of a service's keys: `(value, or None where it was removed)` in order."""

    def __init__(self, etcd: EtcdServer) -> None:
        command = ["etcdctl", "--endpoints", etcd.endpoint, "watch", "--prefix", "/services/", "-w", "json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.seen: list[dict[str, Any] | None] = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        from base64 import b64decode

        assert self.process.stdout is not None
        for line in self.process.stdout:
            for event in json.loads(line)["Events"]:
                is_gone = event.get("type") == 1
                self.seen.append(None if is_gone else json.loads(b64decode(event["kv"]["value"])))

    def wait_for(self, last: dict[str, Any] | None, seconds: float = 8) -> None:
        """Wait until this is the last thing seen."""
        wait_until(lambda: self.seen and self.seen[-1] == last, f"{last} is seen", seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def secretary(
    etcd: EtcdServer,
    *flags: str,
    log: Path | None = None,
    program: Sequence[str] = ALERTD,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a secretary as a process; it is killed in the end if it has not ended by then."""
    command = [*program, "secretary", "--etcd", etcd.endpoint, *flags]
    with (log or etcd.folder / "secretary.log").open("ab") as stderr:
        process = subprocess.Popen(command, env=environment(**variables), stderr=stderr)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def of(service: Service) -> tuple[str, ...]:
    """Return the flags of a secretary for a service."""
    flags = ("--service", "apache", "--instance", "core01", "--check", service.url, *QUICK)
    return (*flags, "--set", "host=core01", "--set", "port=8080")


UP = {"host": "core01", "port": 8080}


def lease_of(etcd: EtcdServer) -> int:
    """Return the lease of the instance's key, 0 if there is no such key."""
    keys = json.loads(etcd.ctl("get", "/services/apache/core01", "-w", "json")).get("kvs", [{}])
    return int(keys[0].get("lease", 0))


def resident_mib(pid: int) -> float:
    """Return how much memory a process has in use."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - /proc
        (line,) = (line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - /proc
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
