"""Heartbeats and reports of a real daemon: what arrives, and what does not while it could tell of nothing."""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.etcd_server import EtcdServer, wait_until
from tests.faketime import WallClock, needs_faketime
from tests.sinks import HttpInbox, MailInbox, mail_inbox

MINIMUM = "rules: [{name: few, service: apache, when: {instances: {below: 2}}, channels: [ops]}]\n" + ROUTES
QUIET = "rules: [{name: lost, service: apache, when: {instance: down}}]\n"
PATIENCE = 15.0
EIGHT = datetime(2026, 10, 5, 6, tzinfo=UTC)
"""Of a Monday in Berlin."""


def beats(inbox: HttpInbox) -> list[str]:
    """Return where heartbeats arrived, in order."""
    return [each["path"] for each in inbox.received if each["method"] == "GET" or "HEARTBEAT" in each["title"]]


def test_from_the_first_judgement_to_a_watch_that_is_gone(tmp_path: Path, inbox: HttpInbox) -> None:
    """None while etcd is not there; then at once, to a channel and to a URL; a reload sends them elsewhere."""
    etcd = EtcdServer(tmp_path / "etcd")
    channels = f'channels: {{ops: {{urls: ["{inbox.url}/ops"]}}}}\n'
    to_channel = "{name: watchdog, every: 300ms, channel: ops}"
    to_url = f'{{name: snitch, every: 300ms, url: "http://127.0.0.1:{inbox.port}/ping"}}'
    with DaemonProcess(tmp_path / "alertd", etcd) as daemon:
        daemon.write_rules(f"{QUIET}{channels}settings: {{name: prod-fra}}\nheartbeats: [{to_channel}, {to_url}]\n")
        daemon.start(is_waiting=False)
        wait_until(lambda: any("trying on" in event for event in daemon.events()), "it tries")
        assert inbox.received == []
        with etcd:
            etcd.ctl("put", "/services/apache/a", "")
            etcd.ctl("put", "/services/apache/b", "")
            daemon.wait_for_log("speaks now")
            inbox.wait_for(lambda _: min(beats(inbox).count(path) for path in ("/ops", "/ping")) >= 2, PATIENCE)
            letter = next(each for each in inbox.received if "HEARTBEAT" in each.get("title", ""))
            assert letter["path"] == "/ops"
            assert (letter["title"], letter["type"]) == ("[HEARTBEAT] watchdog · prod-fra", "info")
            assert "of 1 service below /services/ since" in letter["message"]

            daemon.write_rules(f"{QUIET}{channels}heartbeats: [{to_url.replace('/ping', '/moved')}]\n")
            daemon.signal(signal.SIGHUP)
            daemon.wait_for_log("rules loaded")
            inbox.wait_for(lambda _: beats(inbox).count("/moved") >= 4, PATIENCE)
            since = beats(inbox)[beats(inbox).index("/moved") :]
            assert max(since.count("/ops"), since.count("/ping")) <= 1, "none but what was on its way"
        assert "delivered" not in daemon.events(), "a line a beat would drown the others"


@pytest.fixture
def mail() -> Iterator[MailInbox]:
    """Run a mail server."""
    with mail_inbox() as box:
        yield box


@needs_faketime
def test_a_report_at_its_time(tmp_path: Path, etcd: EtcdServer, inbox: HttpInbox, mail: MailInbox) -> None:
    """It arrives by mail and webhook at eight on Monday in Berlin, with words and chart, and the heart beats on.

    Meanwhile the wall clock is put back by an hour, which delays no heartbeat.
    """
    clock = WallClock(tmp_path)
    clock.set_to(EIGHT - timedelta(hours=2, minutes=30))
    charts = tmp_path / "charts"
    charts.mkdir()
    rules = f"""{MINIMUM}
settings: {{name: prod-fra, timezone: Europe/Berlin}}
services: {{apache: {{expected: 2}}}}
channels:
  ops: {{urls: ["{inbox.url}/ops"]}}
  mail: {{urls: ["{mail.url}"]}}
heartbeats: [{{name: snitch, every: 300ms, url: "http://127.0.0.1:{inbox.port}/ping"}}]
reports:
  - {{name: weekly, cron: "0 8 * * mon", channel: mail}}
  - {{name: to-chat, cron: "0 8 * * 1", channel: ops}}
"""
    etcd.ctl("put", "/services/apache/a", "")
    etcd.ctl("put", "/services/apache/b", "")
    etcd.ctl("put", "/services/pay/a", "")
    with DaemonProcess(tmp_path / "alertd", etcd, TMPDIR=str(charts), **clock.variables) as daemon:
        daemon.write_rules(rules).start()
        etcd.ctl("del", "/services/apache/a")
        inbox.wait_for(lambda received: any("[FIRING]" in each.get("title", "") for each in received), PATIENCE)
        daemon.wait_for_log("delivered", PATIENCE)
        clock.set_to(EIGHT)
        daemon.signal(signal.SIGHUP)  # for the scheduler to look at the clock now, as it does every few minutes
        (letter,) = mail.wait_for_count(1, PATIENCE)
        inbox.wait_for(lambda received: any("[REPORT]" in each.get("title", "") for each in received), PATIENCE)
        chat = next(each for each in inbox.received if "[REPORT]" in each.get("title", ""))
        clock.set_to(EIGHT - timedelta(hours=1))
        beats_before = len(beats(inbox))
        inbox.wait_for(lambda _: len(beats(inbox)) >= beats_before + 3, PATIENCE)
        assert daemon.stop() == 0

    assert letter["subject"] == "[REPORT] weekly · 1 of 2 services had outages · 1 incident · prod-fra"
    assert "since alertd started:" in letter["text"]
    assert "fewer than 2 up for" in letter["text"]
    assert "few apache · warning · since Mon 05:30" in letter["text"]
    assert "up all the time: pay" in letter["text"]
    assert "ops · 1 sent" in letter["text"], "heartbeats are no messages"
    ((name, chart),) = letter["files"].items()
    assert name.startswith("weekly-20261005T06")
    assert ET.fromstring(chart).tag.endswith("svg")  # noqa: S314 - ours
    assert chat["title"].startswith("[REPORT] to-chat · ")
    (attached,) = chat["attachments"]
    assert base64.b64decode(attached["base64"]).startswith(b"<?xml")
    assert list(charts.iterdir()) == [], "the charts go with the daemon"
