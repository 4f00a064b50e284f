"""Documents that are written by whoever leads, all of a decision at once, however many and however large.

etcd takes 128 operations and 1.5 MiB in one transaction. A document that is large, or one of many, is first written in
pieces, each a key of its own, and is then but a short head that names them: heads of any number fit in one transaction.
So a decision is there as a whole or not at all, whenever its writer dies. Pieces that no head names any more are
deleted later, by the writer that made them superfluous or by the next one to lead. What the pieces of a document are
called follows from its name and content, so that no two documents share any.

What is there already is not written again, as far as that is known: what one has read or written, and no other since.
Who begins to lead therefore reads, or at least lists, a folder before it writes there.

Invariant: `read` returns, of each document, what one commit wrote, and of all of them what no commit left half done.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from alertd import document
from alertd.errors import EtcdUnavailable
from alertd.etcd.client import delete_op, put_op, together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from alertd.etcd.client import Client
    from alertd.etcd.election import Term

_PIECES = b"pieces/"

AT_ONCE = 3_000
"""Documents that one commit has room for, with what names their pieces."""

_HEAD_BYTES = 200
"""No head is longer."""

_UNKNOWN = b"?"
"""In place of a digest: there is a document, or may be one, and it may say anything."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How much goes into one transaction, and above how many bytes a document is written in pieces."""

    operations: int = 100
    transaction_bytes: int = 1 << 20
    piece_bytes: int = 512 << 10


class Documents(NamedTuple):
    """What was read, at one revision.

    `contents` holds the documents by name; `newer` names those that a newer alertd wrote, `damaged` those that cannot
    be read.
    """

    revision: int
    contents: dict[str, dict[str, Any]]
    newer: list[str]
    damaged: list[str]


