"""The watch on an etcd that works: what it finds, what it is told, and of what kind."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, KeyValue, put_op
from alertd.etcd.stream import WatchSettings
from alertd.etcd.watch import GapOpened, Synced, Watch
from alertd.model import EventKind
from tests.etcd.following import agree, following, run, until
from tests.etcd_server import Cut

if TYPE_CHECKING:
    from tests.etcd_server import EtcdServer

PUT, DELETE, EXPIRE = EventKind.PUT, EventKind.DELETE, EventKind.EXPIRE
FOUND, MISSED = EventKind.FOUND, EventKind.MISSED


def test_a_snapshot_of_thousands_of_keys_shows_one_revision(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """6,000 keys come in pages of one revision, though they change while they are read."""

    async def story() -> None:
        async with Client(EtcdSettings(endpoints=(shared_etcd.endpoint,))) as client:
            keys = [prefix + b"s/%05d" % number for number in range(6000)]
            old = b"old" * 700
            for start in range(0, 6000, 500):
                await client.txn([], [put_op(key, old) for key in keys[start : start + 500]])
            pages = []
            async for page in client.list_prefix(prefix, page=500):
                pages.append(page)
                await client.put(keys[-1], b"new %d" % len(pages))
            assert len(pages) >= 2
            assert len({page.revision for page in pages}) == 1
            assert [kv.key for page in pages for kv in page.kvs] == keys
            assert pages[-1].kvs[-1].value == old
            async with following(shared_etcd.endpoint, prefix=prefix) as (_, follower):
                assert {event.kind for event in follower.events} == {FOUND}
                await agree(client, follower, prefix)
                assert len(follower.watch) == 6000

    run(story())


def test_an_empty_prefix_is_synced_at_once(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """A watch on nothing is complete, and hears of the first key."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            assert [type(step) for step in follower.steps] == [GapOpened, Synced]
            await client.put(prefix + b"a/b", b"1")
            await agree(client, follower, prefix)
            assert follower.told(prefix + b"a/b") == [PUT]

    run(story())


def test_a_new_cluster_at_revision_one_is_followed(etcd: EtcdServer) -> None:
    """Nothing has ever been written there."""

    async def story() -> None:
        async with following(etcd.endpoint) as (client, follower):
            assert follower.steps == [GapOpened("start"), Synced(1)]
            await client.put(b"/services/a/b", b"1")
            await agree(client, follower)

    run(story())


