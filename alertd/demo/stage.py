"""What stands on the stage: three services of three instances each, and the secretaries that hold their keys."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from alertd.demo.children import Children

_PACE = {"every": "1s", "timeout": "1s", "ttl": "3s", "failures": "1"}
"""Hasty, so that the story moves: a dead service is noticed within 1 s, a dead secretary within 3 s."""


class Actor(NamedTuple):
    """One instance; `secretary` is the process that holds its key."""

    service: str
    instance: str
    zone: str
    secretary: str
    version: str

    @property
    def name(self) -> str:
        """`service/instance`."""
        return f"{self.service}/{self.instance}"


ACTORS = (
    Actor("apache", "core01", "a", "secretary of apache", "2.4.62"),
    Actor("apache", "core02", "b", "secretary of apache", "2.4.62"),
    Actor("apache", "core03", "c", "secretary of apache", "2.4.62"),
    Actor("mail", "core04", "a", "secretary of mail", "3.9.1"),
    Actor("mail", "core05", "b", "secretary of mail", "3.9.1"),
    Actor("mail", "core06", "c", "secretary on core06", "3.9.1"),
    Actor("pay", "core07", "a", "secretary of pay", "7.1"),
    Actor("pay", "core08", "a", "secretary of pay", "7.1"),
    Actor("pay", "core09", "c", "secretary of pay", "7.1"),
)


class Stage:
    """The processes of the services and their secretaries. `etcd` is `host:port`."""

    def __init__(self, children: Children, folder: Path, etcd: str) -> None:
        self._children = children
        self._folder = folder
        self._etcd = etcd
        self._ports = dict(zip((actor.name for actor in ACTORS), free_ports(len(ACTORS)), strict=True))

    async def set_up(self) -> None:
        """Start everything."""
        for name in self._ports:
            await self.start(name)
        for secretary in dict.fromkeys(actor.secretary for actor in ACTORS):
            file = self._folder / f"{secretary.replace(' ', '-')}.yaml"
            file.write_text(json.dumps({"secretaries": [self._entry(a) for a in ACTORS if a.secretary == secretary]}))
            await self._children.start(
                secretary, "alertd", "secretary", "--config", str(file), "--etcd", self._etcd, "--prefix", "/services/"
            )

    def _entry(self, actor: Actor) -> dict[str, object]:
        """Return an entry of the secretary's file; JSON is YAML as well."""
        port = self._ports[actor.name]
        fields = {
            "host": actor.instance,
            "ipv4_addr": "127.0.0.1",
            "port": port,
            "zone": actor.zone,
            "version": actor.version,
        }
        check = f"http://127.0.0.1:{port}/"
        return {"service": actor.service, "instance": actor.instance, "check": check, "set": fields, **_PACE}

    async def start(self, name: str) -> None:
        """Start an instance of a service."""
        await self._children.start(name, "alertd.demo.sample", "--port", str(self._ports[name]))

    async def kill(self, name: str) -> None:
        """End a process at once."""
        self._children.signal(name, signal.SIGKILL)

    async def freeze(self, name: str) -> None:
        """Stop a process in its tracks."""
        self._children.signal(name, signal.SIGSTOP)

    async def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self._children.signal(name, signal.SIGCONT)

    async def unsettle(self, name: str) -> None:
        """Make an instance fail every other probe."""
        self._children.signal(name, signal.SIGUSR1)

    async def settle(self, name: str) -> None:
        """Make it well again."""
        self._children.signal(name, signal.SIGUSR2)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
