"""The client on real etcds: what it asks, and whom it asks next."""

from __future__ import annotations

import time

import pytest

from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, Member, created_at, delete_op, get_op, put_op, range_end_of
from alertd.etcd.faults import Compacted
from tests.etcd.following import run
from tests.etcd_server import HOST, Cut, EtcdCluster, EtcdServer, free_port


def client_of(*endpoints: str, timeout: float = 1.0) -> Client:
    """Return a client that is not patient."""
    return Client(EtcdSettings(endpoints=endpoints, timeout=timeout))


# --- keys ------------------------------------------------------------------------------------------------------------


def test_keys_are_put_read_and_deleted(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Bytes in, the same bytes out, also those that are no text; the past can be read until it is compacted."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            key, value = prefix + b"\xff\x00", b"\x00\xff" * 500_000
            first = await client.put(key, value)
            assert await client.put(key, b"2") == first + 1
            then, now = await client.get(key, revision=first), await client.get(key)
            assert (then and then.value, now and now.value) == (value, b"2")
            assert await client.delete(key) == 1
            assert await client.delete(key) == 0
            assert await client.get(key) is None

    run(story())


def test_a_prefix_is_deleted_at_once(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """And nothing beside it."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            beside = prefix[:-1] + b"0"
            await client.put(beside, b"")
            for name in (b"a", b"b", b"\xff"):
                await client.put(prefix + name, b"")
            assert await client.delete(prefix, is_prefix=True) == 3
            assert await client.get(beside) is not None

    run(story())


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"/a/", b"/a0"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0"), (b"a\x00", b"a\x01")]
)
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    """The first key after all that start with it."""
    assert range_end_of(prefix) == end


def test_a_listing_without_values_has_keys_and_leases(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """That is all that a comparison needs."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            lease = await client.lease_grant(60)
            await client.put(prefix + b"a", b"value", lease=lease)
            pages = [page async for page in client.list_prefix(prefix, keys_only=True)]
            assert [(kv.key, kv.value, kv.lease) for page in pages for kv in page.kvs] == [(prefix + b"a", b"", lease)]
            assert pages[0].total == 1

    run(story())


def test_a_listing_of_a_compacted_revision_is_refused(etcd: EtcdServer) -> None:
    """Also when the compaction comes between two pages."""

    async def story() -> None:
        async with client_of(etcd.endpoint) as client:
            for name in (b"/s/a", b"/s/b", b"/s/c"):
                await client.put(name, b"")
            pages = client.list_prefix(b"/s/", page=1)
            await anext(pages)
            await client.put(b"/s/d", b"")
            etcd.compact()
            with pytest.raises(Compacted, match="no longer keeps that revision"):
                await anext(pages)

    run(story())


def test_a_transaction_is_fenced(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Whoever made the key may write; all others get the other branch, and nothing is changed."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            leader, other = prefix + b"leader", prefix + b"other"
            made = await client.txn([created_at(leader, 0)], [put_op(leader, b"me")])
            assert made.succeeded
            assert not (await client.txn([created_at(leader, 0)], [put_op(leader, b"you")])).succeeded
            fence = created_at(leader, made.revision)
            assert (await client.txn([fence], [put_op(other, b"1"), delete_op(leader)])).succeeded
            late = await client.txn([fence], [put_op(other, b"2")], [get_op(other)])
            assert not late.succeeded
            assert late.responses[0].response_range.kvs[0].value == b"1"

    run(story())


# --- leases and members ----------------------------------------------------------------------------------------------


def test_a_lease_lives_is_kept_and_ends(shared_etcd: EtcdServer) -> None:
    """Granted, refreshed, revoked: afterwards its time to live is -1, and a refresh says 0."""

    async def story() -> None:
        async with client_of(shared_etcd.endpoint) as client:
            lease = await client.lease_grant(60, lease=0x7E57)
            assert lease == 0x7E57
            assert lease in await client.leases()
            assert 0 < await client.time_to_live(lease) <= 60
            assert await client.lease_keepalive(lease) == 60
            await client.lease_revoke(lease)
            assert await client.time_to_live(lease) == -1
            assert await client.lease_keepalive(lease) == 0
            assert lease not in await client.leases()
            with pytest.raises(EtcdRefused, match="knows no such lease"):
                await client.lease_revoke(lease)

    run(story())


def test_each_endpoint_speaks_for_itself(shared_etcd: EtcdServer) -> None:
    """One that is there and one that is not, in the order given."""

    async def story() -> None:
        nobody = f"{HOST}:{free_port()}"
        async with client_of(nobody, shared_etcd.endpoint) as client:
            away, member = await client.members()
            assert isinstance(away, EtcdUnavailable)
            assert nobody in str(away)
            assert isinstance(member, Member)
            assert (member.endpoint, member.has_leader) == (shared_etcd.endpoint, True)

    run(story())


# --- several endpoints -----------------------------------------------------------------------------------------------


def test_a_dead_endpoint_is_left_for_the_next(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Also for a write, since a refused connection executed nothing; and the next call does not go back."""

    async def story() -> None:
        async with client_of(f"{HOST}:{free_port()}", shared_etcd.endpoint) as client:
            await client.put(prefix, b"1")
            assert client.endpoint == shared_etcd.endpoint

    run(story())


def test_a_hung_endpoint_is_left_for_the_next(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """A read goes on to the next after its deadline; a write, which may have been executed, does not."""

    async def story() -> None:
        with Cut(shared_etcd.endpoint) as cut:
            async with client_of(cut.endpoint, shared_etcd.endpoint) as client:
                assert await client.get(prefix) is None
                assert client.endpoint == cut.endpoint
                cut.hold()  # a connection that is still being made would be given up after a second
                with pytest.raises(EtcdUnavailable, match="did not answer within 1 s"):
                    await client.put(prefix, b"1")
                assert client.endpoint == shared_etcd.endpoint
                client.leave(shared_etcd.endpoint)
                assert client.endpoint == cut.endpoint
                began = time.monotonic()
                assert await client.get(prefix) is None
                assert 0.9 < time.monotonic() - began < 3

    run(story())


def test_calls_survive_the_loss_of_members_up_to_the_quorum(cluster: EtcdCluster) -> None:
    """One member dead: everything goes on. Two: the third says that it has no leader, or nothing."""

    async def story() -> None:
        async with client_of(*cluster.endpoints, timeout=1.0) as client:
            await client.put(b"key", b"1")
            cluster.members[0].kill()
            deadline = time.monotonic() + 10
            while True:
                try:
                    await client.put(b"key", b"2")
                    break
                except EtcdUnavailable:
                    assert time.monotonic() < deadline
            cluster.members[1].kill()
            with pytest.raises(EtcdUnavailable):
                await client.get(b"key")
            cluster.members[1].start(is_waiting=False)
            deadline = time.monotonic() + 15
            while True:
                try:
                    held = await client.get(b"key")
                    break
                except EtcdUnavailable:
                    assert time.monotonic() < deadline
            assert held is not None
            assert held.value == b"2"

    run(story())
