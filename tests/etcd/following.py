"""What the tests of the watch share: a consumer that applies every step to a dict and writes the story down."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pytest

from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.stream import WatchSettings
from alertd.etcd.watch import Bookmark, Events, GapOpened, Step, Synced, Watch
from alertd.model import EventKind, KeyEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

T = TypeVar("T")

PREFIX = b"/services/"
QUICKLY = WatchSettings(progress_every=0.2, connect_within=1.0, retry_first=0.02, retry_cap=0.1)
GONE = {EventKind.DELETE, EventKind.EXPIRE, EventKind.MISSED}


def run(coroutine: Coroutine[object, object, T], seconds: float = 40.0) -> T:
    """Run a test's coroutine to its end, at most for so long, and see that it leaves no task behind.

    gRPC's own task for a call that was cancelled ends a moment later.
    """

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            result = await coroutine
        await until(lambda: len(asyncio.all_tasks()) == 1, "no task is left behind", seconds=2)
        return result

    return asyncio.run(bounded())


def complaint(settings: EtcdSettings) -> EtcdUnavailable:
    """Return what a read of one key raises."""

    async def story() -> EtcdUnavailable:
        async with Client(settings) as client:
            with pytest.raises(EtcdUnavailable) as caught:
                await client.get(b"key")
        return caught.value

    return run(story())


async def until(holds: Callable[[], object], what: str = "the condition holds", seconds: float = 20.0) -> None:
    """Poll until `holds()`; fail with `what` if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.005)


class Left(NamedTuple):
    """What a consumer leaves to the next: where it left off, and its state then."""

    bookmark: Bookmark
    state: dict[bytes, bytes]


class Follower:
    """Applies what a watch yields. `state` is key → value, `events` all events so far, `steps` what brackets them.

    It begins anew, or where another left off.
    """

    def __init__(self, watch: Watch, left: Left | None = None) -> None:
        self.watch = watch
        self.state: dict[bytes, bytes] = {}
        if left is not None:
            watch.resume(left.bookmark)
            self.state.update(left.state)
        self.events: list[KeyEvent] = []
        self.steps: list[Step] = []
        self.is_in_gap = False

    def apply(self, step: Step) -> None:
        """Take one step, and check what must hold of every step."""
        if isinstance(step, Events):
            assert step.events, "an empty step"
            for event in step.events:
                self._apply_event(event)
            return
        assert isinstance(step, GapOpened) is not self.is_in_gap, f"{step} while a gap is open: {self.is_in_gap}"
        self.is_in_gap = isinstance(step, GapOpened)
        self.steps.append(step)

    def _apply_event(self, event: KeyEvent) -> None:
        assert event.kind is not EventKind.FOUND or self.is_in_gap, f"{event} outside a gap"
        self.events.append(event)
        if event.kind in GONE:
            assert event.key in self.state, f"{event} of a key that was not there"
            del self.state[event.key]
        else:
            self.state[event.key] = event.value

    @property
    def synced(self) -> int:
        """How many listings have been completed."""
        return sum(isinstance(step, Synced) for step in self.steps)

    def told(self, key: bytes) -> list[EventKind]:
        """Return what was told of a key, in order."""
        return [event.kind for event in self.events if event.key == key]

    def leave(self) -> Left:
        """Leave off here."""
        assert not self.is_in_gap
        bookmark = Bookmark(self.watch.resume_after, self.watch.cluster_id, time.monotonic(), list(self.state))
        return Left(bookmark, dict(self.state))

    def forget(self) -> None:
        """Start the story anew; the state stays."""
        self.events.clear()


@asynccontextmanager
async def following(
    *endpoints: str,
    prefix: bytes = PREFIX,
    settings: WatchSettings = QUICKLY,
    login: EtcdSettings | None = None,
    left: Left | None = None,
) -> AsyncIterator[tuple[Client, Follower]]:
    """Follow a prefix in a task of its own; the first listing is complete when the body begins."""
    async with Client(login or EtcdSettings(endpoints=endpoints, timeout=1.0)) as client:
        follower = Follower(Watch(client, prefix, settings), left)

        async def consume() -> None:
            async with aclosing(follower.watch.follow()) as steps:
                async for step in steps:
                    follower.apply(step)

        consuming = asyncio.create_task(consume(), name="follower")
        try:
            await until(lambda: follower.synced or consuming.done(), "the first listing is complete")
            yield client, follower
        finally:
            consuming.cancel()
            with suppress(asyncio.CancelledError):
                await consuming


async def state_of(client: Client, prefix: bytes = PREFIX) -> dict[bytes, bytes]:
    """Return what etcd holds now."""
    return {kv.key: kv.value async for page in client.list_prefix(prefix) for kv in page.kvs}


async def agree(client: Client, follower: Follower, prefix: bytes = PREFIX, seconds: float = 20.0) -> None:
    """Wait until the follower's state equals etcd's; fail with the difference."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(EtcdUnavailable):
            truth = await state_of(client, prefix)
            if truth == follower.state:
                return
            differing = sorted({key for key, _ in truth.items() ^ follower.state.items()})
            assert time.monotonic() < deadline, f"{len(differing)} keys differ, such as {differing[:5]}"
        await asyncio.sleep(0.01)
