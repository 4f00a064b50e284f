"""With plain etcdctl and no secretary: keys come and go, rules judge, a webhook receives."""

from __future__ import annotations

import time

from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.etcd_server import EtcdServer, wait_until
from tests.sinks import HttpInbox

MINIMUM = "rules: [{name: apache-minimum, service: apache, when: {instances: {below: 2}}}]\n" + ROUTES


def titles(inbox: HttpInbox) -> list[str]:
    """Return the titles received, up to the first separator."""
    return [message["title"].split(" · ")[0] for message in inbox.received]


def lease(etcd: EtcdServer, seconds: int) -> str:
    """Return the id of a new lease."""
    return etcd.ctl("lease", "grant", str(seconds)).split()[1]


def test_from_a_lease_that_ends_to_the_webhook(etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess) -> None:
    """Two up: silence. A lease ends: firing within 1 s, expired. Removed: deleted. Put back: exactly one resolved."""
    first = ("/services/apache/172.31.14.97", '{"host": "core01", "port": 8080}')
    etcd.ctl("put", f"--lease={lease(etcd, 600)}", *first)
    etcd.ctl("put", f"--lease={lease(etcd, 600)}", "/services/apache/172.31.14.98", "172.31.14.98:8080")
    daemon.write_rules(MINIMUM, inbox).start()
    etcd.ctl("put", f"--lease={lease(etcd, 2)}", *first)
    assert inbox.received == []

    wait_until(lambda: not etcd.ctl("get", "/services/apache/172.31.14.97"), "the lease ends")
    gone_at = time.monotonic()
    (fired,) = inbox.wait_for_count(1, timeout=2)
    assert fired["at"] - gone_at < 1
    assert fired["title"] == "[FIRING] apache-minimum apache · 1 of 2 up, needs 2 · warning"
    assert "DOWN 172.31.14.97 core01  expired: lost contact, its lease ended" in fired["message"]
    assert fired["message"].splitlines()[-1].startswith("id ")
    assert fired["type"] == "warning"

    etcd.ctl("del", "/services/apache/172.31.14.98")
    wait_until(lambda: "down" in [line["event"] for line in daemon.log() if line.get("cause") == "deleted"], "deleted")
    etcd.ctl("put", "/services/apache/172.31.14.98", "")
    etcd.ctl("put", "/services/apache/172.31.14.97", "")
    inbox.wait_for_count(2)
    etcd.ctl("put", "/services/apache/172.31.14.99", "")
    wait_until(lambda: any(line.get("instance") == "apache/172.31.14.99" for line in daemon.log()), "the last put")
    assert titles(inbox) == ["[FIRING] apache-minimum apache", "[RESOLVED] apache-minimum apache"]
    assert inbox.received[1]["type"] == "success"


def test_a_removed_key_is_told_as_deleted(etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess) -> None:
    """Also one that has a lease, while that lives."""
    etcd.ctl("put", f"--lease={lease(etcd, 600)}", "/services/apache/a", "")
    etcd.ctl("put", "/services/apache/b", "")
    daemon.write_rules(MINIMUM, inbox).start()
    etcd.ctl("del", "/services/apache/a")
    (fired,) = inbox.wait_for_count(1)
    assert "DOWN a  deleted: its key was removed unannounced" in fired["message"]


def test_twenty_flips_give_one_flapping_and_one_settled(
    etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess
) -> None:
    """And nothing else after the flapping starts; the state told at the end is true."""
    flap = "flap: {changes: 6, within: 1m, settle: 4s}"
    rule = f"rules: [{{name: lost, service: apache, when: {{instance: down}}, {flap}}}]\n{ROUTES}"
    etcd.ctl("put", "/services/apache/a", "")
    daemon.write_rules(rule, inbox).start()
    for flip in range(20):
        etcd.ctl(*(("put", "/services/apache/a", "") if flip % 2 else ("del", "/services/apache/a")))
        time.sleep(0.05)
    inbox.wait_for(lambda received: any("[SETTLED]" in message["title"] for message in received), timeout=10)
    kinds = [title.split("]")[0].strip("[") for title in titles(inbox)]
    begun = kinds.index("FLAPPING")
    assert kinds[begun:] == ["FLAPPING", "SETTLED"]
    assert set(kinds[:begun]) == {"FIRING", "RESOLVED"}
    assert "now resolved" in inbox.received[-1]["title"]


def test_a_transaction_of_128_puts_and_odd_values(etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess) -> None:
    """All are taken in, whatever they hold, and the daemon goes on."""
    rules = "rules: [{name: odd, service: '*', when: {malformed: true}}]\n" + ROUTES
    daemon.write_rules(rules, inbox).start()
    puts = "".join(f"put /services/many/{number} {number}\n" for number in range(128))
    etcd.ctl("txn", text=f"\n{puts}\n\n")
    etcd.ctl("put", "/services/支付/节点 一", "NaN")
    etcd.ctl("put", "/services/a%20b/c d", text='{"a":' * 20_000)
    etcd.ctl("put", "/services/big/one", text="x" * 1_000_000)
    etcd.ctl("put", "/services/noinstance", "")
    received = inbox.wait_for(lambda all_: any("big/one" in message["title"] for message in all_))
    text = "\n".join(message["title"] for message in received)
    assert "[FIRING:128] odd many" in text
    assert "支付/节点 一" in text
    assert "a%20b/c d" in text


def test_what_happens_when_nobody_answers_delays_nobody_else(
    etcd: EtcdServer, inbox: HttpInbox, daemon: DaemonProcess
) -> None:
    """A target that refuses connections is retried and seen in the log; the healthy one is told at once."""
    channels = f'channels: {{dead: {{urls: ["json://127.0.0.1:1/"]}}, ops: {{urls: ["{inbox.url}/"]}}}}\n'
    daemon.write_rules(MINIMUM + channels).start()
    inbox.wait_for_count(1, timeout=3)
    daemon.wait_for_log("delivery failed, will be tried again")
