"""What people say in etcd, followed through breaks, and cleared away by whoever leads once it is spent."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from alertd import document
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.election import Term
from alertd.etcd.orders import Orders
from alertd.order import OrderKind
from tests.etcd.following import run, until
from tests.etcd_server import Cut, EtcdServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from alertd.order import Order

UNTIL = "2036-01-01T00:00:00Z"
SILENCE = {"match": {"service": "apache"}, "until": UNTIL}
ACK = {"at": "2026-01-01T00:00:00Z", "until": UNTIL}


class Ears:
    """A listener that writes down what it holds, and what it was told."""

    def __init__(self) -> None:
        self.held: dict[str, Order] = {}
        self.told: list[str] = []

    def take(self, order: Order) -> None:
        """Hold an order by the name of its kind and its own."""
        for kind, name in {"Silence": "id", "Ack": "alert_id", "Forget": "id"}.items():
            if type(order).__name__ == kind:
                self.held[getattr(order, name)] = order
                self.told.append(f"take {kind} {getattr(order, name)}")

    def withdraw(self, kind: OrderKind, name: str) -> None:
        """Let go of one."""
        del self.held[name]
        self.told.append(f"withdraw {kind} {name}")


class Stage:
    """Orders that are followed below a namespace of the test's own."""

    def __init__(self, client: Client, direct: Client, namespace: str) -> None:
        self.client = client
        self.direct = direct
        self.namespace = namespace
        self.ears = Ears()
        self.orders = Orders(client, namespace, retry_cap=0.1)

    async def put(self, key: str, content: dict[str, Any] | bytes) -> int:
        """Put a document, or raw bytes, past the orders' own connection."""
        raw = content if isinstance(content, bytes) else document.encode(content)
        return await self.direct.put(f"{self.namespace}{key}".encode(), raw)

    async def delete(self, key: str) -> None:
        """Delete a key, likewise."""
        await self.direct.delete(f"{self.namespace}{key}".encode())

    async def keys(self) -> list[str]:
        """Return the keys that are there."""
        start = self.namespace.encode()
        return [kv.key.decode() async for page in self.direct.list_prefix(start) for kv in page.kvs]

    async def term(self) -> Term:
        """Begin to lead."""
        key = f"{self.namespace}leader".encode()
        term = Term(self.client, key, await self.direct.put(key, b""), 0)
        term.deadline = inf
        return term

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow meanwhile; all that was there is known when the body begins."""
        task = asyncio.create_task(self.orders.follow(self.ears))
        try:
            await self.orders.wait_until_listed()
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @asynccontextmanager
    async def clearing(self, term: Term) -> AsyncIterator[asyncio.Task[None]]:
        """Clear away meanwhile."""
        task = asyncio.create_task(self.orders.clear(term))
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def stage(etcd: EtcdServer, prefix: bytes, through: str = "") -> AsyncIterator[Stage]:
    """Give a stage; `through` is the address that the orders use, if not etcd's own."""
    settings = EtcdSettings((through or etcd.endpoint,), timeout=1.0)
    async with Client(settings) as client, Client(EtcdSettings((etcd.endpoint,))) as direct:
        yield Stage(client, direct, f"{prefix.decode()}alertd/")


# --- following -------------------------------------------------------------------------------------------------------


