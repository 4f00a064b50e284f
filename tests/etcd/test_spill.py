"""What is written while etcd is full: kept here, brought back as it was, and void once another has spoken."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.spill import Spill
from alertd.etcd.store import Store
from alertd.statedir import StateDir
from tests.delivery.examples import now
from tests.etcd.following import run
from tests.etcd.terms import Frail, begin_term

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.etcd_server import EtcdServer

STAMP = "d/term"
Contents = dict[str, dict[str, Any] | None]


class Place:
    """A namespace of its own in etcd, with a leader's key."""

    def __init__(self, client: Client, namespace: bytes) -> None:
        self.client = client
        self.namespace = namespace

    async def term(self) -> Frail:
        """Begin a term, by which any other is over."""
        return await begin_term(self.client, self.namespace + b"leader")

    def spill(self, folder: Path | None) -> Spill:
        """Return one of a process that has just begun."""
        return Spill(Store(self.client, self.namespace), StateDir(folder), STAMP, now)

    async def read(self) -> dict[str, dict[str, Any]]:
        """Return what etcd has, but for the stamp."""
        return plain((await Store(self.client, self.namespace).read("d/")).contents)


def plain(contents: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return documents without the stamp."""
    return {name: content for name, content in contents.items() if name != STAMP}


@asynccontextmanager
async def place(etcd: EtcdServer, prefix: bytes) -> AsyncIterator[Place]:
    """Give an empty namespace."""
    async with Client(EtcdSettings((etcd.endpoint,))) as client:
        yield Place(client, prefix)


async def begin(it: Place, spill: Spill) -> tuple[Frail, dict[str, dict[str, Any]]]:
    """Begin a term, and return what is read at its start."""
    term = await it.term()
    return term, plain((await spill.read("d/")).contents)


async def fill(spill: Spill, term: Frail, wanted: Contents) -> None:
    """Commit while etcd is full; then it no longer is."""
    term.full_from = term.writes + 1
    await spill.commit(term, wanted)
    term.full_from = 0


@pytest.fixture(params=["with a state dir", "without"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Give a state dir, or none: one process remembers without."""
    return tmp_path / "state" if request.param == "with a state dir" else None


def test_who_leads_again_knows_what_it_spilled(shared_etcd: EtcdServer, prefix: bytes, folder: Path | None) -> None:
    """Nobody has spoken since: it reads what it committed last, and brings that back with the next commit."""

    async def story() -> None:
        async with place(shared_etcd, prefix) as it:
            one = it.spill(folder)
            term, _ = await begin(it, one)
            await one.commit(term, {"d/a": {"n": 1}, "d/b": {"n": 1}})
            await fill(one, term, {"d/a": {"n": 2}, "d/b": None})
            assert await it.read() == {"d/a": {"n": 1}, "d/b": {"n": 1}}
            term, found = await begin(it, one)
            assert found == {"d/a": {"n": 2}}
            assert one.is_own
            await one.commit(term, {"d/c": {"n": 3}})
            assert await it.read() == {"d/a": {"n": 2}, "d/c": {"n": 3}}
            assert StateDir(folder).read("outbox") == {}

    run(story())


def test_what_was_spilled_is_void_once_another_has_spoken(
    shared_etcd: EtcdServer, prefix: bytes, folder: Path | None
) -> None:
    """Though the process that spilled it leads again: it writes none of it over what the other wrote."""

    async def story() -> None:
        async with place(shared_etcd, prefix) as it:
            one, two = it.spill(folder), it.spill(None)
            term, _ = await begin(it, one)
            await one.commit(term, {"d/a": {"n": 1}})
            await fill(one, term, {"d/a": {"n": 2}, "d/b": {"n": 2}})
            term, _ = await begin(it, two)
            await two.commit(term, {"d/a": {"n": 3}})
            term, found = await begin(it, one)
            assert found == {"d/a": {"n": 3}}
            assert not one.is_own
            assert StateDir(folder).read("outbox") == {}
            await one.commit(term, {"d/c": {"n": 4}})
            assert await it.read() == {"d/a": {"n": 3}, "d/c": {"n": 4}}

    run(story())


def test_a_file_that_could_not_be_removed_is_void(shared_etcd: EtcdServer, prefix: bytes, tmp_path: Path) -> None:
    """Its writer died before that, with what it held in etcd, and more: the next process goes by etcd."""

    async def story() -> None:
        async with place(shared_etcd, prefix) as it:
            one = it.spill(tmp_path)
            term, _ = await begin(it, one)
            await one.commit(term, {"d/a": {"n": 1}})
            await fill(one, term, {"d/a": None})
            kept = StateDir(tmp_path).read("outbox")
            await one.commit(term, {"d/a": {"n": 3}})
            StateDir(tmp_path).write("outbox", kept)
            _, found = await begin(it, it.spill(tmp_path))
            assert found == {"d/a": {"n": 3}}

    run(story())


def test_a_file_stays_good_though_it_was_not_known_what_etcd_has(
    shared_etcd: EtcdServer, prefix: bytes, tmp_path: Path
) -> None:
    """The first commit of its term was written, and its answer lost."""

    async def story() -> None:
        async with place(shared_etcd, prefix) as it:
            one = it.spill(tmp_path)
            term, _ = await begin(it, one)
            await one.commit(term, {"d/a": {"n": 1}})
            term, _ = await begin(it, one)
            term.dies_after = 1
            with pytest.raises(EtcdUnavailable):
                await one.commit(term, {"d/a": {"n": 2}})
            await fill(one, term, {"d/a": {"n": 3}})
            _, found = await begin(it, it.spill(tmp_path))
            assert found == {"d/a": {"n": 3}}

    run(story())
