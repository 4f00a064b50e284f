"""Who leads: won by one, kept while it can be, given up in time, and never used to write once it is over."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, put_op
from alertd.etcd.election import Election, ElectionSettings, NotLeading, Term
from alertd.model import Instant
from tests.etcd.following import run, until
from tests.etcd_server import Cut, EtcdServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUICK = ElectionSettings(ttl=2, trust=1.2, answer_within=0.3, retry=0.05)
PATIENT = ElectionSettings(ttl=60, trust=50.0)
"""Whoever follows such a leader at once does not do so because a lease has ended."""


def read_clock() -> Instant:
    """Read the real clocks."""
    return Instant(time.monotonic(), datetime.now(UTC))


class Replica:
    """One that stands for leader.

    `terms` are those that it was given, `is_leading` says whether it may work now, `met` what it saw of others.
    """

    def __init__(self, client: Client, key: bytes, name: str, settings: ElectionSettings) -> None:
        self.client = client
        self.election = Election(client, key, name, read_clock, settings)
        self.terms: list[Term] = []
        self.is_leading = False
        self.ended_at = 0.0
        self.met: list[bool] = []
        self.stand()

    def stand(self) -> None:
        """Stand for leader, for the first time or again."""
        self.task = asyncio.create_task(self.election.run(self.lead, meet=self.met.append))

    async def lead(self, term: Term) -> None:
        """Do nothing, until that is ended."""
        self.terms.append(term)
        self.is_leading = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_leading = False
            self.ended_at = time.monotonic()

    async def stop(self) -> None:
        """End without a word, as a process that is killed."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def replica(
    endpoint: str, key: bytes, name: str = "one", settings: ElectionSettings = QUICK
) -> AsyncIterator[Replica]:
    """Let a replica with a client of its own stand for leader meanwhile."""
    async with Client(EtcdSettings((endpoint,))) as client:
        one = Replica(client, key, name, settings)
        try:
            yield one
        finally:
            await one.stop()
            await one.election.resign()


async def leading(one: Replica, seconds: float = 20.0) -> Term:
    """Wait until it leads."""
    await until(lambda: one.is_leading or one.task.done(), "it leads", seconds)
    return one.terms[-1]


@pytest.fixture
def key(prefix: bytes) -> bytes:
    """Give a leader's key of the test's own."""
    return prefix + b"leader"


def test_one_leads_and_the_next_does_so_at_once(shared_etcd: EtcdServer, key: bytes) -> None:
    """The key names the leader; when it resigns, the one that stood by leads long before a lease ends."""

    async def story() -> None:
        async with replica(shared_etcd.endpoint, key, "two", PATIENT) as two:
            async with replica(shared_etcd.endpoint, key, "one", PATIENT) as one:
                first, second = (one, two) if await leads_first(one, two) else (two, one)
                assert not second.is_leading
                held = await first.client.get(key)
                assert held is not None
                name = "one" if first is one else "two"
                assert json.loads(held.value)["replica"] == name
                assert held.lease == first.terms[0].lease
                await first.stop()
                await first.election.resign()
                await leading(second, 3.0)
            assert first.terms[0].revision < second.terms[0].revision

    run(story())


async def leads_first(one: Replica, other: Replica) -> bool:
    """Return whether `one` is the first of two that leads."""
    await until(lambda: one.is_leading or other.is_leading, "one leads")
    return one.is_leading


def test_a_leader_that_died_is_followed_when_its_lease_ends(shared_etcd: EtcdServer, key: bytes) -> None:
    """Nobody gave the lease back: within its time and a second the other leads, and not before."""

    async def story() -> None:
        async with replica(shared_etcd.endpoint, key, "one") as one:
            await leading(one)
            async with replica(shared_etcd.endpoint, key, "two") as two:
                await until(lambda: two.election._holder, "the other stands by")
                await one.stop()
                one.election._lease = 0
                died_at = time.monotonic()
                await leading(two, QUICK.ttl + 1.0)
                assert time.monotonic() - died_at > QUICK.trust - QUICK.ttl / 3

    run(story())


