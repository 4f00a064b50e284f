"""The watch when etcd is frozen, killed, compacted, replaced or gone: its view equals etcd's, each change told once."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, put_op
from alertd.etcd.watch import Events, GapOpened, Synced, Watch
from alertd.model import EventKind
from tests.etcd.following import PREFIX, QUICKLY, Follower, agree, following, run, until
from tests.etcd_server import Cut, EtcdCluster, EtcdServer, free_port

if TYPE_CHECKING:
    from pathlib import Path

PUT, DELETE, EXPIRE = EventKind.PUT, EventKind.DELETE, EventKind.EXPIRE
FOUND, MISSED = EventKind.FOUND, EventKind.MISSED
SELDOM = replace(QUICKLY, progress_every=3.0)
"""For replays that keep etcd busy: two answers in a row may overtake them if it is asked every moment."""


def key(name: str) -> bytes:
    """Return the key of an instance of the one service here."""
    return PREFIX + b"s/" + name.encode()


def seed(etcd: EtcdServer, names: str = "abcd") -> None:
    """Register instances."""
    for name in names:
        etcd.ctl("put", key(name).decode(), "1")


def change(etcd: EtcdServer) -> None:
    """Of a, b, c, d: change one, delete one, delete and make one again, leave one alone; and register e."""
    etcd.ctl("put", key("a").decode(), "2")
    etcd.ctl("del", key("b").decode())
    etcd.ctl("del", key("c").decode())
    etcd.ctl("put", key("c").decode(), "1")
    etcd.ctl("put", key("e").decode(), "1")


REPLAYED = {"a": [PUT], "b": [DELETE], "c": [DELETE, PUT], "d": [], "e": [PUT]}
LISTED = {"a": [FOUND], "b": [MISSED], "c": [MISSED, FOUND], "d": [], "e": [FOUND]}


def told(follower: Follower) -> dict[str, list[EventKind]]:
    """Return what was told of each key."""
    return {name: follower.told(key(name)) for name in "abcde"}


# --- the history is kept: it is replayed -----------------------------------------------------------------------------


def test_a_frozen_etcd_is_noticed_and_nothing_is_lost(etcd: EtcdServer) -> None:
    """SIGSTOP leaves connections open: the silence ends the stream. Afterwards it goes on where it was."""
    seed(etcd)

    async def story() -> None:
        async with following(etcd.endpoint) as (client, follower):
            watch = follower.watch
            await until(lambda: watch.alive_at and watch.is_connected)
            follower.forget()
            etcd.freeze()
            began = time.monotonic()
            await until(lambda: not watch.is_connected)
            assert time.monotonic() - began < 3
            etcd.thaw()
            change(etcd)
            await agree(client, follower)
            assert told(follower) == REPLAYED
            assert watch.counters.listings == 1

    run(story())


def test_etcd_killed_and_restarted_with_changes_meanwhile(etcd: EtcdServer) -> None:
    """The stream is resumed after the last event, and each change is told once with what it was."""
    seed(etcd)

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with following(cut.endpoint) as (client, follower):
                await until(lambda: follower.watch.is_connected)
                follower.forget()
                cut.cut()
                etcd.restart()
                change(etcd)
                cut.mend()
                await agree(client, follower)
                assert told(follower) == REPLAYED
                assert follower.watch.counters.listings == 1

    run(story())


def test_a_replay_that_breaks_after_its_last_event_still_ends(etcd: EtcdServer) -> None:
    """Nothing more is to come then, yet the gap is closed by the next stream."""
    seed(etcd)

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with following(cut.endpoint) as (_, follower):
                await until(lambda: follower.watch.is_connected)
                follower.forget()
                cut.cut()
                change(etcd)
                etcd.ctl("put", "/elsewhere", "")
                cut.mend()
                await until(lambda: follower.told(key("e")))
                assert follower.is_in_gap
                cut.cut()
                await until(lambda: not follower.watch.is_connected)
                cut.mend()
                await until(lambda: not follower.is_in_gap, "the gap is closed", 5)
                assert told(follower) == REPLAYED

    run(story())


def test_leases_that_ended_during_a_gap_are_told_as_such(etcd: EtcdServer) -> None:
    """The history is kept, and etcd can still say that the lease has ended."""

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with following(cut.endpoint) as (client, follower):
                first, second = await client.lease_grant(60), await client.lease_grant(60)
                await client.put(key("a"), b"", lease=first)
                await client.put(key("b"), b"", lease=second)
                await until(lambda: len(follower.events) == 2)
                cut.cut()
                etcd.ctl("lease", "revoke", f"{first:x}")
                etcd.ctl("del", key("b").decode())
                cut.mend()
                await until(lambda: len(follower.events) == 4)
                assert follower.told(key("a")) == [PUT, EXPIRE]
                assert follower.told(key("b")) == [PUT, DELETE]

    run(story())


def test_a_catch_up_larger_than_grpcs_default(etcd: EtcdServer) -> None:
    """30 MB at once do not end the stream."""

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with (
                following(cut.endpoint, settings=SELDOM) as (client, follower),
                Client(EtcdSettings((etcd.endpoint,))) as direct,
            ):
                await until(lambda: follower.watch.is_connected)
                cut.cut()
                for number in range(30):
                    await direct.put(key(f"{number:02}"), bytes(1_000_000))
                cut.mend()
                await agree(client, follower)
                assert {event.kind for event in follower.events} == {PUT}
                assert len(follower.events) == 30

    run(story())


def test_thousands_of_changes_while_cut_off(etcd: EtcdServer) -> None:
    """Ten changes to each of 2,000 keys are replayed, one by one and in order."""

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with (
                following(cut.endpoint, settings=SELDOM) as (client, follower),
                Client(EtcdSettings((etcd.endpoint,))) as direct,
            ):
                await until(lambda: follower.watch.is_connected)
                cut.cut()
                for turn in range(10):
                    for start in range(0, 2000, 100):
                        puts = [put_op(key(str(number)), b"%d" % turn) for number in range(start, start + 100)]
                        await direct.txn([], puts)
                cut.mend()
                await agree(client, follower)
                assert len(follower.events) == 20_000
                revisions = [event.revision for event in follower.events]
                assert revisions == sorted(revisions)

    run(story())


# --- the history is gone: what differs is listed ---------------------------------------------------------------------


def test_a_compaction_while_cut_off(etcd: EtcdServer) -> None:
    """What differs is found or missed, what did not change is not told, and the gap opens when etcd is back."""
    seed(etcd)

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with following(cut.endpoint) as (client, follower):
                await until(lambda: follower.watch.is_connected)
                follower.forget()
                cut.cut()
                change(etcd)
                etcd.compact()
                assert not follower.is_in_gap
                cut.mend()
                await agree(client, follower)
                assert told(follower) == LISTED
                await until(lambda: follower.synced == 2)
                assert [type(step) for step in follower.steps] == [GapOpened, Synced] * 2

    run(story())


def test_a_compaction_exactly_at_the_first_revision_not_seen(etcd: EtcdServer) -> None:
    """Some servers drop a deletion when resuming exactly there, without a word (etcd#18089)."""
    seed(etcd)

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with following(cut.endpoint) as (client, follower):
                await until(lambda: follower.watch.is_connected)
                follower.forget()
                cut.cut()
                etcd.ctl("del", key("b").decode())
                etcd.compact()
                cut.mend()
                await agree(client, follower)
                assert len(follower.told(key("b"))) == 1
                assert len(follower.events) == 1

    run(story())


@pytest.mark.parametrize("puts", [0, 60], ids=["behind", "ahead"])
def test_another_cluster_at_the_same_address(etcd: EtcdServer, puts: int) -> None:
    """Its revisions mean nothing here: all its keys are found, the others missed."""
    seed(etcd)

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with following(cut.endpoint) as (client, follower), Client(EtcdSettings((etcd.endpoint,))) as direct:
                await until(lambda: follower.watch.is_connected)
                follower.forget()
                cut.cut()
                etcd.stop()
                etcd.wipe()
                etcd.peer_port = free_port()
                etcd.start()
                for number in range(puts):
                    await direct.put(b"/elsewhere", b"%d" % number)
                seed(etcd, "ae")
                cut.mend()
                await agree(client, follower)
                assert told(follower) == {"a": [FOUND], "b": [MISSED], "c": [MISSED], "d": [MISSED], "e": [FOUND]}
                await direct.put(key("f"), b"")
                await agree(client, follower)

    run(story())


def test_a_restore_from_an_older_snapshot(etcd: EtcdServer, tmp_path: Path) -> None:
    """The revision went back: a watch on what is now the future would wait in silence."""
    seed(etcd)
    etcd.save(tmp_path / "snapshot")

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with following(cut.endpoint) as (client, follower):
                await until(lambda: follower.watch.is_connected)
                change(etcd)
                await agree(client, follower)
                cut.cut()
                etcd.stop()
                etcd.restore(tmp_path / "snapshot")
                etcd.start()
                follower.forget()
                cut.mend()
                await agree(client, follower)
                assert (follower.told(key("b")), follower.told(key("e"))) == ([FOUND], [MISSED])
                assert follower.state[key("a")] == b"1"
                await client.put(key("z"), b"")
                await agree(client, follower)
                assert follower.told(key("z")) == [PUT]

    run(story())


def test_a_listing_that_breaks_midway(etcd: EtcdServer) -> None:
    """The gap stays open over the break; what the first attempt found may have changed, or be gone, by the second."""

    async def story() -> None:
        names = [f"{number:04}" for number in range(3000)]
        with Cut(etcd.endpoint) as cut:
            async with (
                Client(EtcdSettings((etcd.endpoint,))) as direct,
                Client(EtcdSettings((cut.endpoint,), timeout=1.0)) as client,
            ):
                for start in range(0, 3000, 100):
                    await direct.txn([], [put_op(key(name), b"1") for name in names[start : start + 100]])
                follower, is_broken = Follower(Watch(client, PREFIX, QUICKLY)), False
                async with aclosing(follower.watch.follow()) as steps:
                    async for step in steps:
                        follower.apply(step)
                        if isinstance(step, Events) and not is_broken:
                            is_broken = True
                            cut.cut()
                            await direct.delete(key("0000"))
                            await direct.put(key("0001"), b"2")
                            etcd.compact()
                            cut.mend()
                        if isinstance(step, Synced):
                            break
                assert follower.watch.counters.listings > 1
                assert [type(step) for step in follower.steps] == [GapOpened, Synced]
                assert follower.told(key("0000")) == [FOUND, MISSED]
                assert follower.told(key("0001")) == [FOUND, FOUND]
                assert follower.told(key("2999")) == [FOUND]
                await agree(direct, follower)

    run(story())


# --- nobody there ----------------------------------------------------------------------------------------------------


def test_etcd_absent_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, costs next to nothing, opens no gap, and is over when etcd comes."""
    etcd = EtcdServer(tmp_path)

    async def story() -> None:
        async with Client(EtcdSettings((etcd.endpoint,), timeout=1.0)) as client:
            follower = Follower(Watch(client, PREFIX, QUICKLY))

            async def consume() -> None:
                async with aclosing(follower.watch.follow()) as steps:
                    async for step in steps:
                        follower.apply(step)

            consuming = asyncio.create_task(consume())
            await until(lambda: caplog.messages)
            cpu = time.process_time()
            await asyncio.sleep(1.0)
            assert time.process_time() - cpu < 0.3
            assert follower.steps == []
            with etcd:
                seed(etcd)
                await agree(client, follower)
                await until(lambda: follower.watch.is_connected and any("no more" in one for one in caplog.messages))
                consuming.cancel()
                await asyncio.wait({consuming})

    with caplog.at_level(logging.INFO):
        run(story())
    assert caplog.messages[0] == (
        f"the watch on etcd does not work: etcd at {etcd.endpoint} refuses the connection; "
        "is etcd running there?; trying on"
    )
    assert len(caplog.messages) == 2


# --- several members -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_the_watch_moves_to_another_member(cluster: EtcdCluster, how: str) -> None:
    """The member that is watched is killed, or hangs: the next takes over, and nothing is lost or doubled."""

    async def story() -> None:
        async with following(*cluster.endpoints) as (_, follower):
            watch = follower.watch
            await until(lambda: watch.is_connected)
            victim = next(member for member in cluster.members if member.endpoint == watch.endpoint)
            witness = next(member for member in cluster.members if member is not victim)
            witness.ctl("put", key("a").decode(), "1")
            await until(lambda: follower.events)
            getattr(victim, how)()
            await until(lambda: watch.is_connected and watch.endpoint != victim.endpoint)
            async with Client(EtcdSettings((witness.endpoint,), timeout=5.0)) as direct:
                await until(witness.is_healthy)
                await direct.put(key("b"), b"1")
                await until(lambda: key("b") in follower.state)
            assert (follower.told(key("a")), follower.told(key("b"))) == ([PUT], [PUT])
            assert watch.counters.listings == 1

    run(story())


def test_a_member_without_quorum_is_not_believed(cluster: EtcdCluster) -> None:
    """Two of three are dead: the third ends the stream, and takes it up again when there is a leader."""

    async def story() -> None:
        last = cluster.members[2]
        async with following(last.endpoint) as (client, follower):
            await until(lambda: follower.watch.is_connected)
            for member in cluster.members[:2]:
                member.kill()
            await until(lambda: not follower.watch.is_connected)
            for member in cluster.members[:2]:
                member.start(is_waiting=False)
            await until(last.is_healthy)
            last.ctl("put", key("a").decode(), "1")
            await agree(client, follower)
            assert follower.told(key("a")) == [PUT]

    run(story())
