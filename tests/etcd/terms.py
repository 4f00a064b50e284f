"""Terms of leaders whose writes fail when that is asked for."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from alertd.errors import EtcdUnavailable
from alertd.etcd.election import Term
from alertd.etcd.faults import EtcdFull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.etcd.client import Client


class Frail(Term):
    """A term whose writer dies before (or right after) the write with this number, from 1; 0 is never.

    From the write `full_from` on, etcd is full.
    """

    writes = 0
    dies_before = 0
    dies_after = 0
    full_from = 0

    async def write(self, operations: Sequence[Any]) -> None:
        """Write, if it lives."""
        self.writes += 1
        if self.writes == self.dies_before:
            raise EtcdUnavailable("died before")
        if 0 < self.full_from <= self.writes:
            raise EtcdFull("full")
        await super().write(operations)
        if self.writes == self.dies_after:
            raise EtcdUnavailable("died after")


async def begin_term(client: Client, key: bytes) -> Frail:
    """Begin a term that lasts, and by which any other is over."""
    await client.delete(key)
    term = Frail(client, key, await client.put(key, b'{"format":1}'), 0)
    term.deadline = inf
    return term


class Namespace:
    """A namespace of its own in etcd, with a leader's key."""

    def __init__(self, client: Client, namespace: bytes) -> None:
        self.client = client
        self.namespace = namespace

    async def term(self) -> Frail:
        """Begin a term, by which any other is over."""
        return await begin_term(self.client, self.namespace + b"leader")