def test_a_leader_cut_off_stops_before_its_lease_ends(etcd: EtcdServer, key: bytes) -> None:
    """It hears nothing at all, and goes by its own clock; the key is still there when it has stopped."""

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with replica(cut.endpoint, key) as one, Client(EtcdSettings((etcd.endpoint,))) as onlooker:
                term = await leading(one)
                await until(lambda: term.deadline > begun(term), "the lease was renewed")
                cut.hold()
                await until(lambda: not one.is_leading, "it stops", QUICK.ttl)
                assert term.is_over
                assert await onlooker.get(key) is not None
                with pytest.raises(NotLeading):
                    await term.write([put_op(key + b"-other", b"")])
                cut.mend()
                await until(lambda: len(one.terms) == 2, "it leads again")

    def begun(term: Term) -> float:
        return deadlines.setdefault(id(term), term.deadline)

    deadlines: dict[int, float] = {}
    run(story())


def test_a_term_is_measured_from_before_a_renewal_was_sent(shared_etcd: EtcdServer, key: bytes) -> None:
    """An answer that took long is worth no more than one that came at once."""

    async def story() -> None:
        with Cut(shared_etcd.endpoint) as cut:
            settings = ElectionSettings(ttl=6, trust=5.0, answer_within=4.0)
            async with replica(cut.endpoint, key, settings=settings) as one:
                term, won_at = await leading(one), time.monotonic()
                first = term.deadline
                await until(lambda: time.monotonic() > won_at + 1.5, "a renewal is due in half a second")
                cut.hold()
                await until(lambda: time.monotonic() > won_at + 3.2, "it waits for its answer")
                cut.mend()
                await until(lambda: term.deadline > first, "it is renewed")
                assert term.deadline < won_at + 3.0 + settings.trust

    run(story())


def test_a_key_that_is_gone_ends_the_term(shared_etcd: EtcdServer, key: bytes) -> None:
    """Removed by hand, though the lease lives: it is noticed with the next renewal, and a new term begun."""

    async def story() -> None:
        async with replica(shared_etcd.endpoint, key) as one:
            term = await leading(one)
            await one.client.delete(key)
            await until(lambda: len(one.terms) == 2, "a second term", QUICK.ttl + 1.0)
            assert term.is_over
            assert one.terms[1].revision > term.revision

    run(story())


def test_nothing_is_written_once_another_term_began(shared_etcd: EtcdServer, key: bytes) -> None:
    """Even by one whose own clock says that it leads: etcd refuses, and the term is over."""

    async def story() -> None:
        async with replica(shared_etcd.endpoint, key, settings=PATIENT) as one:
            term = await leading(one)
            await term.write([put_op(key + b"-told", b"1")])
            await one.client.delete(key)
            await one.client.put(key, b"another")
            with pytest.raises(NotLeading):
                await term.write([put_op(key + b"-told", b"2")])
            told = await one.client.get(key + b"-told")
            assert told is not None
            assert told.value == b"1"
            await until(lambda: not one.is_leading, "its work is ended", 2.0)

    run(story())


def test_who_meets_the_key_of_its_own_last_term_led_last(shared_etcd: EtcdServer, key: bytes) -> None:
    """Unlike one that meets another's: its lease could not be given back, and until that ends nobody else leads."""

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as another:
            await another.put(key, b"another")
            async with replica(shared_etcd.endpoint, key, settings=PATIENT) as one:
                await until(lambda: one.election._holder, "it meets another's key")
                assert not one.election.led_last
                await another.delete(key)
                term = await leading(one)
                one.election._lease = 0
                term.end("a blip")
                await until(lambda: one.election._holder, "it meets its own key")
                assert (one.election.led_last, one.election.last_term) == (True, term.revision)

    run(story())


