"""A watch that begins where another left off: nothing that happened in between is lost, or told as something else."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, put_op
from alertd.etcd.stream import WatchStream
from alertd.etcd.watch import Bookmark, Events, GapOpened, Step, Synced, Watch
from alertd.model import EventKind
from tests.etcd.following import PREFIX, QUICKLY, Follower, Left, agree, following, run, until
from tests.etcd.test_watch_faults import change, key, seed
from tests.etcd_server import Cut, EtcdServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PUT, DELETE, EXPIRE = EventKind.PUT, EventKind.DELETE, EventKind.EXPIRE
FOUND, MISSED = EventKind.FOUND, EventKind.MISSED
MANY = 3000
"""Keys that do not fit into the first page."""


async def leave(endpoint: str, prefix: bytes = PREFIX) -> Left:
    """Be the earlier daemon, that takes in what there is and leaves off."""
    async with following(endpoint, prefix=prefix) as (client, follower):
        await agree(client, follower, prefix)
        return follower.leave()


async def put_many(client: Client, value: bytes, number: int = MANY) -> None:
    """Put keys below the common prefix, a hundred a revision."""
    for start in range(0, number, 100):
        await client.txn([], [put_op(key(f"{one:05}"), value) for one in range(start, start + 100)])


async def put_elsewhere(etcd: EtcdServer, number: int) -> None:
    """Make revisions that do not concern the prefix."""
    async with Client(EtcdSettings((etcd.endpoint,))) as client:
        for _ in range(number):
            await client.put(b"/elsewhere", b"")


REPLAYED = {"a": [FOUND, PUT], "b": [FOUND, DELETE], "c": [FOUND, DELETE, PUT], "d": [FOUND], "e": [PUT]}
LISTED = {"a": [FOUND], "b": [MISSED], "c": [MISSED, FOUND], "d": [FOUND], "e": [FOUND]}


def told(follower: Follower) -> dict[str, list[EventKind]]:
    """Return what was told of each key."""
    return {name: follower.told(key(name)) for name in "abcde"}


async def consume(follower: Follower, interfere: Callable[[Step], object]) -> None:
    """Take every step up to the first `Synced`; `interfere` does its worst after each, before the watch goes on."""
    async with aclosing(follower.watch.follow()) as steps:
        async for step in steps:
            follower.apply(step)
            interfere(step)
            if isinstance(step, Synced):
                return


# --- the history is kept ---------------------------------------------------------------------------------------------


def test_where_nothing_happened_every_key_is_found_as_it_was(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """With its value, lease and revision; and the gap is closed without a stream, though etcd was busy elsewhere."""

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            lease = await client.lease_grant(60)
            made = [await client.put(prefix + name, name, lease=lease) for name in (b"a", b"b")]
            left = await leave(shared_etcd.endpoint, prefix)
            await client.put(b"/elsewhere", b"")
            follower = Follower(Watch(client, prefix), left)
            await consume(follower, lambda _: None)
            bookmark, watch = left.bookmark, follower.watch
            reason = f"resumed after revision {bookmark.revision}"
            assert follower.steps == [GapOpened(reason, bookmark.at), Synced(bookmark.revision)]
            assert follower.events == [
                (FOUND, prefix + name, name, lease, revision) for name, revision in zip((b"a", b"b"), made, strict=True)
            ]
            assert (watch.counters.streams, watch.cluster_id) == (0, bookmark.cluster_id)

    run(story())


def test_a_bookmark_without_a_place_is_refused() -> None:
    """Nothing can be resumed from revision 0, or in no cluster."""
    watch = Watch(Client(EtcdSettings()), PREFIX)
    for revision, cluster_id in ((0, 1), (-1, 1), (1, 0)):
        with pytest.raises(ValueError, match="no place"):
            watch.resume(Bookmark(revision, cluster_id, 0.0, ()))


def test_what_follows_is_told_as_ever(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """The resumed watch is a watch: changes come outside a gap, and the next can resume from it."""

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            await client.put(prefix + b"a", b"1")
        left = await leave(shared_etcd.endpoint, prefix)
        for turn in range(3):
            async with following(shared_etcd.endpoint, prefix=prefix, left=left) as (client, follower):
                revision = await client.put(prefix + b"a", b"%d" % turn)
                await until(lambda least=revision: follower.watch.resume_after >= least)  # type: ignore[misc]  # bound at once
                assert follower.told(prefix + b"a") == [FOUND, PUT]
                assert [type(step) for step in follower.steps] == [GapOpened, Synced]
                left = follower.leave()
        assert left.state == {prefix + b"a": b"2"}

    run(story())


def test_what_happened_meanwhile_is_replayed_as_it_happened(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Changed, deleted, expired, made again, flapped: each in its order and of its kind, within one gap."""

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            lease = await client.lease_grant(60)
            for name in b"abcde":
                await client.put(prefix + bytes([name]), b"up", lease=lease if name in b"ce" else 0)
            left = await leave(shared_etcd.endpoint, prefix)
            revisions = [await client.put(prefix + b"a", value) for value in (b"down", b"up")]
            await client.delete(prefix + b"b")
            await client.delete(prefix + b"e")
            await client.lease_revoke(lease)
            await client.delete(prefix + b"d")
            await client.put(prefix + b"d", b"up")
            last = await client.put(prefix + b"f", b"up")
            async with following(shared_etcd.endpoint, prefix=prefix, left=left) as (_, follower):
                await until(lambda: not follower.is_in_gap)
                stories = {bytes([name]): follower.told(prefix + bytes([name])) for name in b"abcdef"}
                flip = [event for event in follower.events if event.key == prefix + b"a"]
                replayed = [event.revision for event in follower.events if event.kind is not FOUND]
        assert stories == {
            b"a": [FOUND, PUT, PUT],
            b"b": [FOUND, DELETE],
            b"c": [FOUND, EXPIRE],
            b"d": [FOUND, DELETE, PUT],
            b"e": [FOUND, DELETE],
            b"f": [PUT],
        }
        assert [(event.value, event.revision) for event in flip[1:]] == [(b"down", revisions[0]), (b"up", revisions[1])]
        assert replayed == list(range(revisions[0], last + 1))
        assert [type(step) for step in follower.steps] == [GapOpened, Synced]

    run(story())


