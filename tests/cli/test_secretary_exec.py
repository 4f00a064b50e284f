"""Real secretaries whose checks are commands, and what becomes of those; hosts whose names lead nowhere."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.cli.secretaries import ALERTD, QUICK, Keys, Service, resident_mib, secretary
from tests.end_to_end.process import alertd
from tests.etcd_server import EtcdServer, wait_until

if TYPE_CHECKING:
    import subprocess

NAMED = ("--service", "apache", "--instance", "core01")
OUR_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[[A-Z]+\] .+")


class Check:
    """A command in a file: `says` replaces what it does, at one blow."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "check"
        self.flags = (*NAMED, *QUICK, "--check", f"exec:{self.path}", "--set", "host=core01")

    def says(self, script: str) -> None:
        """Have it do this from now on."""
        new = self.path.with_suffix(".new")
        new.write_text(f"#!/bin/sh\n{script}\n")
        new.chmod(0o755)
        new.rename(self.path)


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Give a command that is not there yet."""
    return Check(tmp_path)


def log_of(etcd: EtcdServer) -> str:
    """Return what the secretary has logged; all of it is its own."""
    text = (etcd.folder / "secretary.log").read_text()
    assert [line for line in text.splitlines() if not OUR_LINE.fullmatch(line)] == []
    return text


def children_of(process: subprocess.Popen[bytes]) -> list[str]:
    """Return the ids of its child processes, zombies as well."""
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def test_a_services_own_data_gets_in(etcd: EtcdServer, check: Check) -> None:
    """Over the fields; written when it changes and only then; what a check no longer says is gone; kept to the end."""
    check.says("""echo '{"load": {"one": 1.10}, "a": 1}'""")
    with Keys(etcd) as keys, secretary(etcd, *check.flags) as process:
        first = {"host": "core01", "a": 1, "load": {"one": 1.10}}
        keys.wait_for(first)
        check.says("""echo '{ "a": 1,\n "load": {"one": 1.10} }'; echo $$ >> "$0.count" """)
        count = Path(f"{check.path}.count")
        wait_until(lambda: count.exists() and len(count.read_text().split()) > 2, "it has run thrice")
        assert keys.seen == [first]
        check.says("""echo '{"host": "core02"}'""")
        keys.wait_for({"host": "core02"})
        check.says("exit 0")
        keys.wait_for({"host": "core01"})
        check.says("""echo '{"b": 2}'""")
        keys.wait_for({"host": "core01", "b": 2})
        check.says("echo no more workers >&2; exit 3")
        keys.wait_for(None)
        process.terminate()
        assert process.wait(5) == 0
        wait_until(lambda: len(keys.seen) == 8, "the stop is seen")
        assert keys.seen[4:] == [
            {"host": "core01", "b": 2, "status": "failing", "reason": "exit 3: no more workers"},
            None,
            {"host": "core01", "b": 2, "status": "stopped"},
            None,
        ]
    assert log_of(etcd).count("registered") == 1


def test_what_cannot_be_merged_is_told_once(etcd: EtcdServer, check: Check) -> None:
    """The check stays good."""
    check.says("""echo '{"status": "failing", "a": 1}'""")
    with Keys(etcd) as keys, secretary(etcd, *check.flags):
        keys.wait_for({"host": "core01", "a": 1})
        check.says("""echo OK; echo $$ >> "$0.count" """)
        count = Path(f"{check.path}.count")
        keys.wait_for({"host": "core01"})
        wait_until(lambda: len(count.read_text().split()) > 2, "it has run thrice")
        check.says("yes '' | head -c 1000000")
        wait_until(lambda: "64 KiB" in log_of(etcd), "it is told")
        assert None not in keys.seen
    log = log_of(etcd)
    for remark in (
        "apache/core01: the probe is good, but its output sets status, which only the secretary may; left out",
        "apache/core01: the probe is good, but its output is not a JSON object, so nothing is merged",
        "apache/core01: the probe is good, but its output is over 64 KiB, so nothing is merged",
    ):
        assert log.count(remark) == 1


def test_a_command_that_appears_later(etcd: EtcdServer, check: Check) -> None:
    """Missing, then not executable, then there: no more than what the log says of each."""
    with Keys(etcd) as keys, secretary(etcd, *check.flags):
        wait_until(lambda: f"the probe failed: no such command: {check.path}" in log_of(etcd), "it is missing")
        check.path.write_text("")
        wait_until(lambda: f"the probe failed: {check.path} is not executable" in log_of(etcd), "it may not be run")
        assert keys.seen == []
        check.says("exit 0")
        keys.wait_for({"host": "core01"})
    assert log_of(etcd).count("no such command") == 1


def test_a_command_that_never_ends_loses_the_lease_and_leaves_nothing(etcd: EtcdServer, check: Check) -> None:
    """Each is killed with its pipeline when its time is up, the last one when the secretary is stopped."""
    check.says("exit 0")
    with Keys(etcd) as keys, secretary(etcd, *check.flags, "--failures", "99") as process:
        keys.wait_for({"host": "core01"})
        check.says("""sh -c 'echo $$ >> "$0.pids"; exec sleep 600' "$0" | cat""")
        keys.wait_for(None)
        assert keys.seen == [{"host": "core01"}, None]
        pids = Path(f"{check.path}.pids")
        before = len(pids.read_text().split())
        wait_until(lambda: len(pids.read_text().split()) > before, "the next one runs")
        began = time.monotonic()
        process.terminate()
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2
    assert log_of(etcd).count("the probe failed: not done within 0.5 s") == 1
    left = [pid for pid in pids.read_text().split() if _is_alive(pid)]
    assert left == []


def _is_alive(pid: str) -> bool:
    """Whether a process runs; one that is dead may be waiting for process 1 to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


