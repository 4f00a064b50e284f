"""One watch stream against servers that misbehave on purpose: a real gRPC server on loopback that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest

from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.faults import Compacted
from alertd.etcd.stream import WatchSettings, WatchStream
from alertd.etcd.wire import kv, rpc
from tests.etcd.following import run, until

Script = Callable[[AsyncIterator[Any], Any], AsyncIterator[bytes]]
QUICK = WatchSettings(progress_every=0.2)


def created(cluster_id: int = 1) -> bytes:
    """Return etcd's first response to a watch."""
    return bytes(rpc.WatchResponse(created=True, header=rpc.ResponseHeader(cluster_id=cluster_id)).SerializeToString())


def progress(revision: int, *, watch_id: int = -1) -> bytes:
    """Return an answer to a progress request; etcd's own notes bear the watch's id, 0."""
    header = rpc.ResponseHeader(revision=revision)
    return bytes(rpc.WatchResponse(header=header, watch_id=watch_id).SerializeToString())


def event(revision: int) -> bytes:
    """Return a response with one put."""
    put = kv.Event(kv=kv.KeyValue(key=b"/a", mod_revision=revision))
    return bytes(rpc.WatchResponse(header=rpc.ResponseHeader(revision=revision), events=[put]).SerializeToString())


async def first_of(requests: AsyncIterator[Any]) -> None:
    """Take the watch in: a call that ends before that is written breaks off, whatever it was answered."""
    await anext(requests)


@asynccontextmanager
async def watching(script: Script, settings: WatchSettings = QUICK) -> AsyncIterator[WatchStream]:
    """Serve a script and give a stream to that server, not yet open."""
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(script, request_deserializer=rpc.WatchRequest.FromString)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("etcdserverpb.Watch", {"Watch": handler})])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with Client(EtcdSettings(endpoints=(address,))) as client:
            stream = WatchStream(client, address, settings)
            try:
                yield stream
            finally:
                await stream.close()
    finally:
        await server.stop(None)


async def read_to_the_end(stream: WatchStream) -> EtcdUnavailable:
    """Open, then read until the stream ends; return why."""
    try:
        await stream.open(b"/", 1)
        while True:
            await stream.take()
    except EtcdUnavailable as error:
        return error


def test_an_answer_counts_only_after_the_next_one() -> None:
    """Progress may overtake events (etcd#15220): it is believed one question later."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        answers = iter((7, 9, 12))
        async for request in requests:
            yield progress(next(answers, 12)) if request.HasField("progress_request") else created()

    async def story() -> None:
        async with watching(script) as stream:
            await stream.open(b"/", 1)
            passed = []
            for _ in range(4):
                await stream.take()
                passed.append(stream.passed)
            assert passed == [0, 7, 9, 12]

    run(story())


def test_an_answer_that_overtook_an_event_is_not_believed() -> None:
    """The event at 6 came after the answer that said 7: more of them may still be under way."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        asked = 0
        async for request in requests:
            asked += request.HasField("progress_request")
            yield progress(6 + asked) if asked else created()
            if asked == 1:
                yield event(6)

    async def story() -> None:
        async with watching(script) as stream:
            await stream.open(b"/", 1)
            passed = []
            for _ in range(4):
                await stream.take()
                passed.append(stream.passed)
            assert passed == [0, 0, 0, 8]

    run(story())


def test_a_newer_event_does_not_disprove_an_answer() -> None:
    """The event at 8 is later than the answer that said 7."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        asked = 0
        async for request in requests:
            asked += request.HasField("progress_request")
            yield progress(6 + asked) if asked else created()
            if asked == 1:
                yield event(8)

    async def story() -> None:
        async with watching(script) as stream:
            await stream.open(b"/", 1)
            for _ in range(3):
                await stream.take()
            assert stream.passed == 7

    run(story())


def test_etcds_own_notes_answer_nothing() -> None:
    """A note that came unasked is a sign of life, but proves no earlier answer."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        asked = 0
        async for request in requests:
            asked += request.HasField("progress_request")
            yield progress(7) if asked else created()
            if asked == 1:
                yield progress(7, watch_id=0)

    async def story() -> None:
        async with watching(script) as stream:
            await stream.open(b"/", 1)
            for _ in range(2):
                await stream.take()
            assert stream.passed == 0
            await stream.take()
            assert stream.passed == 7

    run(story())


def test_a_question_that_was_dropped_is_asked_again() -> None:
    """Servers that catch up drop questions; as long as something comes, the stream lives."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        asked = 0
        async for request in requests:
            asked += request.HasField("progress_request")
            if not asked:
                yield created()
            elif asked < 4:
                yield event(asked)
            else:
                yield progress(asked)

    async def story() -> None:
        async with watching(script) as stream:
            await stream.open(b"/", 1)
            taken = [[event.kv.mod_revision for event in await stream.take()] for _ in range(5)]
            assert taken == [[1], [2], [3], [], []]

    run(story())


def test_a_silent_server_is_left_soon() -> None:
    """It took the watch and says nothing more: the stream breaks itself off."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        await first_of(requests)
        yield created()
        async for _request in requests:
            pass

    async def story() -> None:
        async with watching(script) as stream:
            started = asyncio.get_running_loop().time()
            assert "has been silent" in str(await read_to_the_end(stream))
            assert asyncio.get_running_loop().time() - started < 2.0

    run(story())


