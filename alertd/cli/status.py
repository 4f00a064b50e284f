"""`alertd status`: services and instances straight from etcd, from any node, with or without a daemon."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertd import values
from alertd.cli import options

if TYPE_CHECKING:
    from alertd.etcd.channel import EtcdSettings

TTL_LEASES = 1_000
"""More leases than this are not asked for their remaining time, unless a service is named."""

_ASKED_AT_ONCE = 50
_CAUSES = ("failing", "stopped")
_LONGEST_VALUE = 1_000
_NARROWEST_VALUE = 20


@dataclass(slots=True)
class InstanceRow:
    """One key, as etcd has it; `ttl` is seconds left of its lease, None where it has none or was not asked."""

    service: str
    instance: str
    raw: bytes
    lease: int
    ttl: int | None = None
    reading: values.Reading = values.EMPTY

    @property
    def announced(self) -> str:
        """What the value itself announces, `failing` or `stopped`, else empty."""
        status = (self.reading.fields or {}).get("status")
        return status if status in _CAUSES else ""

    def as_json(self) -> dict[str, Any]:
        """Return the instance in the contract's shape."""
        return {
            "instance": self.instance,
            "up": not self.announced,
            "value": self.reading.fields,
            "raw": values.show(self.raw),
            "malformed": self.reading.malformed,
            **({} if self.ttl is None else {"ttl": self.ttl}),
        }


@dataclass(slots=True)
class Picture:
    """All that is shown."""

    revision: int = 0
    leader: str | None = None
    rows: list[InstanceRow] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def by_service(self) -> dict[str, list[InstanceRow]]:
        """Return the instances by service, both in order."""
        services: dict[str, list[InstanceRow]] = {}
        for row in sorted(self.rows, key=lambda row: (row.service, row.instance)):
            services.setdefault(row.service, []).append(row)
        return services

    def as_json(self) -> dict[str, Any]:
        """Return the whole in the contract's shape."""
        return {
            "revision": self.revision,
            "leader": self.leader,
            "services": [
                {
                    "service": name,
                    "up": sum(1 for row in rows if not row.announced),
                    "expected": None,
                    "instances": [row.as_json() for row in rows],
                }
                for name, rows in self.by_service().items()
            ],
            "alerts": self.alerts,
        }


def status(
    service: Annotated[str | None, typer.Argument(help="Show only this service, with each instance.")] = None,
    as_json: options.Json = False,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Show the services and instances that are registered in etcd; needs no daemon."""
    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    picture = asyncio.run(_look(settings, options.as_folder(prefix), options.as_folder(namespace), service))
    if as_json:
        typer.echo(json.dumps(picture.as_json(), ensure_ascii=False, default=str))
    else:
        for line in describe(picture, service):
            typer.echo(line)


async def _look(settings: EtcdSettings, prefix: str, namespace: str, service: str | None) -> Picture:
    """Read everything at one revision."""
    from alertd.etcd.client import Client

    picture = Picture()
    async with Client(settings) as client:
        below = prefix if service is None else f"{prefix}{service}/"
        async for page in client.list_prefix(below.encode()):
            picture.revision = page.revision
            for kv in page.kvs:
                row = _read_row(kv.key[len(prefix.encode()) :], kv.value, kv.lease)
                if row is not None:
                    picture.rows.append(row)
        leader = await client.get(f"{namespace}leader".encode())
        picture.leader = None if leader is None else values.show(leader.value)
        leases = {row.lease for row in picture.rows if row.lease}
        if service is not None or len(leases) <= TTL_LEASES:
            ttls = await _ask_ttls(client, leases)
            for row in picture.rows:
                row.ttl = ttls.get(row.lease)
    return picture


def _read_row(key: bytes, raw: bytes, lease: int) -> InstanceRow | None:
    name, _, instance = key.partition(b"/")
    if not name or not instance:
        return None
    return InstanceRow(values.show(name), values.show(instance), raw, lease, reading=values.read(raw))


async def _ask_ttls(client: Any, leases: set[int]) -> dict[int, int]:
    turns = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def ask(lease: int) -> tuple[int, int]:
        async with turns:
            return lease, await client.time_to_live(lease)

    return {lease: ttl for lease, ttl in await asyncio.gather(*(ask(lease) for lease in leases)) if ttl >= 0}


# --- for people ------------------------------------------------------------------------------------------------------


def describe(picture: Picture, service: str | None) -> list[str]:
    """Return the lines to print, at most 80 columns wide where the names allow it."""
    services = picture.by_service()
    if not services:
        what = "no service is registered" if service is None else f"service {service} has no instance"
        return [f"{what} (revision {picture.revision})"]
    table: list[tuple[str, ...]] = [("SERVICE", "UP", "INSTANCE", "STATE", "TTL", "VALUE")]
    for name, rows in services.items():
        up = f"{sum(1 for row in rows if not row.announced)} of {len(rows)}"
        for index, row in enumerate(rows):
            ttl = "" if row.ttl is None else f"{row.ttl}s"
            state = row.announced or ("up, malformed" if row.reading.malformed else "up")
            table.append((name if not index else "", up if not index else "", row.instance, state, ttl, _value(row)))
    return [*_columns(table), "", _speaker(picture)]


def _speaker(picture: Picture) -> str:
    if picture.leader is None:
        return f"revision {picture.revision}; no daemon leads"
    return f"revision {picture.revision}; {picture.leader} leads"


def _value(row: InstanceRow) -> str:
    """Return the value in a few words: as fields if it can be understood, else raw."""
    fields = row.reading.fields
    if fields:
        return " ".join(f"{key}={_plain(value)}" for key, value in fields.items() if key != "status")
    return _plain(values.show(row.raw[:_LONGEST_VALUE]))


def _plain(value: Any) -> str:
    text = values.as_written(value)
    shown = json.dumps(value, ensure_ascii=False, default=str) if text is None else text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shown)


def _columns(table: list[tuple[str, ...]]) -> list[str]:
    """Align the columns; the last is cut to what the terminal (80 columns if there is none) has room for."""
    from rich.cells import cell_len, set_cell_size

    widths = [max(cell_len(row[column]) for row in table) for column in range(len(table[0]))]
    room = max(_NARROWEST_VALUE, shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * len(widths[:-1]))
    lines = []
    for row in table:
        *cells, last = row
        if cell_len(last) > room:
            last = f"{set_cell_size(last, room - 1)}…"
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=False)]
        lines.append("  ".join((*padded, last)).rstrip())
    return lines
