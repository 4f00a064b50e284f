"""What is known of services outlives whoever knows it, and is the truth at the revision that the checkpoint says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from alertd import keeper as keeping
from alertd.engine.core import Engine
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, put_op
from alertd.etcd.rush import Rush
from alertd.etcd.store import Store
from alertd.etcd.watch import Events, GapOpened, Watch
from alertd.keeper import CHECKPOINT, STATE, Keeper
from alertd.model import Transition
from tests.delivery.examples import now
from tests.engine.story import rule, ruleset
from tests.etcd.following import run, until
from tests.etcd.terms import begin_term
from tests.etcd_server import free_port

if TYPE_CHECKING:
    import pytest

    from alertd.model import Action
    from tests.etcd_server import EtcdServer


class Life:
    """One daemon's engine, watch and keeper."""

    def __init__(self, client: Client, namespace: bytes) -> None:
        self.client = client
        self.namespace = namespace
        self.prefix = namespace + b"services/"
        self.engine = Engine(ruleset(rule(service="*", flap=False)), self.prefix)
        self.store = Store(client, namespace)
        self.watch = Watch(client, self.prefix)
        self.is_rushed = False
        self.keeper = Keeper(self.engine, self.store, self.watch, now, rush=Rush(lambda: self.is_rushed))
        self.actions: list[Action] = []
        self.is_judged = False
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Recall, and judge what there is."""
        self.keeper.recall(await self.store.read(STATE, CHECKPOINT))
        self.tasks.append(asyncio.create_task(self.follow()))
        await until(lambda: self.is_judged or self.tasks[0].done(), "the first snapshot is judged")

    async def follow(self) -> None:
        """Feed the engine, as the daemon does."""
        async with aclosing(self.watch.follow()) as steps:
            async for step in steps:
                if self.watch.counters.histories:
                    self.engine.rebase(now())
                if isinstance(step, Events):
                    self.actions += self.engine.feed(step.events, now())
                elif isinstance(step, GapOpened):
                    since = step.since
                    self.actions += self.engine.open_gap(now(), None if since is None else now().shifted_to(since))
                else:
                    self.actions += self.engine.close_gap(now(), step.revision)
                    self.is_judged = True

    async def lead(self) -> None:
        """Keep what is known from now on."""
        term = await begin_term(self.client, self.namespace + b"leader")
        self.tasks.append(asyncio.create_task(self.keeper.keep(term)))

    async def end(self) -> None:
        """End without a word."""
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with suppress(asyncio.CancelledError):
                await task
        self.tasks.clear()

    async def put(self, name: str) -> None:
        """Register an instance."""
        await self.client.put(self.prefix + name.encode(), b"")

    async def delete(self, name: str) -> None:
        """Remove an instance, and wait until that is judged, if it watches."""
        await self.client.delete(self.prefix + name.encode())

    async def kept(self) -> dict[str, dict[str, Any]]:
        """Return the documents, as another reads them."""
        return (await Store(self.client, self.namespace).read(STATE, CHECKPOINT)).contents

    async def keeps(self, revision: int) -> None:
        """Wait until all up to a revision is kept."""
        async with asyncio.timeout(10):
            while (await self.kept()).get(CHECKPOINT, {}).get("revision", 0) < revision:  # noqa: ASYNC110 - etcd is asked
                await asyncio.sleep(0.01)

    @property
    def transitions(self) -> list[str]:
        """What happened to instances, such as `pay/a expired`."""
        return [f"{act.service}/{act.instance} {act.cause}" for act in self.actions if isinstance(act, Transition)]


@asynccontextmanager
async def lives(etcd: EtcdServer, namespace: bytes, number: int = 2) -> AsyncIterator[list[Life]]:
    """Give lives of daemons, of which none has begun."""
    async with Client(EtcdSettings((etcd.endpoint,))) as client:
        all_of_them = [Life(client, namespace) for _ in range(number)]
        try:
            yield all_of_them
        finally:
            for life in all_of_them:
                await life.end()


def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the keeper write at once."""
    monkeypatch.setattr(keeping, "_EVERY", 0.02)


