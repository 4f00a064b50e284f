"""Who speaks tells nobody what etcd does not know, and goes on where the last speaker left off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from alertd import document
from alertd.config.schema import Channel
from alertd.delivery.step import Step
from alertd.engine.core import Engine
from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, delete_op, put_op
from alertd.etcd.spill import Spill
from alertd.etcd.store import Store
from alertd.model import Action, EventKind, Instant, KeyEvent, Notification
from alertd.post import Listeners, Post
from alertd.speaker import LETTERS, SPOKE_LAST, Shell, Speaker
from alertd.statedir import StateDir
from tests.delivery.examples import now, target
from tests.engine.story import PREFIX, rule, ruleset
from tests.etcd.following import run, until
from tests.etcd.terms import Frail, begin_term
from tests.sinks import Answer, HttpInbox, http_inbox

if TYPE_CHECKING:
    from tests.etcd_server import EtcdServer


class Replica:
    """An engine, its outbox, targets and speaker; it is fed by hand."""

    def __init__(self, client: Client, namespace: bytes, inbox: HttpInbox) -> None:
        self.client = client
        self.namespace = namespace
        self.rules = ruleset(
            rule(service="*", flap=False), channels={"ops": Channel(targets=(target(inbox.url + "/"),))}
        )
        self.engine = Engine(self.rules, PREFIX)
        self.term: Frail | None = None
        self.steps: list[Step] = []
        self.revision = 100
        self.ahead = 0.0
        """Seconds by which the clock by which it stamps is."""
        self.leading: asyncio.Task[None] | None = None
        self.post = Post(now, Listeners(lambda _: None, self.mark, self.may_send, self.note))

    async def open(self) -> None:
        """Judge a first snapshot, of nothing."""
        await self.post.open(self.rules)
        store = Spill(Store(self.client, self.namespace), StateDir(None), SPOKE_LAST, self.clock, LETTERS)
        self.speaker = Speaker(
            self.engine,
            self.post.outbox,
            store,
            Shell(self.do, now, lambda _: None, lambda: self.engine.revision, self.note),
        )
        self.do(self.engine.open_gap(now()))
        self.do(self.engine.close_gap(now()))

    def clock(self) -> Instant:
        """Return the time by which it stamps what it writes."""
        here = now()
        return here._replace(wall=here.wall + timedelta(seconds=self.ahead))

    async def close(self) -> None:
        """End without a word."""
        await self.stop()
        self.post.pause()
        await self.post.close(0.0)

    def mark(self, name: str) -> None:
        """Tell the speaker which letters have changed."""
        self.speaker.mark(name)

    def note(self, step: Step, _: str) -> None:
        """Take note of how far a notification is."""
        self.steps.append(step)

    def may_send(self) -> bool:
        """Tell whether it leads."""
        return self.term is not None and self.term.holds

    def do(self, actions: list[Action]) -> None:
        """Do as the daemon does."""
        for action in actions:
            if isinstance(action, Notification):
                self.speaker.decide(action)
        if actions and self.speaker.speaks:
            self.speaker.wake()

    def feed(self, kind: EventKind, name: str = "apache/a") -> None:
        """Let something happen."""
        self.revision += 1
        self.do(self.engine.feed([KeyEvent(kind, PREFIX + name.encode(), b"", 0, self.revision)], now()))

    async def lead(self) -> Frail:
        """Lead from now on."""
        self.term = await begin_term(self.client, self.namespace + b"leader")
        self.leading = asyncio.create_task(self.speaker.lead(self.term))
        await until(lambda: self.speaker.speaks, "it speaks")
        return self.term

    async def stop(self) -> None:
        """Lead no more, as one that is killed: nothing more is written."""
        if self.leading is not None and self.term is not None:
            self.term.end("it died")
            self.leading.cancel()
            with suppress(asyncio.CancelledError):
                await self.leading


@asynccontextmanager
async def replicas(etcd: EtcdServer, namespace: bytes, inbox: HttpInbox) -> AsyncIterator[tuple[Replica, Replica]]:
    """Give two that judge, of which neither leads."""
    async with Client(EtcdSettings((etcd.endpoint,))) as client:
        both = Replica(client, namespace, inbox), Replica(client, namespace, inbox)
        for each in both:
            await each.open()
        try:
            yield both
        finally:
            for each in both:
                await each.close()


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    """Give a receiver of webhooks."""
    with http_inbox() as box:
        yield box


def told(inbox: HttpInbox) -> list[str]:
    """Return what was told, in one word each."""
    return [message["title"].split()[0] for message in inbox.received]


async def outbox(replica: Replica, folder: str = "letters/") -> dict[str, Any]:
    """Return documents of the outbox, as another reads them."""
    found = await Store(replica.client, replica.namespace).read(f"outbox/{folder}")
    return found.contents


async def recorded(replica: Replica) -> None:
    """Wait until nothing is left to be told, by what etcd has."""
    async with asyncio.timeout(10):
        while await outbox(replica):  # noqa: ASYNC110 - etcd is asked
            await asyncio.sleep(0.01)


def test_what_is_told_is_written_before_and_recorded_after(
    shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox
) -> None:
    """Step by step; one that does not lead judges the same, and neither writes nor tells."""

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as (one, two):
            await one.lead()
            for replica in (one, two):
                for kind in (EventKind.PUT, EventKind.DELETE):
                    replica.feed(kind)
            await until(lambda: Step.RECORDED in one.steps, "it is told and recorded")
            assert one.steps == [Step.DECIDED, Step.WRITTEN, Step.ATTEMPTED, Step.ACCEPTED, Step.RECORDED]
            assert two.steps == []
            assert (told(inbox), await outbox(one)) == (["[FIRING]"], {})
            assert len(await outbox(one, "told/")) == 1

    run(story())


def test_the_next_goes_on_where_the_last_left_off(shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox) -> None:
    """To and fro between two: each beginning and each end is told once, whoever told what came before."""

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as both:
            for replica in both:
                replica.feed(EventKind.PUT)
            for number in range(6):
                leader = both[number % 2]
                await leader.lead()
                for replica in both:
                    replica.feed(EventKind.PUT if number % 2 else EventKind.DELETE)
                await until(lambda n=number: len(inbox.received) == n + 1, "it is told")  # type: ignore[misc]
                await recorded(leader)
                await leader.stop()
            assert told(inbox) == ["[FIRING]", "[RESOLVED]"] * 3

    run(story())


def test_what_cannot_be_written_is_not_told(shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox) -> None:
    """Nor is it lost: it is told when it is written, once, though etcd had written it the first time."""

    async def story(fault: str) -> None:
        async with replicas(shared_etcd, prefix + fault.encode(), inbox) as (one, _):
            term = await one.lead()
            one.feed(EventKind.PUT)
            await one.speaker.flush()
            setattr(term, fault, term.writes + 1)
            before = len(inbox.received)
            with capture_logs():
                one.feed(EventKind.DELETE)
                await until(lambda: term.writes == getattr(term, fault), "it was tried")
                assert len(inbox.received) == before
                await until(lambda: Step.RECORDED in one.steps, "it is told")
            assert len(inbox.received) == before + 1
            assert one.steps.index(Step.WRITTEN) < one.steps.index(Step.ATTEMPTED)

    for fault in ("dies_before", "dies_after"):
        run(story(fault))


def test_who_leads_no_more_tells_nobody(shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox) -> None:
    """Though its own clock says that it leads: what it decides is told by the one who does."""

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as (one, two):
            await one.lead()
            for replica in (one, two):
                replica.feed(EventKind.PUT)
            await one.speaker.flush()
            await two.lead()
            one.feed(EventKind.DELETE)
            await until(lambda: one.term is not None and one.term.is_over, "it finds out")
            assert Step.ATTEMPTED not in one.steps
            two.feed(EventKind.DELETE)
            await until(lambda: Step.RECORDED in two.steps, "the other tells it")
            assert told(inbox) == ["[FIRING]"]

    run(story())


@pytest.mark.parametrize("is_lost", [False, True], ids=["by another", "by itself, though etcd has lost it"])
def test_what_is_undelivered_is_delivered_by_the_next(
    shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox, *, is_lost: bool
) -> None:
    """By the same id."""
    inbox.default = Answer(503, (("Retry-After", "60"),))

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as (one, two):
            await one.lead()
            for replica in (one, two):
                for kind in (EventKind.PUT, EventKind.DELETE):
                    replica.feed(kind)
            await until(lambda: inbox.received, "it is tried")
            await one.speaker.flush()
            await one.stop()
            if is_lost:
                await set_back(one, {})
            inbox.default = Answer()
            following = one if is_lost else two
            with capture_logs() as logs:
                await following.lead()
            assert ("etcd has lost what was told" in str(logs)) is is_lost
            await until(lambda: len(inbox.received) == 2, "the next tries")
            await recorded(following)
            first, second = (message["message"].splitlines()[-1] for message in inbox.received)
            assert first == second

    run(story())


def test_damaged_documents_are_said_and_left_out(shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox) -> None:
    """Of each kind; everything else goes on."""
    documents = {
        "letters/text": b"\xff",
        "letters/shape": document.encode({"letters": {"a": 1}}),
        "letters/item": document.encode({"letters": [{"letter": {}, "to": []}]}),
        "told/shape": document.encode({"key": 7}),
        "storm/ops": document.encode({"since": "x"}),
    }

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as (one, _):
            for name, raw in documents.items():
                await one.client.put(prefix + b"outbox/" + name.encode(), raw)
            with capture_logs() as logs:
                await one.lead()
                for kind in (EventKind.PUT, EventKind.DELETE):
                    one.feed(kind)
                await until(lambda: Step.RECORDED in one.steps, "it is told")
            assert told(inbox) == ["[FIRING]"]
            said = str([line for line in logs if line["log_level"] == "error"])
            for name in ("letters/text", "letters/shape", "letters/item"):
                assert name in said
            assert sum(line["event"] == "taken for not told" for line in logs) >= 1

    run(story())


def test_flushing_waits_for_what_is_written(shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox) -> None:
    """Also for what failed and is written anew."""

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as (one, _):
            term = await one.lead()
            one.feed(EventKind.PUT)
            await one.speaker.flush()
            one.post.pause()
            term.dies_before = term.writes + 1
            one.feed(EventKind.DELETE)
            await one.speaker.flush()
            assert len(await outbox(one)) == 1
            assert term.writes > term.dies_before
            await one.stop()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await one.speaker.flush()

    run(story())


def test_it_waits_for_etcd_to_say_what_was_told(etcd: EtcdServer, inbox: HttpInbox) -> None:
    """Who cannot read it tells nothing, rather than everything."""

    async def story() -> None:
        async with replicas(etcd, b"/alertd/", inbox) as (one, _):
            for kind in (EventKind.PUT, EventKind.DELETE):
                one.feed(kind)
            reads = one.client.range
            failures = [EtcdUnavailable("away")] * 2

            async def range_(request: Any, *, seconds: float | None = None) -> Any:
                if failures:
                    raise failures.pop()
                return await reads(request, seconds=seconds)

            one.client.range = range_  # type: ignore[method-assign]
            await one.lead()
            assert not failures
            await until(lambda: Step.RECORDED in one.steps, "it is told")
            assert told(inbox) == ["[FIRING]"]

    run(story())


# --- an etcd that has lost what was told -----------------------------------------------------------------------------


async def documents_of(replica: Replica) -> dict[bytes, bytes]:
    """Return all that the outbox has in etcd, as it is there."""
    pages = replica.client.list_prefix(replica.namespace + b"outbox/")
    return {kv.key: kv.value async for page in pages for kv in page.kvs}


async def set_back(replica: Replica, documents: dict[bytes, bytes]) -> None:
    """Have etcd hold these, and nothing else, of the outbox."""
    await replica.client.txn([], [delete_op(replica.namespace + b"outbox/", is_prefix=True)])
    await replica.client.txn([], [put_op(key, value) for key, value in documents.items()])


@pytest.mark.parametrize("is_empty", [True, False], ids=["another cluster", "an older state"])
@pytest.mark.parametrize("is_same_term", [True, False], ids=["the term holds", "a new term"])
def test_who_spoke_last_remembers_what_etcd_has_lost(
    shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox, *, is_empty: bool, is_same_term: bool
) -> None:
    """Nothing is told again; etcd has all of it anew, and nothing else, so that the next knows it as well."""

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as (one, two):
            await one.lead()
            for name in ("apache/a", "pay/b"):
                for kind in (EventKind.PUT, EventKind.DELETE):
                    one.feed(kind, name)
                await until(lambda n=name: n in str(inbox.received), "it is told")  # type: ignore[misc]
                await recorded(one)
                if name == "apache/a":
                    older = await documents_of(one)
                    older[prefix + b"outbox/told/of-old"] = document.encode({"key": ["of", "old"], "labels": {}})
            one.feed(EventKind.PUT, "apache/a")
            await until(lambda: len(inbox.received) == 3, "the end is told")
            await recorded(one)
            with capture_logs():
                if is_same_term:
                    await set_back(one, {} if is_empty else older)
                    one.speaker.rewrite()
                    await one.speaker.flush()
                else:
                    await one.stop()
                    await set_back(one, {} if is_empty else older)
                    await one.lead()
                    await one.speaker.flush()
            told_of = str(await outbox(one, "told/"))
            assert ("'a'" in told_of, "'b'" in told_of, "of-old" in told_of) == (False, True, False)
            for name in ("apache/a", "pay/b"):
                two.feed(EventKind.PUT, name)
            two.feed(EventKind.DELETE, "pay/b")
            await two.lead()
            two.feed(EventKind.PUT, "pay/b")
            await until(lambda: len(inbox.received) == 4, "the end is told")
            assert told(inbox) == ["[FIRING]", "[FIRING]", "[RESOLVED]", "[RESOLVED]"]

    run(story())


def test_who_spoke_before_another_remembers_nothing(shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox) -> None:
    """What the other told counts, also where its clock is behind."""

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as (one, two):
            await one.lead()
            for replica in (one, two):
                replica.feed(EventKind.PUT)
                replica.feed(EventKind.DELETE)
            await until(lambda: len(inbox.received) == 1, "it is told")
            await recorded(one)
            await one.stop()
            two.ahead = -3600.0
            await two.lead()
            two.feed(EventKind.PUT)
            await until(lambda: len(inbox.received) == 2, "the end is told")
            await recorded(two)
            await two.stop()
            one.feed(EventKind.PUT)
            with capture_logs() as logs:
                await one.lead()
            assert "etcd has lost" not in str(logs)
            await one.speaker.flush()
            assert told(inbox) == ["[FIRING]", "[RESOLVED]"]

    run(story())


@pytest.mark.parametrize("before", ["nobody", "itself", "another"])
def test_who_leads_again_knows_what_it_could_not_write(
    shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox, before: str
) -> None:
    """What began with the end of one term, and was over before the next, is told as over, whoever spoke before."""

    async def story() -> None:
        async with replicas(shared_etcd, prefix, inbox) as (one, two):
            if before == "another":
                await two.lead()
                two.feed(EventKind.PUT, "pay/a")
                two.feed(EventKind.DELETE, "pay/a")
                await until(lambda: inbox.received, "it is told")
                await recorded(two)
                await two.stop()
            for kind in (EventKind.PUT, EventKind.DELETE) if before != "nobody" else ():
                one.feed(kind, "pay/a")
            await one.lead()
            one.feed(EventKind.PUT)
            if before != "nobody":
                await until(lambda: inbox.received, "it is told")
                await recorded(one)
            await one.speaker.flush()
            told_before = len(inbox.received)
            one.feed(EventKind.DELETE)
            await one.stop()
            one.feed(EventKind.PUT)
            await one.lead()
            await until(lambda: len(inbox.received) > told_before, "it is told")
            await recorded(one)
            assert told(inbox)[told_before:] == ["[RESOLVED]"]
            assert "from " in inbox.received[-1]["message"]

    run(story())


def test_who_leads_again_knows_what_was_taken_meanwhile(
    shared_etcd: EtcdServer, prefix: bytes, inbox: HttpInbox
) -> None:
    """It is not told again, though etcd did not know yet."""

    async def story() -> None:
        inbox.default = Answer(seconds=0.3)
        async with replicas(shared_etcd, prefix, inbox) as (one, _):
            await one.lead()
            for kind in (EventKind.PUT, EventKind.DELETE):
                one.feed(kind)
            await until(lambda: Step.ATTEMPTED in one.steps, "it is being sent")
            await one.stop()
            await until(lambda: Step.ACCEPTED in one.steps, "it is taken")
            assert await outbox(one)
            await one.lead()
            await recorded(one)
            assert told(inbox) == ["[FIRING]"]

    run(story())
