"""Documents in etcd that follow what the daemon believes, written behind it.

The daemon marks what may have changed; whoever leads writes it, coalesced and in transactions that hold only while it
leads. What is marked is looked up when its turn comes, so that of many changes only the last is written, and nothing if
that is what etcd has. Where etcd refuses or is away, the marks stay. Many let a rush pass.

Invariant: once a term has begun and nothing is marked, the documents are those that the source has, but for those of a
newer format, which are left alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from alertd import document
from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.etcd.client import delete_op, put_op
from alertd.etcd.election import NotLeading
from alertd.etcd.retry import Backoff, Trouble
from alertd.etcd.rush import Rush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from alertd.etcd.client import Client, KeyValue
    from alertd.etcd.election import Term
    from alertd.model import Instant

_log = logging.getLogger("alertd.etcd")

_UNKNOWN = b""
"""In place of a digest: etcd may have this document or another."""


class _Wish(NamedTuple):
    """What to do about one document. `digest` is that of its content, empty for a deletion."""

    alert_id: str
    digest: bytes
    operation: Any
    bytes: int


class Source(Protocol):
    """Whose documents they are."""

    def recall(self, alert_id: str, content: Mapping[str, Any]) -> None:
        """Take over what a document says, as the last leader left it; called once a term, before it is written."""

    def alert_ids(self) -> Iterable[str]:
        """Return the names of all documents there should be."""

    def contents_of(self, alert_ids: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return what these documents should say; those that should not be there are left out."""


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """How writing goes.

    `every` is the least pause between two rounds, `retry_cap` the longest after a failure, both in seconds. Where a
    `crowd` of documents is marked at once, its writing begins `crowd_pause` seconds later, sooner for fewer, and lets a
    rush pass for up to `patience` seconds, if it is more than one transaction. A transaction has at most so many
    `operations` (etcd takes 128) and so many `transaction_bytes` (etcd takes 1.5 MiB), and no document is larger than
    `document_bytes`.
    """

    every: float = 0.2
    retry_cap: float = 5.0
    crowd: int = 2_000
    crowd_pause: float = 2.0
    patience: float = 20.0
    operations: int = 100
    transaction_bytes: int = 512 << 10
    document_bytes: int = 1 << 20


