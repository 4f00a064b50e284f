"""etcd as a command looks at it: alerts with the messages that told of them, instances, and what people have said."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from alertd import document, values
from alertd.errors import NotUnderstood
from alertd.model import EventKind, KeyEvent
from alertd.order import OrderKind, encode, key_of, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from alertd.etcd.channel import EtcdSettings
    from alertd.etcd.client import Client
    from alertd.order import Order

_AT_ONCE = 100
"""Operations in one transaction (etcd takes 128)."""


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert as its document shows it; `told_by` are the ids of the messages that spoke of it."""

    id: str
    rule: str
    service: str
    instance: str | None
    per: Mapping[str, str]
    is_firing: bool
    labels: Mapping[str, str]
    since: datetime | None
    told_by: tuple[str, ...]
    shown: Mapping[str, Any]
    """The alert in the contract's shape."""

    @classmethod
    def read(cls, raw: bytes) -> Self | None:
        """Read a document; return None for one that cannot be understood, or is newer."""
        content = document.read(raw).content
        if content is None:
            return None
        shown = document.as_alert(content)
        told_by = content.get("notifications", [])
        texts = (shown["id"], shown["rule"], shown["service"], shown["severity"])
        lists = isinstance(told_by, list) and isinstance(shown["labels"], dict)
        if not lists or not all(isinstance(text, str) and text for text in texts):
            return None
        built_in = {"rule": shown["rule"], "service": shown["service"], "severity": shown["severity"]}
        return cls(
            id=shown["id"],
            rule=shown["rule"],
            service=shown["service"],
            instance=None if shown["instance"] is None else str(shown["instance"]),
            per=_texts(shown["per"]),
            is_firing=shown["state"] == "firing",
            labels={**_texts(shown["labels"]), **_texts({"cause": content.get("cause")}), **built_in},
            since=document.moment(shown["since"]),
            told_by=tuple(map(str, told_by)),
            shown=shown,
        )

    @property
    def target(self) -> str:
        """`service`, `service/instance`, or `service (zone=eu)`."""
        if self.instance is not None:
            return f"{self.service}/{self.instance}"
        if self.per:
            return f"{self.service} ({', '.join(f'{key}={value}' for key, value in self.per.items())})"
        return self.service

    def label(self, name: str) -> str | None:
        """Return what a name of the one namespace stands for, as far as the document says."""
        if name == "instance":
            return self.instance
        return self.labels.get(name) or self.per.get(name)


def _texts(fields: object) -> dict[str, str]:
    return {key: text for key, text in fields.items() if isinstance(text, str)} if isinstance(fields, dict) else {}


class Said(NamedTuple):
    """One document of somebody's; `fault` says why it cannot be understood, and is empty if it can."""

    name: str
    order: Order | None
    fault: str = ""


class Scene:
    """Reads and writes for one command. Everything raises EtcdUnavailable."""

    def __init__(self, client: Client, prefix: str, namespace: str) -> None:
        self._client = client
        self._prefix = prefix
        self._namespace = namespace

    async def alerts(self) -> list[AlertRow]:
        """Return the alerts under way, as the leading daemon shows them."""
        pages = self._client.list_prefix(f"{self._namespace}alerts/".encode())
        rows = [AlertRow.read(kv.value) async for page in pages for kv in page.kvs]
        return [row for row in rows if row is not None]

    async def leader(self) -> str | None:
        """Return who leads, if anybody."""
        found = await self._client.get(f"{self._namespace}leader".encode())
        return None if found is None else document.replica_of(found.value)

    async def instances(self, service: str | None = None) -> dict[str, dict[str, bytes]]:
        """Return the instances that have a key: by service, each with its value; of one service, or of all."""
        below = self._prefix if service is None else f"{self._prefix}{service}/"
        found: dict[str, dict[str, bytes]] = {}
        async for page in self._client.list_prefix(below.encode()):
            for kv in page.kvs:
                name, _, instance = kv.key[len(self._prefix.encode()) :].partition(b"/")
                if name and instance:
                    found.setdefault(values.show(name), {})[values.show(instance)] = kv.value
        return found

    async def found(self) -> list[KeyEvent]:
        """Return all instances' keys as a listing tells them to the engine."""
        pages = self._client.list_prefix(self._prefix.encode())
        return [
            KeyEvent(EventKind.FOUND, kv.key, kv.value, kv.lease, kv.mod_revision)
            async for page in pages
            for kv in page.kvs
        ]

    async def said(self, kind: OrderKind) -> list[Said]:
        """Return what people have said of one kind."""
        prefix = key_of(self._namespace, kind, "")
        found = []
        async for page in self._client.list_prefix(prefix):
            for kv in page.kvs:
                name = kv.key[len(prefix) :].decode(errors="surrogateescape")
                try:
                    found.append(Said(name, read(kind, name, kv.value)))
                except NotUnderstood as why:
                    found.append(Said(name, None, str(why)))
        return found

    async def say(self, kind: OrderKind, orders: Mapping[str, Order], seconds: int) -> None:
        """Put documents by their names, in place of those that were there, for so many seconds."""
        from alertd.etcd.client import put_op

        lease = await self._client.lease_grant(seconds)
        puts = [put_op(key_of(self._namespace, kind, name), encode(order), lease) for name, order in orders.items()]
        for start in range(0, len(puts), _AT_ONCE):
            await self._client.txn([], puts[start : start + _AT_ONCE])

    async def unsay(self, kind: OrderKind, names: Sequence[str]) -> None:
        """Delete documents."""
        from alertd.etcd.client import delete_op

        deletions = [delete_op(key_of(self._namespace, kind, name)) for name in names]
        for start in range(0, len(deletions), _AT_ONCE):
            await self._client.txn([], deletions[start : start + _AT_ONCE])


@asynccontextmanager
async def look(settings: EtcdSettings, prefix: str, namespace: str) -> AsyncIterator[Scene]:
    """Connect to etcd for one command."""
    from alertd.etcd.client import Client

    async with Client(settings) as client:
        yield Scene(client, prefix, namespace)


def whoever_asks() -> str:
    """Return who runs the command, as `login@host`."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        login = f"uid{os.getuid()}"
    return f"{login}@{socket.gethostname()}"