class Store:
    """The documents below `namespace`; names are relative to it, such as `outbox/5f3a`."""

    def __init__(self, client: Client, namespace: bytes, settings: StoreSettings | None = None) -> None:
        self._client = client
        self._namespace = namespace
        self._settings = settings or StoreSettings()
        self._stored: dict[str, bytes] = {}
        """The digest of each document that is there, or that its content is not known."""
        self._piecemeal: dict[str, str] = {}
        """Documents that are in pieces, and what their pieces are called."""
        self._begun: set[str] = set()
        """What pieces are called that are being written."""
        self._doubtful: dict[str, tuple[str, int]] = {}
        """What pieces are called of which it is not known whether a head names them, since the commit failed.

        With the name of the document, and the revision of the term: once that is over, no head can come to name them.
        """
        self._clearing = asyncio.Lock()
        """Held while pieces are deleted that no document names: none of them is begun meanwhile."""

    # --- reading -----------------------------------------------------------------------------------------------------

    async def read(self, *folders: str) -> Documents:
        """Return all documents of these folders as they are at one revision; raise EtcdUnavailable."""
        found = Documents(0, {}, [], [])
        for folder in folders:
            prefix = self._namespace + folder.encode()
            self._forget(folder)
            async for page in self._client.list_prefix(prefix, revision=found.revision):
                found = found._replace(revision=page.revision)
                for number, kv in enumerate(page.kvs, 1):
                    await self._take(_text(kv.key[len(self._namespace) :]), kv.value, found)
                    if number % 200 == 0:
                        await asyncio.sleep(0)
        return found

    async def look(self, folder: str) -> list[str]:
        """Take note of which documents a folder has, without reading them, and return them; raise EtcdUnavailable."""
        prefix = self._namespace + folder.encode()
        self._forget(folder)
        found: list[str] = []
        async for page in self._client.list_prefix(prefix, keys_only=True):
            found += [_text(kv.key[len(self._namespace) :]) for kv in page.kvs]
        self._stored |= dict.fromkeys(found, _UNKNOWN)
        return found

    def _forget(self, folder: str) -> None:
        """Forget what is known of a folder: another may have written there."""
        for known in (self._stored, self._piecemeal):
            for name in [name for name in known if name.startswith(folder)]:
                del known[name]

    async def _take(self, name: str, raw: bytes, found: Documents) -> None:
        self._stored[name] = _UNKNOWN
        stored = document.read(raw)
        content = stored.content
        if content is not None and "pieces" in content:
            whole = await self._join(name, content, found.revision)
            stored = document.read(whole)
            content = stored.content
            raw = whole
        if stored.is_newer:
            found.newer.append(name)
        elif content is None:
            found.damaged.append(name)
        else:
            found.contents[name] = content
            self._stored[name] = _digest(raw)

    async def _join(self, name: str, head: Mapping[str, Any], revision: int) -> bytes:
        """Return a document that is in pieces; what is not whole reads as damaged."""
        called = str(head["pieces"])
        self._piecemeal[name] = called
        prefix = self._namespace + _PIECES + called.encode() + b"/"
        parts = [kv.value async for page in self._client.list_prefix(prefix, revision=revision) for kv in page.kvs]
        whole = b"".join(parts)
        return whole if _called(name, whole) == called else b""

    # --- writing -----------------------------------------------------------------------------------------------------

    async def commit(self, term: Term, wanted: Mapping[str, Mapping[str, Any] | None]) -> int:
        """Write these documents (None: delete) at once, if `term` leads; return how many differed from what was there.

        Raises NotLeading, or EtcdUnavailable, after which it is not known what etcd has.
        """
        raws = {name: b"" if content is None else document.encode(content) for name, content in wanted.items()}
        changed = {name: raw for name, raw in raws.items() if self._stored.get(name, b"") != _digest(raw)}
        if not changed:
            return 0
        for name in changed:
            self._stored[name] = _UNKNOWN  # until etcd has answered
        heads = await self._write(term, changed)
        old = self._pieces_of(changed)
        self._note(changed, heads)
        await self._drop(term, [called for called in old if called not in self._piecemeal.values()])
        return len(changed)

    async def _write(self, term: Term, raws: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Write documents, and return what was written in place of each."""
        size = sum(map(len, raws.values()))
        is_small = size <= self._settings.transaction_bytes and len(raws) <= self._settings.operations
        heads = raws if is_small else {name: _head(name, raw) for name, raw in raws.items()}
        begun = {_called(name, raws[name]): name for name, head in heads.items() if head is not raws[name]}
        if begun:
            async with self._clearing:
                self._begun |= begun.keys()
        try:
            await self._write_pieces(term, {called: raws[name] for called, name in begun.items()})
            operations = [self._operation(name, head) for name, head in heads.items()]
            await term.write(together(operations, self._settings.operations))
        except BaseException:
            self._doubtful |= {called: (name, term.revision) for called, name in begun.items()}
            raise
        finally:
            self._begun -= begun.keys()
        return heads

    def _pieces_of(self, names: Iterable[str]) -> list[str]:
        """Return what pieces are called that documents have, or may have."""
        whose = set(names)
        known = [self._piecemeal[name] for name in whose if name in self._piecemeal]
        return known + [called for called, (name, _) in self._doubtful.items() if name in whose]

    async def clear_pieces(self, term: Term) -> None:
        """Delete all pieces that no document names, left behind by one who died, or by a commit of an earlier term.

        May be done beside commits of the same term. Raises EtcdUnavailable.
        """
        prefix = self._namespace + _PIECES
        found: set[str] = set()
        async for page in self._client.list_prefix(prefix, keys_only=True):
            found |= {_text(kv.key[len(prefix) :]).partition("/")[0] for kv in page.kvs}
        heads = await self._find_heads() if found - self._named(term) else set()
        async with self._clearing:
            await self._drop(term, sorted(found - heads - self._named(term)))
        self._doubtful = {
            called: (name, revision)
            for called, (name, revision) in self._doubtful.items()
            if revision == term.revision or called in heads
        }

    def _named(self, term: Term) -> set[str]:
        """Return what pieces are called that a document names, or soon may."""
        doubtful = {called for called, (_, revision) in self._doubtful.items() if revision == term.revision}
        return {*self._piecemeal.values(), *self._begun, *doubtful}

    async def _find_heads(self) -> set[str]:
        """Find out which documents are in pieces, in folders that were not read too; return what these are called."""
        folders: set[bytes] = set()
        async for page in self._client.list_prefix(self._namespace, keys_only=True):
            folders |= {kv.key[len(self._namespace) :].partition(b"/")[0] for kv in page.kvs}
        found: set[str] = set()
        for folder in sorted(folders - {_PIECES.rstrip(b"/")}):
            async for page in self._client.list_prefix(self._namespace + folder):
                found |= {self._note_head(_text(kv.key[len(self._namespace) :]), kv.value) for kv in page.kvs}
                await asyncio.sleep(0)
        return found

    def _note_head(self, name: str, raw: bytes) -> str:
        """Return what the pieces of a document are called, empty if it has none."""
        if len(raw) <= _HEAD_BYTES:
            called = (document.read(raw).content or {}).get("pieces")
            if isinstance(called, str):
                self._piecemeal.setdefault(name, called)
                return called
        return ""

    def _operation(self, name: str, raw: bytes) -> Any:
        key = self._namespace + name.encode(errors="surrogateescape")
        return put_op(key, raw) if raw else delete_op(key)

    async def _write_pieces(self, term: Term, raws: Mapping[str, bytes]) -> None:
        """Write documents in pieces, by what these are called."""
        batch: list[Any] = []
        room = self._settings.transaction_bytes
        for called, raw in raws.items():
            for number, piece in enumerate(self._cut(raw)):
                if batch and (len(piece) > room or len(batch) >= self._settings.operations):
                    await term.write(batch)
                    batch, room = [], self._settings.transaction_bytes
                batch.append(put_op(self._namespace + _PIECES + f"{called}/{number:06}".encode(), piece))
                room -= len(piece)
        if batch:
            await term.write(batch)

    def _cut(self, raw: bytes) -> Iterable[bytes]:
        size = self._settings.piece_bytes
        return (raw[start : start + size] for start in range(0, len(raw), size))

    def _note(self, raws: Mapping[str, bytes], heads: Mapping[str, bytes]) -> None:
        self._doubtful = {called: doubt for called, doubt in self._doubtful.items() if doubt[0] not in raws}
        for name, raw in raws.items():
            if heads[name] is not raw:
                self._piecemeal[name] = _called(name, raw)
            else:
                self._piecemeal.pop(name, None)
            if raw:
                self._stored[name] = _digest(raw)
            else:
                self._stored.pop(name, None)

    async def _drop(self, term: Term, pieces: Sequence[str]) -> None:
        """Delete pieces; if that fails, they stay until somebody begins to lead."""
        prefixes = [self._namespace + _PIECES + called.encode() + b"/" for called in pieces]
        for start in range(0, len(prefixes), self._settings.operations):
            some = prefixes[start : start + self._settings.operations]
            try:
                await term.write([delete_op(prefix, is_prefix=True) for prefix in some])
            except EtcdUnavailable:
                return


def _digest(raw: bytes) -> bytes:
    return sha256(raw).digest()[:16] if raw else b""


def _called(name: str, raw: bytes) -> str:
    """Return what the pieces of a document are called."""
    return sha256(name.encode(errors="surrogateescape") + b"\0" + raw).hexdigest()[:32]


def _head(name: str, raw: bytes) -> bytes:
    """Return what names the pieces of a document; one that is to be deleted, or no longer than that, stays."""
    head = document.encode({"pieces": _called(name, raw)})
    return raw if len(raw) <= len(head) else head


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
