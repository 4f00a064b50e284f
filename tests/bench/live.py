"""The daemon on a real etcd: throughput beside a bare watch, latency beside its parts, start, memory, command start."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import apprise

from alertd.engine.core import Engine
from alertd.etcd.channel import EtcdSettings, open_channel
from alertd.etcd.client import Client, put_op, range_end_of
from alertd.etcd.watch import Events, Watch
from alertd.etcd.wire import rpc, stubs
from tests.bench.engine import Row, make_rules, make_value
from tests.end_to_end.process import ROUTES, DaemonProcess, alertd
from tests.engine.story import PREFIX, instant, ruleset
from tests.etcd_server import EtcdServer
from tests.sinks import HttpInbox, http_inbox

FLOOD = 350_000
PACE = 70_000
"""Puts a second of the paced flood."""
FLOOD_KEYS = 20_000
TXN = 100
INSTANCES = 100_000
PROBES = 200


@contextmanager
def an_etcd() -> Iterator[EtcdServer]:
    """Give an etcd of its own, its data in memory where the machine has that."""
    shared = Path("/dev/shm")  # noqa: S108 - the data is thrown away
    flags = ["--quota-backend-bytes=8589934592", "--max-txn-ops=1000"]
    with (
        tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder,
        EtcdServer(Path(folder), flags=flags) as server,
    ):
        yield server


def keys(number: int) -> list[bytes]:
    """Return keys of 1,000 services."""
    return [f"/services/s{index % 1000:04}/10.0.{index // 250}.{index % 250}".encode() for index in range(number)]


async def put_all(client: Client, names: list[bytes], *, pace: float = 0) -> None:
    """Put every key, in transactions of `TXN`, at `pace` puts/s or as fast as etcd takes them."""
    turns = asyncio.Semaphore(8)
    began = time.perf_counter()

    async def put(begin: int) -> None:
        async with turns:
            if pace:
                await asyncio.sleep(began + begin / pace - time.perf_counter())
            await client.txn([], [put_op(name, make_value(name)) for name in names[begin : begin + TXN]])

    await asyncio.gather(*(put(begin) for begin in range(0, len(names), TXN)))


# --- throughput ------------------------------------------------------------------------------------------------------


def flood(endpoint: str, pace: float) -> None:
    """Put known keys again and again, `FLOOD` times in all: the writer's process."""

    async def write() -> None:
        async with Client(EtcdSettings((endpoint,), timeout=60)) as client:
            await put_all(client, (keys(FLOOD_KEYS) * (FLOOD // FLOOD_KEYS + 1))[:FLOOD], pace=pace)

    asyncio.run(write())


async def read_bare(endpoint: str, start: asyncio.Event) -> float:
    """Count `FLOOD` events with nothing but a watch; return events/s."""
    async with open_channel(endpoint, None) as channel:
        call = stubs.WatchStub(channel).Watch()
        create = rpc.WatchCreateRequest(key=PREFIX, range_end=range_end_of(PREFIX))
        await call.write(rpc.WatchRequest(create_request=create))
        await call.read()
        start.set()
        began, seen = 0.0, 0
        while seen < FLOOD:
            response = await call.read()
            began = began or time.perf_counter()
            seen += len(response.events)
        call.cancel()
        return seen / (time.perf_counter() - began)


async def read_as_daemon(endpoint: str, start: asyncio.Event) -> float:
    """Take in `FLOOD` events as the daemon does, through watch and engine; return events/s."""
    engine = Engine(ruleset(*make_rules(100, 1000)), PREFIX)
    async with Client(EtcdSettings((endpoint,))) as client:
        began, seen = 0.0, 0
        follow = Watch(client, PREFIX).follow()
        async for step in follow:
            if not isinstance(step, Events):
                if start.is_set():
                    raise AssertionError(step)
                if hasattr(step, "revision"):
                    engine.close_gap(instant(0))
                    start.set()
                else:
                    engine.open_gap(instant(0))
                continue
            engine.feed(step.events, instant(time.monotonic()))
            if start.is_set():
                began = began or time.perf_counter()
                seen += len(step.events)
                if seen >= FLOOD:
                    break
        await follow.aclose()
        return seen / (time.perf_counter() - began)


async def flooded(reader: Callable[[str, asyncio.Event], Awaitable[float]], endpoint: str, pace: float) -> float:
    """Let a reader keep up with a flood from another process; return its events/s."""
    start = asyncio.Event()
    reading = asyncio.ensure_future(reader(endpoint, start))
    await start.wait()
    command = [sys.executable, "-c", f"from tests.bench.live import flood; flood({endpoint!r}, {pace})"]
    writer = await asyncio.create_subprocess_exec(*command)
    rate = await reading
    await writer.wait()
    return rate


def throughput() -> list[Row]:
    """Compare the two readers, in turn: at 70,000 puts/s, and as fast as etcd goes."""
    rows = []
    with an_etcd() as etcd:

        async def measure(pace: float) -> tuple[list[float], list[float]]:
            async with Client(EtcdSettings((etcd.endpoint,))) as client:
                await put_all(client, keys(FLOOD_KEYS))
            bare, ours = [], []
            for _ in range(3):
                bare.append(await flooded(read_bare, etcd.endpoint, pace))
                ours.append(await flooded(read_as_daemon, etcd.endpoint, pace))
            return bare, ours

        for pace, name, target in ((PACE, "70,000 puts/s", "≥ 0.95"), (0, "all that etcd takes", "")):
            bare, ours = asyncio.run(measure(pace))
            ratio = median(mine / other for mine, other in zip(ours, bare, strict=True))
            rows += [
                (f"live, {name}: events/s of a bare grpc.aio watch", f"{median(bare):,.0f}", ""),
                (f"live, {name}: watch and engine, over the bare watch", f"{ratio:.2f}", target),
            ]
    return rows


# --- latency ---------------------------------------------------------------------------------------------------------


async def watch_latency(endpoint: str) -> list[float]:
    """Return the seconds from a put to its event at a bare watch."""
    seconds = []
    async with open_channel(endpoint, None) as channel, Client(EtcdSettings((endpoint,))) as client:
        call = stubs.WatchStub(channel).Watch()
        create = rpc.WatchCreateRequest(key=b"/bare/", range_end=range_end_of(b"/bare/"))
        await call.write(rpc.WatchRequest(create_request=create))
        await call.read()
        for number in range(PROBES):
            reading = asyncio.ensure_future(call.read())
            await asyncio.sleep(0.005)
            began = time.perf_counter()
            await asyncio.gather(client.put(b"/bare/a", str(number).encode()), reading)
            seconds.append(time.perf_counter() - began)
        call.cancel()
    return seconds


def send_latency(inbox: HttpInbox) -> list[float]:
    """Return the seconds from a bare Apprise send to the receiver having it."""
    target = apprise.Apprise(asset=apprise.AppriseAsset(service_timeout=0))
    target.add(f"{inbox.url}/")
    seconds = []
    for _ in range(PROBES):
        before = len(inbox.received)
        began = time.monotonic()
        target.notify(title="title", body="body " * 40, body_format=apprise.NotifyFormat.TEXT)
        inbox.wait_for_count(before + 1)
        seconds.append(inbox.received[-1]["at"] - began)
        time.sleep(0.005)
    return seconds


async def whole_latency(endpoint: str, inbox: HttpInbox) -> list[float]:
    """Return the seconds from a put to the webhook that a running daemon sends for it."""
    seconds = []
    async with Client(EtcdSettings((endpoint,))) as client:
        for number in range(PROBES):
            before = len(inbox.received)
            began = time.monotonic()
            await client.put(b"/services/apache/a", b'{"status": "failing"}' if number % 2 else b"")
            await asyncio.to_thread(inbox.wait_for_count, before + 1)
            seconds.append(inbox.received[-1]["at"] - began)
            await asyncio.sleep(0.005)
    return seconds


def latency() -> list[Row]:
    """Compare the whole way with the sum of its parts."""
    rules = "rules: [{name: lost, service: apache, when: {instance: down}, flap: false}]\n" + ROUTES
    with an_etcd() as etcd, http_inbox() as inbox, tempfile.TemporaryDirectory() as folder:
        etcd.ctl("put", "/services/apache/a", '{"status": "failing"}')
        watched = asyncio.run(watch_latency(etcd.endpoint))
        sent = send_latency(inbox)
        with DaemonProcess(Path(folder), etcd) as daemon:
            daemon.write_rules(rules, inbox).start()
            inbox.wait_for(lambda received: "lost" in received[-1]["title"])
            whole = asyncio.run(whole_latency(etcd.endpoint, inbox))
            daemon.stop()
    parts = median(watched) + median(sent)
    return [
        ("put → watch, bare, p50", f"{median(watched) * 1000:.2f} ms", ""),
        ("Apprise send → received, bare, p50", f"{median(sent) * 1000:.2f} ms", ""),
        ("put → webhook received, p50, over the sum of both", f"{median(whole) / parts:.2f}", "≤ 2"),
        ("put → webhook received, p99", f"{quantiles(whole, n=100)[98] * 1000:.1f} ms", "≤ 25 ms"),
    ]


# --- start and memory ------------------------------------------------------------------------------------------------


def resident_megabytes(pid: int) -> float:
    """Return a process's resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def start() -> list[Row]:
    """Start a daemon on 100,000 instances, each under a lease of its own value."""
    rules = "rules: [{name: few, service: '*', when: {instances: {below: 2}}}]\n" + ROUTES
    with an_etcd() as etcd, http_inbox() as inbox, tempfile.TemporaryDirectory() as folder:

        async def fill() -> None:
            async with Client(EtcdSettings((etcd.endpoint,), timeout=60)) as client:
                await put_all(client, keys(INSTANCES))

        asyncio.run(fill())
        seconds, megabytes = [], []
        for turn in range(3):
            with DaemonProcess(Path(folder) / str(turn), etcd) as daemon:
                daemon.write_rules(rules, inbox)
                began = time.perf_counter()
                daemon.start()
                seconds.append(time.perf_counter() - began)
                time.sleep(1)
                assert daemon.process is not None
                megabytes.append(resident_megabytes(daemon.process.pid))
    return [
        ("start: to the first judgement of 100,000 instances", f"{median(seconds):.2f} s", "≤ 3 s"),
        ("start: resident memory then", f"{median(megabytes):.0f} MB", "≤ 220 MB"),
    ]


def commands() -> list[Row]:
    """Start the commands that must start quickly."""
    rows = []
    with an_etcd() as etcd:
        for arguments in (("--help",), ("status", "--etcd", etcd.endpoint)):
            seconds = []
            for _ in range(7):
                began = time.perf_counter()
                assert alertd(*arguments).returncode == 0
                seconds.append(time.perf_counter() - began)
            rows.append((f"`alertd {arguments[0]}`", f"{median(seconds):.2f} s", "≤ 0.4 s"))
    return rows
