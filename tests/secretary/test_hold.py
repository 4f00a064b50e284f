"""One key under one lease, on a real etcd."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.secretary.hold import HeldByAnother, Hold
from alertd.secretary.plan import Pace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.etcd_server import EtcdServer

PACE = Pace(every=10, ttl=30, timeout=3)


def holding(etcd: EtcdServer, story: Callable[[Client], Awaitable[None]]) -> None:
    """Run a story with a client of this etcd."""

    async def run() -> None:
        async with Client(EtcdSettings((etcd.endpoint,))) as client:
            await story(client)

    asyncio.run(run())


def test_a_key_that_is_kept_is_written_once(shared_etcd: EtcdServer, prefix: str) -> None:
    """Renewing makes no key event; a value that changes makes one."""

    async def story(client: Client) -> None:
        hold = Hold(client, key, PACE)
        assert await hold.keep(b"1")
        assert not await hold.keep(b"1")
        assert await hold.keep(b"2")
        found = await client.get(key)
        assert found is not None
        assert (found.value, found.version) == (b"2", 2)
        assert await client.time_to_live(found.lease) > 25

    key = f"{prefix}a/b".encode()
    holding(shared_etcd, story)


def test_letting_go_announces_then_removes_then_revokes(shared_etcd: EtcdServer, prefix: str) -> None:
    """The watch sees the last words before the end, and no lease stays behind."""

    async def story(client: Client) -> None:
        before = await client.leases()
        hold = Hold(client, key, PACE)
        await hold.keep(b"1")
        await hold.let_go(b"bye")
        assert not hold.is_held
        assert await client.get(key) is None
        assert await client.leases() == before
        last = await client.get(key, revision=shared_etcd.revision() - 1)
        assert last is not None
        assert last.value == b"bye"

    key = f"{prefix}a/b".encode()
    holding(shared_etcd, story)


def test_the_key_is_removed_before_its_lease_ends(shared_etcd: EtcdServer, prefix: str) -> None:
    """Else who asks about the lease would be told that it expired. A lease that cannot be revoked ends by itself."""

    class Clinging(Client):
        async def lease_revoke(self, lease: int) -> None:  # noqa: ARG002 - the base class names it
            assert await self.get(key) is None
            raise EtcdUnavailable("gone")

    async def story(client: Client) -> None:
        async with Clinging(client.settings) as clinging:
            hold = Hold(clinging, key, PACE)
            await hold.keep(b"1")
            await hold.let_go(b"bye")
            assert not hold.is_held

    key = f"{prefix}a/b".encode()
    holding(shared_etcd, story)


def test_a_key_that_somebody_removed_or_overwrote_is_put_back(shared_etcd: EtcdServer, prefix: str) -> None:
    """By hand, without a lease: the secretary knows better."""

    async def story(client: Client) -> None:
        hold = Hold(client, key, PACE)
        await hold.keep(b"1")
        await client.delete(key)
        assert await hold.keep(b"1")
        await client.put(key, b"by hand")
        assert await hold.keep(b"1")
        found = await client.get(key)
        assert found is not None
        assert (found.value, found.lease != 0) == (b"1", True)

    key = f"{prefix}a/b".encode()
    holding(shared_etcd, story)


def test_a_lease_that_was_lost_is_replaced(shared_etcd: EtcdServer, prefix: str) -> None:
    """The key went with it, and comes back under a new one; letting go works with a lost lease too."""

    async def story(client: Client) -> None:
        hold = Hold(client, key, PACE)
        await hold.keep(b"1")
        for lose_then in (hold.keep, hold.let_go):
            found = await client.get(key)
            assert found is not None
            await client.lease_revoke(found.lease)
            await lose_then(b"1")
        assert await client.get(key) is None

    key = f"{prefix}a/b".encode()
    holding(shared_etcd, story)


@pytest.mark.parametrize("pace", [PACE, Pace(every=0.2, ttl=2, timeout=0.5)])
def test_of_two_that_live_the_second_says_who_holds_the_key(shared_etcd: EtcdServer, prefix: str, pace: Pace) -> None:
    """It writes nothing, also when it lets go; and takes over when the first has let go. Short leases are no other."""

    async def story(client: Client) -> None:
        first, second = Hold(client, key, pace), Hold(client, key, pace)
        await first.keep(b"first")
        with pytest.raises(HeldByAnother, match=r"another secretary holds .*a/b with lease [0-9a-f]+ and value first"):
            await second.keep(b"second")
        await second.let_go(b"bye")
        assert not await first.keep(b"first")
        await first.let_go(b"bye")
        assert await second.keep(b"second")

    key = f"{prefix}a/b".encode()
    holding(shared_etcd, story)


def test_an_abandoned_key_is_taken_over_without_a_gap(shared_etcd: EtcdServer, prefix: str) -> None:
    """A secretary killed and started again: its old lease still has time left, but nobody renews it."""

    async def story(client: Client) -> None:
        killed = Hold(client, key, Pace(every=1, ttl=16, timeout=1))
        await killed.keep(b"1")
        old = await client.get(key)
        assert old is not None
        again = Hold(client, key, PACE)
        assert await again.keep(b"1")
        await client.lease_revoke(old.lease)
        found = await client.get(key)
        assert found is not None
        assert found.create_revision == old.create_revision

    key = f"{prefix}a/b".encode()
    holding(shared_etcd, story)


def test_what_another_put_meanwhile_is_neither_overwritten_nor_removed(shared_etcd: EtcdServer, prefix: str) -> None:
    """A rival that stepped in between our look and our write wins."""

    async def story(client: Client) -> None:
        hold, rival = Hold(client, key, PACE), Hold(client, key, PACE)

        class Slow(Client):
            async def lease_grant(self, ttl: int, *, lease: int = 0) -> int:
                await rival.keep(b"rival")
                return await super().lease_grant(ttl, lease=lease)

        async with Slow(client.settings) as slow:
            hold = Hold(slow, key, PACE)
            with pytest.raises(EtcdUnavailable, match="changed while it was written"):
                await hold.keep(b"1")
            await hold.let_go(b"bye")
        found = await client.get(key)
        assert found is not None
        assert found.value == b"rival"

    key = f"{prefix}a/b".encode()
    holding(shared_etcd, story)
