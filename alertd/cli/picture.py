"""What etcd holds of services and alerts, read from any node: the keys as they are, with or without a daemon."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alertd import document, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from alertd.etcd.client import Client

TTL_LEASES = 1_000
"""More leases than this are not asked for their remaining time, unless a service is named."""

_ASKED_AT_ONCE = 50
_CAUSES = ("failing", "stopped")
_SEVERITIES = ("critical", "warning", "info")


_UNKNOWN_TARGET: Mapping[str, Any] = {
    "channel": "",
    "target": "",
    "undelivered": 0,
    "stuck_since": None,
    "last_error": "",
    "given_up": 0,
    "dead_letters": [],
}
"""The members of a target that something is wrong with, each as it is shown where the document lacks it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which keys are looked at: those below `prefix`, or of one `service` there, and ours below `namespace`."""

    prefix: str
    namespace: str
    service: str | None = None

    @property
    def services(self) -> bytes:
        """What the keys of the instances begin with."""
        return (self.prefix if self.service is None else f"{self.prefix}{self.service}/").encode()

    @property
    def leader(self) -> bytes:
        """The key that says who leads."""
        return f"{self.namespace}leader".encode()

    @property
    def delivery(self) -> bytes:
        """The key that says what is wrong with delivery, if anything is."""
        return f"{self.namespace}delivery".encode()

    @property
    def alerts(self) -> bytes:
        """What the keys of the alerts begin with."""
        return f"{self.namespace}alerts/".encode()


@dataclass(slots=True)
class InstanceRow:
    """One key, as etcd has it; `ttl` is seconds left of its lease, None where it has none or was not asked."""

    service: str
    instance: str
    raw: bytes
    lease: int
    reading: values.Reading
    ttl: int | None = None

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


class Picture:
    """All that is shown, as keys come and go."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.revision = 0
        self.leader: str | None = None
        self._rows: dict[bytes, InstanceRow] = {}
        self._alerts: dict[bytes, document.Stored] = {}
        self.delivery: list[dict[str, Any]] = []
        """The targets that something is wrong with, in the contract's shape."""

    # --- keys --------------------------------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease: int) -> bool:
        """Take in that a key is there; return whether that changes what is shown, other than a time left."""
        scope = self.scope
        if key.startswith(scope.services):
            return self._put_row(key, value, lease)
        if key == scope.leader:
            before, self.leader = self.leader, document.replica_of(value)
            return self.leader != before
        if key == scope.delivery:
            known, self.delivery = self.delivery, _targets_in(document.read(value).content or {})
            return self.delivery != known
        if key.startswith(scope.alerts):
            return self._put_alert(key, document.read(value))
        return False

    def drop(self, key: bytes) -> bool:
        """Take in that a key is gone; return whether that changes what is shown."""
        if key == self.scope.leader:
            before, self.leader = self.leader, None
            return before is not None
        if key == self.scope.delivery:
            known, self.delivery = self.delivery, []
            return bool(known)
        row, alert = self._rows.pop(key, None), self._alerts.pop(key, None)
        return row is not None or alert is not None

    def _put_alert(self, key: bytes, stored: document.Stored) -> bool:
        known = self._alerts.get(key)
        self._alerts[key] = stored
        return known is None or known._replace(written="") != stored._replace(written="")

    def _put_row(self, key: bytes, raw: bytes, lease: int) -> bool:
        known = self._rows.get(key)
        if known is not None and known.raw == raw:
            known.lease = lease
            return False
        name, _, instance = key[len(self.scope.prefix.encode()) :].partition(b"/")
        if not name or not instance:
            return False
        self._rows[key] = InstanceRow(values.show(name), values.show(instance), raw, lease, values.read(raw))
        return True

    # --- what they say -----------------------------------------------------------------------------------------------

    @property
    def rows(self) -> list[InstanceRow]:
        """The instances, in order."""
        return sorted(self._rows.values(), key=lambda row: (row.service, row.instance))

    @property
    def by_service(self) -> dict[str, list[InstanceRow]]:
        """The instances by service, both in order."""
        services: dict[str, list[InstanceRow]] = {}
        for row in self.rows:
            services.setdefault(row.service, []).append(row)
        return services

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The alerts of the services in scope, in the contract's shape: the firing and the severe first."""
        wanted = self.scope.service
        contents = (stored.content for stored in self._alerts.values() if stored.content is not None)
        shown = (document.as_alert(content) for content in contents if wanted in (None, content.get("service")))
        return sorted(shown, key=_urgency)

    @property
    def is_firing(self) -> bool:
        """Whether an alert in scope fires."""
        return any(alert["state"] == "firing" for alert in self.alerts)

    @property
    def written(self) -> datetime | None:
        """The latest time at which an alert was written, of all services; None if none says."""
        times = (document.moment(stored.written) for stored in self._alerts.values())
        return max((time for time in times if time is not None), default=None)

    @property
    def notes(self) -> list[str]:
        """What must be said of alerts that cannot be shown."""
        newer = sum(stored.is_newer for stored in self._alerts.values())
        broken = [key for key, stored in self._alerts.items() if stored.content is None and not stored.is_newer]
        notes = []
        if newer:
            notes.append(f"alerts not shown: {newer}, which a newer alertd has written; update this one")
        if broken:
            notes.append(f"alerts not understood: {len(broken)}, such as {values.show(min(broken))}")
        return notes

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
                for name, rows in self.by_service.items()
            ],
            "alerts": self.alerts,
            "delivery": self.delivery,
        }