def test_a_key_that_only_came_and_went_is_told_in_a_gap_of_its_own(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """A listing cannot show it: the state is what it was. It happened after the bookmark, as that gap says."""

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            await client.put(prefix + b"a", b"1")
            left = await leave(shared_etcd.endpoint, prefix)
            await client.put(prefix + b"b", b"1")
            await client.delete(prefix + b"b")
        async with following(shared_etcd.endpoint, prefix=prefix, left=left) as (_, follower):
            await until(lambda: follower.synced == 2)
            assert follower.told(prefix + b"b") == [PUT, DELETE]
            assert [type(step) for step in follower.steps] == [GapOpened, Synced] * 2
            assert {step.since for step in follower.steps if isinstance(step, GapOpened)} == {left.bookmark.at}

    run(story())


def test_a_stream_that_breaks_before_it_replays_is_no_sign_of_life(
    shared_etcd: EtcdServer, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next one brings may have happened before it: the gap reaches back to the bookmark all the same."""

    async def story() -> None:
        left = await leave(shared_etcd.endpoint, prefix)
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            await client.put(prefix + b"a", b"1")
            await client.delete(prefix + b"a")
        answers, take = [], WatchStream.take

        async def break_off_once(stream: WatchStream) -> Any:
            answers.append(await take(stream))
            if len(answers) == 2:
                raise EtcdUnavailable("broken before its first event was taken")
            return answers[-1]

        monkeypatch.setattr(WatchStream, "take", break_off_once)
        async with following(shared_etcd.endpoint, prefix=prefix, left=left) as (_, follower):
            await until(lambda: follower.synced == 2)
            assert follower.watch.counters.streams == 2
            assert follower.told(prefix + b"a") == [PUT, DELETE]
            assert {step.since for step in follower.steps if isinstance(step, GapOpened)} == {left.bookmark.at}

    run(story())


def test_keys_that_the_bookmark_knows_too_early(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Made shortly after its revision, they are replayed; what was never there at all is missed."""

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            await client.put(prefix + b"a", b"1")
            (bookmark, state) = await leave(shared_etcd.endpoint, prefix)
            await client.put(prefix + b"stays", b"1")
            await client.put(prefix + b"goes", b"1")
            early = [prefix + name for name in (b"stays", b"goes", b"ghost")]
            left = Left(bookmark._replace(keys=[*state, *early]), state | dict.fromkeys(early, b"1"))
            await client.delete(prefix + b"goes")
            async with following(shared_etcd.endpoint, prefix=prefix, left=left) as (_, follower):
                await until(lambda: not follower.is_in_gap)
                assert [follower.told(name) for name in early] == [[PUT], [PUT, DELETE], [MISSED]]
                assert [type(step) for step in follower.steps] == [GapOpened, Synced]
                await agree(client, follower, prefix)

    run(story())


@pytest.mark.parametrize("number", [1, 1500])
def test_ghosts_alone_keep_the_gap_open_until_they_are_missed(
    shared_etcd: EtcdServer, prefix: bytes, number: int
) -> None:
    """No key changed, and yet the state is not what the consumer believes; many are mended by a listing."""

    async def story() -> None:
        bookmark, _ = await leave(shared_etcd.endpoint, prefix)
        ghosts = [prefix + b"ghost/%d" % one for one in range(number)]
        left = Left(bookmark._replace(keys=ghosts), dict.fromkeys(ghosts, b"1"))
        async with following(shared_etcd.endpoint, prefix=prefix, left=left) as (_, follower):
            assert [(event.kind, event.key) for event in follower.events] == [(MISSED, ghost) for ghost in ghosts]
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]

    run(story())


def test_twenty_thousand_changes_while_away(etcd: EtcdServer) -> None:
    """More than 4 MiB of them, each told once and in order."""

    async def story() -> None:
        async with Client(EtcdSettings((etcd.endpoint,))) as client:
            await put_many(client, b"0", 2000)
            left = await leave(etcd.endpoint)
            for turn in range(10):
                await put_many(client, b"%d" % turn + bytes(400), 2000)
        async with following(etcd.endpoint, left=left) as (client, follower):
            assert [event.kind for event in follower.events] == [FOUND] * 2000 + [PUT] * 20_000
            revisions = [event.revision for event in follower.events]
            assert revisions == sorted(revisions)
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]
            await agree(client, follower)

    run(story())


