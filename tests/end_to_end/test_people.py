"""Silences, acknowledgements and forgetting as people do it: the command line, a real etcd, real daemons.

That somebody is not told can only be seen beside somebody who is: `clock` is an alert that is repeated all the while.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.process import DaemonProcess, alertd
from tests.etcd_server import EtcdServer, wait_until
from tests.sinks import Answer, HttpInbox

RULES = """
rules:
  - {name: lost, service: "*", when: {instance: down}, flap: false}
  - {name: few, service: clock, when: {instances: {below: 9}}}
routes:
  - {match: {service: clock}, group_wait: 0s, repeat_interval: 300ms}
  - {default: true, group_wait: 0s, group_interval: 0s, repeat_interval: 300ms}
"""


class Desk:
    """Somebody at a terminal beside one etcd and one inbox."""

    def __init__(self, etcd: EtcdServer, inbox: HttpInbox) -> None:
        self.etcd = etcd
        self.inbox = inbox

    def do(self, *arguments: str, **variables: str) -> str:
        """Run a command, which must succeed, and return what it printed."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done
        return done.stdout

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return alertd(*arguments, "--etcd", self.etcd.endpoint, timeout=30, **variables)

    def silence(self, *arguments: str) -> str:
        """Make a silence and return its id."""
        (made,) = json.loads(self.do("silence", "add", *arguments, "--json"))
        return str(made["id"])

    def up(self, *names: str) -> None:
        """Register instances."""
        for name in names:
            self.etcd.ctl("put", f"/services/{name}", "")

    def down(self, name: str) -> None:
        """Remove one."""
        self.etcd.ctl("del", f"/services/{name}")

    def alert(self, service: str) -> dict[str, Any]:
        """Return the document of a service's lost alert, empty if there is none."""
        shown = self.etcd.ctl("get", "--prefix", "/alertd/alerts/", "--print-value-only")
        found = [json.loads(line) for line in shown.splitlines() if line]
        return next((each for each in found if (each["service"], each["rule"]) == (service, "lost")), {})

    def keys(self, folder: str) -> list[str]:
        """Return the names of the keys in one of alertd's folders."""
        shown = self.etcd.ctl("get", "--prefix", f"/alertd/{folder}/", "--keys-only")
        return [line.rpartition("/")[2] for line in shown.split()]

    def told(self, service: str) -> list[str]:
        """Return the kinds of what was told of a service, in order."""
        titles = [message["title"] for message in list(self.inbox.received)]
        return [title[1:].partition("]")[0] for title in titles if f" {service}" in title]

    def ids_of(self, service: str, count: int) -> list[str]:
        """Return the ids of the messages about a service, once so many have come."""
        found: list[dict[str, Any]] = []

        def has_come() -> bool:
            found[:] = [each for each in list(self.inbox.received) if f" {service}" in each["title"]]
            return len(found) >= count

        wait_until(has_come, f"{count} messages about {service}")
        return [str(each["message"].splitlines()[-1].removeprefix("id ")) for each in found]

    def wait_for_told(self, service: str, *kinds: str) -> None:
        """Wait until the last that was told of a service are these."""
        wait_until(lambda: self.told(service)[-len(kinds) :] == [*kinds], f"{service} is told {kinds}")

    def let_time_pass(self, times: int = 3) -> None:
        """Wait until the clock has been repeated a few times."""
        before = len(self.told("clock"))
        wait_until(lambda: len(self.told("clock")) >= before + times, "the clock is repeated")

    def expect_silence(self, service: str) -> None:
        """Nothing is told of a service while the clock goes on."""
        before = self.told(service)
        self.let_time_pass()
        assert self.told(service) == before


@pytest.fixture
def desk(etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess) -> Desk:
    """Give a desk, with services that are up and a daemon that is not started yet."""
    daemon.write_rules(RULES, inbox)
    desk = Desk(etcd, inbox)
    desk.up("clock/x", "pay/a", "支付/a", "支付/b")
    return desk


def test_taken_on_by_a_message_s_id_then_given_back_then_resolved(desk: Desk, daemon: DaemonProcess) -> None:
    """No reminder while it is taken on; the resolve is told, and the next firing is told as ever."""
    daemon.start()
    desk.down("支付/a")
    desk.wait_for_told("支付", "FIRING", "REMINDER")
    message = next(each for each in desk.inbox.received if "支付" in each["title"])
    name = message["message"].splitlines()[-1].removeprefix("id ")
    wait_until(lambda: name in desk.alert("支付")["notifications"], "the message is known in etcd")
    said = desk.do("ack", name[:8], "--comment", "我来", ALERTD_AUTHOR="安娜")
    assert said.startswith("acknowledged: lost 支付/a, until it resolves or ")
    wait_until(lambda: desk.alert("支付")["acknowledged"], "it is shown")
    shown = desk.alert("支付")["acknowledged"]
    assert (shown["by"], shown["comment"], list(shown)) == ("安娜", "我来", ["by", "comment", "at", "until"])
    desk.expect_silence("支付")

    assert desk.do("unack", "支付/a") == "no longer acknowledged: lost 支付/a\n"
    desk.wait_for_told("支付", "REMINDER")
    desk.do("ack", "支付")
    wait_until(lambda: desk.alert("支付")["acknowledged"], "it is taken on again")
    desk.up("支付/a")
    desk.wait_for_told("支付", "RESOLVED")
    wait_until(lambda: desk.keys("acks") == [], "the leader clears it away")
    assert "nothing fires on 支付" in desk.run("ack", "支付").stderr
    desk.down("支付/a")
    desk.wait_for_told("支付", "FIRING", "REMINDER")