def test_keys_beside_the_prefix_are_not_seen(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """The range ends where the prefix ends."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            beside = prefix[:-1] + b"0"
            await client.put(beside, b"1")
            await client.put(prefix[:-1], b"1")
            await client.put(prefix + b"\xff\xff", b"1")
            await until(lambda: follower.events)
            assert list(follower.state) == [prefix + b"\xff\xff"]

    run(story())


def test_a_deleted_key_without_lease_is_deleted(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Delete and make again: each is told, in order, with its own revision."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            key = prefix + b"a/b"
            for value in (b"1", b"2"):
                await client.put(key, value)
                await client.delete(key)
            await until(lambda: len(follower.events) == 4)
            assert follower.told(key) == [PUT, DELETE, PUT, DELETE]
            revisions = [event.revision for event in follower.events]
            assert revisions == sorted(set(revisions))

    run(story())


def test_a_lease_that_ends_expires_its_keys(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Both keys of the lease expire at one revision, and etcd is asked about the lease once."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            lease = await client.lease_grant(1)
            for name in (b"a/1", b"a/2"):
                await client.put(prefix + name, b"", lease=lease)
            await until(lambda: len(follower.events) == 4)
            died = [event for event in follower.events if event.kind is EXPIRE]
            assert [event.key for event in died] == [prefix + b"a/1", prefix + b"a/2"]
            assert died[0].revision == died[1].revision
            assert follower.watch.lease_questions == 1

    run(story())


def test_a_revoked_lease_counts_as_ended(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Etcd tells revoke and expiry apart nowhere."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            lease = await client.lease_grant(60)
            await client.put(prefix + b"a/1", b"", lease=lease)
            await client.lease_revoke(lease)
            await until(lambda: len(follower.events) == 2)
            assert follower.told(prefix + b"a/1") == [PUT, EXPIRE]

    run(story())


def test_a_deleted_key_of_a_living_lease_is_deleted(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """By asking, where it is the lease's only key; without asking, where another key of the lease lives on."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            lease = await client.lease_grant(60)
            for name in (b"a/1", b"a/2"):
                await client.put(prefix + name, b"", lease=lease)
            await client.delete(prefix + b"a/1")
            await until(lambda: len(follower.events) == 3)
            assert (follower.told(prefix + b"a/1"), follower.watch.lease_questions) == ([PUT, DELETE], 0)
            await client.delete(prefix + b"a/2")
            await until(lambda: len(follower.events) == 4)
            assert (follower.told(prefix + b"a/2"), follower.watch.lease_questions) == ([PUT, DELETE], 1)

    run(story())


def test_a_key_that_changed_its_lease_dies_with_the_new_one(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """The end of the old lease does it no harm; that of the new one expires it."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            first, second = await client.lease_grant(60), await client.lease_grant(60)
            key, witness = prefix + b"a/1", prefix + b"a/2"
            for name, lease in ((key, first), (witness, first), (key, second)):
                await client.put(name, b"", lease=lease)
            await client.lease_revoke(first)
            await client.lease_revoke(second)
            await until(lambda: len(follower.events) == 5)
            assert follower.told(witness) == [PUT, EXPIRE]
            assert follower.told(key) == [PUT, PUT, EXPIRE]

    run(story())


def test_a_transaction_of_128_puts_is_one_revision(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """It arrives whole, in order, in one step."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            keys = [prefix + b"s/%03d" % number for number in range(128)]
            await client.txn([], [put_op(key, b"1") for key in keys])
            await until(lambda: follower.events)
            assert [event.key for event in follower.events] == keys
            assert len({event.revision for event in follower.events}) == 1

    run(story())


def test_thousands_of_leases_ending_at_once_are_all_told_apart(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """2,000 leases end together; no key is merely missed, and the order of revisions is kept."""

    async def story() -> None:
        patient = EtcdSettings((shared_etcd.endpoint,), timeout=10.0)
        async with following(login=patient, prefix=prefix) as (client, follower):
            leases = await asyncio.gather(*(client.lease_grant(5) for _ in range(2000)))
            puts = (client.put(prefix + b"s/%d" % lease, b"", lease=lease) for lease in leases)
            await asyncio.gather(*puts)
            await until(lambda: len(follower.events) == 4000, "all keys came and went")
            died = follower.events[2000:]
            assert {event.kind for event in died} == {EXPIRE}
            assert [event.revision for event in died] == sorted(event.revision for event in died)

    run(story())


def test_a_slow_consumer_is_not_taken_for_a_dead_etcd(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """While the consumer is busy etcd waits: the stream stays, and nothing is lost."""

    async def story() -> None:
        settings = WatchSettings(progress_every=0.05)
        async with Client(EtcdSettings(endpoints=(shared_etcd.endpoint,))) as client:
            watch = Watch(client, prefix, settings)
            steps = watch.follow()
            assert [type(await anext(steps)) for _ in range(2)] == [GapOpened, Synced]
            last = asyncio.create_task(anext(steps))
            await until(lambda: watch.is_connected)
            for number in range(30):
                await client.put(prefix + b"s", b"%d" % number)
            values = [event.value for event in (await last).events]  # type: ignore[union-attr]  # cannot be a bracket
            while values[-1] != b"29":
                busy_until = time.monotonic() + 0.03
                await until(lambda until=busy_until: time.monotonic() >= until)  # type: ignore[misc]  # bound at once
                values += [event.value for event in (await anext(steps)).events]  # type: ignore[union-attr]  # as above
            await steps.aclose()
            assert values == [b"%d" % number for number in range(30)]
            assert watch.counters.streams == 1

    run(story())


def test_what_a_consumer_has_not_taken_in_is_not_passed(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """While it is busy with an event, a bookmark lies before that; once it has come back for more, after."""

    async def story() -> None:
        async with Client(EtcdSettings(endpoints=(shared_etcd.endpoint,))) as client:
            watch = Watch(client, prefix, WatchSettings(progress_every=0.05))
            assert (watch.cluster_id, watch.resume_after) == (0, 0)
            async with aclosing(watch.follow()) as steps:
                assert [type(await anext(steps)) for _ in range(2)] == [GapOpened, Synced]
                for _ in range(3):
                    step = asyncio.create_task(anext(steps))
                    await until(lambda: watch.is_connected)
                    revision = await client.put(prefix + b"a", b"1")
                    await step
                    assert watch.resume_after < revision == watch.revision
                step = asyncio.create_task(anext(steps))
                await until(lambda: watch.resume_after >= revision)
                assert watch.cluster_id == (await anext(client.list_prefix(prefix))).cluster_id
                step.cancel()
                await asyncio.wait({step})

    run(story())


def test_an_idle_watch_shows_that_it_is_alive(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Without any event the stream answers regularly, and says where it is."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (_, follower):
            watch = follower.watch
            await until(lambda: watch.alive_at)
            first = watch.alive_at or 0.0
            await until(lambda: (watch.alive_at or 0.0) > first + 0.5)
            assert watch.is_connected
            assert watch.endpoint == shared_etcd.endpoint
            assert watch.counters.streams == 1
            assert time.monotonic() - (watch.alive_at or 0.0) < 1

    run(story())


def test_a_quiet_prefix_keeps_up_with_a_busy_cluster(etcd: EtcdServer) -> None:
    """What is compacted elsewhere does not concern it: it resumes from what the stream itself has passed."""

    async def story() -> None:
        async with following(etcd.endpoint) as (client, follower):
            for number in range(50):
                await client.put(b"/elsewhere", b"%d" % number)
            here = etcd.revision()
            await until(lambda: follower.watch.resume_after >= here)
            etcd.compact()
            etcd.restart()
            await until(lambda: follower.watch.counters.streams == 2)
            await client.put(b"/services/a/b", b"1")
            await agree(client, follower)
            assert follower.watch.counters.listings == 1

    run(story())


def test_an_audit_of_a_true_view_finds_nothing(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Also while keys come and go."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):

            async def churn() -> None:
                for number in range(300):
                    key = prefix + b"s/%d" % (number % 7)
                    await (client.delete(key) if number % 2 else client.put(key, b"1"))

            await until(lambda: follower.watch.is_connected)
            churning = asyncio.create_task(churn())
            audits = 0
            while not churning.done():
                assert await follower.watch.audit() == 0
                audits += 1
            assert audits > 3
            await churning
            assert len(follower.steps) == 2

    run(story())


@pytest.mark.parametrize("is_busy", [False, True], ids=["quiet", "busy"])
def test_an_audit_mends_what_differs(shared_etcd: EtcdServer, prefix: bytes, *, is_busy: bool) -> None:
    """A key that the view lost is found, one that it has too many is missed; both within a bracket."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            await client.put(prefix + b"s/lost", b"1")
            await until(lambda: follower.events)
            follower.watch._view.drop(prefix + b"s/lost")
            follower.watch._view.put(prefix + b"s/ghost", 0)
            del follower.state[prefix + b"s/lost"]
            follower.state[prefix + b"s/ghost"] = b""
            follower.forget()
            await until(lambda: follower.watch.is_connected)
            auditing = asyncio.create_task(follower.watch.audit())
            while is_busy and not auditing.done():
                await client.put(prefix + b"s/other", b"1")
            assert await auditing == 2
            await until(lambda: len(follower.steps) == 4)
            assert (follower.told(prefix + b"s/lost"), follower.told(prefix + b"s/ghost")) == ([FOUND], [MISSED])
            assert [type(step) for step in follower.steps[2:]] == [GapOpened, Synced]
            await agree(client, follower, prefix)

    run(story())


def test_a_replay_whose_end_cannot_be_mended_at_once_is_closed_later(
    shared_etcd: EtcdServer, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Etcd goes away while what differs is fetched: the gap stays open, once, until the next session ends it."""

    async def story() -> None:
        with Cut(shared_etcd.endpoint) as cut:
            async with following(cut.endpoint, prefix=prefix) as (client, follower):
                failures, get = [EtcdUnavailable("away")], client.get

                async def fail_once(key: bytes, *, revision: int = 0) -> KeyValue | None:
                    if failures:
                        raise failures.pop()
                    return await get(key, revision=revision)

                monkeypatch.setattr(client, "get", fail_once)
                await until(lambda: follower.watch.is_connected)
                cut.cut()
                follower.watch._view.put(prefix + b"s/ghost", 0)
                follower.state[prefix + b"s/ghost"] = b""
                shared_etcd.ctl("put", (prefix + b"s/new").decode(), "1")
                cut.mend()
                await until(lambda: not failures and not follower.is_in_gap and follower.synced > 1, seconds=8)
                assert follower.told(prefix + b"s/ghost") == [MISSED]
                await agree(client, follower, prefix)

    run(story())


def test_an_audit_needs_a_stream() -> None:
    """Without one there is nothing to compare with, and it says so."""

    async def story() -> None:
        async with Client(EtcdSettings()) as client:
            with pytest.raises(EtcdUnavailable, match="nothing to audit"):
                await Watch(client, b"/").audit()

    run(story())


def test_closing_leaves_nothing_behind(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Cancelled while it waits or closed between steps: no task, no stream; `run` checks the tasks."""

    async def story() -> None:
        async with Client(EtcdSettings(endpoints=(shared_etcd.endpoint,))) as client:
            await client.put(prefix + b"a/b", b"1")
            for stop_after in range(1, 4):
                steps = Watch(client, prefix).follow()
                for _ in range(stop_after):
                    await anext(steps)
                await steps.aclose()
            watch = Watch(client, prefix)
            async with following(shared_etcd.endpoint, prefix=prefix) as (_, follower):
                await until(lambda: follower.watch.is_connected)
                watch = follower.watch
            assert not watch.is_connected

    run(story())
