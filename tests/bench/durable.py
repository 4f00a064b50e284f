"""What it costs that nothing is lost: a mass loss beside a bare watch, the way of one message, and a takeover."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from alertd.etcd.channel import EtcdSettings, open_channel
from alertd.etcd.client import Client, delete_op, put_op, range_end_of
from alertd.etcd.wire import rpc, stubs
from tests.bench.engine import Row, make_value
from tests.bench.live import PROBES, an_etcd, send_latency, watch_latency, whole_latency
from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.engine.story import PREFIX
from tests.etcd_server import EtcdServer
from tests.sinks import Arrivals, HttpInbox, http_inbox

SERVICES = 100
EACH = 1_000
TXN = 100
AT_ONCE = 8
MASS = (
    "rules: [{name: lost, service: '*', when: {instance: down}, flap: false}]\n"
    "routes: [{default: true, group_wait: %s, group_interval: 0s}]\n"
    "settings: {storm: {above: 1000000, within: 1s}, registry: {settle: 0s}}\n"
)


class Loss(NamedTuple):
    """How all is lost: `share` keys on a lease of their own, which is revoked; 0 keys are deleted.

    `group_wait` is longer than one service takes to be lost.
    """

    name: str
    share: int
    group_wait: str


LOSSES = (
    Loss("100,000 deleted", 0, "300ms"),
    Loss("100,000 lost with 1,000 leases", 100, "300ms"),
    Loss("100,000 lost with a lease each", 1, "2s"),
)


def parts() -> list[list[bytes]]:
    """Return all keys, cut into transactions, each within one service, one service after another."""
    names = ([b"/services/s%03d/10.0.%d.%d" % (s, n // 250, n % 250) for n in range(EACH)] for s in range(SERVICES))
    return [keys[start : start + TXN] for keys in names for start in range(0, EACH, TXN)]


async def fill(endpoint: str, share: int = 0) -> list[int]:
    """Put all keys, every `share` of them under a lease of their own, or under none; return the leases."""
    turns, leases = asyncio.Semaphore(AT_ONCE), list[int]()
    async with Client(EtcdSettings((endpoint,), timeout=60)) as client:

        async def put(names: list[bytes]) -> None:
            async with turns:
                own = [await client.lease_grant(3600) for _ in names[::share]] if share else []
                leases.extend(own)
                lease_of = [own[place // share] if share else 0 for place in range(len(names))]
                puts = [put_op(name, make_value(name), lease) for name, lease in zip(names, lease_of, strict=True)]
                await client.txn([], puts)

        await asyncio.gather(*map(put, parts()))
    return leases


async def lose(endpoint: str, leases: list[int]) -> None:
    """Delete all keys in transactions, or end the leases, as fast as etcd takes it."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with Client(EtcdSettings((endpoint,), timeout=60)) as client:

        async def delete(names: list[bytes]) -> None:
            async with turns:
                await client.txn([], [delete_op(name) for name in names])

        async def revoke(lease: int) -> None:
            async with turns:
                await client.lease_revoke(lease)

        await asyncio.gather(*(map(revoke, leases) if leases else map(delete, parts())))


async def lose_before_a_bare_watch(endpoint: str, leases: list[int]) -> float:
    """Lose all; return the seconds until nothing but a watch has received it."""
    async with open_channel(endpoint, None) as channel:
        call = stubs.WatchStub(channel).Watch()
        await call.write(
            rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=PREFIX, range_end=range_end_of(PREFIX)))
        )
        await call.read()
        began, seen = time.perf_counter(), 0
        losing = asyncio.ensure_future(lose(endpoint, leases))
        while seen < SERVICES * EACH:
            seen += len((await call.read()).events)
        took = time.perf_counter() - began
        await losing
        call.cancel()
    return took


def lose_before_a_daemon(etcd: EtcdServer, inbox: HttpInbox, folder: Path, loss: Loss) -> tuple[float, float, float]:
    """Lose all; return the seconds until all messages are there, and the daemon's CPU seconds and peak of memory."""
    leases = asyncio.run(fill(etcd.endpoint, loss.share))
    with DaemonProcess(folder, etcd) as daemon:
        daemon.write_rules(MASS % loss.group_wait, inbox).start()
        daemon.wait_for_log("speaks now")
        time.sleep(3)  # what a start makes is no part of it
        before, cpu = len(inbox.received), daemon.cpu_seconds()
        began = time.monotonic()
        asyncio.run(lose(etcd.endpoint, leases))
        received = inbox.wait_for(lambda messages: _alerts_told(messages[before:]) == SERVICES * EACH, 60)[before:]
        assert daemon.process is not None
        took, cpu = received[-1]["at"] - began, daemon.cpu_seconds() - cpu
        assert len(received) < 1.2 * SERVICES, "services were told in pieces: the loss itself took too long"
        return took, cpu, _peak_megabytes(daemon.process.pid)


