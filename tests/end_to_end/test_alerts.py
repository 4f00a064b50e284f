"""The alerts that a daemon shows in etcd, and who of several shows them: seen by `status`, `alerts` and `etcdctl`."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, put_op
from tests.end_to_end.process import ROUTES, DaemonProcess, alertd
from tests.etcd_server import EtcdServer, wait_until

RULES = (
    """
rules:
  - {name: lost, service: "*", when: {instance: down}, flap: false}
  - {name: few, service: 支付, when: {instances: {below: 2}}, severity: critical, labels: {team: web}, flap: false}
"""
    + ROUTES
)
LEASE = 5.0


def stored(etcd: EtcdServer) -> dict[str, dict[str, Any]]:
    """Return the alerts' documents by id, as plain `etcdctl` reads them."""
    lines = etcd.ctl("get", "--prefix", "/alertd/alerts/").splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return {key.removeprefix("/alertd/alerts/"): json.loads(value) for key, value in pairs}


def targets(etcd: EtcdServer) -> set[str]:
    """Return what the documents speak of, as `rule service/instance`."""
    found = stored(etcd).values()
    return {f"{alert['rule']} {alert['service']}/{alert['instance'] or ''}".rstrip("/") for alert in found}


def leader(etcd: EtcdServer) -> str | None:
    """Return who leads, as `status` says."""
    shown = alertd("status", "--json", "--etcd", etcd.endpoint)
    assert shown.returncode == 0, shown.stderr
    name: str | None = json.loads(shown.stdout)["leader"]
    return name


def settled(etcd: EtcdServer, seconds: float = 2.0) -> int:
    """Wait until etcd has stayed at one revision for so long, and return that: what was to be written is."""
    seen = [(etcd.revision(), time.monotonic())]

    def rests() -> bool:
        revision, now = etcd.revision(), time.monotonic()
        if revision != seen[-1][0]:
            seen.append((revision, now))
        return now - seen[-1][1] > seconds

    wait_until(rests, "etcd rests")
    return seen[-1][0]


def seed(etcd: EtcdServer) -> None:
    """Register two instances of one service and one of another."""
    for name in ("支付/甲", "支付/乙", "apache/a"):
        etcd.ctl("put", f"/services/{name}", '{"host": "core01"}')


@pytest.fixture
def replicas(tmp_path: Path, etcd: EtcdServer) -> Iterator[tuple[DaemonProcess, DaemonProcess]]:
    """Give two daemons on one etcd, of which `one` leads."""
    seed(etcd)
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(DaemonProcess(tmp_path / name, etcd, "--replica", name)).write_rules(RULES)
            for name in ("one", "two")
        )
        one.start().wait_for_log("one leads now")
        two.start().wait_for_log("two stands by: one leads")
        yield one, two


# --- one daemon ------------------------------------------------------------------------------------------------------


def test_an_alert_is_seen_from_any_node_until_it_ends(etcd: EtcdServer, daemon: DaemonProcess) -> None:
    """In the contract's shape, by all who read etcd; the exit code says that something fires."""
    seed(etcd)
    daemon.command += ["--replica", "r1"]
    daemon.write_rules(RULES).start()
    wait_until(lambda: leader(etcd) == "r1", "it leads")
    quiet = alertd("alerts", "--etcd", etcd.endpoint, "--exit-code")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "no alerts\n", "")

    etcd.ctl("del", "/services/支付/甲")
    wait_until(lambda: targets(etcd) == {"lost 支付/甲", "few 支付"}, "both are there")
    documents = stored(etcd)
    done = alertd("alerts", "--json", "--etcd", etcd.endpoint, "--exit-code")
    assert done.returncode == 1
    few, lost = json.loads(done.stdout)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", few.pop("since"))
    assert few == {
        "id": few["id"],
        "rule": "few",
        "service": "支付",
        "instance": None,
        "per": None,
        "state": "firing",
        "flapping": False,
        "muted": None,
        "acknowledged": None,
        "severity": "critical",
        "labels": {"team": "web"},
        "summary": "few 支付: 1 of 2 up, needs 2",
    }
    assert (lost["instance"], lost["severity"]) == ("甲", "warning")
    assert {few["id"], lost["id"]} == set(documents)
    assert documents[few["id"]].items() >= {"format": 1, **few}.items()

    picture = json.loads(alertd("status", "--json", "--etcd", etcd.endpoint).stdout)
    assert [alert["id"] for alert in picture["alerts"]] == [few["id"], lost["id"]]
    text = alertd("status", "支付", "--etcd", etcd.endpoint, "--exit-code")
    assert text.returncode == 1
    assert "r1 leads" in text.stdout
    assert "1 of 2 up, needs 2" in text.stdout
    other = alertd("status", "apache", "--etcd", etcd.endpoint, "--exit-code")
    assert (other.returncode, "no alerts" in other.stdout) == (0, True)

    etcd.ctl("put", "/services/支付/甲", "")
    wait_until(lambda: not stored(etcd), "they are gone")
    assert json.loads(alertd("alerts", "--json", "--etcd", etcd.endpoint).stdout) == []