def test_the_next_life_knows_what_the_last_knew_and_what_happened_since(
    shared_etcd: EtcdServer, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the true causes, and nothing twice: what was known is not found anew."""
    quickly(monkeypatch)

    async def story() -> None:
        async with lives(shared_etcd, prefix) as (first, second):
            for name in ("pay/a", "pay/b", "apache/a"):
                await first.put(name)
            await first.begin()
            await first.lead()
            await first.delete("pay/a")
            await until(lambda: "pay/a deleted" in first.transitions, "it is seen")
            await first.keeps(first.watch.resume_after)
            await first.end()
            await first.delete("pay/b")
            await first.put("apache/b")
            await second.begin()
            await until(lambda: len(second.transitions) == 2, "it knows what happened")
            assert second.transitions == ["pay/b deleted", "apache/b registered"]
            names = {(each.name, each.up) for each in second.engine.services()}
            assert names == {("pay", 0), ("apache", 2)}

    run(story())


def test_at_rest_nothing_is_written(shared_etcd: EtcdServer, prefix: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once what is known is kept, rounds pass without a write, also where values are refreshed."""
    quickly(monkeypatch)

    async def story() -> None:
        async with lives(shared_etcd, prefix, 1) as (life,):
            await life.put("pay/a")
            await life.begin()
            await life.lead()
            await life.keeps(life.watch.resume_after)
            versions = {kv.key: kv.version async for p in life.client.list_prefix(prefix + b"s") for kv in p.kvs}
            seen = life.watch.counters.events
            for _ in range(3):
                await life.put("pay/a")
            await until(lambda: life.watch.counters.events >= seen + 3, "the refreshes are seen")
            rounds = asyncio.get_running_loop().time() + 0.2
            await until(lambda: asyncio.get_running_loop().time() > rounds, "ten rounds have passed")
            again = {kv.key: kv.version async for p in life.client.list_prefix(prefix + b"s") for kv in p.kvs}
            state = prefix + STATE.encode() + b"pay"
            assert versions[state] == again[state]

    run(story())


def test_one_that_leads_after_another_leaves_nothing_stale(
    shared_etcd: EtcdServer, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that the other kept, and that is forgotten since, is recalled by nobody."""
    quickly(monkeypatch)

    async def story() -> None:
        async with lives(shared_etcd, prefix) as (one, two):
            for life in (one, two):
                await life.begin()
            await one.lead()
            await one.put("pay/a")
            await until(lambda: "pay/a registered" in one.transitions, "it is seen")
            await one.keeps(one.watch.resume_after)
            assert STATE + "pay" in await one.kept()
            await one.end()
            await two.delete("pay/a")
            await until(lambda: "pay/a deleted" in two.transitions, "it is gone")
            two.engine.forget("pay", None, now())
            await two.lead()
            await two.keeps(two.watch.resume_after)
            assert set(await two.kept()) == {CHECKPOINT}

    run(story())


def test_what_cannot_be_read_is_found_out_anew(
    shared_etcd: EtcdServer, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said by name; what can be read is recalled all the same."""
    quickly(monkeypatch)

    async def story() -> None:
        async with lives(shared_etcd, prefix) as (first, second):
            for name in ("pay/a", "apache/a"):
                await first.put(name)
            await first.begin()
            await first.lead()
            await first.keeps(first.watch.resume_after)
            await first.end()
            await first.client.put(prefix + STATE.encode() + b"pay", b"\xff")
            with capture_logs() as logs:
                await second.begin()
            assert [line.get("key") for line in logs if line["log_level"] == "warning"] == ["state/pay"]
            await until(lambda: {each.name for each in second.engine.services()} == {"pay", "apache"}, "both are there")
            assert second.transitions == ["pay/a found"]

    run(story())


def test_in_another_history_nothing_recalled_is_taken_for_newer(
    etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that is beyond what etcd shows, as after a restore: what differs is found by listing."""
    quickly(monkeypatch)

    async def story() -> None:
        async with lives(etcd, b"/alertd/") as (first, second):
            for name in ("pay/a", "pay/b"):
                await first.put(name)
            await first.begin()
            await first.lead()
            await first.keeps(first.watch.resume_after)
            await first.end()
            kept = await first.kept()
            checkpoint, state = kept[CHECKPOINT], kept[STATE + "pay"]
            term = await begin_term(first.client, b"/alertd/leader")
            beyond = {CHECKPOINT: {**checkpoint, "revision": checkpoint["revision"] + 10_000}}
            await first.store.commit(term, beyond | {STATE + "pay": {**state, "at": state["at"] + 10_000}})
            await first.delete("pay/a")
            with capture_logs():
                await second.begin()
            assert second.transitions == ["pay/a missed"]

    run(story())


def test_another_cluster_is_given_all_that_is_known(etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has nothing of it, and nothing of it happens there."""
    quickly(monkeypatch)

    async def story() -> None:
        async with lives(etcd, b"/alertd/", 1) as (only,):
            await only.put("pay/a")
            await only.begin()
            await only.lead()
            await only.keeps(only.watch.resume_after)
            etcd.stop()
            etcd.wipe()
            etcd.peer_port = free_port()
            with capture_logs():
                etcd.start()
                await only.put("pay/a")
                await until(lambda: only.watch.counters.histories == 1, "the watch notices")
                await only.lead()
                await only.keeps(1)
            kept = await only.kept()
            assert set(kept) == {CHECKPOINT, STATE + "pay"}
            assert kept[CHECKPOINT]["era"] == only.engine.era > 0

    run(story())


def test_many_services_let_a_rush_pass(shared_etcd: EtcdServer, prefix: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the checkpoint too; what one has room for goes in several transactions, and all is there in the end."""
    quickly(monkeypatch)
    monkeypatch.setattr(keeping, "_ROOM", 3)

    async def story() -> None:
        async with lives(shared_etcd, prefix, 1) as (life,):
            await life.begin()
            await life.lead()
            life.is_rushed = True
            await life.client.txn([], [put_op(b"%ss%d/a" % (life.prefix, number), b"") for number in range(12)])
            await until(lambda: len(life.transitions) == 12, "all are seen")
            await asyncio.sleep(0.3)
            assert not any(name.startswith(STATE) for name in await life.kept())
            life.is_rushed = False
            await life.keeps(life.watch.resume_after)
            assert len(await life.kept()) == 13

    run(story())
