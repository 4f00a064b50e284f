"""Real secretaries as processes: real services that fail, real etcds that go away, real signals."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.secretaries import UP, Keys, Service, cpu_seconds, lease_of, of, resident_mib, secretary
from tests.end_to_end.process import alertd
from tests.etcd_server import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.etcd_server import EtcdServer


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
    entry = {"service": "many", "check": service.url, "every": "1s", "timeout": "5s", "ttl": "9s", "set": {"port": 1}}
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
        (("--service", "a", "--instance", "b", "--check", "exec:"), 2, "--check names no command, such as exec:/"),
        (
            ("--service", "a", "--instance", "b", "--check", "tcp://h:1", "--ttl", "1s"),
            2,
            "at least 2s, the least that",
        ),
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