def _targets_in(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a document says of targets, each with all members; what is none of that is left out."""
    targets = content.get("targets")
    shown = [each for each in targets if isinstance(each, dict)] if isinstance(targets, list) else []
    return [{name: each.get(name, default) for name, default in _UNKNOWN_TARGET.items()} for each in shown]


def _urgency(alert: dict[str, Any]) -> tuple[Any, ...]:
    severity = alert["severity"]
    rank = _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)
    return (alert["state"] != "firing", rank, *(str(alert[name]) for name in ("service", "instance", "rule", "id")))


# --- reading ---------------------------------------------------------------------------------------------------------


async def look(client: Client, scope: Scope) -> Picture:
    """Read everything at one revision, then what is left of the leases."""
    picture = Picture(scope)
    await _read(client, picture, scope.services)
    await look_at_alerts(client, picture)
    rows = picture.rows
    if scope.service is not None or len({row.lease for row in rows}) <= TTL_LEASES:
        await ask_ttls(client, rows)
    return picture


async def look_at_alerts(client: Client, picture: Picture) -> None:
    """Read the alerts, who leads, and what is wrong with delivery, at the picture's revision if it has one."""
    await _read(client, picture, picture.scope.alerts)
    for key in (picture.scope.leader, picture.scope.delivery):
        kv = await client.get(key, revision=picture.revision)
        if kv is not None:
            picture.put(kv.key, kv.value, kv.lease)


async def _read(client: Client, picture: Picture, prefix: bytes) -> None:
    async for page in client.list_prefix(prefix, revision=picture.revision):
        picture.revision = page.revision
        for kv in page.kvs:
            picture.put(kv.key, kv.value, kv.lease)


async def ask_ttls(client: Client, rows: Iterable[InstanceRow]) -> None:
    """Ask what is left of the rows' leases, each once."""
    turns = asyncio.Semaphore(_ASKED_AT_ONCE)
    by_lease: dict[int, list[InstanceRow]] = {}
    for row in rows:
        row.ttl = None
        by_lease.setdefault(row.lease, []).append(row)
    by_lease.pop(0, None)

    async def ask(lease: int) -> None:
        async with turns:
            left = await client.time_to_live(lease)
        for row in by_lease[lease]:
            row.ttl = left if left >= 0 else None

    await asyncio.gather(*map(ask, by_lease))
