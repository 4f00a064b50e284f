"""Documents of any number and size: there as a whole or not at all, whenever their writer dies."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from alertd import document
from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.election import NotLeading
from alertd.etcd.store import Documents, Store, StoreSettings
from tests.etcd.following import run, until
from tests.etcd.terms import Frail, Namespace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from tests.etcd_server import EtcdServer

SMALL = StoreSettings(operations=10, transaction_bytes=1000, piece_bytes=400)
"""What is large by these is not so large."""


class Shelf(Namespace):
    """A namespace with documents."""

    def store(self, settings: StoreSettings | None = None) -> Store:
        """Return a store that knows nothing."""
        return Store(self.client, self.namespace, settings)

    async def read(self, *folders: str) -> dict[str, dict[str, Any]]:
        """Return the documents as somebody else reads them."""
        found = await self.store().read(*folders or ("d/",))
        assert found.damaged == found.newer == []
        return found.contents

    async def keys(self, folder: bytes = b"") -> set[str]:
        """Return the names of all keys."""
        pages = self.client.list_prefix(self.namespace + folder, keys_only=True)
        return {kv.key[len(self.namespace) :].decode() async for page in pages for kv in page.kvs}


@asynccontextmanager
async def shelf(etcd: EtcdServer, prefix: bytes) -> AsyncIterator[Shelf]:
    """Give an empty namespace."""
    async with Client(EtcdSettings((etcd.endpoint,))) as client:
        yield Shelf(client, prefix)


def large(letter: str, size: int = 3000) -> dict[str, Any]:
    """Return a document that is in pieces by `SMALL`."""
    return {"text": letter * size}


def test_what_is_written_is_read(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """New, changed, deleted; what is the same is not written again, and Unicode is a name like others."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            store, term = it.store(), await it.term()
            assert await store.commit(term, {"d/a": {"n": 1}, "d/支付": {"n": 2}, "d/none": None}) == 2
            assert await store.commit(term, {"d/a": {"n": 1}, "d/支付": {"n": 3}}) == 1
            assert await it.read() == {"d/a": {"n": 1}, "d/支付": {"n": 3}}
            assert await store.commit(term, {"d/a": None}) == 1
            writes = term.writes
            assert await store.commit(term, {"d/a": None, "d/支付": {"n": 3}}) == 0
            assert term.writes == writes
            assert await it.read() == {"d/支付": {"n": 3}}
            assert await it.keys(b"pieces/") == set()

    run(story())


def test_a_large_document_is_in_pieces(etcd: EtcdServer, prefix: bytes) -> None:
    """Of several MiB, with the settings that are in force; another such takes its place, then a small one."""

    async def story() -> None:
        async with shelf(etcd, prefix) as it:
            store, term = it.store(), await it.term()
            for content in (large("a", 5 << 20), large("支", 2 << 20), {"text": "small"}):
                await store.commit(term, {"d/large": content, "d/other": {"n": 1}})
                assert await it.read() == {"d/large": content, "d/other": {"n": 1}}
            assert await it.keys() == {"leader", "d/large", "d/other"}

    run(story())


@pytest.mark.parametrize("number", [100, 129, 3_000, 6_000])
def test_many_documents_are_one_commit(etcd: EtcdServer, prefix: bytes, number: int) -> None:
    """More than etcd's 128 operations: all bear one revision, and a term that is over leaves none of them."""

    async def story() -> None:
        async with shelf(etcd, prefix) as it:
            store, term = it.store(), await it.term()
            contents = {f"d/{each:05}": {"n": each} for each in range(number)}
            assert await store.commit(term, contents) == number
            pages = [page async for page in it.client.list_prefix(it.namespace + b"d/")]
            assert len({kv.mod_revision for page in pages for kv in page.kvs}) == 1
            assert await it.read() == contents
            await it.term()
            with pytest.raises(NotLeading):
                await store.commit(term, dict.fromkeys(contents))
            assert await it.read() == contents

    run(story())


