"""Documents that a newer alertd has written: found wherever they are, and whoever finds one does not lead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.election import Election, ElectionSettings, Term
from alertd.etcd.formats import Formats
from tests.etcd.following import run
from tests.etcd.test_election import read_clock
from tests.etcd_server import EtcdServer

NEWER = b'{"format": 2, "n": {}}'
OURS = b'{"format":1,"n":{}}'
_LETTERS = "outbox/letters/x"
NAMES = (
    "alerts/5f",
    "checkpoint",
    "claims/7",
    "delivery",
    "leader",
    "outbox/told/5f",
    _LETTERS,
    "ruleset",
    "state/pay",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_newer_document_is_found_wherever_it_is(shared_etcd: EtcdServer, prefix: bytes, name: str) -> None:
    """Also one that comes later, among many; gone again, or written anew by us, it is found no more."""

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            for each in (*NAMES, "silences/1", "pieces/1/1"):
                await client.put(prefix + each.encode(), OURS)
            await client.put(prefix + b"silences/2", NEWER)
            await client.put(prefix + b"alerts/damaged", b"\xff")
            formats = Formats(client, prefix)
            for _ in range(2):
                assert await formats.find_newer() == ""
                await client.put(prefix + name.encode(), NEWER)
                await client.put(prefix + b"alerts/other", OURS)
                assert await formats.find_newer() == name
                assert await Formats(client, prefix).find_newer() == name
                assert await formats.find_newer() == name
                await client.put(prefix + name.encode(), OURS)

    run(story())


def test_what_was_found_good_is_not_read_again(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """However much there is, a second look costs next to nothing."""
    sizes: list[int] = []

    class Counting(Client):
        async def range(self, request: object, *, seconds: float | None = None):  # type: ignore[no-untyped-def] # noqa: ANN202
            answer = await super().range(request, seconds=seconds)
            sizes.append(len(answer.kvs))
            return answer

    async def story() -> None:
        async with Counting(EtcdSettings((shared_etcd.endpoint,))) as client:
            for number in range(50):
                await client.put(prefix + f"state/{number}".encode(), OURS)
            formats = Formats(client, prefix)
            assert await formats.find_newer() == ""
            assert sum(sizes) == 50
            await client.put(prefix + b"state/7", OURS)
            assert await formats.find_newer() == ""
            assert sum(sizes) == 51

    run(story())


@pytest.mark.parametrize(("name", "more"), [("etcd-cluster", 0), ("another", 50)], ids=["an older state", "another"])
def test_another_history_is_read_as_a_whole(etcd: EtcdServer, tmp_path: Path, name: str, more: int) -> None:
    """What was found good was so in the one before; another cluster may have come further than that."""
    etcd.ctl("put", "/alertd/state/pay", NEWER.decode())
    etcd.save(tmp_path / "snapshot")

    async def story() -> None:
        async with Client(EtcdSettings((etcd.endpoint,))) as client:
            for _ in range(20):
                await client.put(b"/alertd/state/pay", OURS)
            formats = Formats(client, b"/alertd/")
            assert await formats.find_newer() == ""
            await asyncio.to_thread(etcd.stop)
            await asyncio.to_thread(etcd.restore, tmp_path / "snapshot", name=name)
            await asyncio.to_thread(etcd.start)
            for _ in range(more):
                await client.put(b"/alertd/state/other", OURS)
            assert await formats.find_newer() == "state/pay"

    run(story())


class Won(Exception):
    """It leads."""


def find(names: list[str]) -> Callable[[], Awaitable[str]]:
    """Return what finds these names, one after the other, and keeps those that are left."""

    async def find_newer() -> str:
        return names.pop(0)

    return find_newer


@pytest.mark.parametrize("found", [["x", "x", "", ""], ["", "x", "x", "", ""]], ids=["at first", "when it has won"])
def test_whoever_finds_one_does_not_lead(
    shared_etcd: EtcdServer, prefix: bytes, caplog: pytest.LogCaptureFixture, found: list[str]
) -> None:
    """Not before it is gone, by the last look, right after winning; said once, and that it is over."""
    caplog.set_level(logging.INFO, "alertd.etcd")
    settings = ElectionSettings(ttl=60, trust=50.0, stand_by=0.05)

    async def lead(_: Term) -> None:
        assert found == []
        raise Won

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            election = Election(client, prefix + b"leader", "one", read_clock, settings)
            with pytest.raises(Won):
                await election.run(lead, find(found))
            await election.resign()

    run(story())
    said = [record.getMessage() for record in caplog.records if "stands by" in record.getMessage()]
    assert said[0].startswith("this replica stands by: ")
    assert "a newer alertd has written x; update this one" in said[0]
    assert said[1].startswith("this replica stands by no more")
    assert len(said) == 2
