"""Whether a key that is gone was deleted or lost with its lease.

etcd has no event for the end of a lease: both are a DELETE. Afterwards `LeaseTimeToLive` gives -1 for a lease that has
ended (by itself or revoked, which cannot be told apart) and what is left of one that lives. Each lease is asked about
once, many at a time; of many, a listing first says which have ended. What cannot be answered in time is `MISSED`, never
guessed.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.model import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from alertd.etcd.client import Client

_AT_ONCE = 64
_LISTED = 500
"""From so many leases on, a listing of all that live costs less than a question about each, also where 100,000 live."""
_LISTED_AGAIN_AFTER = 10.0
"""Seconds after a listing that failed: it may be that too many live."""
_REMEMBERED = 10_000


class Coroner:
    """Establishes the causes of deaths, and remembers leases that have ended: those never come back."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ended: dict[int, None] = {}
        self._listing_not_before = 0.0
        self.questions = 0

    async def establish(self, leases: Iterable[int], *, revision: int, seconds: float) -> Mapping[int, EventKind]:
        """Return `EXPIRE`, `DELETE` or `MISSED` for the death of a key under each lease, within `seconds`.

        All have died by `revision`.
        """
        kinds = dict.fromkeys(leases, EventKind.MISSED)
        kinds.update((lease, EventKind.EXPIRE) for lease in kinds if lease in self._ended)
        unknown = [lease for lease, kind in kinds.items() if kind is EventKind.MISSED]
        if unknown and seconds > 0:
            await self._ask_all(unknown, kinds, revision, seconds)
        return kinds

    async def _ask_all(self, leases: list[int], kinds: dict[int, EventKind], revision: int, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                if len(leases) >= _LISTED and time.monotonic() >= self._listing_not_before:
                    leases = await self._sort_out(leases, kinds, revision, seconds / 2)
                queue = iter(leases)
                for _ in range(min(_AT_ONCE, len(leases))):
                    group.create_task(self._ask_in_turn(queue, kinds, seconds))

    async def _sort_out(
        self, leases: list[int], kinds: dict[int, EventKind], revision: int, seconds: float
    ) -> list[int]:
        """Note which leases a listing shows to have ended, and return the others.

        A member that is not at `revision` yet proves nothing: it may not know of a lease yet. What it lists may have
        ended too by what it has taken in since, hence the others are asked about.
        """
        self.questions += 1
        try:
            living = await self._client.leases(seconds=seconds)
        except EtcdUnavailable:
            self._listing_not_before = time.monotonic() + _LISTED_AGAIN_AFTER
            return leases
        if living.revision < revision:
            return leases
        for lease in leases:
            if lease not in living.ids:
                kinds[lease] = EventKind.EXPIRE
                self._remember(lease)
        return [lease for lease in leases if lease in living.ids]

    async def _ask_in_turn(self, queue: Iterator[int], kinds: dict[int, EventKind], seconds: float) -> None:
        """Ask about leases from the queue until it is empty or etcd is away; half the time is left for a failover."""
        for lease in queue:
            self.questions += 1
            try:
                left = await self._client.time_to_live(lease, seconds=seconds / 2)
            except EtcdRefused:
                continue
            except EtcdUnavailable:
                return
            if left > 0:
                kinds[lease] = EventKind.DELETE
            else:
                kinds[lease] = EventKind.EXPIRE
                self._remember(lease)

    def _remember(self, lease: int) -> None:
        self._ended[lease] = None
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