# --- the history is gone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "expected"), [(0, REPLAYED), (1, LISTED), (4, LISTED)], ids=["at", "next", "beyond"])
def test_a_compaction_while_away(etcd: EtcdServer, ahead: int, expected: dict[str, list[EventKind]]) -> None:
    """Of the bookmark's revision all is kept; of a later one, what is there is found and what is not is missed."""
    seed(etcd)

    async def story() -> None:
        left = await leave(etcd.endpoint)
        change(etcd)
        etcd.ctl("compact", str(left.bookmark.revision + ahead), "--physical")
        async with following(etcd.endpoint, left=left) as (client, follower):
            await until(lambda: not follower.is_in_gap)
            assert told(follower) == expected
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]
            assert follower.steps[0].since == left.bookmark.at  # type: ignore[union-attr]  # as the line above says
            await agree(client, follower)
            await client.put(key("f"), b"1")
            await agree(client, follower)
            assert follower.told(key("f")) == [PUT]

    run(story())


def test_a_deletion_that_is_compacted_just_before_the_stream_begins(etcd: EtcdServer) -> None:
    """The stream begins exactly there, and some servers leave the deletion out without a word (etcd#18089)."""
    seed(etcd)

    async def story() -> None:
        left = await leave(etcd.endpoint)
        etcd.ctl("del", key("b").decode())
        etcd.ctl("put", key("a").decode(), "2")

        def compact(step: Step) -> None:
            if isinstance(step, Events) and len(follower.events) == 4:
                etcd.ctl("compact", str(left.bookmark.revision + 1), "--physical")

        async with Client(EtcdSettings((etcd.endpoint,), timeout=1.0)) as client:
            follower = Follower(Watch(client, PREFIX, QUICKLY), left)
            await consume(follower, compact)
            assert follower.told(key("a")) == [FOUND, PUT]
            assert follower.told(key("b")) in ([FOUND, DELETE], [FOUND, MISSED])
            await agree(client, follower)

    run(story())


