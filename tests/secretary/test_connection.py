"""Connections to names: one that does not resolve, one whose resolver hangs, one with several addresses."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from alertd.secretary import connection
from alertd.secretary.plan import read_plan
from alertd.secretary.probe import probe
from alertd.secretary.verdict import GOOD, Finding
from tests.etcd_server import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ask_the_system = socket.getaddrinfo


class Resolver:
    """Takes the system's place: names in `known` have their addresses, and all others hang until it is over."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.over = threading.Event()

    def __call__(self, host: str, port: int, **options: int) -> list[object]:
        """Answer as getaddrinfo does."""
        if host.replace(".", "").isdigit() or options.get("flags") == socket.AI_NUMERICHOST:
            return list(ask_the_system(host, port, **options))
        self.asked.append(host)
        if host not in self.known:
            self.over.wait(5)
            raise socket.gaierror(socket.EAI_AGAIN, "too late")
        return [found for each in self.known[host] for found in ask_the_system(each, port, **options)]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Give a resolver that ends with the test, and its threads with it."""
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.over.set()
    wait_until(lambda: not lookups(), "the threads end")


def lookups() -> int:
    """Return the number of lookups that are under way."""
    return sum(thread.name == "aside" for thread in threading.enumerate())


@asynccontextmanager
async def server() -> AsyncIterator[int]:
    """Give the port of a server on 127.0.0.1."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


async def finding(address: str, seconds: float = 0.1) -> Finding:
    """Return what a probe finds there."""
    return await probe(read_plan({"service": "s", "instance": "i", "check": address}, {}).check, seconds)


def test_a_resolver_that_hangs_holds_up_neither_the_probe_nor_the_end(resolver: Resolver) -> None:
    """The probe ends in time, and so does the loop, though the lookup goes on."""
    began = time.monotonic()
    found = asyncio.run(finding("http://slow.example/"))
    assert found == Finding(good=False, reason="no answer within 0.1 s", hung=True)
    assert lookups() == 1
    assert time.monotonic() - began < 1


def test_names_that_hang_hold_up_no_others(resolver: Resolver) -> None:
    """However many there are."""

    async def story() -> Finding:
        async with server() as port:
            slow = [asyncio.create_task(finding(f"tcp://slow{number}.example:1", 5)) for number in range(50)]
            await asyncio.to_thread(wait_until, lambda: lookups() == 50, "all hang")
            found = await finding(f"tcp://quick.example:{port}", 5)
            for task in slow:
                task.cancel()
            return found

    resolver.known["quick.example"] = ["127.0.0.1"]
    assert asyncio.run(story()) == GOOD


def test_who_asks_again_joins_the_lookup(resolver: Resolver) -> None:
    """Threads do not pile up; once the resolver answers, the next asks anew."""

    async def story() -> list[str]:
        for _ in range(3):
            assert (await finding("tcp://slow.example:1")).hung
        waiting = asyncio.create_task(finding("tcp://slow.example:1", 5))
        await asyncio.sleep(0)
        resolver.over.set()
        return [(await waiting).reason, (await finding("tcp://slow.example:1", 5)).reason]

    assert asyncio.run(story()) == ["the host's name does not resolve"] * 2
    assert resolver.asked == ["slow.example"] * 2


def test_a_host_that_is_full_is_told(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread to have, nothing is looked up, and the next tries again."""

    def refuse(_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    resolver.known["quick.example"] = ["127.0.0.1"]
    with monkeypatch.context() as patch:
        patch.setattr(connection, "start_aside", refuse)
        assert asyncio.run(finding("tcp://quick.example:1")).reason == "resource temporarily unavailable"
    assert asyncio.run(finding("tcp://quick.example:1", 5)).reason == "connection refused"


def test_every_address_of_a_name_is_tried(resolver: Resolver) -> None:
    """As for localhost, where a service often listens on one of two only; if none answers, the first says why."""

    async def story(port: int | None) -> Finding:
        async with server() as open_port:
            return await finding(f"tcp://two.example:{port or open_port}", 5)

    resolver.known["two.example"] = ["127.0.0.2", "127.0.0.1"]
    assert asyncio.run(story(None)) == GOOD
    assert asyncio.run(story(free_port())) == Finding(good=False, reason="connection refused")


def test_an_address_needs_no_resolver(resolver: Resolver) -> None:
    """Nothing is asked."""

    async def story() -> Finding:
        async with server() as port:
            return await finding(f"tcp://127.0.0.1:{port}", 5)

    assert asyncio.run(story()) == GOOD
    assert resolver.asked == []
