"""Documents that follow a source: what is written, what is not, and that no fault on the way changes the end."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertd import document
from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.election import Term
from alertd.etcd.mirror import Mirror, MirrorSettings
from alertd.etcd.rush import Rush
from tests.engine.story import instant
from tests.etcd.following import run, until
from tests.etcd_server import Cut, EtcdServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from alertd.etcd.client import KeyValue

QUICK = MirrorSettings(every=0.01, retry_cap=0.05)


class Sheets:
    """A source whose documents are in a dict."""

    def __init__(self, **contents: dict[str, Any]) -> None:
        self.contents = contents
        self.asked: list[str] = []
        self.recalled: dict[str, Mapping[str, Any]] = {}

    def alert_ids(self) -> Iterator[str]:
        """Return all names."""
        return iter(self.contents)

    def recall(self, alert_id: str, content: Mapping[str, Any]) -> None:
        """Remember what was there."""
        self.recalled[alert_id] = content

    def contents_of(self, alert_ids: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return those that are there."""
        self.asked += alert_ids
        return {name: self.contents[name] for name in alert_ids if name in self.contents}


class Shaky(Term):
    """A term whose writes fail as told: `before` they are done, or `after`, which the writer cannot know."""

    faults: list[str]

    async def write(self, operations: Sequence[Any]) -> None:
        """Write, but for the next fault."""
        fault = self.faults.pop(0) if self.faults else ""
        if fault != "before":
            await super().write(operations)
        if fault:
            raise EtcdUnavailable(fault)


class Stage:
    """A mirror at work under a term that lasts, and what etcd has."""

    def __init__(self, client: Client, prefix: bytes, source: Sheets, settings: MirrorSettings) -> None:
        self.client = client
        self.prefix = prefix + b"alerts/"
        self.key = prefix + b"leader"
        self.source = source
        self.is_rushed = False
        rush = Rush(lambda: self.is_rushed)
        self.mirror = Mirror(client, self.prefix, source, lambda: instant(5), settings, rush=rush)
        self.faults: list[str] = []

    async def term(self) -> Term:
        """Begin a term."""
        await self.client.delete(self.key)
        term = Shaky(self.client, self.key, await self.client.put(self.key, b""), 0)
        term.deadline, term.faults = inf, self.faults
        return term

    def set(self, name: str, content: dict[str, Any] | None) -> None:
        """Change a document, and say so."""
        if content is None:
            self.source.contents.pop(name, None)
        else:
            self.source.contents[name] = content
        self.mirror.mark(name)

    async def stored(self) -> dict[str, KeyValue]:
        """Return the keys as etcd has them, by name."""
        pages = self.client.list_prefix(self.prefix)
        return {kv.key[len(self.prefix) :].decode(): kv async for page in pages for kv in page.kvs}

    async def shown(self) -> dict[str, Any]:
        """Return the documents' contents as etcd has them."""
        return {name: document.read(kv.value).content for name, kv in (await self.stored()).items()}

    async def agree(self, seconds: float = 10.0) -> None:
        """Wait until etcd has what the source has."""
        deadline = time.monotonic() + seconds
        shown: dict[str, Any] = {}
        while time.monotonic() < deadline:
            with suppress(EtcdUnavailable):
                shown = await self.shown()
                if shown == self.source.contents:
                    return
            await asyncio.sleep(0.005)
        assert shown == self.source.contents


@asynccontextmanager
async def stage(endpoint: str, prefix: bytes, source: Sheets, how: MirrorSettings = QUICK) -> AsyncIterator[Stage]:
    """Let a mirror be ready to work."""
    async with Client(EtcdSettings((endpoint,), timeout=1.0)) as client:
        yield Stage(client, prefix, source, how)


@asynccontextmanager
async def writing(stage: Stage) -> AsyncIterator[Term]:
    """Let the mirror write meanwhile."""
    term = await stage.term()
    task = asyncio.create_task(stage.mirror.write(term))
    try:
        yield term
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


# --- when a term begins ----------------------------------------------------------------------------------------------


