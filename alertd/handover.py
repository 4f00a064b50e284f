"""What a speaker that stops leaves to the next one: who is being told of what at this moment, and how that ended.

A message that is being sent cannot be called back, and only its sender learns whether it was taken. So whoever stops
begins no more attempts, says below `claims/` which notifications are under way at which targets, and lets another lead
at once. That one tells all others, but leaves these targets alone until it reads how it ended there: what was taken is
told no more, what was not is told again.

A claim is `{"held": [[id, channel, target], …], "taken": [the same, …], "targets": [[channel, target, digest], …]}`,
the digests being those by which letters know their targets. It lies under a lease of 5 s, so that one
that dies meanwhile holds up nobody for longer. At its end, nothing held, what was taken is left without a lease: where
nobody leads, the next daemon reads it, be it days later. Whoever leads deletes it once that is noted in the outbox.

Invariant: an attempt that was accepted before its claim ended is not made again by another daemon.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from alertd import document
from alertd.claims import CLAIMS, Key
from alertd.errors import EtcdUnavailable
from alertd.etcd.client import delete_op, leased_by, put_op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.delivery.lane import Flight
    from alertd.etcd.client import Client
    from alertd.etcd.election import Election, Term
    from alertd.post import Post
    from alertd.speaker import Speaker

_log = structlog.get_logger("alertd")

DRAIN_SECONDS = 4.0
"""For targets to take what is under way when the daemon stops; with the rest of the work it ends within 5 s."""

_TTL = 5
"""Seconds for which a claim lasts whose daemon has died."""

_PATIENCE = 0.5
"""Seconds that etcd may take to answer one who wants to end."""


class Claim:
    """One daemon's claim to what it is sending."""

    def __init__(self, client: Client, namespace: bytes, flights: Sequence[Flight]) -> None:
        self._client = client
        self._folder = namespace + CLAIMS.encode()
        self._held = {
            (each.notification, each.lane): (each.notification, each.channel, each.target) for each in flights
        }
        self._targets = [(each.channel, each.target, each.digest) for each in flights if each.digest]
        self._taken: list[Key] = []
        self._lease = 0
        self._key = b""
        self._changed = asyncio.Event()

    async def write(self, term: Term) -> None:
        """Claim, while `term` leads; raise NotLeading or EtcdUnavailable."""
        lease = await self._client.lease_grant(_TTL)
        key = self._folder + f"{lease:x}".encode()
        await term.write([put_op(key, self._content(), lease)])
        self._lease, self._key = lease, key

    @property
    def is_written(self) -> bool:
        """Whether others can see it."""
        return bool(self._lease)

    def note(self, notification: str, lane: int, *, is_taken: bool) -> None:
        """Take note of how an attempt ended."""
        key = self._held.pop((notification, lane), None)
        if key is not None:
            if is_taken:
                self._taken.append(key)
            self._changed.set()

    async def follow(self) -> None:
        """Write each change, until cancelled: whoever waits for it goes on at once."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._lease:
                with suppress(EtcdUnavailable):
                    await self._write(put_op(self._key, self._content(), self._lease))

    async def finish(self) -> None:
        """Hold nothing any more, and leave what was taken; raise EtcdUnavailable."""
        if self._lease:
            self._held.clear()
            await self._write(put_op(self._key, self._content()) if self._taken else delete_op(self._key))
            await self._client.lease_revoke(self._lease)

    def _content(self) -> bytes:
        return document.encode({"held": list(self._held.values()), "taken": self._taken, "targets": self._targets})

    async def _write(self, operation: Any) -> None:
        """Write, unless the claim has ended already."""
        await self._client.txn([leased_by(self._key, self._lease)], [operation])


class Handover:
    """The end of a daemon's work, step by step."""

    def __init__(self, client: Client, namespace: bytes, post: Post, speaker: Speaker) -> None:
        self._client = client
        self._namespace = namespace
        self._post = post
        self._speaker = speaker
        self._claim: Claim | None = None
        self._deadline = 0.0

    async def begin(self, term: Term | None) -> None:
        """Begin no more attempts, write all there is to write, and claim what is under way."""
        self._deadline = time.monotonic() + DRAIN_SECONDS
        self._post.pause()
        if term is None or term.is_over:
            return
        flights = self._post.under_way()
        writing = [self._speaker.flush()]
        if flights:
            self._claim = Claim(self._client, self._namespace, flights)
            self._post.claim = self._claim
            writing.append(self._claim.write(term))
        with suppress(EtcdUnavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await asyncio.gather(*writing)
        if self._claim is not None and not self._claim.is_written:
            _log.warning("what is under way may be told twice: it could not be claimed", messages=len(flights))

    async def finish(self, election: Election) -> None:
        """Let another lead at once; then see how what is under way ends, and leave word of it."""
        following = None if self._claim is None else asyncio.create_task(self._claim.follow(), name="claim")
        draining = asyncio.create_task(self._post.close(self._deadline - time.monotonic()), name="drain")
        await election.resign()
        await draining
        if self._claim is not None and following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            with suppress(EtcdUnavailable, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self._claim.finish()