def test_a_compaction_after_the_listing_and_before_the_stream(etcd: EtcdServer) -> None:
    """What was found is compared with what there is: the rest of the story is told by a listing, in the same gap."""
    seed(etcd)

    async def story() -> None:
        left = await leave(etcd.endpoint)
        change(etcd)

        def compact(step: Step) -> None:
            if isinstance(step, Events) and len(follower.events) == 4:
                etcd.compact()

        async with Client(EtcdSettings((etcd.endpoint,), timeout=1.0)) as client:
            follower = Follower(Watch(client, PREFIX, QUICKLY), left)
            await consume(follower, compact)
            assert told(follower) == {
                "a": [FOUND, FOUND],
                "b": [FOUND, MISSED],
                "c": [FOUND, MISSED, FOUND],
                "d": [FOUND],
                "e": [FOUND],
            }
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]
            await agree(client, follower)

    run(story())


def test_a_compaction_between_two_pages(etcd: EtcdServer) -> None:
    """What the first page told is compared with the present, the rest is told for the first time."""

    async def story() -> None:
        async with Client(EtcdSettings((etcd.endpoint,), timeout=5.0)) as client:
            await put_many(client, b"1")
            left = await leave(etcd.endpoint)
            for name in ("00001", "02001"):
                etcd.ctl("put", key(name).decode(), "2")
            for name in ("00002", "02002", "00003", "02003"):
                etcd.ctl("del", key(name).decode())
            for name in ("00003", "02003"):
                etcd.ctl("put", key(name).decode(), "1")
            pages: list[Step] = []

            def compact(step: Step) -> None:
                if isinstance(step, Events) and not pages:
                    etcd.compact()
                    pages.append(step)

            follower = Follower(Watch(client, PREFIX, QUICKLY), left)
            await consume(follower, compact)
            assert len(follower.events) == MANY + 5
            stories = {
                "00000": [FOUND],
                "00001": [FOUND, FOUND],
                "00002": [FOUND, MISSED],
                "00003": [FOUND, MISSED, FOUND],
                "02000": [FOUND],
                "02001": [FOUND],
                "02002": [MISSED],
                "02003": [MISSED, FOUND],
            }
            assert {name: follower.told(key(name)) for name in stories} == stories
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]
            await agree(client, follower)

    run(story())


@pytest.mark.parametrize("puts", [0, 60], ids=["behind", "ahead"])
def test_a_restore_from_an_older_snapshot(etcd: EtcdServer, tmp_path: Path, puts: int) -> None:
    """The bookmark's revision is in the future, or has come again in another history: everything is found."""
    seed(etcd)
    etcd.save(tmp_path / "snapshot")

    async def story() -> None:
        change(etcd)
        left = await leave(etcd.endpoint)
        etcd.stop()
        etcd.restore(tmp_path / "snapshot")
        etcd.start()
        await put_elsewhere(etcd, puts)
        async with following(etcd.endpoint, left=left) as (client, follower):
            await until(lambda: not follower.is_in_gap)
            assert told(follower) == {"a": [FOUND], "b": [FOUND], "c": [FOUND], "d": [FOUND], "e": [MISSED]}
            assert follower.watch.cluster_id == left.bookmark.cluster_id
            await client.put(key("z"), b"")
            await agree(client, follower)
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]

    run(story())