def test_without_a_leader_it_is_said_how_old_the_alerts_are(etcd: EtcdServer, daemon: DaemonProcess) -> None:
    """A daemon that was killed leaves them; people are told, and on stderr whoever reads JSON."""
    seed(etcd)
    daemon.write_rules(RULES).start()
    etcd.ctl("del", "/services/apache/a")
    wait_until(lambda: stored(etcd), "the alert is there")
    daemon.signal(signal.SIGKILL)
    wait_until(lambda: leader(etcd) is None, "nobody leads", LEASE + 2)
    text = alertd("status", "--etcd", etcd.endpoint)
    assert "apache/a" in text.stdout
    assert "no daemon leads: the alerts were last written at" in text.stdout
    assert text.stdout.rstrip().endswith("s ago")
    done = alertd("alerts", "--json", "--etcd", etcd.endpoint)
    assert len(json.loads(done.stdout)) == 1
    assert done.stderr.startswith("alertd: no daemon leads: the alerts were last written at")


def test_nothing_is_written_at_rest(etcd: EtcdServer, replicas: tuple[DaemonProcess, DaemonProcess]) -> None:
    """Alerts that last, a leader and one that stands by: etcd stays at its revision."""
    etcd.ctl("del", "/services/apache/a")
    wait_until(lambda: targets(etcd) == {"lost apache/a"}, "the alert is there")
    revision = settled(etcd)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert etcd.revision() == revision
        time.sleep(0.2)
    assert leader(etcd) == "one"


def test_new_rules_show_in_alerts_that_last(etcd: EtcdServer, daemon: DaemonProcess) -> None:
    """Nothing is decided about them, yet they read otherwise."""
    seed(etcd)
    daemon.write_rules(RULES).start()
    etcd.ctl("del", "/services/apache/a")
    wait_until(lambda: stored(etcd), "the alert is there")
    daemon.write_rules(RULES.replace("name: lost,", 'name: lost, severity: info, summary: "where is {{ instance }}?",'))
    daemon.signal(signal.SIGHUP)

    def reads() -> tuple[str, str]:
        (alert,) = stored(etcd).values()
        return alert["severity"], alert["summary"]

    wait_until(lambda: reads() == ("info", "where is a?"), "it reads as the new rules say")


def test_alerts_of_an_earlier_life_are_removed(etcd: EtcdServer, daemon: DaemonProcess) -> None:
    """But not before the daemon knows what there is."""
    etcd.ctl("put", "/services/apache/b", "")
    stale = {"format": 1, "id": "stale", "rule": "old", "service": "apache", "instance": None, "state": "firing"}
    etcd.ctl("put", "/alertd/alerts/stale", json.dumps(stale))
    assert "stale" in alertd("alerts", "--json", "--etcd", etcd.endpoint).stdout
    daemon.write_rules(RULES.replace("支付", "apache")).start()
    wait_until(lambda: targets(etcd) == {"few apache"}, "the stale one has gone, the true one is there")


def test_alerts_of_a_newer_alertd_are_left(etcd: EtcdServer, daemon: DaemonProcess) -> None:
    """Each command says that there are some; a daemon says so too, and does not lead."""
    etcd.ctl("put", "/alertd/alerts/tomorrow", '{"format": 2, "id": "tomorrow"}')
    etcd.ctl("put", "/services/apache/b", "")
    daemon.write_rules(RULES.replace("支付", "apache")).start()
    wait_until(lambda: any(event.startswith("this replica stands by") for event in daemon.events()), "it stands by")
    assert stored(etcd)["tomorrow"] == {"format": 2, "id": "tomorrow"}
    for command in ("alerts", "status"):
        done = alertd(command, "--json", "--etcd", etcd.endpoint)
        assert "tomorrow" not in done.stdout
        assert "alertd: alerts not shown: 1, which a newer alertd has written; update this one\n" in done.stderr


