"""One key held under one lease: taken, kept, and let go again with last words.

Decides nothing about the service. Invariant: a key that someone else keeps alive is never overwritten or removed; one
that its keeper has abandoned (a secretary that was killed and started again finds its own) is taken over where it
stands, so that the instance never seems gone. Every write is a transaction on the key as it was last seen.

etcd has said OK to the renewal of a lease that was revoked (fixed in 3.5.23 and 3.6.5), so whether the key is really
there is read each time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from alertd.errors import AlertdError, EtcdUnavailable
from alertd.etcd.client import created_at, delete_op, put_op

if TYPE_CHECKING:
    from alertd.etcd.client import Client, KeyValue
    from alertd.secretary.plan import Pace


class HeldByAnother(AlertdError):
    """Another secretary keeps the key alive: one of the two must stop."""


class Hold:
    """Our grip on `key`. Every method raises EtcdUnavailable and may then be called again."""

    def __init__(self, client: Client, key: bytes, pace: Pace) -> None:
        self._client = client
        self._key = key
        self._pace = pace
        self._lease = 0
        self._created = 0
        self.was_ever = False
        """Whether the key was, or may have been, ours at any time."""

    @property
    def is_held(self) -> bool:
        """Whether the key is, or may be, ours now."""
        return self._lease != 0

    async def keep(self, value: bytes) -> bool:
        """Renew the lease and see to it that the key is there with `value`; return whether it had to be written.

        Raises HeldByAnother.
        """
        lives = self._lease != 0 and await self._client.lease_keepalive(self._lease) > 0
        found = await self._client.get(self._key)
        if lives and found is not None and (found.lease, found.value) == (self._lease, value):
            return False
        await self._refuse_if_kept(found)
        await self._write(value, 0 if found is None else found.create_revision, has_lease=lives)
        return True

    async def let_go(self, last_words: bytes) -> None:
        """Announce the end with `last_words` as the value, then remove the key, then revoke the lease.

        In this order nobody can take it for an expiry. A key that is another's by now is left alone.
        """
        lives = self._lease != 0 and await self._client.lease_keepalive(self._lease) > 0
        found = await self._client.get(self._key)
        if found is None or found.lease in (0, self._lease):
            await self._write(last_words, 0 if found is None else found.create_revision, has_lease=lives)
            await self._client.txn([created_at(self._key, self._created)], [delete_op(self._key)])
        lease, self._lease = self._lease, 0
        if lease:
            with suppress(EtcdUnavailable):  # it ends by itself
                await self._client.lease_revoke(lease)

    async def _write(self, value: bytes, created: int, *, has_lease: bool) -> None:
        """Put the key under our lease if it is still the one created at revision `created`; 0 means that none is."""
        if not has_lease:
            self._lease = await self._client.lease_grant(self._pace.ttl)
        self.was_ever = True
        done = await self._client.txn([created_at(self._key, created)], [put_op(self._key, value, self._lease)])
        if not done.succeeded:
            raise EtcdUnavailable(f"{self._key.decode()} changed while it was written")
        self._created = created or done.revision

    async def _refuse_if_kept(self, found: KeyValue | None) -> None:
        """Raise HeldByAnother if the key has another lease that was renewed of late.

        "Of late" assumes that the other has the same pace, and renews once a round. etcd cuts what is left to whole
        seconds, hence the one that is added.
        """
        if found is None or found.lease in (0, self._lease):
            return
        left = await self._client.time_to_live(found.lease) + 1
        if left > self._pace.ttl - self._pace.every - self._pace.timeout:
            raise HeldByAnother(
                f"another secretary holds {self._key.decode()} with lease {found.lease:x} and value "
                f"{found.value[:200].decode(errors='replace')}; one of the two must stop"
            )
