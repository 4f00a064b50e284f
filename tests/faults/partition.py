"""One of three members is cut off from the others, though the daemons still reach it: it serves what it knew.

The member is in a network namespace of its own with two cables to this machine: one for its clients, one for its peers.
The second one is pulled. Linux and root are needed.
"""

from __future__ import annotations

import itertools
import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tests.etcd_server import EtcdServer, wait_until
from tests.faults.etcd_faults import RETRY
from tests.hosts import Host, ip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.stage import Stage

_numbers = itertools.count(1)
_CLIENTS, _PEERS = "10.78", "10.79"


class Island:
    """A network namespace with a cable for clients and one for peers; each is a net of two addresses."""

    def __init__(self) -> None:
        number = next(_numbers)
        self.name = f"alertd-{os.getpid()}-i{number}"
        block = f"{os.getpid() % 64 + 64 * (number // 64 % 4)}.{number % 64 * 4}"
        self._nets = {"c": f"{_CLIENTS}.{block}", "p": f"{_PEERS}.{block}"}
        self._cables = {kind: f"al{os.getpid() % 1_000_000}{kind}{number}" for kind in self._nets}

    def address(self, kind: str, end: int) -> str:
        """Return an address: `c` for clients or `p` for peers, end 1 is here and 2 is on the island."""
        base, _, last = self._nets[kind].rpartition(".")
        return f"{base}.{int(last) + end}"

    def cut_off(self) -> None:
        """Pull the cable to the peers: packets are lost, connections stay open."""
        ip("link", "set", self._cables["p"], "down")

    def mend(self) -> None:
        """Put it back."""
        ip("link", "set", self._cables["p"], "up")

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Have it exist during the block."""
        with ExitStack() as stack:
            ip("netns", "add", self.name)
            stack.callback(ip, "netns", "del", self.name)
            ip("-n", self.name, "link", "set", "lo", "up")
            for kind, cable in self._cables.items():
                far = f"{kind}0"
                ip("link", "add", cable, "type", "veth", "peer", "name", far, "netns", self.name)
                ip("address", "add", f"{self.address(kind, 1)}/30", "dev", cable)
                ip("link", "set", cable, "up")
                ip("-n", self.name, "address", "add", f"{self.address(kind, 2)}/30", "dev", far)
                ip("-n", self.name, "link", "set", far, "up")
            yield


class Islander(EtcdServer):
    """A member on an island: clients and peers reach it by different cables."""

    island: Island

    @property
    def peer_url(self) -> str:
        """Where the other members find it."""
        return f"http://{self.island.address('p', 2)}:{self.peer_port}"

    def start(self, *, is_waiting: bool = True) -> Islander:
        """Start it on its island."""
        with self.inside():
            super().start(is_waiting=False)
        if is_waiting:
            wait_until(self.is_healthy, f"etcd {self.name} serves")
        return self

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have this thread be on the island."""
        host = Host("", 1)
        host.name = self.island.name
        with host.inside():
            yield

    def is_healthy(self) -> bool:
        """Whether it serves and has a leader."""
        with self.inside():
            return super().is_healthy()


class Shoreman(EtcdServer):
    """A member that stays here, and whose peers reach it by the island's cable."""

    island: Island

    @property
    def peer_url(self) -> str:
        """Where the other members find it."""
        return f"http://{self.island.address('p', 1)}:{self.peer_port}"


def cut_off_member(stage: Stage, seconds: float = 5.0) -> None:
    """Cut the member off that the daemon asks first; it comes back after the others have gone on without it."""
    island = Island()
    stage.stack.enter_context(island.raised())
    for member in stage.cluster.members:
        member.kill()
        member.wipe()
    members = [_settle_on(island, member, number) for number, member in enumerate(stage.cluster.members)]
    for member in members:
        member.members = members
        stage.stack.callback(member.kill)
        member.start(is_waiting=False)
    stage.cluster.members[:] = members
    for member in members:
        wait_until(member.is_healthy, f"{member.name} serves")
    names, stage.driver.names = stage.driver.names, []
    stage.gateway.move_to([member.endpoint for member in members[1:]])
    stage.driver.begin_anew(names)
    stage.daemon.endpoints = [member.endpoint for member in members]
    _play(stage, island, seconds)


def _settle_on(island: Island, old: EtcdServer, number: int) -> EtcdServer:
    """Return a member in the place of `old`: the first on the island, the others on its shore."""
    member: Islander | Shoreman
    if number == 0:
        member = Islander(old.folder, name=old.name, flags=old.flags, address=island.address("c", 2))
    else:
        member = Shoreman(old.folder, name=old.name, flags=old.flags)
    member.island = island
    member.program, member.is_tethered = old.program, True
    return member


def _play(stage: Stage, island: Island, seconds: float) -> None:
    stage.start()
    with stage.driver.traffic(0.3):
        stage.pause(1.0, 0.5)
        with stage.nobody(forced=RETRY):
            island.cut_off()
            time.sleep(seconds)
        stage.pause(5.0, 4.0)
        with stage.nobody(forced=RETRY):
            island.mend()
        stage.pause(4.0, 3.0)
    stage.calm()
    stage.moves(4)
