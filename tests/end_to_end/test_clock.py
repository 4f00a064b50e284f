"""The wall clock is set while secretaries and daemons run: what is measured in seconds does not notice."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.secretaries import UP, Keys, Service, lease_of, of, secretary
from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.etcd_server import EtcdServer, wait_until
from tests.faketime import WallClock, needs_faketime
from tests.sinks import HttpInbox

HOUR = 3600
FOR = 3.0
TTL = 5
LONGER_THAN_THE_LEASE = TTL + 1.0

AUDITING_OFTEN = """
import structlog
from alertd import audits, cli, daemon

class Audits(audits.Audits):
    async def make(self):
        await super().make()
        structlog.get_logger("alertd").info("audited")

daemon.Audits = Audits
audits.EVERY, audits.JITTER = 0.3, 0.1
cli.main()
"""

pytestmark = needs_faketime


def hours_ahead(stamp: str) -> int:
    """Return how many hours a log line's time is ahead of now."""
    return round((datetime.fromisoformat(stamp) - datetime.now(UTC)) / timedelta(hours=1))


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    """Give a wall clock that is right."""
    return WallClock(tmp_path)


@pytest.fixture
def service() -> Iterator[Service]:
    """Give a service that is well."""
    with Service() as service:
        yield service


@pytest.fixture
def daemon(tmp_path: Path, etcd: EtcdServer, clock: WallClock) -> Iterator[DaemonProcess]:
    """Give a daemon that goes by that clock and is not started yet."""
    with DaemonProcess(tmp_path / "alertd", etcd, **clock.variables) as process:
        yield process


def test_a_secretary_keeps_its_key(etcd: EtcdServer, service: Service, clock: WallClock, tmp_path: Path) -> None:
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
def test_a_secretary_comes_back_to_etcd(etcd: EtcdServer, service: Service, clock: WallClock, offset: int) -> None:
    """A clock that is set while etcd is away neither hastens nor hinders that."""
    with secretary(etcd, *of(service), variables=clock.variables):
        wait_until(lambda: lease_of(etcd), "it registers")
        etcd.kill()
        clock.set(offset)
        etcd.wipe()
        etcd.start()
        wait_until(lambda: lease_of(etcd), "it registers again", 8)


def test_a_daemon_measures_what_it_waits_for(
    etcd: EtcdServer, inbox: HttpInbox, clock: WallClock, daemon: DaemonProcess
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


def test_a_daemon_goes_on_auditing(tmp_path: Path, etcd: EtcdServer, clock: WallClock) -> None:
    """As often as before, also where the clock is set back."""
    with DaemonProcess(tmp_path / "alertd", etcd, **clock.variables) as daemon:
        daemon.command[: daemon.command.index("run")] = [sys.executable, "-c", AUDITING_OFTEN]
        daemon.write_rules("rules: [{name: lost, service: apache, when: {instance: down}}]\n").start()
        for offset in (0, -HOUR, HOUR):
            clock.set(offset)
            seen = daemon.events().count("audited")
            wait_until(lambda: daemon.events().count("audited") >= seen + 3, "it audits")  # noqa: B023 - called at once
        assert daemon.stop() == 0
