"""`alertd run` from outside: what a user can do wrong, reloads, the embedded etcd, two at once."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.process import ROUTES, DaemonProcess, alertd
from tests.etcd_server import EtcdServer, free_port, wait_until
from tests.sinks import HttpInbox

MINIMUM = "rules: [{name: few, service: apache, when: {instances: {below: 1}}}]\n" + ROUTES


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (None, "rules"),
        ({}, "rules"),
        ({"a.yaml": "rules: ["}, "a.yaml:"),
        ({"a.yaml": "rules:\n  - {name: x, service: s, when: {instance: sideways}}\n"}, "a.yaml:2"),
        ({"a.yaml": MINIMUM + "channels: {ops: {urls: ['jsn://localhost']}}\n"}, "a.yaml:3"),
        ({"a.yaml": MINIMUM + "channels: {ops: {urls: ['${NOT_SET_HERE}']}}\n"}, "NOT_SET_HERE"),
        ({"a.yaml": "rules: [{name: x, service: s, channels: [opps], when: {instance: down}}]\n"}, "opps"),
    ],
    ids=["missing", "empty", "broken", "wrong", "bad url", "unset variable", "unknown channel"],
)
def test_rules_that_do_not_load_end_it_at_the_start(
    tmp_path: Path, files: dict[str, str] | None, expected: str
) -> None:
    """Exit 1, the errors with their places on stderr, no traceback."""
    rules = tmp_path / "rules"
    if files is not None:
        rules.mkdir()
        for name, text in files.items():
            (rules / name).write_text(text)
    done = alertd("run", "--rules", str(rules), "--listen", "")
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--etcd", "nonsense"), "host:port"),
        (("--etcd", "127.0.0.1:99999"), "host:port"),
        (("--listen", "nonsense"), "host:port"),
        (("--listen", "0.0.0.0:19999"), "ALERTD_WEB_TOKEN"),
        (("--namespace", "/services/alertd/"), "--prefix"),
        (("--prefix", "/"), "--prefix"),
        (("--etcd-user", "me"), "ALERTD_ETCD_PASSWORD"),
        (("--etcd-ca", "/not/there"), "/not/there"),
        (("--log-format", "xml"), "xml"),
    ],
)
def test_wrong_options_are_refused_with_the_cure(tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    """Exit 2, one line that names the option, no traceback."""
    (tmp_path / "rules.yaml").write_text(MINIMUM)
    done = alertd("run", "--rules", str(tmp_path), "--listen", "", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_address_is_said_plainly(tmp_path: Path, etcd: EtcdServer, daemon: DaemonProcess) -> None:
    """Two at once on one address: the second says so and ends."""
    daemon.write_rules(MINIMUM).start()
    done = alertd("run", "--rules", str(daemon.rules), "--etcd", etcd.endpoint, "--listen", f"127.0.0.1:{daemon.port}")
    assert done.returncode == 2
    assert f"127.0.0.1:{daemon.port}" in done.stderr
    assert "Traceback" not in done.stderr


def sees(daemon: DaemonProcess, instance: str) -> bool:
    """Return whether a daemon has logged anything about an instance."""
    return any(line.get("instance") == instance for line in daemon.log())


def test_two_at_once_on_one_etcd(tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox) -> None:
    """Both judge, and one tells."""
    with DaemonProcess(tmp_path / "one", etcd) as one, DaemonProcess(tmp_path / "two", etcd) as two:
        for daemon in (one, two):
            daemon.write_rules(MINIMUM, inbox).start()
        inbox.wait_for_count(1)
        etcd.ctl("put", "/services/apache/a", "")
        for daemon in (one, two):
            wait_until(partial(sees, daemon, "apache/a"), "both see it")
        inbox.wait_for_count(2)
        assert [daemon.stop() for daemon in (one, two)] == [0, 0]
    assert [message["title"].partition(" ")[0] for message in inbox.received] == ["[FIRING]", "[RESOLVED]"]


def test_reload_takes_new_rules_and_refuses_broken_ones(
    etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess
) -> None:
    """SIGHUP reads the rules again; a bad file leaves those in force, and says so at its place, also to people."""
    etcd.ctl("put", "/services/pay/a", "")
    daemon.write_rules(MINIMUM, inbox).start()
    inbox.wait_for_count(1)
    (daemon.rules / "more.yaml").write_text("rules: [{name: pay-few, service: pay, when: {instances: {below: 2}}}]\n")
    daemon.signal(signal.SIGHUP)
    inbox.wait_for(lambda received: any("[FIRING] pay-few pay" in message["title"] for message in received))
    (daemon.rules / "more.yaml").write_text("rules: [{name: pay-few, service: pay, wen: {}}]\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("the rules do not load: those in force stay")
    assert any("more.yaml:1" in event and "wen" in event for event in daemon.events())
    refused = "[FIRING] alertd-ruleset alertd · the rules do not load"
    inbox.wait_for(lambda received: any(refused in m["title"] and "more.yaml:1" in m["title"] for m in received))
    etcd.ctl("put", "/services/pay/b", "")
    inbox.wait_for(lambda received: any("[RESOLVED] pay-few pay" in message["title"] for message in received))
    (daemon.rules / "more.yaml").write_text("rules: [{name: pay-few, service: pay, when: {instances: {below: 2}}}]\n")
    daemon.signal(signal.SIGHUP)
    inbox.wait_for(lambda received: any("[RESOLVED] alertd-ruleset alertd" in message["title"] for message in received))


def test_logs_nothing_of_readiness_before_it(tmp_path: Path) -> None:
    """The word is for whoever waits for it."""
    etcd = EtcdServer(tmp_path / "etcd")
    with DaemonProcess(tmp_path / "alertd", etcd) as daemon:
        daemon.write_rules(MINIMUM).start(is_waiting=False)
        wait_until(lambda: any("trying on" in event for event in daemon.events()), "it tries")
        assert "ready" not in daemon.log_path.read_text().lower()


def test_the_embedded_etcd(tmp_path: Path) -> None:
    """`--embedded` needs no etcd beforehand; a killed one comes back, with the data, and the daemon goes on."""
    server = EtcdServer(tmp_path / "unused")
    server.port = free_port()
    state = tmp_path / "state"
    with DaemonProcess(tmp_path / "alertd", server, "--embedded", "--state-dir", str(state)) as daemon:
        daemon.write_rules(MINIMUM).start()
        server.ctl("put", "/services/apache/a", "")
        wait_until(lambda: "1 of 1" in daemon.get("/")[1], "the instance is seen")
        for pid in _children(daemon):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: any("trying on" in event for event in daemon.events()), "it notices")
        wait_until(lambda: daemon.get("/-/ready")[0] == 200, "it is back", 20)
        assert server.ctl("get", "--print-value-only=false", "/services/apache/a").startswith("/services/apache/a")
        pids = _children(daemon)
        assert daemon.stop() == 0
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def _children(daemon: DaemonProcess) -> list[int]:
    assert daemon.process is not None
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def test_a_page_without_javascript_and_with_guards(etcd: EtcdServer, daemon: DaemonProcess) -> None:
    """Names are escaped, headers forbid scripts."""
    etcd.ctl("put", "/services/<script>alert(1)</script>/a", "")
    daemon.write_rules(MINIMUM).start()
    page = daemon.get("/")[1]
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert daemon.get("/nothing")[0] == 404