IGNORING = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize("wrapper", [(), (sys.executable, "-c", IGNORING)], ids=["as usual", "SIGCHLD ignored"])
def test_probes_leave_no_zombie_and_are_judged_rightly(
    etcd: EtcdServer, check: Check, wrapper: tuple[str, ...]
) -> None:
    """Also if whoever started us ignores that children end: then the system forgets how they did."""
    check.says("""echo $$ >> "$0.count"; exit 7""")
    count = Path(f"{check.path}.count")
    with secretary(etcd, *check.flags, program=(*wrapper, *ALERTD)) as process:
        wait_until(lambda: count.exists() and len(count.read_text().split()) > 4, "it has run five times")
        wait_until(lambda: children_of(process) == [], "all are waited for", 2)
    log = log_of(etcd)
    assert "the probe failed: exit 7" in log
    assert "registered" not in log


def test_a_hundred_commands_in_one_process(etcd: EtcdServer, tmp_path: Path) -> None:
    """Small, spread over time from the start on, and stopped within 2 s."""
    starts = tmp_path / "starts"
    command = f'exec:sh -c \'date +%s.%N >> {starts}; echo "{{\\"n\\": 1}}"\''
    entry = {"service": "many", "check": command, "every": "2s", "timeout": "9s", "ttl": "15s"}
    file = tmp_path / "many.yaml"
    file.write_text(json.dumps({"secretaries": [{**entry, "instance": f"i{number}"} for number in range(100)]}))
    with Keys(etcd) as keys, secretary(etcd, "--config", str(file)) as process:
        wait_until(lambda: len(keys.seen) == 100, "all are registered")
        wait_until(lambda: len(starts.read_text().split()) > 400, "each has been probed about four times")
        assert keys.seen == [{"n": 1}] * 100
        assert resident_mib(process.pid) <= 80
        times = sorted(map(float, starts.read_text().split()))
        for begin in range(0, 400, 100):
            half, other_half = times[begin : begin + 50], times[begin + 50 : begin + 100]
            assert median(later - sooner for sooner, later in zip(half, other_half, strict=True)) > 0.2
        began = time.monotonic()
        process.terminate()
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2
        wait_until(lambda: keys.seen.count(None) == 100, "all are removed")


HANGING = """
import socket, time
from alertd.cli import main

def hang(*_, flags=0, **__):
    if flags == socket.AI_NUMERICHOST:
        raise socket.gaierror
    time.sleep(60)

socket.getaddrinfo = hang
main()
"""
"""alertd with a resolver that does not answer."""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_resolver_that_hangs_does_not_hold_up_the_stop(etcd: EtcdServer, ending: signal.Signals) -> None:
    """A lookup cannot be cancelled; nobody waits for it."""
    flags = (*NAMED, *QUICK, "--check", "http://core01.example/")
    with secretary(etcd, *flags, program=(sys.executable, "-c", HANGING)) as process:
        wait_until(lambda: "the probe failed: no answer within 0.5 s" in log_of(etcd), "the probe has ended")
        began = time.monotonic()
        process.send_signal(ending)
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("scheme", "host", "reason"),
    [("http", "core01.invalid", "the host's name does not resolve"), ("https", "127.0.0.1", "TLS: ")],
)
def test_a_service_that_cannot_be_asked_is_not_registered(
    etcd: EtcdServer, service: Service, scheme: str, host: str, reason: str
) -> None:
    """Its name is unknown, or it does not speak TLS: the log says so, and the key stays away."""
    url = f"{scheme}://{host}:{service.server.server_address[1]}/"
    with Keys(etcd) as keys, secretary(etcd, *NAMED, *QUICK, "--check", url) as process:
        wait_until(lambda: f"apache/core01: the probe failed: {reason}" in log_of(etcd), "it is told")
        process.terminate()
        assert process.wait(5) == 0
        assert keys.seen == []


def test_the_help_names_every_kind_of_check() -> None:
    """It is where one looks."""
    text = " ".join(alertd("secretary", "--help", COLUMNS="200").stdout.split())
    assert "http://…, https://…, tcp://host:port or exec:COMMAND." in text