def test_a_term_that_is_over_writes_nothing(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Neither a small document nor a piece of a large one."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            store, old = it.store(SMALL), await it.term()
            await it.term()
            for content in ({"n": 1}, large("a")):
                with pytest.raises(NotLeading):
                    await store.commit(old, {"d/a": content})
            assert await it.keys() == {"leader"}

    run(story())


def test_whoever_dies_at_any_step_leaves_the_old_or_the_new(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """All documents of a commit together; the next to lead clears what is left over, and only that."""
    old = {"d/a": large("a"), "d/b": {"n": 1}, "d/c": large("c", 5000)}
    new = {"d/a": large("A", 4000), "d/b": large("b"), "d/c": {"n": 2}}

    async def story(where: str, step: int) -> bool:
        async with shelf(shared_etcd, prefix) as it:
            await it.client.delete(prefix, is_prefix=True)
            store, term = it.store(SMALL), await it.term()
            await store.commit(term, old)
            term.writes = 0
            setattr(term, where, step)
            try:
                await store.commit(term, new)
                is_dead = term.writes >= step
            except EtcdUnavailable:
                is_dead = True
            found = await it.read()
            assert found in (old, new), f"half done, {where} {step}"
            successor, term = it.store(SMALL), await it.term()
            await successor.clear_pieces(term)
            assert await it.read() == found
            pieces = {name.split("/")[1] for name in await it.keys(b"pieces/")}
            assert len(pieces) == sum(len(document.encode(content)) > 1000 for content in found.values())
            return is_dead

    for where in ("dies_before", "dies_after"):
        step = 1
        while run(story(where, step)):
            step += 1
        assert step > 4


def test_a_commit_that_failed_is_made_again(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """It is not known what etcd has, so nothing counts as written, nor as gone."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            store, term = it.store(), await it.term()
            await store.commit(term, {"d/a": {"n": 1}})
            term.dies_before, term.dies_after = term.writes + 1, term.writes + 2
            for _ in range(2):
                with pytest.raises(EtcdUnavailable):
                    await store.commit(term, {"d/a": None, "d/b": {"n": 2}})
            assert await store.commit(term, {"d/a": {"n": 1}, "d/b": None}) == 2
            assert await it.read() == {"d/a": {"n": 1}}

    run(story())


def test_what_another_wrote_meanwhile_is_known(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """One that led, and leads again: what it once wrote is no longer there, though it reads as what it wrote."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            one, other = it.store(SMALL), it.store(SMALL)
            mine = {"d/a": {"n": 1}, "d/b": large("b"), "d/c": {"n": 3}}
            await one.commit(await it.term(), mine)
            await other.read("d/")
            theirs = {"d/a": None, "d/b": large("B"), "d/d": {"n": 4}}
            await other.commit(await it.term(), theirs)
            term = await it.term()
            await one.read("d/")
            assert await one.commit(term, {**mine, "d/d": None}) == 3
            assert await it.read() == mine

    run(story())


def test_a_folder_can_be_looked_at_without_reading_it(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """What is there is then overwritten and deleted, whatever it says; other folders stay known."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            one, other = it.store(SMALL), it.store(SMALL)
            await one.commit(await it.term(), {"d/a": {"n": 1}, "e/a": {"n": 1}})
            await other.commit(await it.term(), {"d/b": large("b"), "d/c": {"n": 3}})
            term = await it.term()
            await one.look("d/")
            assert await one.commit(term, {"d/a": {"n": 1}, "d/b": None, "d/c": None, "d/d": None}) == 3
            assert await one.commit(term, {"e/a": {"n": 1}}) == 0
            assert await it.read("d/", "e/") == {"d/a": {"n": 1}, "e/a": {"n": 1}}

    run(story())


def test_pieces_of_documents_that_were_not_read_stay(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Whoever clears need not have read every folder; nor are pieces cleared that are being written."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            await it.store(SMALL).commit(await it.term(), {"d/a": large("a"), "e/a": large("e")})
            successor, term = it.store(SMALL), await it.term()
            term.dies_before = 3
            with pytest.raises(EtcdUnavailable):
                await successor.commit(term, {"f/a": large("f")})
            begun = await it.keys(b"pieces/")
            await successor.read("d/")
            await successor.clear_pieces(term)
            assert await it.keys(b"pieces/") == begun
            await successor.commit(term, {"f/a": large("f")})
            expected = {"d/a": large("a"), "e/a": large("e"), "f/a": large("f")}
            assert await it.read("d/", "e/", "f/") == expected

    run(story())


@pytest.mark.parametrize("where", ["dies_before", "dies_after"])
@pytest.mark.parametrize("then", [large("B"), {"n": 2}, None], ids=["large", "small", "deleted"])
def test_pieces_of_what_is_no_longer_wanted_go_with_the_next_commit(
    shared_etcd: EtcdServer, prefix: bytes, where: str, then: dict[str, Any] | None
) -> None:
    """A commit failed at some step, and what is wanted has changed by the time it is made again."""

    async def story(step: int) -> bool:
        async with shelf(shared_etcd, prefix + b"%d/" % step) as it:
            store, term = it.store(SMALL), await it.term()
            await store.commit(term, {"d/a": large("a"), "d/b": large("b")})
            setattr(term, where, term.writes + step)
            is_failed = await fails(store.commit(term, {"d/a": large("A")}))
            await store.commit(term, {"d/a": then})
            expected = {name: content for name, content in {"d/a": then, "d/b": large("b")}.items() if content}
            assert await it.read() == expected
            if is_failed:
                assert await pieces_of(it) == sum(content != {"n": 2} for content in expected.values())
            return is_failed

    step = 1
    while run(story(step)):
        step += 1
    assert step > 3


async def fails(commit: Awaitable[int]) -> bool:
    """Tell whether the writer of a commit died."""
    try:
        await commit
    except EtcdUnavailable:
        return True
    return False


async def pieces_of(it: Shelf) -> int:
    """Return of how many documents there are pieces."""
    return len({name.split("/")[1] for name in await it.keys(b"pieces/")})


@pytest.mark.parametrize("is_read", [True, False], ids=["read since", "looked at since"])
@pytest.mark.parametrize("where", ["dies_before", "dies_after"])
def test_pieces_of_a_commit_that_failed_are_cleared_in_a_later_term(
    shared_etcd: EtcdServer, prefix: bytes, where: str, *, is_read: bool
) -> None:
    """By the same process, which does not commit that document again; not if a document names them after all."""

    async def story(step: int) -> bool:
        async with shelf(shared_etcd, prefix + b"%d/" % step) as it:
            store, term = it.store(SMALL), await it.term()
            await store.commit(term, {"d/a": large("a")})
            setattr(term, where, term.writes + step)
            is_failed = await fails(store.commit(term, {"d/a": large("A")}))
            term, found = await it.term(), await it.read()
            assert found in ({"d/a": large("a")}, {"d/a": large("A")})
            await (store.read("d/") if is_read else store.look("d/"))
            for _ in range(2):
                await store.clear_pieces(term)
                assert await it.read() == found
            assert await pieces_of(it) == 1
            await store.commit(term, {"d/a": large("C")})
            assert await it.read() == {"d/a": large("C")}
            assert await pieces_of(it) == 1
            return is_failed

    step = 1
    while run(story(step)):
        step += 1
    assert step > 3


def test_pieces_that_are_being_cleared_are_not_written_meanwhile(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """A commit that begins what is being deleted, since it failed before, waits for that."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            store, term = it.store(SMALL), await it.term()
            term.dies_before = 3
            with pytest.raises(EtcdUnavailable):
                await store.commit(term, {"d/a": large("a")})

            may_go = asyncio.Event()

            class Slow(Frail):
                """A term that writes when it may."""

                async def write(self, operations: Sequence[Any]) -> None:
                    self.writes += 1
                    await may_go.wait()
                    await super().write(operations)

            term = await it.term()
            slow = Slow(it.client, prefix + b"leader", term.revision, 0)
            slow.deadline = term.deadline
            clearing = asyncio.create_task(store.clear_pieces(slow))
            await until(lambda: slow.writes, "it deletes")
            committing = asyncio.create_task(store.commit(term, {"d/a": large("a")}))
            await asyncio.wait({committing}, timeout=0.3)
            may_go.set()
            await asyncio.gather(clearing, committing)
            assert await it.read() == {"d/a": large("a")}

    run(story())


def test_two_documents_share_no_pieces(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """One of two that say the same is deleted, and the other still says it."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            store, term = it.store(SMALL), await it.term()
            await store.commit(term, {"d/a": large("x"), "d/b": large("x")})
            await store.commit(term, {"d/a": None})
            assert await it.read() == {"d/b": large("x")}

    run(story())


def test_newer_and_damaged_documents_are_named(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Also a large one that has lost a piece; a damaged one can be overwritten and deleted."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            store, term = it.store(SMALL), await it.term()
            await store.commit(term, {"d/good": {"n": 1}, "d/torn": large("t"), "d/whole": large("w")})
            torn = document.read((await it.client.get(prefix + b"d/torn")).value).content["pieces"]  # type: ignore[union-attr, index]
            await it.client.delete(prefix + f"pieces/{torn}/000001".encode())
            await it.client.put(prefix + b"d/newer", b'{"format": 2, "n": {}}')
            await it.client.put(prefix + b"d/text", b"no document \xff")
            found = await store.read("d/")
            assert (found.newer, found.damaged) == (["d/newer"], ["d/text", "d/torn"])
            assert found.contents == {"d/good": {"n": 1}, "d/whole": large("w")}
            assert await store.commit(term, {"d/text": None, "d/torn": {"n": 2}}) == 2
            await it.client.delete(prefix + b"d/newer")
            assert await it.read() == {"d/good": {"n": 1}, "d/whole": large("w"), "d/torn": {"n": 2}}

    run(story())


def test_all_folders_are_read_at_one_revision(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """What is written while they are read is not in it, not even the pieces of it."""

    async def story() -> None:
        async with shelf(shared_etcd, prefix) as it:
            writer, term = it.store(SMALL), await it.term()
            before = {"d/a": large("a"), "e/a": large("e"), "e/b": {"n": 1}}
            await writer.commit(term, before)

            class Busy(Client):
                async def range(self, request: Any, *, seconds: float | None = None) -> Any:
                    answer = await super().range(request, seconds=seconds)
                    if request.key.startswith(prefix + b"d/"):
                        await writer.commit(term, {"d/a": large("A"), "e/a": {"n": 2}, "e/b": None})
                    return answer

            async with Busy(EtcdSettings((shared_etcd.endpoint,))) as client:
                found: Documents = await Store(client, prefix).read("d/", "e/")
            assert found.contents == before
            assert found.damaged == []
            assert await it.read("d/", "e/") == {"d/a": large("A"), "e/a": {"n": 2}}

    run(story())
