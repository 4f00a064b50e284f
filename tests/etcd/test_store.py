"""Documents that several leaders write in turn: each goes by what etcd has, not by what it wrote itself."""

from __future__ import annotations

from math import inf

from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.election import Term
from alertd.etcd.store import Store
from tests.etcd.following import run
from tests.etcd_server import EtcdServer


def test_what_another_leader_changed_or_deleted_is_written_again(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Though it is what this one wrote last; what is as it should be costs no write."""

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            term = Term(client, prefix + b"leader", await client.put(prefix + b"leader", b""), 0)
            term.deadline = inf
            one, other = Store(client, prefix), Store(client, prefix)
            wanted = {"notes/a": {"n": 1}, "notes/b": {"n": 1}, "notes/c": {"n": 1}}
            assert await one.commit(term, wanted) == 3
            await other.read("notes/")
            assert await other.commit(term, {"notes/a": None, "notes/b": {"n": 2}, "notes/c": {"n": 1}}) == 2
            found = await one.read("notes/")
            assert found.contents == {"notes/b": {"n": 2}, "notes/c": {"n": 1}}
            assert await one.commit(term, wanted) == 2
            assert (await one.read("notes/")).contents == wanted
            assert await one.commit(term, wanted) == 0

    run(story())
