"""Which of several replicas leads, by a key under a short lease.

Theory of operation. Whoever creates the leader's key under a lease of its own leads, until that key is gone: revoked,
expired, or removed by hand. The others watch it. A leader renews its lease at a third of its time, and sees each time
that the key is still its own, since etcd has said OK to renewals of leases that were revoked (fixed in 3.5.23, 3.6.5).

A clock of our own says when to stop, not an answer that may never come: a term is trusted until a moment that is
measured from *before* the last renewal was sent and lies before the lease's end. Even so a process may stand still
between looking at the clock and writing. What leading decides is therefore written through the term alone: each such
transaction holds only while the key is the one that this term created.

One that would have to read what it may not understand (`find_newer`) does not stand, and asks again now and then. It
asks once more when it has won, for what was written meanwhile, and gives the key back before it writes anything.

Invariant: nothing that a term writes is done after another term has begun.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alertd import document
from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.etcd.client import created_at, put_op
from alertd.etcd.retry import Backoff, Trouble
from alertd.etcd.stream import WatchSettings, WatchStream
from alertd.etcd.wire import rpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from alertd.etcd.client import Client, KeyValue
    from alertd.model import Instant

_log = logging.getLogger("alertd.etcd")

_DELETED = 1
"""`mvccpb.Event.DELETE`."""


class NotLeading(EtcdUnavailable):
    """The term is over: somebody else leads, or nobody."""


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    """How leading goes, in seconds.

    `ttl` is the lease's; `trust` how long after the sending of a renewal a term is relied on, to be less than `ttl`.
    `answer_within` is the deadline of one call at one endpoint. `retry` is the pause after a renewal that failed, and
    the first of those between attempts to lead. `look_again`: how long one watch on another's key is relied on.
    `stand_by`: when one that may not stand asks again.
    """

    ttl: int = 5
    trust: float = 4.0
    answer_within: float = 1.0
    retry: float = 0.2
    look_again: float = 60.0
    stand_by: float = 30.0


class Term:
    """One spell of leading, in which `key` was created at `revision` under `lease`."""

    def __init__(self, client: Client, key: bytes, revision: int, lease: int) -> None:
        self._client = client
        self._key = key
        self._over = asyncio.Event()
        self.revision = revision
        self.lease = lease
        self.deadline = 0.0
        """Until when it is relied on, in monotonic seconds."""
        self.why_over = ""

    @property
    def is_over(self) -> bool:
        """Whether it is no longer relied on; once over, it stays so."""
        if time.monotonic() >= self.deadline:
            self.end("its lease was not renewed in time")
        return self._over.is_set()

    @property
    def holds(self) -> bool:
        """Whether it is relied on now; may be asked in any thread, and ends nothing."""
        return time.monotonic() < self.deadline and not self._over.is_set()

    def end(self, why: str) -> None:
        """Rely on it no more."""
        self.why_over = self.why_over or why
        self._over.set()

    async def rest(self, seconds: float) -> None:
        """Wait, but not longer than it lasts."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, self.deadline - time.monotonic())):
                await self._over.wait()

    async def renew(self, *, seconds: float) -> None:
        """Renew the lease and see to it that the key is still ours, or end the term; each call has so many seconds."""
        left = await self._client.lease_keepalive(self.lease, seconds=seconds)
        if left <= 0:
            self.end("its lease has ended")
            return
        page = await self._client.range(rpc.RangeRequest(key=self._key), seconds=seconds)
        if not page.kvs or page.kvs[0].create_revision != self.revision:
            self.end("its key is gone")

    async def write(self, operations: Sequence[Any]) -> None:
        """Do `operations` at once, if this term still leads; raise NotLeading, and end it, if not."""
        if self.is_over:
            raise NotLeading(self.why_over)
        done = await self._client.txn([created_at(self._key, self.revision)], operations)
        if not done.succeeded:
            self.end("its key is gone")
            raise NotLeading(self.why_over)


async def _nothing() -> str:
    return ""


def _ignore(_is_there: bool) -> None:  # noqa: FBT001 - see `meet`
    pass


