"""What people tell alertd through etcd, followed, and cleared away once it is spent.

Three narrow prefixes are watched rather than the whole namespace: what alertd itself writes there, an alert's document
at each of its turns, then costs no replica anything. Each watch begins with a listing, so that whatever was there
before is known first; after a break it tells the difference.

Invariant: the listener holds exactly what etcd has and what can be understood. What cannot be is told of once and left
where it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from alertd.errors import EtcdRefused, EtcdUnavailable, NotUnderstood
from alertd.etcd.client import delete_version_op
from alertd.etcd.election import NotLeading
from alertd.etcd.retry import Backoff, Trouble
from alertd.etcd.watch import Events, Synced, Watch
from alertd.model import EventKind
from alertd.order import Order, OrderKind, key_of, read

if TYPE_CHECKING:
    from alertd.etcd.client import Client
    from alertd.etcd.election import Term
    from alertd.model import KeyEvent

_log = logging.getLogger("alertd.etcd")

_WORDS = {
    OrderKind.SILENCE: "silences",
    OrderKind.ACK: "acknowledgements",
    OrderKind.FORGET: "requests to forget",
}
_AT_ONCE = 100
"""Deletions in one transaction (etcd takes 128)."""


_IN_ONE_GO = 20
"""Orders that are taken before others have their turn: each may cost milliseconds where thousands are in force."""


class Listener(Protocol):
    """Who acts on what people say."""

    def take(self, order: Order) -> None:
        """Act on an order that is new, or has changed."""

    def withdraw(self, kind: OrderKind, name: str) -> None:
        """Act no longer on an order that was taken: its key is gone, or says something else."""


class _Quiet(Trouble):
    """Tells at first of everything, and once it has worked only what an operator must mend.

    That etcd is away is then told by the watch on the services.
    """

    def __init__(self, what: str, listed: asyncio.Event) -> None:
        super().__init__(what)
        self._listed = listed

    def note(self, error: Exception, now: float) -> None:
        if isinstance(error, EtcdRefused) or not self._listed.is_set():
            super().note(error, now)


class Orders:
    """The silences, acknowledgements and requests to forget below a namespace."""

    def __init__(self, client: Client, namespace: str, *, retry_cap: float = 5.0) -> None:
        self._client = client
        self._namespace = namespace
        self._listed = {kind: asyncio.Event() for kind in OrderKind}
        self._held: dict[bytes, int] = {}
        """Keys that the listener has taken, each with the revision of its document."""
        self._faults: dict[bytes, str] = {}
        self._spent: dict[bytes, int] = {}
        """Keys to be deleted by whoever leads, each as of this revision."""
        self._wake = asyncio.Event()
        self._backoff = Backoff(0.2, retry_cap)
        self._trouble = Trouble("what people said and is over cannot be cleared away")

    # --- following ---------------------------------------------------------------------------------------------------

    async def follow(self, listener: Listener) -> None:
        """Tell `listener` of all that comes and goes, for ever; raises for nothing that etcd does."""
        async with asyncio.TaskGroup() as group:
            for kind in OrderKind:
                group.create_task(self._follow(kind, listener), name=f"follow-{kind}")

    async def wait_until_listed(self) -> None:
        """Return once the listener has been told of all that was there at first."""
        for listed in self._listed.values():
            await listed.wait()

    async def _follow(self, kind: OrderKind, listener: Listener) -> None:
        listed = self._listed[kind]
        prefix = key_of(self._namespace, kind, "")
        watch = Watch(self._client, prefix, trouble=_Quiet(f"{_WORDS[kind]} cannot be followed", listed))
        async with aclosing(watch.follow()) as steps:
            async for step in steps:
                if isinstance(step, Events):
                    for number, event in enumerate(step.events, 1):
                        self._take(kind, event.key[len(prefix) :], event, listener)
                        if number % _IN_ONE_GO == 0:
                            await asyncio.sleep(0)
                elif isinstance(step, Synced):
                    listed.set()

    def _take(self, kind: OrderKind, name: bytes, event: KeyEvent, listener: Listener) -> None:
        """Tell the listener what one event means for it."""
        order = self._read(kind, name, event)
        self._spent.pop(event.key, None)
        if order is not None:
            self._held[event.key] = event.revision
            listener.take(order)
        elif self._held.pop(event.key, None) is not None:
            listener.withdraw(kind, _text(name))

    def _read(self, kind: OrderKind, name: bytes, event: KeyEvent) -> Order | None:
        """Return what a key says now; None if it is gone or cannot be understood, which is told once."""
        if event.kind not in {EventKind.PUT, EventKind.FOUND}:
            self._faults.pop(event.key, None)
            return None
        try:
            order = read(kind, _text(name), event.value)
        except NotUnderstood as why:
            if self._faults.get(event.key) != str(why):
                self._faults[event.key] = str(why)
                _log.warning("%s is left aside: %s", event.key.decode(errors="backslashreplace"), why)
            return None
        self._faults.pop(event.key, None)
        return order

    # --- clearing away -----------------------------------------------------------------------------------------------

    def spend(self, kind: OrderKind, name: str) -> None:
        """Take note that an order is over before its time; whoever leads deletes it, unless it is made anew."""
        key = key_of(self._namespace, kind, name)
        if key in self._held:
            self._spent[key] = self._held[key]
            self._wake.set()

    async def clear(self, term: Term) -> None:
        """Delete what is spent, until `term` is over."""
        while not term.is_over:
            self._wake.clear()
            try:
                await self._delete(term)
            except NotLeading:
                return
            except EtcdUnavailable as error:
                if isinstance(error, EtcdRefused):
                    self._trouble.note(error, time.monotonic())
                await asyncio.sleep(self._backoff.next_delay())
            else:
                self._backoff.reset()
                self._trouble.end(time.monotonic())
                await self._wake.wait()

    async def _delete(self, term: Term) -> None:
        """Delete all that is spent by now; what is put meanwhile stays."""
        while self._spent:
            some = dict(list(self._spent.items())[:_AT_ONCE])
            await term.write([delete_version_op(key, revision) for key, revision in some.items()])
            for key, revision in some.items():
                if self._spent.get(key) == revision:
                    del self._spent[key]


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
