"""Real secretaries as processes: real services that fail, real etcds that go away, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.end_to_end.process import alertd, environment
from tests.etcd_server import EtcdServer, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.fixture
def service() -> Iterator[Service]:
    """Give a service that is well."""
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield service
    service.over.set()
    service.server.shutdown()
    service.server.server_close()
    thread.join()


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """Give a server that the test may harm."""
    with EtcdServer(tmp_path / "etcd") as server:
        yield server


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
def secretary(etcd: EtcdServer, *flags: str, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a secretary as a process; it is killed in the end if it has not ended by then."""
    command = [sys.executable, "-m", "alertd", "secretary", "--etcd", etcd.endpoint, *flags]
    with (log or etcd.folder / "secretary.log").open("ab") as stderr:
        process = subprocess.Popen(command, env=environment(), stderr=stderr)
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


def test_from_registered_to_failing_and_back(etcd: EtcdServer, service: Service) -> None:
    """The value is written once; a bad verdict is announced with its reason, then the key goes; then it is back."""
    with Keys(etcd) as keys, secretary(etcd, *of(service)):
        keys.wait_for(UP)
        service.status = 503
        keys.wait_for(None)
        service.status = 200
        keys.wait_for(UP)
        assert keys.seen == [UP, {**UP, "status": "failing", "reason": "HTTP 503"}, None, UP]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_announced_within_2_s(etcd: EtcdServer, service: Service, ending: signal.Signals) -> None:
    """`stopped`, then removed; no lease stays behind; exit 0."""
    with Keys(etcd) as keys, secretary(etcd, *of(service)) as process:
        keys.wait_for(UP)
        began = time.monotonic()
        process.send_signal(ending)
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2
        keys.wait_for(None)
        assert keys.seen == [UP, {**UP, "status": "stopped"}, None]
        assert etcd.ctl("lease", "list").startswith("found 0 leases")


def test_a_stop_is_announced_while_the_service_fails(etcd: EtcdServer, service: Service) -> None:
    """So that who takes a failing service down on purpose is not called about it any longer."""
    with Keys(etcd) as keys, secretary(etcd, *of(service)) as process:
        keys.wait_for(UP)
        service.status = 500
        keys.wait_for(None)
        process.terminate()
        assert process.wait(5) == 0
        wait_until(lambda: len(keys.seen) == 5, "the stop is seen")
        assert keys.seen[3:] == [{**UP, "status": "stopped"}, None]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_dies_or_hangs_loses_its_lease(etcd: EtcdServer, service: Service, ending: signal.Signals) -> None:
    """Nothing is announced, and the key goes within the TTL."""
    with Keys(etcd) as keys, secretary(etcd, *of(service)) as process:
        keys.wait_for(UP)
        process.send_signal(ending)
        keys.wait_for(None, seconds=4)
        assert keys.seen == [UP, None]
        process.send_signal(signal.SIGCONT)
        if ending is signal.SIGSTOP:
            keys.wait_for(UP)


def test_a_service_that_hangs_loses_its_lease(etcd: EtcdServer, service: Service) -> None:
    """A probe that hangs keeps nothing alive, however many failures are allowed."""
    with Keys(etcd) as keys, secretary(etcd, *of(service), "--failures", "99"):
        keys.wait_for(UP)
        service.status = 0
        keys.wait_for(None, seconds=6)
        assert keys.seen == [UP, None]


def test_etcd_away_at_the_start_and_later(etcd: EtcdServer, service: Service) -> None:
    """It keeps trying without spinning, says so once, and registers when etcd comes; also when the lease is gone."""
    etcd.stop()
    log = etcd.folder / "secretary.log"
    with secretary(etcd, *of(service)) as process:
        wait_until(lambda: "trouble with etcd" in log.read_text(), "it says so")
        before = cpu_seconds(process.pid)
        time.sleep(2)
        assert cpu_seconds(process.pid) - before < 0.3
        assert log.read_text().count("trying on") == 1
        etcd.start()
        wait_until(lambda: etcd.ctl("get", "/services/apache/core01"), "it registers")
        etcd.kill()
        etcd.wipe()
        etcd.start()
        wait_until(lambda: etcd.ctl("get", "/services/apache/core01"), "it registers with an empty etcd")
        etcd.freeze()
        began = time.monotonic()
        process.terminate()
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2
        assert "the stop is not announced; the key ends with its lease within 2 s" in log.read_text()


