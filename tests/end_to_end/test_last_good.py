"""A daemon that starts on rules that do not load runs the last good ones, which whoever leads keeps in etcd."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.etcd_server import EtcdServer, wait_until
from tests.sinks import HttpInbox

SECRET = "hunter2"
RULES = "rules: [{name: few, service: apache, when: {instances: {below: 1}}, flap: false}]\n" + ROUTES
CHANNEL = "channels: {ops: {urls: ['${OPS}'], send_resolved: true}}\n"
BROKEN = "rules: [{name: few, service: apache, wen: {}}]\n"


def kept(etcd: EtcdServer) -> dict[str, Any]:
    """Return the document of the last good rules, empty if there is none."""
    lines = etcd.ctl("get", "/alertd/ruleset", "--print-value-only").splitlines()
    document: dict[str, Any] = json.loads(lines[0]) if lines else {}
    return document


def in_force(daemon: DaemonProcess, event: str) -> str:
    """Return the digest of the rules that an event names."""
    return [str(line.get("in_force") or line.get("ruleset")) for line in daemon.log() if line["event"] == event][-1]


def test_a_broken_folder_does_not_leave_one_without_rules(tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox) -> None:
    """All that is wrong is said at its place, and which rules are in force since when; mended, those are."""
    url = f"{inbox.url}/?-X-Key={SECRET}"
    with DaemonProcess(tmp_path / "alertd", etcd, OPS=url) as daemon:
        daemon.write_rules(RULES + CHANNEL).write_rules("services: {}\n", name="sub.yml").start()
        inbox.wait_for_count(1)
        wait_until(lambda: kept(etcd), "the rules are kept")
        before = kept(etcd)
        assert before["files"] == {"rules.yaml": RULES + CHANNEL, "sub.yml": "services: {}\n"}
        assert SECRET not in etcd.ctl("get", "--prefix", "/alertd/")
        daemon.stop()

        daemon.write_rules(BROKEN, name="more.yaml")
        daemon.log_path.unlink()
        daemon.start()
        told = "the rules do not load: the last good ones are in force until they do"
        (line,) = [line for line in daemon.log() if line["event"] == told]
        assert (line["in_force"], line["since"]) == (before["digest"], before["at"])
        assert any("more.yaml:1" in event and "wen" in event for event in daemon.events())
        etcd.ctl("put", "/services/apache/a", "")
        inbox.wait_for(lambda received: any("[RESOLVED] few apache" in message["title"] for message in received))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_log("the rules do not load: those in force stay")
        assert kept(etcd) == before

        daemon.write_rules("rules: [{name: more, service: pay, when: {instance: down}}]\n", name="more.yaml")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_log("rules loaded")
        wait_until(lambda: set(kept(etcd)["files"]) == {"rules.yaml", "sub.yml", "more.yaml"}, "the new ones are kept")
        assert kept(etcd)["digest"] == in_force(daemon, "rules loaded")


def test_many_rules_are_kept(tmp_path: Path, etcd: EtcdServer) -> None:
    """Several MiB of them, though etcd takes 1.5 MiB at once; a leader that has the same writes nothing."""
    with DaemonProcess(tmp_path / "alertd", etcd) as daemon:
        comment = ("# " + "x" * 97 + "\n") * 9_000
        for number in range(4):
            daemon.write_rules(comment, name=f"comment-{number}.yaml")
        daemon.write_rules(RULES).start()
        wait_until(lambda: kept(etcd), "the rules are kept", 30)
        version = '"Version" : 1'
        assert version in etcd.ctl("get", "/alertd/ruleset", "-w", "fields")
        daemon.stop()
        daemon.write_rules(BROKEN)
        daemon.log_path.unlink()
        daemon.start()
        assert any(event.startswith("the rules do not load: the last good") for event in daemon.events())
        daemon.wait_for_log("speaks now")
        assert version in etcd.ctl("get", "/alertd/ruleset", "-w", "fields")


def test_without_any_it_ends(tmp_path: Path, etcd: EtcdServer) -> None:
    """Exit 1 at once where etcd keeps none, and soon where it is away; also where those kept need what is not set."""
    with DaemonProcess(tmp_path / "alertd", etcd, OPS="json://127.0.0.1:9/") as daemon:
        daemon.write_rules(BROKEN)
        assert "wen" in failed_start(daemon)
        daemon.write_rules(RULES + CHANNEL).start()
        wait_until(lambda: kept(etcd), "the rules are kept")
        daemon.stop()
        daemon.log_path.unlink()
        daemon.write_rules(BROKEN)
        del daemon.variables["OPS"]
        assert "OPS" in failed_start(daemon)
        etcd.stop()
        began_at = time.monotonic()
        assert "wen" in failed_start(daemon)
        assert time.monotonic() - began_at > 2


def failed_start(daemon: DaemonProcess) -> str:
    """Start a daemon that cannot, and return what it said."""
    daemon.start(is_waiting=False)
    assert daemon.process is not None
    assert daemon.process.wait(15) == 1
    said = daemon.log_path.read_text()
    daemon.log_path.unlink()
    assert "Traceback" not in said
    return said
