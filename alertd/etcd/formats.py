"""Whether a newer alertd has written what this one would have to read: then it must not lead.

Leaders read what the last one left and overwrite it. One that does not understand it all would lose what it does not
know. During an update, or after one was taken back in part, such a replica watches and judges, and leaves leading to
others. What people say (silences, acknowledgements) is no leader's, and is read document by document.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from alertd import document

if TYPE_CHECKING:
    from alertd.etcd.client import Client

_FOLDERS = (b"alerts/", b"checkpoint", b"claims/", b"delivery", b"leader", b"outbox/", b"ruleset", b"state/")
_OURS = b'{"format":%d,' % document.FORMAT
"""How each document of this alertd's own begins."""


class Formats:
    """The documents of leaders below `namespace`. What was found good is not read again until it changes."""

    def __init__(self, client: Client, namespace: bytes) -> None:
        self._client = client
        self._namespace = namespace
        self._seen = 0
        """The revision up to which all is known to be understood."""

    async def find_newer(self) -> str:
        """Return the name of a document that a newer alertd has written, empty if there is none.

        Raises EtcdUnavailable.
        """
        listings = await asyncio.gather(*(self._list(folder) for folder in _FOLDERS))
        newer = sorted(name for _, names in listings for name in names)
        self._seen = 0 if newer else min(revision for revision, _ in listings)
        return newer[0] if newer else ""

    async def _list(self, folder: bytes) -> tuple[int, list[str]]:
        """Return the revision at which a folder was listed, and what in it is newer."""
        revision, newer = 0, []
        since = self._seen + 1 if self._seen else 0
        async for page in self._client.list_prefix(self._namespace + folder, modified_since=since):
            revision = page.revision
            newer += [kv.key for kv in page.kvs if not kv.value.startswith(_OURS) and document.read(kv.value).is_newer]
        return revision, [key[len(self._namespace) :].decode(errors="replace") for key in newer]
