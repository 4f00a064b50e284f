"""What is written while etcd is full: kept here, brought back as it was, and void once another has spoken."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
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
from tests.etcd.terms import Frail, Namespace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.etcd_server import EtcdServer

STAMP = "d/term"
Contents = dict[str, dict[str, Any] | None]


class Place(Namespace):
    """A namespace in which etcd may be full."""

    def spill(self, folder: Path | None) -> Spill:
        """Return one of a process that has just begun."""
        return Spill(Store(self.client, self.namespace), StateDir(folder), STAMP, now, first="d/letters/")

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


def many(number: int, n: int, word: str = "") -> Contents:
    """Return documents, letters and what was told, as they were committed n-th; told first, to have another order."""
    return {
        f"d/{kind}/{word}{each:05}": {"n": n, "text": word}
        for kind in ("told", "letters")
        for each in range(number // 2)
    }


def test_much_is_brought_back_in_parts(etcd: EtcdServer, tmp_path: Path) -> None:
    """More than one request has room for."""

    async def story() -> None:
        async with place(etcd, b"/alertd/") as it:
            one = it.spill(tmp_path)
            term, _ = await begin(it, one)
            contents = many(9_000, 1, "x" * 120)
            await fill(one, term, contents)
            assert await one.commit(term, {"d/new": {"n": 3}}) == len(contents) + 2
            assert await it.read() == {**contents, "d/new": {"n": 3}}
            assert StateDir(tmp_path).read("outbox") == {}

    run(story())


@pytest.mark.parametrize("is_same_process", [True, False], ids=["who goes on", "who begins anew"])
@pytest.mark.parametrize("fault", ["dies_before", "dies_after", "full_from"])
def test_whoever_brings_much_back_can_be_interrupted(
    etcd: EtcdServer, tmp_path: Path, fault: str, *, is_same_process: bool
) -> None:
    """At any step, in the term that spilled it or a later one: what is read is what was committed last."""
    contents = many(7_000, 1)
    later: Contents = {"d/letters/00000": None, "d/told/00000": {"n": 2}}

    async def story(step: int, *, is_same_term: bool) -> bool:
        async with place(etcd, b"/alertd/%d%d/" % (step, is_same_term)) as it:
            one = it.spill(tmp_path)
            term, _ = await begin(it, one)
            await one.commit(term, {"d/other": {"n": 0}})
            if not is_same_term:
                term, _ = await begin(it, one)
            await fill(one, term, contents)
            await fill(one, term, later)
            setattr(term, fault, term.writes + step)
            with suppress(EtcdUnavailable):
                await one.commit(term, {})
            is_interrupted: bool = getattr(term, fault) <= term.writes
            again = one if is_same_process else it.spill(tmp_path)
            term, found = await begin(it, again)
            expected = {
                name: content for name, content in {**contents, **later, "d/other": {"n": 0}}.items() if content
            }
            assert found == expected
            await again.commit(term, {"d/new": {"n": 3}})
            assert await it.read() == {**expected, "d/new": {"n": 3}}
            assert StateDir(tmp_path).read("outbox") == {}
            return is_interrupted

    for is_same_term in (True, False):
        step = 1
        while run(story(step, is_same_term=is_same_term)):
            step += 1
        assert step > 3


def test_of_much_that_is_brought_back_letters_come_first(etcd: EtcdServer) -> None:
    """Another who leads after any part finds no group that is told of without the letter that tells it."""

    async def story(step: int) -> bool:
        async with place(etcd, b"/alertd/%d/" % step) as it:
            one = it.spill(None)
            term, _ = await begin(it, one)
            await fill(one, term, many(7_000, 1))
            letter, told = "d/letters/00007", "d/told/00007"
            await fill(one, term, {letter: {"n": 2}, told: {"n": 2}})
            term.dies_before = term.writes + step
            with suppress(EtcdUnavailable):
                await one.commit(term, {letter: {"n": 3}})
            found = await it.read()
            assert letter in found or told not in found
            return term.dies_before <= term.writes

    step = 1
    while run(story(step)):
        step += 1
    assert step > 3
