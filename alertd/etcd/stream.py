"""One watch on one connection of its own, which shows that it is alive or ends.

It reads ahead of whoever takes what it brings, up to a limit, so that what came in many responses meanwhile is taken at
once, in order and without repeats. `alive_at` and `passed` are as of what was taken: what is not, when the stream is
given up, was never here.

A watch that says nothing proves nothing: the stream asks etcd for its progress every few seconds and breaks itself off
if nothing at all comes back. It asks only while it reads, so a slow consumer is never taken for a dead etcd.

A progress answer may overtake events that are still on their way (etcd#15220, before 3.4.25 and 3.5.8). Its revision
therefore counts as `passed` only once another answer has come a good while later, and no event up to it came between.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import open_channel
from alertd.etcd.client import PAGE_BYTES, range_end_of
from alertd.etcd.faults import Call, Compacted, Verdict, attempt_of, explain, not_understood
from alertd.etcd.view import revision_of, split_after
from alertd.etcd.wire import rpc, stubs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.etcd.client import Client

_PROGRESS = rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())
_ANSWER = -1
"""The watch id of an answer to a question; etcd's own progress notes, every ten minutes, bear the watch's."""
_SECOND_QUESTION_AFTER = 1.0
"""Seconds; far longer than a progress answer overtakes events on a server that is not busy with them."""
_FIRST_ANSWER_AFTER = 0.2
"""Seconds after which the first question is asked again: while a watch is catching up, etcd drops it."""
_HAS_LEADER = ("hasleader", "true")
"""etcd ends the stream when the member it runs on has lost its leader."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How a watch behaves; all in seconds but `slice_events`, which is in events.

    `progress_every`: how often etcd is asked whether it is alive, and how long it may be silent then. `connect_within`:
    how long a new stream may take. `retry_first` and `retry_cap` bound the jittered backoff. `lease_budget`: how long
    what came at once may be held up by questions about leases. More events than `slice_events` are handed over in
    slices; once so many, or `ahead_bytes`, have not been taken, etcd is made to wait.
    """

    progress_every: float = 3.0
    connect_within: float = 5.0
    retry_first: float = 0.1
    retry_cap: float = 5.0
    lease_budget: float = 1.0
    slice_events: int = 1_000
    ahead_bytes: int = PAGE_BYTES


class WatchStream:
    """A watch from one revision on, at one endpoint."""

    def __init__(self, client: Client, address: str, settings: WatchSettings) -> None:
        self.address = address
        self.alive_at = 0.0
        self.passed = 0
        self.cluster_id = 0
        self._client = client
        self._settings = settings
        self._channel = open_channel(address, client.credentials)
        self._call: Any = None
        self._described = Call(address, client.settings, settings.connect_within)
        self._asking: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[NoReturn] | None = None
        self._ended: asyncio.Task[NoReturn] | None = None
        """`_reading`, once there is no more to read; it raises why."""
        self._ahead: list[Any] = []
        """The events that were read and not taken."""
        self._ahead_bytes = 0
        self._came = asyncio.Event()
        self._taken = asyncio.Event()
        self._heard_at = 0.0
        self._certain = 0
        self._reading_since = 0.0
        self._asked_at = 0.0
        self._promised = 0
        self._promised_at = 0.0
        self._broken: EtcdUnavailable | None = None

    async def open(self, prefix: bytes, start_revision: int) -> None:
        """Start the watch; raise EtcdUnavailable, or Compacted if `start_revision` is no longer kept."""
        try:
            async with asyncio.timeout(self._settings.connect_within):
                response = await self._create(prefix, start_revision)
        except TimeoutError:
            says = f"etcd at {self.address} did not start a watch within {self._settings.connect_within:g} s"
            raise EtcdUnavailable(says) from None
        self.cluster_id = response.header.cluster_id
        self.alive_at = self._heard_at
        self._reading = asyncio.create_task(self._keep_reading(), name="etcd-watch")
        self._reading.add_done_callback(self._end)
        self._asking = asyncio.create_task(self._keep_asking(), name="etcd-progress")

    async def _create(self, prefix: bytes, start_revision: int) -> Any:
        create = rpc.WatchCreateRequest(
            key=prefix or b"\0", range_end=range_end_of(prefix), start_revision=start_revision, progress_notify=True
        )
        self._described = self._described._replace(attempt=attempt_of(create))
        try:
            self._call = stubs.WatchStub(self._channel).Watch(metadata=(*self._client.metadata(), _HAS_LEADER))
            await self._call.write(rpc.WatchRequest(create_request=create))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._fail()
        return await self._response()

    async def take(self) -> Sequence[Any]:
        """Wait until something came, and return its events: whole revisions, or none if it was a sign of life.

        Once all is taken, raises EtcdUnavailable when there will be no more, Compacted if that is why.
        """
        await self._came.wait()
        if self._ended is None:
            self._came.clear()
        elif not self._ahead:
            self._ended.result()
        events, self._ahead, self._ahead_bytes = self._ahead, [], 0
        self._taken.set()
        self.alive_at, self.passed = self._heard_at, self._certain
        return events

    async def _keep_reading(self) -> NoReturn:
        while True:
            response = await self._response()
            self._keep(response)
            self._came.set()
            self._taken.clear()
            if len(self._ahead) >= self._settings.slice_events or self._ahead_bytes >= self._settings.ahead_bytes:
                await self._taken.wait()

    def _keep(self, response: Any) -> None:
        events = response.events
        if self._ahead and events and revision_of(events[0]) <= (last := revision_of(self._ahead[-1])):
            events = events[split_after(events, last) :]
        self._ahead += events
        self._ahead_bytes += response.ByteSize()

    def _end(self, reading: asyncio.Task[NoReturn]) -> None:
        self._ended = reading
        self._came.set()

    async def _response(self) -> Any:
        """Return the next response; raise EtcdUnavailable when there will be none, Compacted if that is why."""
        self._reading_since = time.monotonic()
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError:
            await self._fail()
        except asyncio.CancelledError:
            if self._broken is None or _is_cancelling():
                raise
            raise self._broken from None
        if response is grpc.aio.EOF:
            raise self._broken or EtcdUnavailable(f"etcd at {self.address} ended the watch")
        if response is None:
            raise not_understood(self.address)
        self._reading_since, self._heard_at = 0.0, time.monotonic()
        if response.canceled:
            raise self._refusal(response)
        if not response.created:
            self._note_progress(response)
        return response

    async def _fail(self) -> NoReturn:
        """Raise what ended the call."""
        code, details = await self._call.code(), await self._call.details()
        raise explain(self._described, code, details).error

    def _refusal(self, response: Any) -> EtcdUnavailable:
        """Return why etcd cancelled the watch."""
        if response.compact_revision:
            return Compacted(f"etcd at {self.address} has compacted what happened before {response.compact_revision}")
        reason = response.cancel_reason or "the watch was cancelled without a reason"
        fault = explain(self._described, grpc.StatusCode.UNKNOWN, reason)
        if fault.verdict in {Verdict.STALE_TOKEN, Verdict.DENIED}:
            self._client.forget_token()
        return fault.error

    # --- proof of life -------------------------------------------------------------------------------------------

    def _note_progress(self, response: Any) -> None:
        """Judge how far the stream is for certain; see the module's docstring."""
        if response.events:
            if self._promised and response.events[0].kv.mod_revision <= self._promised:
                self._promised = 0
        elif response.watch_id == _ANSWER:
            self._asked_at = 0.0
            if not self._promised or self._heard_at - self._promised_at >= self._apart:
                self._certain = max(self._certain, self._promised)
                self._promised, self._promised_at = response.header.revision, self._heard_at

    async def _keep_asking(self) -> None:
        """Ask for progress at once, soon again and then regularly; end the call when etcd is silent.

        The second question is early since what was replayed after a cut can be judged only once it is answered.
        """
        pause = min(_SECOND_QUESTION_AFTER, self._settings.progress_every)
        try:
            await self._ask_until_answered()
            while self._broken is None:
                await asyncio.sleep(pause)
                pause = self._settings.progress_every
                if self._is_asking_due():
                    await self._ask()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return

    async def _ask_until_answered(self) -> None:
        """Ask for the first time, and again soon if there is no answer; for as long as etcd may be silent."""
        await self._ask()
        for _ in range(int(self._settings.progress_every / _FIRST_ANSWER_AFTER)):
            await asyncio.sleep(_FIRST_ANSWER_AFTER)
            if self._promised or self._certain or self._broken is not None:
                return
            if self._reading_since:
                await self._ask()

    @property
    def _apart(self) -> float:
        """Seconds between an answer and the one that confirms it; some are given away to a clock that is not exact."""
        return 0.8 * min(_SECOND_QUESTION_AFTER, self._settings.progress_every)

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        await self._call.write(_PROGRESS)

    def _is_asking_due(self) -> bool:
        """Decide whether to ask now; break off if the last question met with silence.

        One question is under way at a time. One that was followed by other responses and then by silence is repeated:
        newer servers drop a question while they are catching up.
        """
        if not self._reading_since:
            return False
        if not self._asked_at:
            return True
        heard = max(self._heard_at, self._reading_since)
        silent = time.monotonic() - max(heard, self._asked_at)
        if silent < self._settings.progress_every * 0.9:
            return False
        if heard > self._asked_at:
            return True
        self.break_off(EtcdUnavailable(f"etcd at {self.address} has been silent for {silent:.1f} s"))
        return False

    def break_off(self, error: EtcdUnavailable) -> None:
        """End the stream from our side; its reader gets `error`."""
        self._broken = self._broken or error
        self._call.cancel()

    async def close(self) -> None:
        """Give the connection back; nothing is left behind, also if this is cancelled."""
        if self._call is not None:
            self._call.cancel()
        try:
            tasks = [task for task in (self._asking, self._reading) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self._channel.close()


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