def test_a_new_leader_mends_all_differences(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """What lacks is written, what is wrong or no document replaced, what is stale removed, and no more is touched.

    Before that the source has been told what was there.
    """

    async def story() -> None:
        source = Sheets(same={"n": 1}, wrong={"n": 2}, lacking={"n": 3}, junk={"n": 4})
        async with stage(shared_etcd.endpoint, prefix, source) as one:
            for name, raw in {
                "same": document.encode({"n": 1}, "an earlier time"),
                "wrong": document.encode({"n": 0}),
                "junk": b"junk",
                "stale": document.encode({"n": 5}),
                "stale-junk": b"",
                "older": b'{"format": 0}',
            }.items():
                await one.client.put(one.prefix + name.encode(), raw)
            async with writing(one):
                await one.agree()
                stored = await one.stored()
        assert stored["same"].version == 1
        assert {name: kv.version for name, kv in stored.items()} == {"same": 1, "wrong": 2, "lacking": 1, "junk": 2}
        written = json.loads(stored["lacking"].value)
        assert written == {"format": 1, "written": "2026-01-01T00:00:05.000Z", "n": 3}
        assert source.recalled == {"same": {"n": 1}, "wrong": {"n": 0}, "stale": {"n": 5}, "older": {}}

    run(story())


def test_what_a_newer_alertd_wrote_is_left_and_said(
    shared_etcd: EtcdServer, prefix: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither overwritten nor removed, also when the alert changes."""

    async def story() -> None:
        source = Sheets(old={"n": 1}, other={"n": 1})
        async with stage(shared_etcd.endpoint, prefix, source) as one:
            for name in ("old", "gone"):
                await one.client.put(one.prefix + name.encode(), b'{"format": 2, "n": "two"}')
            async with writing(one):
                await until(lambda: "other" in one.mirror._stored, "the rest is written")
                one.set("old", {"n": 2})
                one.set("other", {"n": 2})
                await until(lambda: not one.mirror._marked, "it is written")
                stored = await one.stored()
        assert sorted(stored) == ["gone", "old", "other"]
        assert stored["old"].version == stored["gone"].version == 1

    run(story())
    assert [record.getMessage() for record in caplog.records] == [
        "alerts left in etcd as a newer alertd has written them: 2, such as gone; update this one"
    ]


def test_a_second_term_begins_anew(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """What happened between the terms, by whomever, is mended; marks from that time are not needed."""

    async def story() -> None:
        async with stage(shared_etcd.endpoint, prefix, Sheets(a={"n": 1}, b={"n": 1})) as one:
            async with writing(one):
                await one.agree()
            one.set("a", {"n": 2})
            assert not one.mirror._marked
            await one.client.put(one.prefix + b"b", document.encode({"n": "another leader's"}))
            async with writing(one):
                await one.agree()

    run(story())


# --- while it lasts --------------------------------------------------------------------------------------------------


def test_only_what_changed_is_written_and_only_the_last_of_it(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """A thousand changes at once are one write; a mark without a change is none; what ended is removed."""

    async def story() -> None:
        async with stage(shared_etcd.endpoint, prefix, Sheets(a={"n": 0}, b={"n": 0})) as one, writing(one):
            await one.agree()
            for number in range(1, 1001):
                one.set("a", {"n": number})
                one.mirror.mark("b")
            await one.agree()
            one.set("b", None)
            one.mirror.mark("never-there")
            await one.agree()
            stored = await one.stored()
        assert {name: kv.version for name, kv in stored.items()} == {"a": 2}

    run(story())


def test_changes_that_go_on_are_written_a_round_at_a_time(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """An alert that changes without end is not written without end."""

    async def story() -> None:
        how = MirrorSettings(every=0.2)
        async with stage(shared_etcd.endpoint, prefix, Sheets(a={"n": 0}), how) as one, writing(one):
            await one.agree()
            until_then = time.monotonic() + 1.0
            while time.monotonic() < until_then:
                one.set("a", {"n": time.monotonic_ns()})
                await asyncio.sleep(0)
            await one.agree()
            versions = (await one.stored())["a"].version
        assert 3 <= versions <= 8

    run(story())


def test_many_are_written_in_transactions_that_etcd_takes(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """At most a hundred operations, and half a MiB, at once; all of them in the end."""

    async def story() -> None:
        small = {f"small-{number}": {"n": number} for number in range(1_050)}
        large = {f"large-{number}": {"n": "支" * 100_000} for number in range(5)}
        async with stage(shared_etcd.endpoint, prefix, Sheets(**small, **large)) as one, writing(one):
            await one.agree()
            stored = await one.stored()
        at_once = Counter(kv.mod_revision for kv in stored.values())
        assert max(at_once.values()) <= 100
        bytes_at_once: Counter[int] = Counter()
        for kv in stored.values():
            bytes_at_once[kv.mod_revision] += len(kv.value)
        assert max(bytes_at_once.values()) <= 512 << 10
        assert len(at_once) <= 18

    run(story())


def test_one_that_etcd_would_not_take_holds_up_no_other(
    shared_etcd: EtcdServer, prefix: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out, which is said; what was there of it before does not stay, since it is no longer true."""

    async def story() -> None:
        async with stage(shared_etcd.endpoint, prefix, Sheets(a={"n": 1}, b={"n": 1})) as one, writing(one):
            await one.agree()
            one.set("a", {"n": "x" * (2 << 20)})
            one.set("b", {"n": 2})
            await until(lambda: not one.mirror._marked and "a" not in one.mirror._stored, "the rest is written")
            assert await one.shown() == {"b": {"n": 2}}

    run(story())
    assert any("alert a is too large" in record.getMessage() for record in caplog.records)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_nothing_is_written_after_another_began_to_lead(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """By its own clock the term goes on, but etcd refuses; the mirror stops by itself."""

    async def story() -> None:
        async with stage(shared_etcd.endpoint, prefix, Sheets(a={"n": 1})) as one:
            term = await one.term()
            task = asyncio.create_task(one.mirror.write(term))
            await one.agree()
            await one.term()
            one.set("a", {"n": 2})
            await asyncio.wait_for(task, 5)
            assert await one.shown() == {"a": {"n": 1}}
            assert term.is_over

    run(story())


def test_etcd_away_delays_and_loses_nothing(etcd: EtcdServer, prefix: bytes) -> None:
    """The wish is kept; what changed meanwhile again is written as it is then."""

    async def story() -> None:
        with Cut(etcd.endpoint) as cut:
            async with stage(cut.endpoint, prefix, Sheets(a={"n": 1}, b={"n": 1})) as one, writing(one):
                await one.agree()
                cut.cut()
                one.set("a", {"n": 2})
                one.set("b", None)
                asked = len(one.source.asked)
                await until(lambda: len(one.source.asked) > asked + 2, "it tries")
                one.set("a", {"n": 3})
                cut.mend()
                await one.agree()

    run(story())


def test_what_an_operator_must_mend_is_said_once(
    etcd: EtcdServer, prefix: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A full etcd takes no writes; once it does, all is written. That etcd is away is for others to tell."""
    caplog.set_level(logging.INFO, "alertd.etcd")

    async def story() -> None:
        async with stage(etcd.endpoint, prefix, Sheets(a={"n": 1})) as one, writing(one):
            await one.agree()
            while not caplog.records:
                with suppress(EtcdUnavailable):
                    await one.client.put(b"fill", b"x" * 500_000)
                one.set("a", {"n": time.monotonic_ns()})
                await asyncio.sleep(0.02)
            etcd.ctl("compact", str(etcd.revision()))
            etcd.ctl("defrag")
            etcd.ctl("alarm", "disarm")
            await one.agree()
            await until(lambda: len(caplog.records) > 1, "the end is told")

    etcd.stop()
    etcd.flags = ("--quota-backend-bytes=10000000",)
    etcd.start()
    run(story())
    first, last = [record.getMessage() for record in caplog.records]
    assert first.startswith("what is shown of alerts cannot be written: etcd at")
    assert "its database is full" in first
    assert "no more, after" in last


Change = tuple[str, int | None]
CHANGES = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(1, 2)), max_size=4)


@given(
    rounds=st.lists(CHANGES, max_size=5),
    faults=st.lists(st.sampled_from(["", "before", "after"]), max_size=6),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_fails_on_the_way_the_end_is_right(
    shared_etcd: EtcdServer, prefix: bytes, rounds: list[list[Change]], faults: list[str]
) -> None:
    """Above all where a write was done and its answer lost, and the alert then went back to what it was before."""

    async def story() -> None:
        async with stage(shared_etcd.endpoint, prefix, Sheets(), MirrorSettings(every=0.0, retry_cap=0.0)) as one:
            await one.client.delete(one.prefix, is_prefix=True)
            one.faults.extend(faults)
            async with writing(one):
                for changes in rounds:
                    for name, number in changes:
                        one.set(name, None if number is None else {"n": number})
                    await asyncio.sleep(0.002)
                await one.agree()
                await until(lambda: not one.mirror._marked, "nothing is left to do")
                await one.agree()

    run(story())


# --- while there is more to do ---------------------------------------------------------------------------------------


def test_a_crowd_lets_a_rush_pass_and_a_few_do_not(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """What one transaction takes costs nobody anything; the rest is written once the rush is over."""

    async def story() -> None:
        how = replace(QUICK, crowd_pause=0.0)
        async with stage(shared_etcd.endpoint, prefix, Sheets(), how) as one, writing(one):
            one.is_rushed = True
            one.set("one", {"n": 0})
            await one.agree()
            for number in range(101):
                one.set(f"crowd{number}", {"n": number})
            await asyncio.sleep(0.2)
            assert set(await one.shown()) == {"one"}
            one.is_rushed = False
            await one.agree()

    run(story())


def test_no_rush_holds_up_a_crowd_for_ever(shared_etcd: EtcdServer, prefix: bytes) -> None:
    """Its patience over, it is written all the same."""

    async def story() -> None:
        how = replace(QUICK, crowd_pause=0.0, patience=0.1)
        async with stage(shared_etcd.endpoint, prefix, Sheets(), how) as one:
            one.is_rushed = True
            async with writing(one):
                for number in range(250):
                    one.set(f"crowd{number}", {"n": number})
                await one.agree()

    run(story())
