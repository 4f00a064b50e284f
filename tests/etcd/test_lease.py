"""How a death is judged by its lease, on a real etcd and without one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from alertd.etcd import lease as subject
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, put_op
from alertd.etcd.lease import Coroner
from alertd.model import EventKind
from tests.etcd.following import following, run, until
from tests.etcd_server import HOST, Cut, free_port

if TYPE_CHECKING:
    import pytest

    from tests.etcd_server import EtcdServer

DELETE, EXPIRE, MISSED = EventKind.DELETE, EventKind.EXPIRE, EventKind.MISSED
NEVER_GRANTED = 0x123456


def client_of(*endpoints: str) -> Client:
    """Return a client of these."""
    return Client(EtcdSettings(endpoints=endpoints, timeout=2.0))


def test_a_lease_that_lives_means_deleted_and_one_that_ended_expired(shared_etcd: EtcdServer) -> None:
    """One that was revoked, and one that etcd never knew, have ended."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            living, revoked = await client.lease_grant(60), await client.lease_grant(60)
            await client.lease_revoke(revoked)
            kinds = await Coroner(client).establish([living, revoked, NEVER_GRANTED, living], seconds=1.0)
            assert kinds == {living: DELETE, revoked: EXPIRE, NEVER_GRANTED: EXPIRE}

    run(story())


def test_one_that_has_ended_is_not_asked_about_again(shared_etcd: EtcdServer) -> None:
    """One that lived is: it may have ended since."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            coroner, lease = Coroner(client), await client.lease_grant(60)
            for _ in range(3):
                await coroner.establish([lease, NEVER_GRANTED], seconds=1.0)
            assert coroner.questions == 4
            await client.lease_revoke(lease)
            assert await coroner.establish([lease], seconds=1.0) == {lease: EXPIRE}

    run(story())


def test_only_so_many_are_remembered(shared_etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, and asked about again."""
    monkeypatch.setattr(subject, "_REMEMBERED", 3)

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            coroner = Coroner(client)
            for lease in range(1, 6):
                await coroner.establish([lease], seconds=1.0)
            await coroner.establish([3, 4, 5], seconds=1.0)
            assert coroner.questions == 5
            await coroner.establish([1], seconds=1.0)
            assert coroner.questions == 6

    run(story())


def test_thousands_are_asked_about_at_once(shared_etcd: EtcdServer) -> None:
    """3,000 within their second, on a machine that is shared."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            kinds = await Coroner(client).establish(range(1, 3001), seconds=5.0)
            assert set(kinds.values()) == {EXPIRE}

    run(story())


def test_without_an_answer_it_is_missed() -> None:
    """Nobody there: all are missed, at once, and each is a question less for the others to wait for."""

    async def story() -> None:
        async with client_of(f"{HOST}:{free_port()}") as client:
            coroner, began = Coroner(client), time.monotonic()
            assert set((await coroner.establish(range(1, 5000), seconds=1.0)).values()) == {MISSED}
            assert time.monotonic() - began < 1.2
            assert coroner.questions <= 64

    run(story())


def test_a_hung_etcd_holds_it_up_for_its_time_only(shared_etcd: EtcdServer) -> None:
    """And a second endpoint is asked within that time."""

    async def story() -> None:
        with Cut(shared_etcd.endpoint) as cut:
            cut.hold()
            async with client_of(cut.endpoint) as client:
                began = time.monotonic()
                assert await Coroner(client).establish([7], seconds=0.4) == {7: MISSED}
                assert time.monotonic() - began < 0.8
            async with client_of(cut.endpoint, shared_etcd.endpoint) as client:
                assert await Coroner(client).establish([7], seconds=0.8) == {7: EXPIRE}

    run(story())


def test_without_time_left_nobody_is_asked(shared_etcd: EtcdServer) -> None:
    """What is known is still said."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            coroner = Coroner(client)
            await coroner.establish([1], seconds=1.0)
            assert await coroner.establish([1, 2], seconds=-0.1) == {1: EXPIRE, 2: MISSED}
            assert coroner.questions == 1

    run(story())


def test_events_wait_for_an_answer_and_keep_their_order(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Deleted and expired keys of one transaction come in its order, and the next event after them."""

    async def story() -> None:
        async with following(shared_etcd.endpoint, prefix=prefix) as (client, follower):
            leases = [await client.lease_grant(60) for _ in range(20)]
            keys = [prefix + b"s/%02d" % number for number in range(20)]
            await client.txn([], [put_op(key, b"", lease) for key, lease in zip(keys, leases, strict=True)])
            for number, key in enumerate(keys):
                await (client.lease_revoke(leases[number]) if number % 2 else client.delete(key))
            await client.put(prefix + b"s/last", b"")
            await until(lambda: len(follower.events) == 41)
            died = [(event.key, event.kind) for event in follower.events[20:40]]
            assert died == [(key, EXPIRE if number % 2 else DELETE) for number, key in enumerate(keys)]
            assert follower.events[40].key == prefix + b"s/last"

    run(story())


def test_cancelling_leaves_no_question_behind(shared_etcd: EtcdServer) -> None:
    """The consumer may stop at any time; `run` checks the tasks."""

    async def story() -> None:
        with Cut(shared_etcd.endpoint) as cut:
            cut.hold()
            async with client_of(cut.endpoint) as client:
                coroner = Coroner(client)
                asking = asyncio.create_task(coroner.establish(range(1, 100), seconds=5.0))
                await until(lambda: coroner.questions)
                asking.cancel()
                await asyncio.wait({asking})
                assert asking.cancelled()

    run(story())
