"""Hosts on one machine: network namespaces on a bridge, with an address each, that can be cut off and mended.

What is started, or opened, `inside()` a host has that host's network and nothing else. Linux and root are needed;
`why_not()` says what is missing.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_NET = "10.77.0"
_CLONE_NEWNET = 0x40000000


def ip(*arguments: str) -> None:
    """Run the command of that name; raise CalledProcessError."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@cache
def why_not() -> str:
    """Return why hosts cannot be made here, empty if they can."""
    if shutil.which("ip") is None:
        return "ip(8) is not installed (Debian: iproute2)"
    name = f"alertd-try-{os.getpid()}"
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        return f"no network namespaces: {error.stderr.strip()}"
    ip("netns", "del", name)
    return ""


class Host:
    """One host: a network namespace with an address on the bridge of its `lan`."""

    def __init__(self, lan: str, number: int) -> None:
        self.label = f"h{number}"
        self.name = f"{lan}-{self.label}"
        self.address = f"{_NET}.{number}"
        self._lan = lan
        self._port = f"port{number}"

    def __enter__(self) -> Self:
        ip("netns", "add", self.name)
        ip("-n", self._lan, "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("-n", self._lan, "link", "set", self._port, "master", "bridge", "up")
        ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        ip("netns", "del", self.name)

    def cut_off(self) -> None:
        """Pull its cable: packets are lost, connections stay open."""
        ip("-n", self._lan, "link", "set", self._port, "down")

    def mend(self) -> None:
        """Put the cable back."""
        ip("-n", self._lan, "link", "set", self._port, "up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have this thread, and what it starts, be on the host."""
        with Path("/proc/thread-self/ns/net").open("rb") as here, Path("/run/netns", self.name).open("rb") as there:
            _enter(there)
            try:
                yield
            finally:
                _enter(here)


def _enter(namespace: BinaryIO) -> None:
    """Move this thread into a network namespace, setns(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"setns {namespace.name}")


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Give so many hosts on one bridge; all is gone at the end."""
    lan = f"alertd-{os.getpid()}"
    with ExitStack() as stack:
        ip("netns", "add", lan)
        stack.callback(ip, "netns", "del", lan)
        ip("-n", lan, "link", "add", "bridge", "type", "bridge")
        ip("-n", lan, "link", "set", "bridge", "up")
        yield [stack.enter_context(Host(lan, number)) for number in range(1, count + 1)]