class Election:
    """One replica's part in it: `key` bears the document that names the leader."""

    def __init__(
        self,
        client: Client,
        key: bytes,
        replica: str,
        clock: Callable[[], Instant],
        settings: ElectionSettings | None = None,
    ) -> None:
        self._client = client
        self._key = key
        self._replica = replica
        self._clock = clock
        self._settings = settings or ElectionSettings()
        self._lease = 0
        self._holder = b""
        self._backoff = Backoff(self._settings.retry, cap=2.0)
        self._trouble = Trouble("this replica cannot stand for leader")
        self.led_last = False
        """Whether, of the terms that are known here, the last was ours."""
        self.last_term = 0
        """The revision at which the last term known here began; 0 for none."""
        self.refused_since: float | None = None
        """Since when (monotonic seconds) nobody leads and etcd refuses to let this replica; None if that is not so."""
        self._outdated = Trouble("this replica stands by")
        self._find_newer: Callable[[], Awaitable[str]] = _nothing
        self._meet: Callable[[bool], None] = _ignore
        self.term: Term | None = None
        """The term under way; ask it whether it is over."""
        self.newer = ""
        """The document for which it does not stand, empty if it does."""

    async def run(
        self,
        lead: Callable[[Term], Awaitable[None]],
        find_newer: Callable[[], Awaitable[str]] = _nothing,
        meet: Callable[[bool], None] = _ignore,
    ) -> None:
        """Stand for leader for ever. `lead` is called with each term that is won, and cancelled when that is lost.

        As long as `find_newer` names a document that a newer alertd has written, it does not stand. `meet` is told
        whether another leads, each time that this is seen.
        Raises for nothing that etcd does; when cancelled it leaves the lease to `resign`.
        """
        self._find_newer, self._meet = find_newer, meet
        while True:
            try:
                term = await self._win()
            except EtcdUnavailable as error:
                self._note(error)
                await self.resign()
                await asyncio.sleep(self._backoff.next_delay())
                continue
            self._backoff.reset()
            self._trouble.end(time.monotonic())
            _log.info("%s leads now", self._replica)
            await self._serve(term, lead)
            _log.warning("%s leads no more: %s", self._replica, term.why_over)
            await self.resign()

    async def resign(self) -> None:
        """Give the lease back, so that the next leads at once; if etcd does not answer, it ends by itself."""
        lease, self._lease = self._lease, 0
        if lease:
            with suppress(EtcdUnavailable, TimeoutError):
                async with asyncio.timeout(self._settings.answer_within):
                    await self._client.lease_revoke(lease)

    def _note(self, error: EtcdUnavailable) -> None:
        """Tell what an operator must mend; that etcd is away is told by those who watch it."""
        if isinstance(error, EtcdRefused):
            self._trouble.note(error, time.monotonic())

    @property
    def refusal(self) -> str:
        """What etcd said when it last refused to let this replica lead, while that lasts."""
        return self._trouble.last

    # --- winning -----------------------------------------------------------------------------------------------------

    async def _win(self) -> Term:
        """Return a term of our own, however long that takes; raise EtcdUnavailable."""
        while True:
            page = await self._client.range(rpc.RangeRequest(key=self._key))
            self._meet(bool(page.kvs) and not self._is_own(page.kvs[0]))
            if page.kvs:
                self._introduce(page.kvs[0])
                await self._outwait(page.revision)
            elif await self._is_outdated():
                await asyncio.sleep(self._settings.stand_by)
            elif (term := await self._stand_if_allowed()) is not None:
                if not await self._is_outdated():
                    return term
                await self.resign()

    async def _is_outdated(self) -> bool:
        """Tell whether it may not stand, and say so: at once, then rarely."""
        self.newer = await self._find_newer()
        if self.newer:
            why = f"a newer alertd has written {self.newer}; update this one"
            self._outdated.note(EtcdRefused(why), time.monotonic())
        else:
            self._outdated.end(time.monotonic())
        return bool(self.newer)

    async def _stand_if_allowed(self) -> Term | None:
        """Stand, and note since when that is refused."""
        try:
            return await self._stand()
        except EtcdRefused:
            self.refused_since = self.refused_since or time.monotonic()
            raise

    async def _stand(self) -> Term | None:
        """Create the key; return None if another was quicker."""
        asked_at = time.monotonic()
        self._lease = await self._client.lease_grant(self._settings.ttl)
        content = document.encode(document.of_leader(self._replica, self._clock()))
        put = put_op(self._key, content, self._lease)
        done = await self._client.txn([created_at(self._key, 0)], [put])
        if not done.succeeded:
            await self.resign()
            return None
        self._holder = b""
        self.led_last, self.last_term, self.refused_since = True, done.revision, None
        term = Term(self._client, self._key, done.revision, self._lease)
        term.deadline = asked_at + self._settings.trust
        return term

    async def _outwait(self, revision: int) -> None:
        """Wait until the key, which was there at `revision`, may be gone."""
        stream = WatchStream(self._client, self._client.endpoint, WatchSettings())
        try:
            async with asyncio.timeout(self._settings.look_again):
                await stream.open(self._key, revision + 1)
                while not self._is_gone(await stream.take()):
                    pass
        except TimeoutError:
            return
        except EtcdUnavailable:
            self._client.leave(stream.address)
            raise
        finally:
            await stream.close()

    def _is_gone(self, events: Sequence[Any]) -> bool:
        return any(event.type == _DELETED and event.kv.key == self._key for event in events)

    def _is_own(self, holder: KeyValue) -> bool:
        """Tell whether a key is what is left of our own last term, whose lease has yet to end."""
        return self.led_last and holder.create_revision == self.last_term

    def _introduce(self, holder: KeyValue) -> None:
        """Say who leads instead, once."""
        self.led_last, self.last_term, self.refused_since = self._is_own(holder), holder.create_revision, None
        if holder.value != self._holder:
            self._holder = holder.value
            _log.info("%s stands by: %s leads", self._replica, document.replica_of(holder.value))

    # --- leading -----------------------------------------------------------------------------------------------------

    async def _serve(self, term: Term, lead: Callable[[Term], Awaitable[None]]) -> None:
        """Let `lead` work while the term lasts."""
        leading = asyncio.ensure_future(lead(term))
        keeping = asyncio.create_task(self._keep(term), name="keep-lease")
        self.term = term
        try:
            done, _ = await asyncio.wait({leading, keeping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.term = None
            term.end("it was given up")
            for task in (leading, keeping):
                task.cancel()
            await asyncio.gather(leading, keeping, return_exceptions=True)

    async def _keep(self, term: Term) -> None:
        """Renew the lease until the term is over."""
        every = self._settings.ttl / 3
        pause = every
        while True:
            await term.rest(pause)
            if term.is_over:
                return
            sent_at = time.monotonic()
            try:
                async with asyncio.timeout(term.deadline - sent_at):
                    await term.renew(seconds=self._settings.answer_within)
            except (EtcdUnavailable, TimeoutError) as error:
                pause = self._settings.retry
                _log.debug("%s could not renew its lease: %s", self._replica, error)
            else:
                term.deadline = sent_at + self._settings.trust
                pause = every