def test_the_second_of_two_says_who_holds_the_key(etcd: EtcdServer, service: Service, tmp_path: Path) -> None:
    """And does nothing, until the first has stopped."""
    log = tmp_path / "second.log"
    with Keys(etcd) as keys, secretary(etcd, *of(service)) as first:
        keys.wait_for(UP)
        with secretary(etcd, *of(service), "--set", "second=1", log=log):
            wait_until(lambda: "another secretary holds /services/apache/core01" in log.read_text(), "it says so")
            assert keys.seen == [UP]
            first.terminate()
            keys.wait_for({**UP, "second": 1})


def test_killed_and_started_again_makes_no_gap(etcd: EtcdServer, service: Service) -> None:
    """The key stays where it is, though its first lease ends."""
    slow = ("--ttl", "4s")
    with Keys(etcd) as keys:
        with secretary(etcd, *of(service), *slow):
            keys.wait_for(UP)
        first = lease_of(etcd)
        with secretary(etcd, *of(service), *slow):
            wait_until(lambda: lease_of(etcd) not in (first, 0), "it is under another lease")
            wait_until(
                lambda: (
                    "remaining(-1s)" in etcd.ctl("lease", "timetolive", f"{first:x}")
                    or "already expired" in etcd.ctl("lease", "timetolive", f"{first:x}")
                ),
                "the first lease ends",
            )
            assert None not in keys.seen


def test_one_process_for_many_services(etcd: EtcdServer, service: Service, tmp_path: Path) -> None:
    """A file of 100: all are held, the process stays small, and at rest there is no key event."""
    entry = {"service": "many", "check": service.url, "every": "1s", "timeout": "1s", "ttl": "5s", "set": {"port": 1}}
    entries = [{**entry, "instance": f"i{number}"} for number in range(100)]
    file = tmp_path / "many.yaml"
    file.write_text(json.dumps({"secretaries": entries}))
    with Keys(etcd) as keys, secretary(etcd, "--config", str(file)) as process:
        wait_until(lambda: len(keys.seen) == 100, "all are registered")
        time.sleep(3)
        assert keys.seen == [{"port": 1}] * 100
        assert resident_mib(process.pid) <= 80
        process.terminate()
        assert process.wait(5) == 0
        wait_until(lambda: keys.seen.count(None) == 100, "all are removed")


def test_one_service_is_light(etcd: EtcdServer, service: Service) -> None:
    """It runs beside everything."""
    with Keys(etcd) as keys, secretary(etcd, *of(service)) as process:
        keys.wait_for(UP)
        assert resident_mib(process.pid) <= 60


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "alertd: --service is missing"),
        (("--service", "a", "--instance", "b", "--check", "exec:true"), 2, "--check exec:… is not supported yet"),
        (("--service", "a", "--config", "x.yaml"), 2, "--config stands instead of the options of one service"),
        (("--config", "absent.yaml"), 1, "absent.yaml:1:1: error: it cannot be read"),
        (
            ("--service", "a", "--instance", "b", "--check", "tcp://h:1", "--every", "28s"),
            2,
            "--ttl of 30s is too short: --every 28s and --timeout 3s together must be less",
        ),
    ],
)
def test_what_cannot_work_is_refused(arguments: tuple[str, ...], code: int, message: str) -> None:
    """With one line that says why, before anything is done."""
    done = alertd("secretary", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_faults_in_the_file_are_told_at_their_places(tmp_path: Path) -> None:
    """All of those at once that can be seen at once."""
    file = tmp_path / "s.yaml"
    file.write_text(
        "secretaries:\n"
        "  - {service: a, instance: b, check: 'tcp://h:1', every: 10}\n"
        "  - {service: a, instance: c, check: 'tcp://h:1', ttl: 5s}\n"
        "  - {service: a, instance: d, check: 'tcp://h:1'}\n"
        "  - {service: a, instance: d, check: 'tcp://h:1'}\n"
    )
    done = alertd("secretary", "--config", str(file))
    assert done.returncode == 1
    first, second, third = done.stderr.splitlines()
    assert first.startswith(f"{file}:2:58: error: `every` must be a duration with its unit")
    assert second.startswith(f"{file}:3:56: error: `ttl` of 5s is too short")
    assert third == f"{file}:5:5: error: a/d is already held by a secretary above"


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
