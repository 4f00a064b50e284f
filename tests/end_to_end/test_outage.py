"""etcd goes away under real daemons: one message, without etcd, and one when it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.process import ROUTES, DaemonProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.etcd_server import EtcdServer
    from tests.sinks import Arrivals, HttpInbox

RULES = "rules: [{name: lost, service: '*', when: {instance: down}}]\n" + ROUTES
QUICK = RULES + "settings: {flap: false, registry: {unreachable_after: 1s}}\n"
FIRING, RESOLVED = "[FIRING] alertd-registry", "[RESOLVED] alertd-registry"


def about_etcd(messages: Arrivals) -> Sequence[tuple[str, str]]:
    """Return kind and id of what was told of etcd itself."""
    return [
        (message["title"].partition("]")[0][1:], message["message"].splitlines()[-1])
        for message in messages
        if "alertd-registry" in message["title"]
    ]


def fill(etcd: EtcdServer) -> None:
    """Write until etcd takes no more."""
    for number in range(100):
        etcd.ctl("put", f"/fill/{number}", text="x" * 500_000)


def test_an_etcd_that_is_out_of_reach_is_told_of_once_and_again_when_it_is_back(
    tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox
) -> None:
    """What happened to services meanwhile is told after that, with its cause."""
    with DaemonProcess(tmp_path, etcd, "--state-dir", str(tmp_path / "state")) as daemon:
        daemon.write_rules(QUICK, inbox).start()
        etcd.ctl("put", "/services/apache/a", "{}")
        daemon.wait_for_log("up")
        etcd.kill()
        received = inbox.wait_for(lambda messages: len(about_etcd(messages)) == 1, 20)
        title = received[-1]["title"]
        assert title.startswith("[FIRING] alertd-registry alertd · services are not watched: etcd at ")
        assert title.endswith(" refuses the connection; is etcd running there? · critical")
        assert received[-1]["type"] == "failure"
        etcd.start()
        received = inbox.wait_for(lambda messages: len(about_etcd(messages)) == 2, 20)
        assert received[-1]["title"].startswith("[RESOLVED] alertd-registry alertd · etcd is back after ")
        assert received[-1]["type"] == "success"
        etcd.ctl("del", "/services/apache/a")
        inbox.wait_for(lambda messages: "lost apache/a" in messages[-1]["title"])
        assert len(about_etcd(inbox.received)) == 2


def test_the_replica_that_led_last_tells_and_the_others_only_much_later(
    tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox
) -> None:
    """The other tells too, after three times as long, under the same id."""
    one = DaemonProcess(tmp_path / "one", etcd, "--state-dir", str(tmp_path / "state1"), "--replica", "one")
    two = DaemonProcess(tmp_path / "two", etcd, "--state-dir", str(tmp_path / "state2"), "--replica", "two")
    with one, two:
        one.write_rules(QUICK, inbox).start().wait_for_log("speaks now")
        two.write_rules(QUICK, inbox).start().wait_for_log("two stands by: one leads")
        etcd.kill()
        told = about_etcd(inbox.wait_for(lambda messages: len(about_etcd(messages)) == 2, 20))
        assert told[0] == told[1]
        etcd.start()
        told = about_etcd(inbox.wait_for(lambda messages: len(about_etcd(messages)) == 4, 20))
        assert told[2] == told[3]
        assert told[2][0] == "RESOLVED"


def test_that_a_full_etcd_lets_nobody_lead_is_told(tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox) -> None:
    """The leader is stopped while etcd is full: who stands by says that nobody can take its place, and later does."""
    etcd.stop()
    etcd.flags = (f"--quota-backend-bytes={16 << 20}",)
    etcd.start()
    one = DaemonProcess(tmp_path / "one", etcd, "--state-dir", str(tmp_path / "state1"), "--replica", "one")
    two = DaemonProcess(tmp_path / "two", etcd, "--state-dir", str(tmp_path / "state2"), "--replica", "two")
    with one, two:
        one.write_rules(QUICK, inbox).start().wait_for_log("speaks now")
        two.write_rules(QUICK, inbox).start().wait_for_log("two stands by: one leads")
        with pytest.raises(AssertionError, match="database space exceeded"):
            fill(etcd)
        assert one.stop() == 0
        received = inbox.wait_for(lambda messages: len(about_etcd(messages)) == 1, 20)
        assert received[-1]["title"].startswith(f"{FIRING} alertd · no alertd leads, so nobody is told of services: ")
        assert "its database is full" in received[-1]["title"]
        etcd.ctl("del", "--prefix", "/fill/")
        etcd.ctl("compact", str(etcd.revision()))
        etcd.ctl("defrag")
        etcd.ctl("alarm", "disarm")
        received = inbox.wait_for(lambda messages: len(about_etcd(messages)) == 2, 20)
        assert received[-1]["title"].startswith(f"{RESOLVED} alertd · somebody leads again after ")
        two.wait_for_log("two leads now")


def test_who_is_killed_meanwhile_tells_the_end_after_its_restart(
    tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox
) -> None:
    """The state dir remembers what was told; it is not told again."""
    with DaemonProcess(tmp_path, etcd, "--state-dir", str(tmp_path / "state")) as daemon:
        daemon.write_rules(QUICK, inbox).start().wait_for_log("speaks now")
        etcd.kill()
        inbox.wait_for(lambda messages: len(about_etcd(messages)) == 1, 20)
        daemon.kill()
        daemon.start(is_waiting=False)
        etcd.start()
        inbox.wait_for(lambda messages: about_etcd(messages)[-1][0] == "RESOLVED", 20)
    kinds = [kind for kind, _ in about_etcd(inbox.received)]
    ids = {identifier for _, identifier in about_etcd(inbox.received)}
    assert kinds[0] == "FIRING"
    assert kinds.count("RESOLVED") == 1
    assert len(ids) == 2


def test_what_expires_soon_after_etcd_is_back_is_doubted(tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox) -> None:
    """Though nothing had changed when it came back: an instance may not have found it again yet."""
    rules = RULES + "settings: {flap: false, registry: {unreachable_after: 1s, settle: 8s}}\n"
    with DaemonProcess(tmp_path, etcd, "--state-dir", str(tmp_path / "state")) as daemon:
        daemon.write_rules(rules, inbox).start().wait_for_log("speaks now")
        lease = etcd.ctl("lease", "grant", "5").split()[1]
        etcd.ctl("put", "/services/apache/a", "{}", f"--lease={lease}")
        daemon.wait_for_log("up")
        etcd.kill()
        inbox.wait_for(lambda messages: len(about_etcd(messages)) == 1, 20)
        etcd.start()  # the lease begins anew with it
        daemon.wait_for_log("down", 20)
        inbox.wait_for(lambda messages: "etcd was away for" in messages[-1]["title"], 20)
        etcd.ctl("put", "/services/apache/a", "{}")
        inbox.wait_for(lambda messages: about_etcd(messages)[-1][0] == "RESOLVED", 20)
        assert not [message for message in inbox.received if "lost apache" in message["title"]]