def test_etcd_killed_and_started_again(etcd: EtcdServer, key: bytes) -> None:
    """One of them leads, by a term that was begun or renewed since."""

    async def story() -> None:
        async with replica(etcd.endpoint, key) as one, replica(etcd.endpoint, key, "two") as two:
            await until(lambda: one.is_leading or two.is_leading, "one leads")
            await asyncio.to_thread(etcd.restart)
            trusted_until = time.monotonic() + QUICK.trust

            def leads(each: Replica) -> bool:
                return each.is_leading and each.terms[-1].deadline > trusted_until

            await until(lambda: leads(one) or leads(two), "one leads again")
            assert not (one.is_leading and two.is_leading)

    run(story())


def test_work_that_breaks_is_not_hidden(shared_etcd: EtcdServer, key: bytes) -> None:
    """A fault of ours ends the election with it."""

    async def broken(term: Term) -> None:
        raise RuntimeError("ours")

    async def story() -> None:
        async with Client(EtcdSettings((shared_etcd.endpoint,))) as client:
            election = Election(client, key, "one", read_clock, QUICK)
            with pytest.raises(RuntimeError, match="ours"):
                await election.run(broken)
            await election.resign()
            assert await client.get(key) is None

    run(story())


def test_each_knows_whether_another_leads(shared_etcd: EtcdServer, key: bytes) -> None:
    """What is left of its own last term is no other: of those known to it, its own was the last still."""

    async def story() -> None:
        async with (
            replica(shared_etcd.endpoint, key, "one", PATIENT) as one,
            replica(shared_etcd.endpoint, key, "two", PATIENT) as two,
        ):
            await until(lambda: one.is_leading or two.is_leading, "one leads")
            leader, other = (one, two) if one.is_leading else (two, one)
            await until(lambda: other.met[-1:] == [True], "the other knows")
            assert not other.election.led_last
            await leader.stop()
            leader.met.clear()
            leader.stand()
            await until(lambda: bool(leader.met), "it finds its key")
            assert leader.met == [False]
            assert leader.election.led_last
            await leader.stop()
            await leader.client.delete(key)
            await until(lambda: other.is_leading, "the other leads")
            assert other.met[-1] is False

    run(story())


def test_who_leads_is_said_once_by_each(shared_etcd: EtcdServer, key: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """By name; looking again at the same leader says nothing."""
    caplog.set_level(logging.INFO, "alertd.etcd")
    settings = ElectionSettings(ttl=60, trust=50.0, retry=0.05, look_again=0.05)

    async def story() -> None:
        async with replica(shared_etcd.endpoint, key, "one", PATIENT) as one:
            await leading(one)
            async with replica(shared_etcd.endpoint, key, "two", settings) as two:
                await until(lambda: two.election._holder, "the other stands by")
                looked_until = time.monotonic() + 0.5
                await until(lambda: time.monotonic() > looked_until, "it looks again, several times")

    run(story())
    assert [record.getMessage() for record in caplog.records] == ["one leads now", "two stands by: one leads"]


def test_a_full_etcd_is_said_for_the_operator(etcd: EtcdServer, key: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What only an operator can end is told once; then it leads."""

    async def story() -> None:
        async with replica(etcd.endpoint, key) as one:
            await until(lambda: caplog.records, "it says so")
            assert one.election.refused_since is not None
            assert "its database is full" in one.election.refusal
            await asyncio.to_thread(etcd.ctl, "alarm", "disarm")
            await leading(one)
            assert one.election.refused_since is None

    etcd.stop()
    etcd.flags = ("--quota-backend-bytes=1000000",)
    etcd.start()
    with suppress(AssertionError):
        for number in range(20):
            etcd.ctl("put", f"fill{number}", text="x" * 200_000)
    etcd.stop()
    etcd.flags = ()
    etcd.start(is_waiting=False)  # with its alarm raised it is not healthy
    run(story())
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told.startswith("this replica cannot stand for leader: etcd at")
    assert "its database is full" in told
