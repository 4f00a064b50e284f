"""`alertd status`: straight from etcd, without a daemon."""

from __future__ import annotations

import json

from tests.end_to_end.process import alertd
from tests.etcd_server import EtcdServer, free_port

BOOK = '{"host": "core01", "ipv4_addr": 172.31.14.95, "port": 8081}'


def test_the_json_is_the_contract_s(etcd: EtcdServer) -> None:
    """Shape, values, raw, malformed and the time left of a lease."""
    lease = etcd.ctl("lease", "grant", "100").split()[1]
    etcd.ctl("put", f"--lease={lease}", "/services/apache/172.31.14.97", '{"host": "core01", "port": 8080}')
    etcd.ctl("put", "/services/apache/172.31.14.95", BOOK)
    etcd.ctl("put", "/services/支付/a", '{"status": "failing", "reason": "HTTP 503"}')
    etcd.ctl("put", "/services/noinstance", "")
    done = alertd("status", "--etcd", etcd.endpoint, "--json")
    assert done.returncode == 0
    picture = json.loads(done.stdout)
    assert picture["revision"] == etcd.revision()
    assert (picture["leader"], picture["alerts"]) == (None, [])
    apache, pay = picture["services"]
    assert (apache["service"], apache["up"], apache["expected"]) == ("apache", 2, None)
    malformed, good = apache["instances"]
    assert malformed == {"instance": "172.31.14.95", "up": True, "value": None, "raw": BOOK, "malformed": True}
    assert 90 <= good.pop("ttl") <= 100
    raw = '{"host": "core01", "port": 8080}'
    value = {"host": "core01", "port": 8080}
    assert good == {"instance": "172.31.14.97", "up": True, "value": value, "raw": raw, "malformed": False}
    assert (pay["service"], pay["up"], pay["instances"][0]["up"]) == ("支付", 0, False)


def test_one_service_for_people(etcd: EtcdServer) -> None:
    """Aligned, within 80 columns, no colour in a pipe; others are left out."""
    etcd.ctl("put", "/services/apache/172.31.14.95", BOOK)
    etcd.ctl("put", "/services/apachelike/x", "")
    done = alertd("status", "apache", "--etcd", etcd.endpoint)
    assert done.returncode == 0
    assert "172.31.14.95" in done.stdout
    assert "malformed" in done.stdout
    assert "apachelike" not in done.stdout
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_nothing_registered(etcd: EtcdServer) -> None:
    """An empty etcd is an answer, not an error."""
    done = alertd("status", "--etcd", etcd.endpoint)
    assert (done.returncode, done.stdout.split(" (")[0]) == (0, "no service is registered")


def test_etcd_not_reachable_is_exit_3() -> None:
    """One line on stderr, no traceback."""
    done = alertd("status", "--etcd", f"127.0.0.1:{free_port()}")
    assert done.returncode == 3
    assert "refuses the connection" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_values_that_are_not_text(etcd: EtcdServer) -> None:
    """Binary values and control characters are shown escaped, in the table and in JSON."""
    etcd.ctl("put", "/services/s/bell", "\x07{oops")
    done = alertd("status", "--etcd", etcd.endpoint)
    assert r"\x07{oops" in done.stdout
    assert json.loads(alertd("status", "--etcd", etcd.endpoint, "--json").stdout)["services"][0]["up"] == 1