def test_what_came_meanwhile_is_taken_at_once() -> None:
    """Of many responses, in order; what they say of progress counts only then."""
    asked = 0

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        nonlocal asked
        async for request in requests:
            asked += request.HasField("progress_request")
            yield progress(6 + asked) if asked else created()
            if asked:
                yield event(10 + asked)

    async def story() -> None:
        async with watching(script) as stream:
            await stream.open(b"/", 1)
            opened_at = stream.alive_at
            await until(lambda: asked > 3)
            assert (stream.passed, stream.alive_at) == (0, opened_at)
            revisions = [event.kv.mod_revision for event in await stream.take()]
            assert revisions == list(range(11, 11 + len(revisions)))
            assert len(revisions) > 2
            assert stream.passed >= 7
            assert stream.alive_at > opened_at

    run(story())


def test_repeats_are_dropped_and_a_large_response_makes_etcd_wait() -> None:
    """Also where what they repeat was read, and not taken."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        await first_of(requests)
        yield created()
        for revisions in ((6, 7), (7, 8), (6, 7, 8, 9), (9,), (10,), (11,)):
            puts = [kv.Event(kv=kv.KeyValue(key=b"/a", value=b"." * 100, mod_revision=each)) for each in revisions]
            yield rpc.WatchResponse(header=rpc.ResponseHeader(revision=9), events=puts).SerializeToString()
        await asyncio.Event().wait()

    async def story() -> None:
        async with watching(script, replace(QUICK, ahead_bytes=1_000)) as stream:
            await stream.open(b"/", 1)
            end = asyncio.get_running_loop().time() + 0.1
            await until(lambda: asyncio.get_running_loop().time() > end)
            assert [event.kv.mod_revision for event in await stream.take()] == [6, 7, 8, 9]
            revisions = list[int]()
            while len(revisions) < 2:
                revisions += [event.kv.mod_revision for event in await stream.take()]
            assert revisions == [10, 11]

    run(story())


def test_what_came_before_the_end_is_taken_before_that_is_told() -> None:
    """And the end as often as it is asked for."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        await first_of(requests)
        yield created()
        yield event(2)
        yield event(3)
        await first_of(requests)  # its question

    async def story() -> None:
        async with watching(script) as stream:
            await stream.open(b"/", 1)
            revisions = list[int]()
            while len(revisions) < 2:
                revisions += [event.kv.mod_revision for event in await stream.take()]
            assert revisions == [2, 3]
            for _ in range(2):
                with pytest.raises(EtcdUnavailable, match="ended the watch"):
                    await stream.take()

    run(story())


def test_a_consumer_that_is_away_makes_etcd_wait_and_is_no_silence() -> None:
    """Once so much has come nothing is read, asked or broken off until it is taken; then it goes on."""
    asked = sent = 0

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        nonlocal asked, sent
        async for request in requests:
            asked += request.HasField("progress_request")
            if not asked:
                yield created()
            elif asked == 1:
                for sent in range(1, 6):
                    yield event(sent)
            else:
                yield progress(asked)

    async def story() -> None:
        async with watching(script, replace(QUICK, slice_events=3)) as stream:
            await stream.open(b"/", 1)
            end = asyncio.get_running_loop().time() + 0.5
            await until(lambda: asyncio.get_running_loop().time() > end)
            assert asked == 1
            assert [event.kv.mod_revision for event in await stream.take()] == [1, 2, 3]
            await until(lambda: asked > 1)
            assert [event.kv.mod_revision for event in await stream.take()] == [4, 5]

    run(story())


def test_a_server_that_never_starts_the_watch_is_left() -> None:
    """The connection stands, the first response does not come."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        async for _request in requests:
            if _request.HasField("cancel_request"):
                yield created()

    async def story() -> None:
        async with watching(script, WatchSettings(connect_within=0.5)) as stream:
            assert "did not start a watch within 0.5 s" in str(await read_to_the_end(stream))

    run(story())


def test_a_clean_end_is_an_end() -> None:
    """A server that closes politely has ended the watch all the same."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        await first_of(requests)
        yield created()

    async def story() -> None:
        async with watching(script) as stream:
            assert "ended the watch" in str(await read_to_the_end(stream))

    run(story())


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (rpc.WatchResponse(canceled=True, compact_revision=9), Compacted, "before 9"),
        (rpc.WatchResponse(canceled=True), EtcdUnavailable, "without a reason"),
        (
            rpc.WatchResponse(created=True, canceled=True, cancel_reason="etcdserver: permission denied"),
            EtcdRefused,
            "does not permit",
        ),
    ],
    ids=["compacted", "no reason", "permission"],
)
def test_a_cancelled_watch_says_why(response: Any, kind: type[EtcdUnavailable], words: str) -> None:
    """Compaction is told from what an operator must mend."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        await first_of(requests)
        yield response.SerializeToString()

    async def story() -> None:
        async with watching(script) as stream:
            error = await read_to_the_end(stream)
            assert type(error) is kind
            assert words in str(error)

    run(story())


def test_rubbish_is_refused() -> None:
    """Bytes that are no watch response end the stream with a sentence, not with a traceback."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        await first_of(requests)
        yield created()
        yield b"\xff\xff\xff"

    async def story() -> None:
        async with watching(script) as stream:
            assert "does not speak etcd's language" in str(await read_to_the_end(stream))

    run(story())


def test_a_server_without_a_watch_service_is_refused() -> None:
    """Some other gRPC server listens there."""

    async def script(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[bytes]:
        await first_of(requests)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service")
        yield b""

    async def story() -> None:
        async with watching(script) as stream:
            assert "is not etcd's client port" in str(await read_to_the_end(stream))

    run(story())


def test_closing_leaves_nothing_behind_even_if_it_is_cancelled() -> None:
    """Whoever waits may be cancelled while it closes; the call to etcd ends all the same."""

    async def script(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield progress(7) if request.HasField("progress_request") else created()

    async def story() -> None:
        async with watching(script) as stream:
            await stream.open(b"/", 1)
            await stream.take()
            closing = asyncio.create_task(stream.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            await until(stream._call.done, "the call has ended", 2.0)

    run(story())