def test_a_daemon_that_starts_again_removes_no_alert_that_it_does_not_know_yet(
    etcd: EtcdServer, daemon: DaemonProcess
) -> None:
    """It stands for leader once it has judged what there is, however long that takes."""

    async def register_many() -> None:
        async with Client(EtcdSettings((etcd.endpoint,))) as client:
            for batch in range(0, 20_000, 100):
                keys = (f"/services/many/{number}".encode() for number in range(batch, batch + 100))
                await client.txn([], [put_op(key, b"") for key in keys])

    def created() -> str:
        fields = etcd.ctl("get", "--prefix", "/alertd/alerts/", "-w", "fields")
        return str(re.findall(r'"CreateRevision" : (\d+)', fields))

    asyncio.run(register_many())
    etcd.ctl("put", "/services/支付/甲", "")
    daemon.write_rules(RULES).start()
    wait_until(lambda: targets(etcd) == {"few 支付"}, "the alert is there")
    before = created(), next(iter(stored(etcd).values()))["since"]
    daemon.stop()
    daemon.start()
    wait_until(lambda: daemon.events().count("speaks now") == 2, "it leads again")
    assert (created(), next(iter(stored(etcd).values()))["since"]) == before


def test_etcd_killed_and_started_again(etcd: EtcdServer, daemon: DaemonProcess) -> None:
    """What changed at that time is shown when etcd is back."""
    seed(etcd)
    daemon.write_rules(RULES).start()
    etcd.ctl("del", "/services/apache/a")
    wait_until(lambda: stored(etcd), "the alert is there")
    etcd.restart()
    etcd.ctl("put", "/services/apache/a", "")
    etcd.ctl("del", "/services/支付/乙")
    wait_until(lambda: targets(etcd) == {"lost 支付/乙", "few 支付"}, "etcd shows how it is now", 20)


# --- two daemons -----------------------------------------------------------------------------------------------------


def test_a_leader_that_is_killed_is_followed(etcd: EtcdServer, replicas: tuple[DaemonProcess, DaemonProcess]) -> None:
    """Within the time of its lease and a second; what changed in between is shown then."""
    one, two = replicas
    etcd.ctl("del", "/services/apache/a")
    wait_until(lambda: targets(etcd) == {"lost apache/a"}, "the alert is there")
    one.signal(signal.SIGKILL)
    etcd.ctl("put", "/services/apache/a", "")
    etcd.ctl("del", "/services/支付/甲")
    two.wait_for_log("two leads now", LEASE + 1)
    wait_until(lambda: targets(etcd) == {"lost 支付/甲", "few 支付"}, "the alerts are right", 2)
    assert leader(etcd) == "two"


def test_a_leader_that_ends_politely_is_followed_at_once(
    etcd: EtcdServer, replicas: tuple[DaemonProcess, DaemonProcess]
) -> None:
    """It gives its lease back, so that nobody has to wait for the end of that."""
    one, two = replicas
    assert one.stop() == 0
    two.wait_for_log("two leads now", 1.5)


def test_a_leader_that_stood_still_writes_nothing_when_it_wakes(
    etcd: EtcdServer, replicas: tuple[DaemonProcess, DaemonProcess]
) -> None:
    """It wakes with much to say, long after another took over; all that it does is to stand by."""
    one, two = replicas
    one.signal(signal.SIGSTOP)
    etcd.ctl("del", "/services/apache/a")
    two.wait_for_log("two leads now", LEASE + 1)
    wait_until(lambda: targets(etcd) == {"lost apache/a"}, "the other shows the alert")
    etcd.ctl("del", "/services/支付/甲")
    wait_until(lambda: len(stored(etcd)) == 3, "and what follows")
    revision, documents = etcd.revision(), stored(etcd)
    one.signal(signal.SIGCONT)
    one.wait_for_log("one stands by: two leads")
    wait_until(lambda: "支付/甲" in [line.get("instance") for line in one.log()], "it knows what happened meanwhile")
    assert (etcd.revision(), stored(etcd)) == (revision, documents)
    assert "one leads no more: its lease was not renewed in time" in one.events()