def _alerts_told(messages: Arrivals) -> int:
    """Return of how many alerts it was told that they fire."""
    counts = (re.match(r"\[FIRING(?::(\d+))?]", message["title"]) for message in messages)
    return sum(int(count[1] or 1) for count in counts if count is not None)


def _peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def mass() -> list[Row]:
    """Lose 100,000 instances of 100 services at once, and tell each service's loss in one message."""
    rows = []
    for loss in LOSSES:
        with an_etcd() as etcd, http_inbox() as inbox, tempfile.TemporaryDirectory() as folder:
            bare = asyncio.run(lose_before_a_bare_watch(etcd.endpoint, asyncio.run(fill(etcd.endpoint, loss.share))))
            took, cpu, memory = lose_before_a_daemon(etcd, inbox, Path(folder), loss)
        rows += [
            (f"{loss.name}: a bare watch has received it", f"{bare:.2f} s", ""),
            (
                f"{loss.name}: 100 messages of 1,000 alerts delivered, over the bare watch",
                f"{took / bare:.2f}",
                "≤ 1.5",
            ),
            (f"{loss.name}: the daemon's CPU until then", f"{cpu:.1f} s", "≤ 4 s"),
            (f"{loss.name}: its peak of resident memory", f"{memory:.0f} MB", "≤ 280 MB"),
        ]
    return rows


# --- one message -----------------------------------------------------------------------------------------------------


async def put_latency(endpoint: str) -> list[float]:
    """Return the seconds of a bare durable put."""
    seconds = []
    async with Client(EtcdSettings((endpoint,))) as client:
        for number in range(PROBES):
            began = time.perf_counter()
            await client.put(b"/bare/put", b"%d" % number * 500)
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(0.005)
    return seconds


@contextmanager
def _durable_etcd() -> Iterator[EtcdServer]:
    """Give an etcd whose data is on the disk, and synced."""
    with tempfile.TemporaryDirectory() as folder, EtcdServer(Path(folder)) as server:
        yield server


def outbox() -> list[Row]:
    """Compare the way of one message, its decision written to etcd before it is sent, with its parts."""
    rules = "rules: [{name: lost, service: apache, when: {instance: down}, flap: false}]\n" + ROUTES
    with _durable_etcd() as etcd, http_inbox() as inbox, tempfile.TemporaryDirectory() as folder:
        etcd.ctl("put", "/services/apache/a", '{"status": "failing"}')
        watched, written = asyncio.run(watch_latency(etcd.endpoint)), asyncio.run(put_latency(etcd.endpoint))
        sent = send_latency(inbox)
        with DaemonProcess(Path(folder), etcd) as daemon:
            daemon.write_rules(rules, inbox).start()
            inbox.wait_for(lambda received: "lost" in received[-1]["title"])
            whole = asyncio.run(whole_latency(etcd.endpoint, inbox))
            daemon.stop()
    bare = median(watched) + median(written) + median(sent)
    return [
        ("put, bare and durable, p50", f"{median(written) * 1000:.2f} ms", ""),
        (
            "put → webhook, its decision durable before, p50, over watch + put + send",
            f"{median(whole) / bare:.2f}",
            "≤ 1.5",
        ),
    ]


# --- taking over -----------------------------------------------------------------------------------------------------


def takeover() -> list[Row]:
    """Kill the one that speaks, with 100,000 instances; see when the other speaks."""
    rules = "rules: [{name: lost, service: '*', when: {instance: down}, flap: false}]\n" + ROUTES
    seconds = []
    with an_etcd() as etcd, http_inbox() as inbox, tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(etcd.endpoint))
        replicas = [DaemonProcess(Path(folder) / name, etcd, "--replica", name) for name in ("r0", "r1")]
        with replicas[0], replicas[1]:
            for replica in replicas:
                replica.write_rules(rules, inbox).start()
            for turn in range(3):
                speaker, standby = replicas[turn % 2], replicas[(turn + 1) % 2]
                speaker.wait_for_log("speaks now", 30)
                speaker.kill()
                won = standby.events().count("speaks now")
                before = len(inbox.received)
                etcd.ctl("del", f"/services/s000/10.0.0.{turn}")
                inbox.wait_for_count(before + 1, 30)
                leads = [line for line in standby.log() if line["event"].endswith("leads now")][won]
                shift = time.time() - time.monotonic()
                seconds.append(
                    inbox.received[-1]["at"] + shift - datetime.fromisoformat(leads["timestamp"]).timestamp()
                )
                speaker.log_path.unlink()
                speaker.start()
    return [("standby to speaker, 100,000 instances: elected → first message", f"{median(seconds):.2f} s", "≤ 1 s")]
