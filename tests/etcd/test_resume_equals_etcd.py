"""Daemon after daemon follows the same keys, each from where the last one left off: together they tell all there was.

Random stories on a real etcd behind a proxy. A daemon is ended at any moment, also while it catches up; what it has
noted since its last bookmark is lost with it.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.watch import Bookmark, Synced, Watch
from tests.etcd.following import GONE, PREFIX, QUICKLY, Follower, Left, agree, run, until
from tests.etcd.test_view_equals_etcd import Writer, check
from tests.etcd_server import Cut, EtcdServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.model import KeyEvent

LIVES = 12


class Reader(Follower):
    """A consumer that ignores what it knows already; `news` is the rest."""

    def __init__(self, watch: Watch, left: Left | None) -> None:
        super().__init__(watch, left)
        self.news: list[KeyEvent] = []

    def _apply_event(self, event: KeyEvent) -> None:
        is_news = event.kind in GONE or self.state.get(event.key) != event.value
        super()._apply_event(event)
        if is_news:
            self.news.append(event)


@dataclass
class Book:
    """What outlives a daemon: the story up to the last bookmark. `pages` are the states at all bookmarks."""

    story: list[KeyEvent] = field(default_factory=list)
    left: Left | None = None
    pages: list[tuple[int, dict[bytes, bytes]]] = field(default_factory=list)

    def note(self, before: list[KeyEvent], reader: Reader) -> None:
        """Set a bookmark, as it may be done at any moment; `before` is the story that the reader began with."""
        watch = reader.watch
        revision = watch.resume_after
        if reader.is_in_gap or not reader.synced or not revision:
            return
        self.story = [*before, *(event for event in reader.news if event.revision <= revision)]
        state = fold(self.story)
        self.left = Left(Bookmark(revision, watch.cluster_id, time.monotonic(), list(state)), state)
        self.pages.append((revision, state))


def fold(story: Iterable[KeyEvent]) -> dict[bytes, bytes]:
    """Return what exists after a story."""
    state: dict[bytes, bytes] = {}
    for event in story:
        if event.kind in GONE:
            state.pop(event.key, None)
        else:
            state[event.key] = event.value
    return state


def state_at(truth: dict[bytes, list[tuple[int, bytes | None]]], revision: int) -> dict[bytes, bytes]:
    """Return what was written up to a revision."""
    last = {key: [value for at, value in written if at <= revision][-1:] for key, written in truth.items()}
    return {key: value for key, values in last.items() for value in values if value is not None}


async def live(client: Client, book: Book, writer: Writer, cut: Cut, *, is_last: bool = False) -> Reader:
    """Follow from the last bookmark on, for a while or until all is told, and set bookmarks now and then."""
    before, chance = book.story, writer.chance
    reader = Reader(Watch(client, PREFIX, QUICKLY), book.left)
    ends_after = chance.choice([1, 2, 3, 5, 1000])

    async def consume() -> None:
        steps = 0
        async with aclosing(reader.watch.follow()) as following:
            async for step in following:
                reader.apply(step)
                steps += 1
                if chance.random() < 0.3:
                    book.note(before, reader)
                if steps == ends_after and not is_last:
                    return

    consuming = asyncio.create_task(consume(), name="reader")
    try:
        await until(lambda: reader.steps)
        for _ in range(chance.randint(0, 30)):
            await writer.write()
            if chance.random() < 0.2:
                book.note(before, reader)
            if chance.random() < 0.05:
                cut.cut()
                cut.mend()
        if is_last:
            await agree(writer.client, reader)
            last = await writer.client.put(PREFIX + b"last", b"")
            await until(lambda: reader.watch.resume_after >= last and not reader.is_in_gap)
            book.note(before, reader)
    finally:
        consuming.cancel()
        with suppress(asyncio.CancelledError):
            await consuming
    if reader.synced:
        assert reader.state.keys() <= {event.key for event in reader.events}, "a value that was never told"
    return reader


def check_book(book: Book, truth: dict[bytes, list[tuple[int, bytes | None]]], since: int) -> None:
    """See that each bookmark's state was etcd's, and that the story has no hole and no double after `since`."""
    for revision, state in book.pages:
        state.pop(PREFIX + b"last", None)
        assert state == state_at(truth, revision), f"the bookmark at {revision} is not true"
    for key, written in truth.items():
        told = [(one.revision, None if one.kind in GONE else one.value) for one in book.story if one.key == key]
        assert [one for one in told if one[0] > since] == [one for one in written if one[0] > since], key


async def tell(etcd: EtcdServer, seed: int) -> None:
    """Tell one random story of many daemons; with an even seed the history is compacted now and then."""
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    book = Book()
    with Cut(etcd.endpoint) as cut:
        async with Client(EtcdSettings((etcd.endpoint,), timeout=3.0)) as direct:
            writer, first = Writer(direct, chance), 0
            for life in range(LIVES):
                for _ in range(chance.randint(0, 40)):
                    await writer.write()
                if seed % 2 == 0 and chance.random() < 0.4:
                    etcd.compact()
                async with Client(EtcdSettings((cut.endpoint,), timeout=1.0)) as client:
                    reader = await live(client, book, writer, cut, is_last=life == LIVES - 1)
                if not first and book.left is not None:
                    first = next(step.revision for step in reader.steps if isinstance(step, Synced))
            assert reader.state == {key: value for key, (value, _) in writer.alive.items()} | {PREFIX + b"last": b""}
            check(reader, writer.truth)
            check_book(book, writer.truth, first if seed % 2 else book.pages[-1][0])


@pytest.mark.parametrize("seed", range(1, 9))
def test_daemons_in_a_row_tell_all_there_was(etcd: EtcdServer, seed: int) -> None:
    """Each change is told exactly once where the history is kept; the state is etcd's at each bookmark in any case."""
    run(tell(etcd, seed))