class Mirror:
    """The documents whose keys are `prefix` and the names that `source` gives them."""

    def __init__(
        self,
        client: Client,
        prefix: bytes,
        source: Source,
        clock: Callable[[], Instant],
        settings: MirrorSettings | None = None,
        *,
        rush: Rush | None = None,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._source = source
        self._clock = clock
        self._settings = settings or MirrorSettings()
        self._rush = rush or Rush()
        self._backoff = Backoff(self._settings.every, self._settings.retry_cap)
        self._trouble = Trouble("what is shown of alerts cannot be written")
        self._is_leading = False
        self._marked: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._stored: dict[str, bytes] = {}
        """What etcd has: the digest of each document's content."""
        self._newer: set[str] = set()

    # --- for the daemon ----------------------------------------------------------------------------------------------

    def mark(self, *alert_ids: str) -> None:
        """Take note that documents may have changed; while another leads there is nothing to note."""
        if self._is_leading and alert_ids:
            self._marked |= dict.fromkeys(alert_ids)
            self._wake.set()

    def mark_all(self) -> None:
        """Take note that any document may have changed."""
        self.mark(*self._source.alert_ids())

    async def write(self, term: Term) -> None:
        """Mend what differs, then write what is marked, until `term` is over."""
        self._is_leading, is_compared = True, False
        try:
            while not term.is_over:
                try:
                    if not is_compared:
                        await self._compare()
                        is_compared = True
                    await self._write_marked(term)
                except NotLeading:
                    return
                except EtcdUnavailable as error:
                    await self._wait_after(error)
                else:
                    self._backoff.reset()
                    self._trouble.end(time.monotonic())
                    await asyncio.sleep(self._settings.every)
                    await self._wake.wait()
                    await asyncio.sleep(self._pause())
        finally:
            self._is_leading = False
            self._marked.clear()

    def _pause(self) -> float:
        """Return how long to let those go first who tell people: the more there is to show, the longer."""
        return min(len(self._marked) / self._settings.crowd, 1.0) * self._settings.crowd_pause

    async def _wait_after(self, error: EtcdUnavailable) -> None:
        """Let etcd rest; tell what an operator must mend, while that etcd is away is told by those who watch it."""
        if isinstance(error, EtcdRefused):
            self._trouble.note(error, time.monotonic())
        await asyncio.sleep(self._backoff.next_delay())

    # --- what is there -----------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        """List what is there, and mark that and all that should be."""
        self._stored.clear()
        self._newer.clear()
        async for page in self._client.list_prefix(self._prefix):
            for number, kv in enumerate(page.kvs, 1):
                self._take(kv)
                if number % self._settings.operations == 0:
                    await asyncio.sleep(0)
        if self._newer:
            _log.warning(
                "alerts left in etcd as a newer alertd has written them: %d, such as %s; update this one",
                len(self._newer),
                min(self._newer),
            )
        self.mark(*self._stored)
        self.mark_all()

    def _take(self, kv: KeyValue) -> None:
        """Remember one document; what cannot be understood is to be overwritten or removed."""
        name = kv.key[len(self._prefix) :].decode(errors="surrogateescape")
        stored = document.read(kv.value)
        if stored.is_newer:
            self._newer.add(name)
        elif stored.content is None:
            self._stored[name] = _UNKNOWN
        else:
            self._stored[name] = _digest(document.encode(stored.content))
            self._source.recall(name, stored.content)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _write_marked(self, term: Term) -> None:
        """Write what is marked by now; what fails is marked again."""
        self._wake.clear()
        marked, self._marked = self._marked, {}
        batch: list[_Wish] = []
        until = time.monotonic() + self._settings.patience
        try:
            while marked:
                if len(marked) > self._settings.operations:
                    await self._rush.wait(until)
                batch = self._next_batch(marked)
                if batch:
                    await self._write_batch(batch, term)
                else:
                    await asyncio.sleep(0)
        except EtcdUnavailable:
            self._marked |= marked | {wish.alert_id: None for wish in batch}
            raise

    async def _write_batch(self, batch: list[_Wish], term: Term) -> None:
        for wish in batch:
            self._stored[wish.alert_id] = _UNKNOWN  # until etcd has answered
        await term.write([wish.operation for wish in batch])
        for wish in batch:
            if wish.digest:
                self._stored[wish.alert_id] = wish.digest
            else:
                del self._stored[wish.alert_id]

    def _next_batch(self, marked: dict[str, None]) -> list[_Wish]:
        """Take away from `marked` what one transaction has room for, and return what is to be written of that."""
        batch: list[_Wish] = []
        room = self._settings.transaction_bytes
        written = document.stamp(self._clock())
        alert_ids = list(islice(marked, self._settings.operations))
        contents = self._source.contents_of(alert_ids)
        for alert_id in alert_ids:
            wish = self._wish(alert_id, contents.get(alert_id), written)
            room -= wish.bytes if wish is not None else 0
            if room < 0 and batch:
                break
            del marked[alert_id]
            if wish is not None:
                batch.append(wish)
        return batch

    def _wish(self, alert_id: str, content: Mapping[str, Any] | None, written: str) -> _Wish | None:
        """Return how to bring one document up to date, None if it is so, or a newer alertd's is in its place."""
        if alert_id in self._newer:
            return None
        key = self._prefix + alert_id.encode(errors="surrogateescape")
        plain = b"" if content is None else document.encode(content)
        if len(plain) > self._settings.document_bytes:
            _log.warning("alert %s is too large to be shown from etcd", alert_id)
            content = None
        if content is None:
            return _Wish(alert_id, b"", delete_op(key), len(key)) if alert_id in self._stored else None
        digest = _digest(plain)
        if self._stored.get(alert_id) == digest:
            return None
        value = document.encode(content, written)
        return _Wish(alert_id, digest, put_op(key, value), len(key) + len(value))


def _digest(content: bytes) -> bytes:
    return sha256(content).digest()[:16]
