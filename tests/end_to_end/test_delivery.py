"""What is wrong with delivery shows where people look: `alertd status` from any node, the page, the log."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.end_to_end.process import ROUTES, DaemonProcess, alertd
from tests.etcd_server import EtcdServer, wait_until
from tests.sinks import Answer, HttpInbox

if TYPE_CHECKING:
    from pathlib import Path

RULES = 'rules: [{name: lost, service: "*", when: {instance: down}, flap: false}]\n' + ROUTES


def shown(etcd: EtcdServer) -> list[dict[str, Any]]:
    """Return what `status --json` says of delivery."""
    found: list[dict[str, Any]] = json.loads(alertd("status", "--etcd", etcd.endpoint, "--json").stdout)["delivery"]
    return found


def is_recovered(etcd: EtcdServer) -> bool:
    """Whether nothing waits any more for the only target that shows."""
    (target,) = shown(etcd)
    return (target["undelivered"], target["stuck_since"]) == (0, None)


def revisions(etcd: EtcdServer) -> Any:
    """Return what etcd has of delivery, with its versions."""
    return json.loads(etcd.ctl("get", "/alertd/delivery", "--write-out", "json"))["kvs"]


def test_a_stuck_target_and_dead_letters_show_until_all_is_well(
    etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess, tmp_path: Path
) -> None:
    """From etcd, so also while nobody leads, and by whoever leads next; nothing is written while nothing changes."""
    for name in ("pay/a", "支付/a"):
        etcd.ctl("put", f"/services/{name}", "")
    daemon.write_rules(RULES, inbox).start()
    assert shown(etcd) == []
    inbox.answers.append(Answer(400, body=b"secret-free words"))
    inbox.default = Answer(503, body=b"down for now")
    etcd.ctl("del", "/services/支付/a")
    wait_until(lambda: shown(etcd), "the dead letter shows")
    (target,) = shown(etcd)
    (letter,) = target["dead_letters"]
    assert (target["channel"], target["target"], target["given_up"]) == ("ops", "ops #1 json", 1)
    assert (target["undelivered"], target["stuck_since"]) == (0, None)
    assert target["last_error"] == letter["why"] == "HTTP 400 Bad Request: secret-free words"
    assert "支付" in letter["about"]
    before = revisions(etcd)

    etcd.ctl("del", "/services/pay/a")
    wait_until(lambda: shown(etcd)[0]["stuck_since"], "the target counts as stuck", 30)
    (target,) = shown(etcd)
    assert (target["undelivered"], target["last_error"]) == (1, "HTTP 503 Service Unavailable: down for now")
    assert revisions(etcd) != before
    text = alertd("status", "--etcd", etcd.endpoint).stdout
    assert "ops #1 json" in text
    assert "HTTP 503" in text
    _, page = daemon.get("/")
    assert "Given up" in page
    assert "HTTP 400 Bad Request: secret-free words" in page
    assert daemon.events().count("not delivered") == 1

    daemon.kill()
    assert shown(etcd)[0]["undelivered"] == 1
    inbox.default = Answer()
    with DaemonProcess(tmp_path / "next", etcd, "--replica", "next") as successor:
        successor.write_rules(RULES, inbox).start()
        wait_until(lambda: is_recovered(etcd), "the target has recovered", 30)
        (target,) = shown(etcd)
        assert (target["given_up"], target["dead_letters"]) == (1, [letter])
        at_rest = revisions(etcd)
        time.sleep(3.0)
        assert revisions(etcd) == at_rest
        etcd.ctl("put", "/services/pay/a", "")
        wait_until(lambda: "RESOLVED" in str(inbox.received[-1]), "something is told")
        wait_until(lambda: shown(etcd) == [target], "it shows as before")
