"""Everything that happens under a prefix, in order and without a hole, whatever happens to etcd.

The watch decides when the stream can be resumed and when only a listing tells the truth, and it brings a view back into
agreement with etcd after each. It knows nothing of services; what it yields are `Step`s, and between a `GapOpened` and
the next `Synced` the events come from a listing, or are replayed, and have no true times.

How it goes (after etcd's documented guarantees and their known holes, see the issues named):

1. A linearizable listing at one revision R; what differs from the view is told as `FOUND` and `MISSED`.
2. A watch from R + 1. Of what it brings, what is not newer than the last event is dropped.
3. When the stream ends for whatever reason, a keys-only listing says whether it is still the same history; then the
   watch goes on after the last event. What the listing showed is compared once the stream has passed its revision,
   since some servers lose a deletion when resuming exactly at a compacted revision (etcd#18089).
4. Compacted, another cluster, or a revision that went back (a watch on a future revision waits in silence for ever,
   etcd#14303): everything is listed again, as in 1.
5. Who resumes from an earlier daemon's `Bookmark` lists what there was at its revision in place of 1, then goes on as
   in 3: all that happened since is replayed. Where etcd cannot show that revision, it is as in 4.

Invariant: the position from which a stream is resumed is only ever learnt from a stream or a listing of this prefix,
never from other answers of etcd, whose revisions run ahead of the stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from alertd.errors import EtcdUnavailable
from alertd.etcd.client import FIRST_PAGE_KEYS
from alertd.etcd.faults import Compacted, WrongHistory
from alertd.etcd.history import History
from alertd.etcd.lease import Coroner
from alertd.etcd.retry import Backoff, Trouble
from alertd.etcd.stream import WatchSettings, WatchStream
from alertd.etcd.view import Comparison, Relisting, View, mend, revision_of, slices, split_after, take

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence
    from typing import Any

    from alertd.etcd.client import Client, Page
    from alertd.model import KeyEvent

_log = logging.getLogger("alertd.etcd")

_MENDED_ONE_BY_ONE = 1_000
"""More differences than this are mended by a full listing."""


class Bookmark(NamedTuple):
    """Where an earlier daemon left off: what it knew of a prefix was true at `revision` of the cluster `cluster_id`.

    That was at the monotonic second `at`. `keys` existed then, or were made shortly after.
    """

    revision: int
    cluster_id: int
    at: float
    keys: Collection[bytes]


class GapOpened(NamedTuple):
    """What follows until `Synced` has no times of its own: it comes from a listing, or is replayed after a cut.

    It happened after `since`, the last sign of life before the gap in monotonic seconds; None at the very start, and
    where an audit found what differs.
    """

    reason: str
    since: float | None = None


class Events(NamedTuple):
    """Whole revisions, in order."""

    events: list[KeyEvent]


class Synced(NamedTuple):
    """Whoever applied all events so far has what etcd had at `revision`."""

    revision: int


Step = GapOpened | Events | Synced


@dataclass(slots=True)
class WatchCounters:
    """What the watch has done so far."""

    events: int = 0
    dropped: int = 0
    streams: int = 0
    listings: int = 0
    differences: int = 0
    histories: int = 0
    """How often etcd showed another history than before: another cluster, or an older state of the same."""


class Watch:
    """The keys that start with a prefix, followed. Use one `follow()` at a time.

    `trouble` tells, in place of one that names the watch alone, what does not work.

    For a bookmark take `resume_after`, never `revision`, and `cluster_id` with it, while no gap is open and neither is
    0: what has happened up to there was yielded, and the consumer has come back for more, so it has taken that in.
    """

    def __init__(
        self, client: Client, prefix: bytes, settings: WatchSettings | None = None, *, trouble: Trouble | None = None
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._settings = settings or WatchSettings()
        self._view = View()
        self._coroner = Coroner(client)
        self._stream: WatchStream | None = None
        self._history = History()
        self._relisting: Relisting | None = Relisting(self._view, 0)
        self._gap_reason = "start"
        self._comparison: Comparison | None = None
        self._replay_until = 0
        """Events up to this revision happened while nobody watched; 0 when there can be none."""
        self._is_replaying = False
        """Whether a gap is open that ends once the stream has passed `_boundary`."""
        self._is_resuming = False
        """Whether what there was at the bookmark's revision is to be listed, and the consumer knows no more than it."""
        self._audited: asyncio.Future[int] | None = None
        self._audit_turn = asyncio.Lock()
        self._is_proven = False
        self._alive_at: float | None = None
        self._gap_since: float | None = None
        """The last sign of life before which nothing can have happened that is not told."""
        self._backoff = Backoff(self._settings.retry_first, self._settings.retry_cap)
        self._trouble = trouble or Trouble("the watch on etcd does not work")
        self.revision = 0
        """Of the last event or listing: the view is true at this revision. Runs ahead of what is yielded."""
        self.resume_after = 0
        """The stream has passed this revision for certain, and the consumer has taken in what happened up to it."""
        self.counters = WatchCounters()

    def __len__(self) -> int:
        return len(self._view)

    @property
    def is_connected(self) -> bool:
        """Whether a stream is open now."""
        return self._stream is not None

    @property
    def endpoint(self) -> str:
        """The address that is watched, or would be tried next."""
        return self._stream.address if self._stream else self._client.endpoint

    @property
    def alive_at(self) -> float | None:
        """Monotonic seconds of the last sign of life that was taken from a stream, None before the first."""
        return (self._stream and self._stream.alive_at) or self._alive_at

    @property
    def cluster_id(self) -> int:
        """The cluster that `resume_after` is a revision of; 0 before one has answered."""
        return self._history.cluster_id

    @property
    def lease_questions(self) -> int:
        """How many times etcd was asked whether a lease lives."""
        return self._coroner.questions

    # --- following -----------------------------------------------------------------------------------------------

    def resume(self, bookmark: Bookmark) -> None:
        """Begin where an earlier daemon left off; to be called before `follow()`.

        Every key that existed at the bookmark's revision is told as `FOUND` with its value, then what happened since,
        as it happened. Where etcd no longer has that history, every key that exists is `FOUND`, after a `MISSED` if it
        is one of `bookmark.keys` that was made again; and the rest of those are `MISSED`. Raises ValueError for a
        bookmark that was taken before there was anything to leave.
        """
        if bookmark.revision < 1 or not bookmark.cluster_id:
            raise ValueError(f"no place to resume from: revision {bookmark.revision}, cluster {bookmark.cluster_id}")
        for key in bookmark.keys:
            self._view.put(key, 0)
        self._is_resuming = True
        self._relisting = Relisting(self._view, bookmark.revision, tells_all=True)
        self._history = History(bookmark.cluster_id, 0, bookmark.revision)
        self.revision = self.resume_after = bookmark.revision
        self._gap_reason, self._gap_since = f"resumed after revision {bookmark.revision}", bookmark.at

    async def follow(self) -> AsyncGenerator[Step, None]:
        """Yield what happens, for ever; close the generator (`aclosing`) to stop.

        It raises for nothing that etcd does. While the consumer is busy, some is read ahead, then etcd is made to wait.
        """
        try:
            while True:
                try:
                    async with aclosing(self._session()) as steps:
                        async for step in steps:
                            yield step
                except EtcdUnavailable as error:
                    await self._recover(error)
        finally:
            self._answer_audit(error=EtcdUnavailable("the watch has ended"))

    async def _recover(self, error: EtcdUnavailable) -> None:
        """Decide what a broken session means for the next, and wait as long as is decent."""
        if isinstance(error, (Compacted, WrongHistory)) and (self._relisting is None or self._is_resuming):
            if isinstance(error, WrongHistory):
                self._relisting = Relisting(self._view, 0)
            elif self._relisting is None:
                self._relisting = Relisting(self._view, self.revision)
            self._is_resuming = False
            self._gap_reason = str(error)
            _log.warning("everything is listed again: %s", error)
        else:
            self._trouble.note(error, time.monotonic())
        self._is_proven = False
        await asyncio.sleep(self._backoff.next_delay())

    async def _session(self) -> AsyncGenerator[Step, None]:
        """Bring the view up to date, then stream until something breaks: always ends by raising EtcdUnavailable."""
        async with aclosing(self._catch_up()) as steps:
            async for step in steps:
                yield step
        stream = WatchStream(self._client, self._client.endpoint, self._settings)
        try:
            await stream.open(self._prefix, self.resume_after + 1)
            if stream.cluster_id != self._history.cluster_id:
                raise WrongHistory("etcd answers as another cluster")
            self._stream = stream
            self.counters.streams += 1
            async with aclosing(self._read(stream)) as steps:
                async for step in steps:
                    yield step
        except Compacted:
            raise
        except EtcdUnavailable:
            self._client.leave(stream.address)
            raise
        finally:
            self._alive_at = stream.alive_at or self._alive_at
            if stream.alive_at and not self._replay_until:
                self._gap_since = stream.alive_at
            self._stream = None
            await stream.close()

    async def _catch_up(self) -> AsyncGenerator[Step, None]:
        """Bring the view up to date by listings; or to where the stream goes on, and note what it has to bring.

        A gap that is open ends here if a listing shows that the state is that of the view. Keys may still have come and
        gone: those the stream brings, in a gap of their own.
        """
        relisting, is_resuming = self._relisting, self._is_resuming
        if relisting is not None:
            async with aclosing(self._list_past(relisting) if is_resuming else self._relist(relisting)) as steps:
                async for step in steps:
                    yield step
            if not is_resuming:
                return
        comparison = await self._compare()
        has_suspects = bool(comparison.suspects())
        self._comparison = comparison if has_suspects else None
        is_behind = comparison.revision > self.revision
        is_over = self._is_replaying and not has_suspects and comparison.newest <= self.revision
        self._is_replaying = self._is_replaying and not is_over
        self._replay_until = comparison.revision if is_behind or self._is_replaying else 0
        if is_over:
            yield Synced(self.revision)

    async def _read(self, stream: WatchStream) -> AsyncGenerator[Step, None]:
        """Hand on what the stream brings.

        A trouble is over once a stream has lasted for `progress_every`: one that breaks sooner, again and again, is the
        same trouble still, is not told anew and is retried later and later.
        """
        proven_at = time.monotonic() + self._settings.progress_every
        while True:
            events = await stream.take()
            if not self._is_proven and stream.alive_at >= proven_at:
                self._is_proven = True
                self._backoff.reset()
                self._trouble.end(time.monotonic())
            if events:
                async with aclosing(self._take(events)) as steps:
                    async for step in steps:
                        yield step
            self.resume_after = max(self.revision, self.resume_after, stream.passed)
            if self._boundary and self.resume_after >= self._boundary:
                for step in await self._pass_boundary():
                    yield step

    @property
    def _boundary(self) -> int:
        """The revision at which a comparison is due or a replay ends, 0 if neither is to come."""
        return self._comparison.revision if self._comparison is not None else self._replay_until

    async def _pass_boundary(self) -> list[Step]:
        """Return what there is to tell now that the stream has passed the boundary.

        If the mending fails, a gap that is open stays so: the next session closes it.
        """
        steps = await self._mend(self._comparison) if self._comparison is not None else []
        was_replaying, self._is_replaying, self._replay_until = self._is_replaying, False, 0
        if was_replaying:
            return [*(step for step in steps if isinstance(step, Events)), Synced(self.revision)]
        return steps

    async def _take(self, events: Sequence[Any]) -> AsyncGenerator[Step, None]:
        """Hand on what came at once: in slices, and with a comparison that is due exactly at its revision."""
        deadline = time.monotonic() + self._settings.lease_budget
        if revision_of(events[0]) <= self.revision:
            known = split_after(events, self.revision)
            self.counters.dropped += known
            events = events[known:]
        if events and self._replay_until and not self._is_replaying:
            self._is_replaying = True
            yield GapOpened("replayed after a cut", self._gap_since)
        boundary = self._boundary
        if boundary and events and revision_of(events[-1]) > boundary:
            before = split_after(events, boundary)
            if before:
                yield await self._tell(events[:before], deadline)
            for step in await self._pass_boundary():
                yield step
            events = events[before:]
        for part in slices(events, self._settings.slice_events):
            yield await self._tell(part, deadline)
            if part is not events:
                await asyncio.sleep(0)

    async def _tell(self, events: Sequence[Any], deadline: float) -> Events:
        """Turn whole revisions into events, told apart as deleted and expired until `deadline`."""
        told, doubtful = take(self._view, events)
        self.revision = revision_of(events[-1])
        self.counters.events += len(told)
        if doubtful:
            leases = [lease for _, lease in doubtful]
            kinds = await self._coroner.establish(leases, seconds=deadline - time.monotonic())
            for index, lease in doubtful:
                told[index] = told[index]._replace(kind=kinds[lease])
        return Events(told)

    # --- listing -------------------------------------------------------------------------------------------------

    async def _relist(self, relisting: Relisting) -> AsyncGenerator[Step, None]:
        """List everything at one revision and tell what differs from the view.

        The gap opens with the first page, so that an etcd that is away holds up nothing that was decided before. One
        that goes away between two pages leaves it open until a later listing is complete.
        """
        self.counters.listings += 1
        pages = self._client.list_prefix(self._prefix)
        differences = 0
        async with aclosing(pages):
            async for page in pages:
                for step in self._open_gap():
                    yield step
                if page.revision != relisting.revision:
                    relisting = self._begin(relisting, page)
                events = relisting.page(page.kvs)
                if events:
                    differences += len(events)
                    yield Events(events)
        events = relisting.finish()
        if events:
            yield Events(events)
        self._relisting = self._comparison = None
        self._replay_until, self._is_replaying = 0, False
        self.revision = self.resume_after = relisting.revision
        self._answer_audit(differences + len(events))
        yield Synced(relisting.revision)

    async def _list_past(self, relisting: Relisting) -> AsyncGenerator[Step, None]:
        """List what there was at the bookmark's revision; the stream will tell what happened since.

        Keys of the bookmark that are not there stay in the view: either they were made shortly after, or the comparison
        shows that they are gone. Raises Compacted or WrongHistory if only the present can be listed.
        """
        self.counters.listings += 1
        relisting.begin(self.revision)
        pages = self._client.list_prefix(self._prefix, revision=self.revision)
        async with aclosing(pages):
            async for page in pages:
                if not self._known_history().is_continued_by(page):
                    raise WrongHistory("etcd shows another cluster, or an older state, than when it was left")
                self._note(page)
                for step in self._open_gap():
                    yield step
                self._is_replaying = True
                events = relisting.page(page.kvs)
                if events:
                    yield Events(events)
        self._is_resuming, self._relisting = False, None

    def _open_gap(self) -> list[Step]:
        """Return the beginning of the gap that a listing needs, unless one is open."""
        reason, self._gap_reason = self._gap_reason, ""
        return [GapOpened(reason, self._gap_since)] if reason and not self._is_replaying else []

    def _begin(self, relisting: Relisting, page: Page) -> Relisting:
        """Start a listing with its first page; forget what cannot be compared with it."""
        if not self._known_history().is_continued_by(page):
            relisting = self._relisting = Relisting(self._view, 0)
            self.revision = self.resume_after = 0
            self.counters.histories += 1
        self._note(page)
        relisting.begin(page.revision)
        return relisting

    def _known_history(self) -> History:
        """Return what a linearizable answer must continue; to be read before asking, since the stream goes on."""
        return self._history._replace(revision=max(self._history.revision, self.resume_after))

    def _note(self, page: Page) -> None:
        self._history = History.of(page)

    async def _compare(self) -> Comparison:
        """List the keys alone; return what differs from the view."""
        comparison, expected = Comparison(self._view), self._known_history()
        pages = self._client.list_prefix(self._prefix, keys_only=True, page=10 * FIRST_PAGE_KEYS)
        async with aclosing(pages):
            async for page in pages:
                if not expected.is_continued_by(page):
                    raise WrongHistory("etcd shows another cluster, or an older state")
                comparison.page(page.kvs)
        self._note(page)
        comparison.finish(page.revision)
        if not comparison.suspects():
            self._answer_audit(0)
        return comparison

    # --- auditing ------------------------------------------------------------------------------------------------

    async def audit(self) -> int:
        """Compare a linearizable keys-only listing with the view, and return how many keys differed.

        A key counts once the stream has passed the listing's revision, so this takes up to three times
        `progress_every` where something looks amiss. Differences come out of `follow()` as `FOUND` and `MISSED` between
        a `GapOpened` and a `Synced`. Raises EtcdUnavailable while the watch has no stream.
        """
        async with self._audit_turn:
            if self._stream is None:
                raise EtcdUnavailable("the watch on etcd is not connected: there is nothing to audit")
            try:
                comparison = await self._compare()
            except WrongHistory as error:
                if self._stream is None:
                    raise
                self._stream.break_off(error)
                raise
            if not comparison.suspects():
                return 0
            self._comparison = comparison
            self._audited = asyncio.get_running_loop().create_future()
            return await self._audited

    async def _mend(self, comparison: Comparison) -> list[Step]:
        """Tell and mend what still differs from etcd at the revision that the stream has reached."""
        self._comparison = None
        suspects = comparison.suspects()
        if len(suspects) > _MENDED_ONE_BY_ONE:
            raise Compacted(f"{len(suspects)} keys differ from etcd")
        revision = max(self.revision, comparison.revision)
        found = [await self._client.get(key, revision=revision) for key in suspects]
        mended = [mend(self._view, key, kv, revision) for key, kv in zip(suspects, found, strict=True)]
        events = [event for event in mended if event is not None]
        self.counters.differences += len(events)
        self._answer_audit(len(events))
        if not events:
            return []
        return [GapOpened(f"{len(events)} keys differed from etcd"), Events(events), Synced(revision)]

    def _answer_audit(self, differences: int = 0, *, error: EtcdUnavailable | None = None) -> None:
        """Let a waiting audit go."""
        waiting, self._audited = self._audited, None
        if waiting is None or waiting.done():
            return
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(differences)