def test_a_message_s_id_outlives_the_daemon_that_wrote_it(desk: Desk, daemon: DaemonProcess) -> None:
    """Killed and started anew: what was told is acknowledged by its id, and so is what was still on its way."""
    daemon.write_rules(RULES.replace("repeat_interval: 300ms", "repeat_interval: 30d"), desk.inbox)
    daemon.start()
    desk.down("支付/a")
    told = desk.ids_of("支付", 1)[0]
    wait_until(lambda: desk.alert("支付").get("notifications") == [told], "the message is known in etcd")
    desk.inbox.default = Answer(503)
    desk.down("pay/a")
    late = desk.ids_of("pay", 1)[0]
    daemon.kill()
    if shown := desk.alert("pay"):
        desk.etcd.ctl("del", f"/alertd/alerts/{shown['id']}")  # as if it had died before it showed that
    desk.inbox.default = Answer()
    refused = len(desk.ids_of("pay", 1))
    daemon.start()
    assert set(desk.ids_of("pay", refused + 1)) == {late}
    wait_until(lambda: desk.alert("pay").get("notifications") == [late], "the other is known as well")
    assert desk.alert("支付")["notifications"] == [told]
    assert desk.do("ack", told).startswith("acknowledged: lost 支付/a, ")
    assert desk.do("ack", late).startswith("acknowledged: lost pay/a, ")


def test_a_silence_holds_until_its_end_whichever_that_is(desk: Desk, daemon: DaemonProcess) -> None:
    """Expired by hand, at its time, or when all that it muted has resolved; then what fires is told."""
    daemon.start()
    by_hand = desk.silence("支付", "--for", "1h", "--comment", "new racks")
    until_resolved = desk.silence("pay/a", "--for", "1h", "--until-resolved")
    wait_until(lambda: daemon.events().count("silenced") == 2, "both are known")
    desk.down("支付/a")
    desk.down("pay/a")
    wait_until(lambda: desk.alert("pay") and desk.alert("支付"), "both fire")
    assert desk.alert("支付")["muted"] == f"silence:{by_hand}"
    desk.expect_silence("支付")
    assert "lost 支付/a" in desk.do("silence", "add", desk.alert("支付")["id"], "--for", "4s")
    assert desk.do("silence", "expire", by_hand[:5]) == f"silence {by_hand} has ended\n"
    assert "FIRING" not in desk.told("支付")
    desk.wait_for_told("支付", "FIRING")

    assert until_resolved in desk.keys("silences")
    desk.up("pay/a")
    wait_until(lambda: until_resolved not in desk.keys("silences"), "the leader deletes it")
    desk.down("pay/a")
    desk.wait_for_told("pay", "FIRING")


def test_what_was_said_outlives_daemons_and_etcd(desk: Desk, daemon: DaemonProcess) -> None:
    """Said while no daemon runs, it holds from the start; so it does after restarts; junk beside it does no harm."""
    by_hand = {"format": 1, "match": {"service": "支*"}, "until": "2036-01-01T00:00:00Z"}
    desk.etcd.ctl("put", "/alertd/silences/by-hand", json.dumps(by_hand))
    desk.etcd.ctl("put", "/alertd/silences/junk", "not json")
    desk.etcd.ctl("put", "/services/支付/b", '{"status": "failing"}')
    desk.etcd.ctl("put", "/services/pay/b", '{"status": "failing"}')
    daemon.start()
    assert sum("silences/junk is left aside" in event for event in daemon.events()) == 1
    desk.wait_for_told("pay", "FIRING")
    wait_until(lambda: desk.alert("pay") and desk.alert("支付"), "both are known in etcd")
    assert desk.alert("支付")["muted"] == "silence:by-hand"
    desk.do("ack", "pay/b")
    wait_until(lambda: desk.alert("pay")["acknowledged"], "it is taken on")
    assert daemon.stop() == 0
    desk.etcd.restart()
    daemon.start()
    desk.expect_silence("pay")
    assert desk.told("pay").count("FIRING") == 1
    assert desk.told("支付") == []
    assert desk.keys("acks") == [desk.alert("pay")["id"]]


def test_two_daemons_hear_the_same(desk: Desk, daemon: DaemonProcess, etcd: EtcdServer, tmp_path: Path) -> None:
    """One speaks; the other keeps as quiet when it is its turn."""
    daemon.start()
    desk.etcd.ctl("put", "/services/pay/b", '{"status": "failing"}')
    desk.wait_for_told("pay", "FIRING")
    with DaemonProcess(tmp_path / "later", etcd, "--replica", "later") as later:
        later.write_rules(RULES, desk.inbox).start()
        desk.do("ack", "pay")
        desk.silence("--match", "service=支付", "--for", "1h")
        for one in (daemon, later):
            wait_until(lambda each=one: {"taken on", "silenced"} <= set(each.events()), "both know")  # type: ignore[misc]
        desk.down("支付/a")
        desk.expect_silence("pay")
        assert daemon.stop() == 0
        later.wait_for_log("speaks now")
        desk.expect_silence("pay")
        assert (desk.told("支付"), desk.told("pay").count("FIRING")) == ([], 1)


def test_what_is_gone_is_forgotten_and_what_is_up_is_not(desk: Desk, daemon: DaemonProcess) -> None:
    """Told as forgotten; each request is obeyed at once."""
    daemon.start()
    desk.down("支付/a")
    desk.wait_for_told("支付", "FIRING")
    assert "支付/b is up" in desk.run("forget", "支付/b").stderr
    assert desk.do("forget", "支付/a") == "支付/a is to be forgotten\n"
    desk.wait_for_told("支付", "FORGOTTEN")
    wait_until(lambda: not desk.alert("支付"), "its document goes")
