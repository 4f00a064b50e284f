"""The wall clock is set while secretaries and daemons run: what is measured in seconds does not notice.

libfaketime shows a process another wall clock, as its offset in a file says; the monotonic clock stays the real one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.secretaries import UP, Keys, Service, lease_of, of, secretary
from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.etcd_server import EtcdServer, wait_until
from tests.sinks import HttpInbox

PLACES = ("lib/*/faketime", "lib/faketime", "lib64/faketime", "local/lib/faketime")
LIBRARY = next((found for place in PLACES for found in Path("/usr").glob(f"{place}/libfaketimeMT.so.1")), None)
HOUR = 3600
FOR = 3.0
TTL = 5
LONGER_THAN_THE_LEASE = TTL + 1.0

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian: faketime)")


class Clock:
    """A wall clock for processes that have `variables`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.variables = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, offset: int) -> None:
        """Have it be so many seconds ahead of the real one."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.rename(self._file)


def hours_ahead(stamp: str) -> int:
    """Return how many hours a log line's time is ahead of now."""
    return round((datetime.fromisoformat(stamp) - datetime.now(UTC)) / timedelta(hours=1))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Give a wall clock that is right."""
    return Clock(tmp_path)


@pytest.fixture
def service() -> Iterator[Service]:
    """Give a service that is well."""
    with Service() as service:
        yield service


@pytest.fixture
def daemon(tmp_path: Path, etcd: EtcdServer, clock: Clock) -> Iterator[DaemonProcess]:
    """Give a daemon that goes by that clock and is not started yet."""
    with DaemonProcess(tmp_path / "alertd", etcd, **clock.variables) as process:
        yield process


def test_a_secretary_keeps_its_key(etcd: EtcdServer, service: Service, clock: Clock, tmp_path: Path) -> None:
    """No key event, and the lease is the same one, for longer than that would last by itself."""
    log = tmp_path / "secretary.log"
    flags = (*of(service), "--ttl", f"{TTL}s")
    with Keys(etcd) as keys, secretary(etcd, *flags, log=log, variables=clock.variables) as process:
        keys.wait_for(UP)
        lease = lease_of(etcd)
        for offset in (HOUR, -HOUR):
            clock.set(offset)
            time.sleep(LONGER_THAN_THE_LEASE)
            assert keys.seen == [UP]
            assert lease_of(etcd) == lease
        service.status = 500
        keys.wait_for(None)
        process.terminate()
        assert process.wait(5) == 0
    lines = log.read_text().splitlines()
    assert [hours_ahead(line.split()[0]) for line in (lines[0], lines[-1])] == [0, -1]
    assert not [line for line in lines if "trouble" in line]


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_a_secretary_comes_back_to_etcd(etcd: EtcdServer, service: Service, clock: Clock, offset: int) -> None:
    """A clock that is set while etcd is away neither hastens nor hinders that."""
    with secretary(etcd, *of(service), variables=clock.variables):
        wait_until(lambda: lease_of(etcd), "it registers")
        etcd.kill()
        clock.set(offset)
        etcd.wipe()
        etcd.start()
        wait_until(lambda: lease_of(etcd), "it registers again", 8)


def test_a_daemon_measures_what_it_waits_for(
    etcd: EtcdServer, inbox: HttpInbox, clock: Clock, daemon: DaemonProcess
) -> None:
    """A step neither ends nor stretches a `for`; nothing is told twice or falsely, and the watch goes on."""
    rule = f"rules: [{{name: lost, service: apache, when: {{instance: down}}, for: {FOR:g}s, flap: false}}]\n"
    for instance in "abc":
        etcd.ctl("put", f"/services/apache/{instance}", "")
    daemon.write_rules(rule + ROUTES, inbox).start()
    for number, offset in enumerate((HOUR, -HOUR)):
        gone_at = time.monotonic()
        etcd.ctl("del", "/services/apache/a")
        wait_until(lambda: daemon.events().count("down") > number, "it is pending")  # noqa: B023 - called at once
        clock.set(offset)
        fired = inbox.wait_for_count(2 * number + 1, timeout=FOR + 5)[-1]
        assert FOR <= fired["at"] - gone_at < FOR + 5
        etcd.ctl("put", "/services/apache/a", "")
        inbox.wait_for_count(2 * number + 2)
        assert daemon.get("/-/ready")[0] == 200
    assert daemon.stop() == 0
    kinds = [message["title"].split("]")[0] for message in inbox.received]
    assert kinds == ["[FIRING", "[RESOLVED"] * 2
    assert hours_ahead(daemon.log()[-1]["timestamp"]) == -1
    troubles = [line["event"] for line in daemon.log() if line["level"] in ("warning", "error")]
    assert [event for event in troubles if "leads no more" not in event] == []  # a busy machine may cost it a term
