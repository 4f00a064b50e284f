"""Where the speaker's documents go while etcd is full: into the state dir, and back once etcd takes writes again.

An etcd whose database has reached its quota refuses every write, while keys still expire and the watch goes on. Nobody
can be elected then, so whoever leads goes on leading, and is the only one who needs to know what is written meanwhile.

With each commit goes a stamp: whose term wrote last, and when. If etcd has the last of our own, nobody has written
since (`is_own`); one that is older means that the last commit failed, or that etcd was set back to an older state, or
is another one (`is_set_back`). The clocks of two hosts are compared there only, since in one history terms begin one
after the other.

What is much comes back in parts, and the stamp with the last of them: until then the file says more than etcd, and is
not void.

Invariant: what is read is what was committed last, wherever that went, unless another has spoken since: then what lies
in the state dir is void.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from alertd.errors import EtcdUnavailable
from alertd.etcd.faults import EtcdFull
from alertd.etcd.store import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alertd.etcd.election import Term
    from alertd.etcd.store import Documents, Store
    from alertd.model import Instant

_log = logging.getLogger("alertd.etcd")

_FILE = "outbox"

_TRY_EVERY = 2.0
"""Seconds between two attempts to bring what was spilled into etcd."""


class Files(Protocol):
    """The state dir."""

    def read(self, name: str) -> dict[str, Any]:
        """Return what a file holds."""

    def write(self, name: str, content: dict[str, Any] | None) -> bool:
        """Replace a file; return whether that is on the disk."""


class _Stamp(NamedTuple):
    """Who wrote, and when: the revision at which the writer's term began, and milliseconds of Unix time."""

    term: int = 0
    at: int = 0


class Spill:
    """A store that does not fail while etcd is full.

    `stamp_name` is the document that says whose term wrote last; `first` the folder that comes back before all others.
    """

    def __init__(self, store: Store, files: Files, stamp_name: str, clock: Callable[[], Instant], first: str) -> None:
        self._store = store
        self._files = files
        self._stamp_name = stamp_name
        self._clock = clock
        self._first = first
        self._spilled: dict[str, Mapping[str, Any] | None] = {}
        self._has_recalled = False
        """Whether it is known what the process before this one spilled."""
        self._last = _Stamp()
        """The stamp that etcd has."""
        self._own: _Stamp | None = None
        """The last that was to be written from here, or of what is known here."""
        self._written = _Stamp()
        """The last that was."""
        self._turn = asyncio.Lock()

    @property
    def is_own(self) -> bool:
        """Whether nobody else has written what was read last, or what it lacks, so that all of it is known here."""
        return self._own is not None and self._last.term <= self._own.term and self._last.at <= self._own.at

    @property
    def is_set_back(self) -> bool:
        """Whether what was read last misses some of what was committed here."""
        return self._last.term <= self._written.term and self._last.at < self._written.at

    def take_on(self) -> None:
        """Count what was read last as known here."""
        self._own = self._written = self._last

    async def look(self, folder: str) -> list[str]:
        """Return which documents a folder has in etcd, to write there anew; raise EtcdUnavailable."""
        return [name for name in await self._store.look(folder) if name != self._stamp_name]

    async def read(self, *folders: str) -> Documents:
        """Return all documents of these folders; raise EtcdUnavailable."""
        documents = await self._store.read(*folders)
        if not self._stamp_name.startswith(folders):
            return documents
        self._recall(_stamp_of(documents.contents.get(self._stamp_name, {})))
        for name, content in self._spilled.items():
            documents.contents.pop(name, None)
            if content is not None:
                documents.contents[name] = dict(content)
        return documents

    def _recall(self, last: _Stamp) -> None:
        """Go on with what was spilled, here or by the process before this one, unless another has spoken since."""
        term: object = self._last.term
        if not self._has_recalled:
            self._has_recalled = True
            kept = self._files.read(_FILE)
            spilled = kept.get("documents")
            term, self._spilled = kept.get("term"), spilled if isinstance(spilled, dict) else {}
        self._last = last
        if self._spilled and not self._is_good(term):
            self._spilled = {}
            self._files.write(_FILE, None)
            _log.warning(
                "what was told while etcd was full, and kept in the state dir, is void: another has told since"
            )

    def _is_good(self, term: object) -> bool:
        """Tell whether what was spilled, on top of what this term had written, is later than what etcd has.

        Etcd may have got a commit of the term that spilled it as well: an earlier one, whose answer was lost, or a
        later one, whose writer died before it removed the file.
        """
        own = _stamp_of(self._spilled.get(self._stamp_name) or {})
        return self._last.at <= own.at if self._last.term == own.term else self._last.term == term

    async def clear_pieces(self, term: Term) -> None:
        """Delete the pieces that no document names, unless etcd is full."""
        try:
            await self._store.clear_pieces(term)
        except EtcdFull:
            return

    async def commit(self, term: Term, wanted: Mapping[str, Mapping[str, Any] | None]) -> int:
        """Write documents at once, to etcd or else to the state dir; return how many differed from what was there.

        What was spilled goes with them, or, where that is too much, before them.
        Raises NotLeading, or EtcdUnavailable if etcd does not answer.
        """
        stamp = self._last
        if wanted:
            stamp = self._next_stamp(term)
            wanted = {**wanted, self._stamp_name: {"revision": stamp.term, "at": stamp.at}}
            self._own = stamp
        async with self._turn:
            try:
                written = await self._bring_most(term, len(wanted))
                written += await self._store.commit(term, {**self._spilled, **wanted})
            except EtcdFull as error:
                if not self._spilled:
                    _log.error("%s; what is told is kept in the state dir meanwhile", error)
                self._spilled |= wanted
                self._files.write(_FILE, {"term": self._last.term, "documents": self._spilled})
                return len(wanted)
            if wanted:
                self._last = self._written = stamp
            if self._spilled:
                self._spilled = {}
                self._files.write(_FILE, None)
                _log.info("etcd takes writes again: what was kept in the state dir is there now")
            return written

    async def _bring_most(self, term: Term, wanted: int) -> int:
        """Bring into etcd what the last part has no room for, of which that many documents are wanted now.

        As it was spilled, though some of it may be wanted otherwise now: the file says the same.
        """
        names = sorted(
            (name for name in self._spilled if name != self._stamp_name),
            key=lambda name: not name.startswith(self._first),
        )
        written = 0
        while names and len(names) + 1 + wanted > AT_ONCE:
            some, names = names[:AT_ONCE], names[AT_ONCE:]
            written += await self._store.commit(term, {name: self._spilled[name] for name in some})
            for name in some:
                del self._spilled[name]
        return written

    def _next_stamp(self, term: Term) -> _Stamp:
        """Return a stamp that is later than any of this term so far, also where the clock was set back."""
        at = round(self._clock().wall.timestamp() * 1000)
        if self._own is not None and self._own.term == term.revision:
            at = max(at, self._own.at + 1)
        return _Stamp(term.revision, at)

    async def bring_back(self, term: Term) -> None:
        """Bring what was spilled into etcd as soon as that takes it, until `term` is over."""
        while not term.is_over:
            await term.rest(_TRY_EVERY)
            if self._spilled and not term.is_over:
                with suppress(EtcdUnavailable):
                    await self.commit(term, {})


def _stamp_of(content: Mapping[str, Any]) -> _Stamp:
    """Return a stamp as it was written; one that cannot be understood is none."""
    term, at = content.get("revision", 0), content.get("at", 0)
    return _Stamp(term, at) if isinstance(term, int) and isinstance(at, int) else _Stamp()
