"""etcd frozen, killed, compacted behind the daemon's back, or not there: nothing is lost, each change is told once."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.etcd_server import Cut, EtcdServer, wait_until
from tests.sinks import HttpInbox

RULES = (
    "rules: [{name: lost, service: '*', when: {instance: down}, flap: false}]\n"
    "settings: {registry: {unreachable_after: 1h}}\n" + ROUTES
)
"""That etcd itself is away is told elsewhere."""
FROZEN_SECONDS = 60
DEBUG = {"ALERTD_LOG_LEVEL": "debug"}
"""Logs every decision, also that something is told."""


def told(daemon: DaemonProcess) -> list[str]:
    """Return what was told of which instance, as `firing apache/a`, in order."""
    decided = [line for line in daemon.log() if line["event"] == "decided" and line["reason"] == "told"]
    return [f"{line['detail'].removesuffix(' to ops')} {line['target']}" for line in decided]


def down_on_page(daemon: DaemonProcess) -> set[str]:
    """Return the instances that the overview shows as down."""
    page = daemon.get("/")[1]
    return set(re.findall(r'class="down"\s+title="[^"]*">([^<]+)<', page))


@pytest.fixture
def daemon(tmp_path: Path, etcd: EtcdServer) -> Iterator[DaemonProcess]:
    """Give a daemon that logs every decision."""
    with DaemonProcess(tmp_path / "alertd", etcd, **DEBUG) as process:
        yield process


def seed(etcd: EtcdServer) -> None:
    """Register five instances of apache."""
    for name in "abcde":
        etcd.ctl("put", f"/services/apache/{name}", "")


def change(etcd: EtcdServer) -> None:
    """Lose two, replace the value of one, take one away and bring it back, and add one to another service."""
    etcd.ctl("del", "/services/apache/a")
    etcd.ctl("del", "/services/apache/b")
    etcd.ctl("put", "/services/apache/c", "10.0.0.1:80")
    etcd.ctl("del", "/services/apache/d")
    etcd.ctl("put", "/services/apache/d", "")
    etcd.ctl("put", "/services/pay/a", "")


def expect_changes(inbox: HttpInbox, daemon: DaemonProcess) -> None:
    """Each change is told once, and the view equals etcd's."""
    wait_until(lambda: "pay" in daemon.get("/")[1] and down_on_page(daemon) == {"a", "b"}, "the view equals etcd's", 30)
    inbox.wait_for(lambda _: {"firing apache/a", "firing apache/b"} <= set(told(daemon)), timeout=10)
    lines = told(daemon)
    assert lines.count("firing apache/a") == lines.count("firing apache/b") == 1
    assert not [line for line in lines if line.endswith(("/c", "/e", "pay/a"))]
    received = "\n".join(message["message"] for message in inbox.wait_for_count(1))
    assert re.search(r"^DOWN a  ", received, re.MULTILINE)


def test_etcd_frozen(etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess) -> None:
    """`kill -STOP` for a minute; what was asked for meanwhile happens when it goes on, and is told once."""
    seed(etcd)
    daemon.write_rules(RULES, inbox).start()
    etcd.freeze()
    before = daemon.cpu_seconds()
    time.sleep(FROZEN_SECONDS)
    assert daemon.cpu_seconds() - before < 3, "a daemon that waits must not spin"
    assert daemon.get("/-/ready")[0] == 503
    assert daemon.get("/-/healthy")[0] == 200
    etcd.thaw()
    change(etcd)
    expect_changes(inbox, daemon)
    wait_until(lambda: daemon.get("/-/ready")[0] == 200, "it is fit for service again")


def test_etcd_killed_and_started_again(etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess) -> None:
    """`kill -9`, a restart on the same data, and changes made before the daemon is back."""
    seed(etcd)
    daemon.write_rules(RULES, inbox).start()
    etcd.kill()
    wait_until(lambda: any("trying on" in event for event in daemon.events()), "it says that etcd is away")
    etcd.start()
    change(etcd)
    expect_changes(inbox, daemon)


def test_a_compaction_while_cut_off(tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox) -> None:
    """The history of the gap is gone: the difference is told, with causes that say so."""
    seed(etcd)
    with Cut(etcd.endpoint) as cut, DaemonProcess(tmp_path / "alertd", etcd, **DEBUG) as daemon:
        daemon.command[daemon.command.index(etcd.endpoint)] = cut.endpoint
        daemon.write_rules(RULES, inbox).start()
        cut.cut()
        change(etcd)
        etcd.compact()
        cut.mend()
        expect_changes(inbox, daemon)
        assert "missed: found gone after a gap in the watch" in inbox.received[0]["message"]


def test_flips_while_cut_off_are_no_flapping(tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox) -> None:
    """What is replayed has no times: it makes no flap, and what fired and ended in it is told as over, once."""
    seed(etcd)
    flap = RULES.replace("flap: false", "flap: {changes: 4, within: 1h, settle: 1h}")
    with Cut(etcd.endpoint) as cut, DaemonProcess(tmp_path / "alertd", etcd, **DEBUG) as daemon:
        daemon.command[daemon.command.index(etcd.endpoint)] = cut.endpoint
        daemon.write_rules(flap, inbox).start()
        cut.cut()
        for _ in range(5):
            etcd.ctl("del", "/services/apache/a")
            etcd.ctl("put", "/services/apache/a", "")
        etcd.ctl("del", "/services/apache/b")
        cut.mend()
        (message,) = inbox.wait_for_count(1, timeout=20)
        assert message["title"].startswith("[FIRING:1 RESOLVED:1] lost apache")
        assert "deleted" in message["message"]
        assert "between" in message["message"]
        assert sum(line["event"] == "down" and line["instance"] == "apache/a" for line in daemon.log()) == 5
        assert sorted(told(daemon)) == ["firing apache/b", "resolved apache/a"]


def test_etcd_absent_at_the_start(tmp_path: Path, inbox: HttpInbox) -> None:
    """It keeps trying without spinning, says so once, and starts when etcd comes."""
    etcd = EtcdServer(tmp_path / "etcd")
    with DaemonProcess(tmp_path / "alertd", etcd, **DEBUG) as daemon:
        daemon.write_rules(RULES, inbox).start(is_waiting=False)
        wait_until(lambda: any("trying on" in event for event in daemon.events()), "it says so")
        before = daemon.cpu_seconds()
        time.sleep(3)
        assert daemon.cpu_seconds() - before < 0.3
        assert sum("trying on" in event for event in daemon.events()) == 1
        assert daemon.get("/-/ready")[0] == 503
        with etcd:
            daemon.wait_for_log("ready")
            assert daemon.get("/-/ready") == (200, "ready\n")


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT"])
def test_it_ends_politely(etcd: EtcdServer, daemon: DaemonProcess, ending: str) -> None:
    """A signal ends it with exit 0 within 5 s, with etcd there and with etcd frozen."""
    daemon.write_rules(RULES).start()
    etcd.freeze()
    began = time.monotonic()
    daemon.signal(signal.Signals[ending])
    assert daemon.process is not None
    assert daemon.process.wait(10) == 0
    assert time.monotonic() - began < 5
