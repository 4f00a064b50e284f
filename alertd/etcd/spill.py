"""Where the speaker's documents go while etcd is full: into the state dir, and back once etcd takes writes again.

An etcd whose database has reached its quota refuses every write, while keys still expire and the watch goes on. Nobody
can be elected then, so whoever leads goes on leading, and is the only one who needs to know what is written meanwhile.

Invariant: what is read is what was committed last, wherever that went, unless another has spoken since: then what lies
in the state dir is void.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from alertd.errors import EtcdUnavailable
from alertd.etcd.faults import EtcdFull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.etcd.election import Term
    from alertd.etcd.store import Documents, Store

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


class Spill:
    """A store that does not fail while etcd is full. `term_name` is the document that says whose term wrote last."""

    def __init__(self, store: Store, files: Files, term_name: str) -> None:
        self._store = store
        self._files = files
        self._term_name = term_name
        self._spilled: dict[str, Mapping[str, Any] | None] = {}
        self._spoke_last = 0
        """The term that wrote last, as etcd knows it."""
        self._turn = asyncio.Lock()

    async def read(self, *folders: str) -> Documents:
        """Return all documents of these folders; raise EtcdUnavailable."""
        documents = await self._store.read(*folders)
        if not self._term_name.startswith(folders):
            return documents
        kept = self._files.read(_FILE)
        spilled = kept.get("documents")
        self._spoke_last = documents.contents.get(self._term_name, {}).get("revision", 0)
        if isinstance(spilled, dict) and kept.get("term") == self._spoke_last:
            self._spilled = spilled
            for name, content in spilled.items():
                documents.contents.pop(name, None)
                if content is not None:
                    documents.contents[name] = content
        return documents

    async def clear_pieces(self, term: Term) -> None:
        """Delete the pieces that no document names, unless etcd is full."""
        try:
            await self._store.clear_pieces(term)
        except EtcdFull:
            return

    async def commit(self, term: Term, wanted: Mapping[str, Mapping[str, Any] | None]) -> int:
        """Write documents at once, to etcd or else to the state dir; return how many differed from what was there.

        Raises NotLeading, or EtcdUnavailable if etcd does not answer.
        """
        if wanted and self._spoke_last != term.revision:
            wanted = {**wanted, self._term_name: {"revision": term.revision}}
        async with self._turn:
            try:
                written = await self._store.commit(term, {**self._spilled, **wanted})
            except EtcdFull as error:
                if not self._spilled:
                    _log.error("%s; what is told is kept in the state dir meanwhile", error)
                self._spilled |= wanted
                self._files.write(_FILE, {"term": self._spoke_last, "documents": self._spilled})
                return len(wanted)
            if self._term_name in wanted:
                self._spoke_last = term.revision
            if self._spilled:
                self._spilled = {}
                self._files.write(_FILE, None)
                _log.info("etcd takes writes again: what was kept in the state dir is there now")
            return written

    async def bring_back(self, term: Term) -> None:
        """Bring what was spilled into etcd as soon as that takes it, until `term` is over."""
        while not term.is_over:
            await term.rest(_TRY_EVERY)
            if self._spilled and not term.is_over:
                with suppress(EtcdUnavailable):
                    await self.commit(term, {})
