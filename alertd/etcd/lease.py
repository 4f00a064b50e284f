"""Whether a key that is gone was deleted or lost with its lease.

etcd has no event for the end of a lease: both are a DELETE. Afterwards `LeaseTimeToLive` gives -1 for a lease that has
ended (by itself or revoked, which cannot be told apart) and what is left of one that lives. Each lease is asked about
once, many at a time; what cannot be answered in time is `MISSED`, never guessed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.model import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from alertd.etcd.client import Client

_AT_ONCE = 64
_REMEMBERED = 10_000


class Coroner:
    """Establishes the causes of deaths, and remembers leases that have ended: those never come back."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ended: dict[int, None] = {}
        self.questions = 0

    async def establish(self, leases: Iterable[int], *, seconds: float) -> Mapping[int, EventKind]:
        """Return `EXPIRE`, `DELETE` or `MISSED` for the death of a key under each lease, within `seconds`."""
        kinds = dict.fromkeys(leases, EventKind.MISSED)
        kinds.update((lease, EventKind.EXPIRE) for lease in kinds if lease in self._ended)
        unknown = [lease for lease, kind in kinds.items() if kind is EventKind.MISSED]
        if unknown and seconds > 0:
            await self._ask_all(unknown, kinds, seconds)
        return kinds

    async def _ask_all(self, leases: list[int], kinds: dict[int, EventKind], seconds: float) -> None:
        queue = iter(leases)
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(leases))):
                    group.create_task(self._ask_in_turn(queue, kinds, seconds))
        except TimeoutError:
            pass

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
