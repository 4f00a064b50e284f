"""Whether a newer alertd has written what this one would have to read: then it must not lead.

Leaders read what the last one left and overwrite it. One that does not understand it all would lose what it does not
know. During an update, or after one was taken back in part, such a replica watches and judges, and leaves leading to
others. What people say (silences, acknowledgements) is no leader's, and is read document by document.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from alertd import document
from alertd.etcd.history import History

if TYPE_CHECKING:
    from alertd.etcd.client import Client, Page

_FOLDERS = (b"alerts/", b"checkpoint", b"claims/", b"delivery", b"leader", b"outbox/", b"ruleset", b"state/")
_OURS = b'{"format":%d,' % document.FORMAT
"""How each document of this alertd's own begins."""


class Formats:
    """The documents of leaders below `namespace`.

    What was found good is not read again until it changes, or etcd shows another history.
    """

    def __init__(self, client: Client, namespace: bytes) -> None:
        self._client = client
        self._namespace = namespace
        self._seen = History()
        """The history that is known, and the revision up to which all in it is understood."""

    async def find_newer(self) -> str:
        """Return the name of a document that a newer alertd has written, empty if there is none.

        Raises EtcdUnavailable.
        """
        listings = await self._list_all()
        if not all(self._seen.is_continued_by(page) for page, _ in listings):
            self._seen = History()
            listings = await self._list_all()
        newer = sorted(name for _, names in listings for name in names)
        first = min((page for page, _ in listings), key=lambda page: page.revision)
        self._seen = History() if newer else History.of(first)
        return newer[0] if newer else ""

    async def _list_all(self) -> list[tuple[Page, list[str]]]:
        return await asyncio.gather(*(self._list(folder) for folder in _FOLDERS))

    async def _list(self, folder: bytes) -> tuple[Page, list[str]]:
        """Return what a listing of a folder ended with, and what in it is newer."""
        newer: list[bytes] = []
        since = self._seen.revision + 1 if self._seen.revision else 0
        async for page in self._client.list_prefix(self._namespace + folder, modified_since=since):
            newer += [kv.key for kv in page.kvs if not kv.value.startswith(_OURS) and document.read(kv.value).is_newer]
        return page, [key[len(self._namespace) :].decode(errors="replace") for key in newer]