@pytest.mark.parametrize("puts", [0, 60], ids=["behind", "ahead"])
def test_another_cluster_at_the_same_address(etcd: EtcdServer, puts: int) -> None:
    """Its revisions mean nothing: all its keys are found, the others missed."""
    seed(etcd)

    async def story() -> None:
        left = await leave(etcd.endpoint)
        etcd.stop()
        etcd.wipe()
        etcd.peer_port = free_port()
        etcd.start()
        await put_elsewhere(etcd, puts)
        seed(etcd, "ae")
        async with following(etcd.endpoint, left=left) as (client, follower):
            await until(lambda: not follower.is_in_gap)
            assert told(follower) == {"a": [FOUND], "b": [MISSED], "c": [MISSED], "d": [MISSED], "e": [FOUND]}
            assert follower.watch.cluster_id not in {0, left.bookmark.cluster_id}
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]
            await client.put(key("f"), b"")
            await agree(client, follower)

    run(story())


# --- etcd goes away in the middle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_compacted", [False, True], ids=["kept", "compacted"])
@pytest.mark.parametrize("broken_at", [1, MANY, MANY + 500, MANY + 1500], ids=["page", "stream", "replay", "later"])
def test_etcd_away_in_the_middle(
    etcd: EtcdServer, caplog: pytest.LogCaptureFixture, broken_at: int, *, is_compacted: bool
) -> None:
    """Between pages, before the stream, or while it replays: the next session goes on, within the same gap.

    A replay of 2,500 revisions comes in three responses, of which no two fit into what is buffered on the way.
    """

    async def story() -> None:
        async with Client(EtcdSettings((etcd.endpoint,), timeout=5.0)) as direct:
            await put_many(direct, b"0")
            left = await leave(etcd.endpoint)
            for start in range(0, 2500, 100):
                puts = (direct.put(key(f"{one:05}"), b"1" + bytes(2000)) for one in range(start, start + 100))
                await asyncio.gather(*puts)
            with Cut(etcd.endpoint) as cut:
                is_cut = asyncio.Event()

                def cut_off(_: Step) -> None:
                    if len(follower.events) >= broken_at and not is_cut.is_set():
                        is_cut.set()
                        cut.cut()
                        etcd.ctl("del", key("00001").decode())
                        if is_compacted:
                            etcd.compact()

                async def mend() -> None:
                    await until(lambda: is_cut.is_set() and caplog.messages, "it is noticed that etcd is away")
                    cut.mend()

                settings = replace(QUICKLY, slice_events=400)
                async with Client(EtcdSettings((cut.endpoint,), timeout=2.0)) as client:
                    follower = Follower(Watch(client, PREFIX, settings), left)
                    await asyncio.gather(consume(follower, cut_off), mend())
                    await agree(direct, follower)
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]
            assert is_cut.is_set()
            assert follower.told(key("02999")) == [FOUND]
            if not is_compacted:
                assert [follower.told(key(name)) for name in ("00001", "02499")] == [[FOUND, PUT, DELETE], [FOUND, PUT]]

    run(story())


def test_etcd_absent_when_it_is_resumed(etcd: EtcdServer, caplog: pytest.LogCaptureFixture) -> None:
    """No gap opens before it answers; then all is as ever."""
    seed(etcd)

    async def story() -> None:
        left = await leave(etcd.endpoint)
        change(etcd)
        with Cut(etcd.endpoint) as cut:
            cut.cut()
            async with Client(EtcdSettings((cut.endpoint,), timeout=1.0)) as client:
                follower = Follower(Watch(client, PREFIX, QUICKLY), left)
                consuming = asyncio.create_task(consume(follower, lambda _: None))
                await until(lambda: caplog.messages)
                assert follower.steps == []
                cut.mend()
                await consuming
                assert told(follower) == REPLAYED

    run(story())