def test_all_that_was_there_is_known_first_then_all_that_comes_and_goes(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Of all kinds, by Unicode names too; what alertd itself keeps beside them is nobody's word."""

    async def story() -> None:
        async with stage(shared_etcd, prefix) as one:
            await one.put("silences/1a2b", SILENCE)
            await one.put("acks/支付", ACK)
            await one.put("alerts/573c", {"id": "573c"})
            async with one.following():
                assert sorted(one.ears.told) == ["take Ack 支付", "take Silence 1a2b"]
                await one.put("forget/9f", {"service": "apache", "at": UNTIL})
                await one.put("silences/1a2b", {**SILENCE, "comment": "longer"})
                await one.delete("acks/支付")
                await until(lambda: len(one.ears.told) == 5)
                assert sorted(one.ears.told[2:]) == ["take Forget 9f", "take Silence 1a2b", "withdraw acks 支付"]

    run(story())


def test_what_cannot_be_understood_is_said_once_and_left(
    shared_etcd: EtcdServer, prefix: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as not being there, so what it replaced is withdrawn; mended, it counts again."""

    async def story() -> None:
        async with stage(shared_etcd, prefix) as one:
            await one.put("silences/junk", b"\xff{")
            await one.put("silences/tomorrow", b'{"format": 2, "match": "everything"}')
            await one.put("silences/good", SILENCE)
            async with one.following():
                assert list(one.ears.held) == ["good"]
                for _ in range(2):
                    await one.put("silences/good", {**SILENCE, "until": "soon"})
                    await one.put("silences/junk", b"\xff[")
                await until(lambda: not one.ears.held)
                await one.put("silences/good", SILENCE)
                await one.delete("silences/junk")
                await until(lambda: one.ears.held)
                assert [key.rpartition("/")[2] for key in await one.keys()] == ["good", "tomorrow"]

    run(story())
    said = [record.getMessage().split("silences/")[1] for record in caplog.records]
    assert said == [
        "junk is left aside: it is no JSON object with a `format`",
        "tomorrow is left aside: a newer alertd has written it; update this one",
        "good is left aside: its `until` is no RFC 3339 time",
    ]


def test_a_break_loses_nothing_and_is_not_told_thrice(
    etcd: EtcdServer, prefix: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What came and went meanwhile is known after it; that etcd is away is told by the watch on services."""
    caplog.set_level(logging.INFO, "alertd.etcd")

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with stage(etcd, prefix, cut.endpoint) as one:
                await one.put("silences/stays", SILENCE)
                await one.put("silences/goes", SILENCE)
                async with one.following():
                    cut.cut()
                    await one.delete("silences/goes")
                    await one.put("silences/comes", SILENCE)
                    await one.put("acks/573c", ACK)
                    await asyncio.to_thread(etcd.restart)
                    await asyncio.to_thread(etcd.compact)
                    cut.mend()
                    await until(lambda: sorted(one.ears.held) == ["573c", "comes", "stays"])

    run(story())
    assert [record for record in caplog.records if "cannot be followed" in record.getMessage()] == []


def test_an_etcd_that_is_away_at_first_is_told_of(
    etcd: EtcdServer, prefix: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Since nothing can be judged before people have been heard."""

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            cut.cut()
            async with stage(etcd, prefix, cut.endpoint) as one:
                mending = asyncio.get_running_loop().call_later(0.3, cut.mend)
                async with one.following():
                    assert mending.when() < asyncio.get_running_loop().time()

    run(story())
    assert any("silences cannot be followed: etcd at" in record.getMessage() for record in caplog.records)


# --- clearing away ---------------------------------------------------------------------------------------------------


def test_what_is_spent_is_deleted_by_whoever_leads(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """What was spent before it led as well; nothing else."""

    async def story() -> None:
        async with stage(shared_etcd, prefix) as one:
            names = [f"{number:03}" for number in range(250)]
            for name in names:
                await one.put(f"silences/{name}", SILENCE)
            async with one.following():
                for name in names[1:]:
                    one.orders.spend(OrderKind.SILENCE, name)
                one.orders.spend(OrderKind.ACK, "never-there")
                async with one.clearing(await one.term()):
                    await until(lambda: len(one.ears.held) == 1)
                    await one.put("acks/573c", ACK)
                    await until(lambda: "573c" in one.ears.held)
                    one.orders.spend(OrderKind.ACK, "573c")
                    await until(lambda: list(one.ears.held) == ["000"])

    run(story())


def test_what_is_said_anew_is_not_deleted(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Neither if that is known already, nor if it is still on its way."""

    async def story() -> None:
        async with stage(shared_etcd, prefix) as one:
            await one.put("acks/known", ACK)
            await one.put("acks/unknown", ACK)
            async with one.following():
                one.orders.spend(OrderKind.ACK, "known")
                one.orders.spend(OrderKind.ACK, "unknown")
                await one.put("acks/known", ACK)
                await until(lambda: one.ears.told.count("take Ack known") == 2)
                assert [key.decode().rpartition("/")[2] for key in one.orders._spent] == ["unknown"]
            await one.put("acks/unknown", ACK)
            async with one.clearing(await one.term()):
                await until(lambda: not one.orders._spent)
                assert [key.rpartition("/")[2] for key in await one.keys()] == ["known", "unknown", "leader"]

    run(story())


def test_nothing_is_deleted_after_another_began_to_lead(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """By its own clock the term goes on, but etcd refuses; it stops by itself."""

    async def story() -> None:
        async with stage(shared_etcd, prefix) as one:
            await one.put("silences/1a2b", SILENCE)
            async with one.following():
                term = await one.term()
                await one.delete("leader")
                await one.term()
                one.orders.spend(OrderKind.SILENCE, "1a2b")
                async with one.clearing(term) as task:
                    await asyncio.wait_for(task, 5)
                assert (term.is_over, list(one.ears.held)) == (True, ["1a2b"])

    run(story())


def test_etcd_away_delays_the_deletion(etcd: EtcdServer, prefix: bytes) -> None:
    """It is done once etcd is back."""

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with stage(etcd, prefix, cut.endpoint) as one:
                await one.put("silences/1a2b", SILENCE)
                async with one.following(), one.clearing(await one.term()):
                    cut.cut()
                    one.orders.spend(OrderKind.SILENCE, "1a2b")
                    await until(lambda: one.orders._backoff._failures > 1, "it tries")
                    cut.mend()
                    await until(lambda: not one.ears.held)

    run(story())
