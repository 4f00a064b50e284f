"""What this replica knows of services, kept in etcd by whoever leads, and recalled by whoever begins.

Each service has a document below `state/`, written behind what happens, and `checkpoint` says up to which revision of
the watched prefix all of them are true. Who begins recalls them, has the watch go on from the checkpoint, and so sees
everything that happened while nobody watched, with its true causes; where etcd has compacted that history, what differs
is found by listing. At rest nothing is written: neither is changed by values that are refreshed, and the checkpoint
follows those only now and then.

Invariant: what happened up to the checkpoint is in the documents; what they hold beyond it is skipped when it is
replayed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from alertd.engine.memory import Dial
from alertd.errors import EtcdUnavailable
from alertd.etcd.election import NotLeading
from alertd.etcd.retry import Backoff, Trouble
from alertd.etcd.rush import Rush
from alertd.etcd.watch import Bookmark

if TYPE_CHECKING:
    from collections.abc import Callable

    from alertd.engine.core import Engine
    from alertd.engine.memory import Record
    from alertd.etcd.election import Term
    from alertd.etcd.store import Documents, Store
    from alertd.etcd.watch import Watch
    from alertd.model import Instant

_log = structlog.get_logger("alertd")

STATE = "state/"
CHECKPOINT = "checkpoint"

_EVERY = 1.0
"""Seconds between two rounds of writing; what happens meanwhile is written once."""

_FOLLOW_EVERY = 60.0
"""Seconds after which the checkpoint follows events that changed nothing."""

_AT_ONCE = 50
"""Services in one transaction, at most."""

_ROOM = 5_000
"""Instances that those of one transaction have together, or the last alone."""

_MANY = 10
"""Services that are touched at once when much happens: then those go first who tell people."""

_AT_LATEST = 4
"""Rounds that may be put off for that, one after the other."""

_PATIENCE = 20.0
"""Seconds for which a round of that many lets a rush pass."""


class _Place(NamedTuple):
    """A moment of the watch: `events` and `histories` count those seen by then."""

    revision: int
    cluster_id: int
    events: int
    histories: int


class Keeper:
    """Keeps what an engine knows in a store, and gives it back."""

    def __init__(
        self, engine: Engine, store: Store, watch: Watch, clock: Callable[[], Instant], *, rush: Rush | None = None
    ) -> None:
        self._engine = engine
        self._store = store
        self._watch = watch
        self._clock = clock
        self._rush = rush or Rush()
        self._touched: dict[str, None] = {}
        self._written = _Place(0, 0, 0, 0)
        self._seen = 0
        """Events by the last round."""
        self._put_off = 0
        """Rounds that were put off by now."""
        self._backoff = Backoff(_EVERY, 10.0)
        self._trouble = Trouble("what is known of services cannot be kept")

    # --- recalling ---------------------------------------------------------------------------------------------------

    async def read(self) -> Documents:
        """Return what was kept; raise EtcdUnavailable."""
        return await self._store.read(STATE, CHECKPOINT)

    def recall(self, documents: Documents) -> bool:
        """Let the engine know what was kept, and the watch from where to go on; to be called before it follows.

        Return whether there was anything.
        """
        for name in documents.damaged:
            _log.warning("what was kept there cannot be read, and is found out anew", key=name)
        checkpoint = documents.contents.get(CHECKPOINT)
        if checkpoint is None:
            return False
        now = self._clock()
        states = {name.removeprefix(STATE): each for name, each in documents.contents.items() if name != CHECKPOINT}
        for error in self._engine.recall(states, now, _era_of(checkpoint)):
            _log.warning("what was kept is found out anew", error=str(error))
        bookmark = _bookmark_of(checkpoint, list(self._engine.present_keys()), now)
        if bookmark is not None:
            self._watch.resume(bookmark)
            _log.info("recalled", services=len(states), revision=bookmark.revision)
        return True

    # --- keeping -----------------------------------------------------------------------------------------------------

    async def keep(self, term: Term) -> None:
        """Write what changes, until `term` is over."""
        written_at, looked_in = time.monotonic(), -1
        while not term.is_over:
            try:
                history = self._watch.counters.histories
                if looked_in != history:
                    await self._store.look(STATE)
                    looked_in = history
                if self._is_due(time.monotonic() - written_at):
                    await self._write(term)
                    written_at = time.monotonic()
            except NotLeading:
                return
            except EtcdUnavailable as error:
                self._trouble.note(error, time.monotonic())
                await asyncio.sleep(self._backoff.next_delay())
            else:
                self._backoff.reset()
                self._trouble.end(time.monotonic())
                await asyncio.sleep(_EVERY)

    def _is_due(self, since: float) -> bool:
        """Tell whether to write now, `since` seconds after it was done last."""
        if self._engine.is_catching_up:
            return False
        self._touched |= dict.fromkeys(self._engine.take_touched())
        if self._watch.counters.histories != self._written.histories:
            self._touched |= dict.fromkeys(self._engine.service_names())
        seen, self._seen = self._seen, self._watch.counters.events
        if not self._touched:
            has_news = self._seen > self._written.events
            return not self._written.revision or (has_news and since > _FOLLOW_EVERY)
        is_busy = len(self._touched) > _MANY and self._seen > seen
        self._put_off = self._put_off + 1 if is_busy and self._put_off < _AT_LATEST else 0
        return not self._put_off

    async def _write(self, term: Term) -> None:
        """Write the services that were touched, then up to which revision that is all; a gap breaks it off."""
        counters = self._watch.counters
        place = _Place(self._watch.resume_after, self._watch.cluster_id, counters.events, counters.histories)
        until = time.monotonic() + _PATIENCE
        while self._touched:
            if len(self._touched) > _MANY:
                await self._rush.wait(until)
            records = await self._remember_some()
            if not records:
                return
            await self._store.commit(term, {STATE + name: record for name, record in records.items()})
            for name in records:
                self._touched.pop(name, None)
        if place.revision and place[:2] != self._written[:2]:
            at = Dial(self._clock()).write(self._clock())
            content = {"revision": place.revision, "cluster": place.cluster_id, "at": at, "era": self._engine.era}
            await self._store.commit(term, {CHECKPOINT: content})
        self._written = place

    async def _remember_some(self) -> dict[str, Record | None]:
        """Return what is to be known of as many services as one transaction takes, none while a gap is open."""
        records: dict[str, Record | None] = {}
        room = _ROOM
        for name in list(self._touched)[:_AT_ONCE]:
            if self._engine.is_catching_up:
                break
            records |= self._engine.remember(self._clock(), [name])
            room -= _instances_in(records[name])
            if room <= 0:
                break
            await asyncio.sleep(0)
        return records


def _instances_in(record: Record | None) -> int:
    return 0 if record is None else len(record["up"]) + len(record.get("down", ()))


def _era_of(checkpoint: dict[str, Any]) -> int:
    era = checkpoint.get("era", 0)
    return era if isinstance(era, int) else 0


def _bookmark_of(checkpoint: dict[str, Any], keys: list[bytes], now: Instant) -> Bookmark | None:
    """Return where the watch is to go on; None if that cannot be read."""
    try:
        revision, cluster_id = int(checkpoint["revision"]), int(checkpoint["cluster"])
        at = min(Dial(now).read_mono(float(checkpoint["at"])), now.mono)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Bookmark(revision, cluster_id, at, keys) if revision > 0 and cluster_id else None
