"""What systemd is told of a process that it supervises: ready, reloading, stopping, a line of status, signs of life.

Source: sd_notify(3) and sd_watchdog_enabled(3). Outside of a unit with `Type=notify` nothing is sent. A supervisor that
does not listen never troubles the one that is supervised.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_STATUS_SECONDS = 10.0
_SIGNS_PER_TIMEOUT = 3
_PATIENCE_SECONDS = 0.5
"""With a supervisor whose queue is full; beyond it what we say is lost, since nobody may hold us up."""


class ServiceManager:
    """The end of systemd's notification socket that is ours; `environ` tells where it is and what it expects."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        timeout = _watchdog_seconds(environ)
        self._has_watchdog = timeout > 0
        self._tick = timeout / _SIGNS_PER_TIMEOUT if timeout else _STATUS_SECONDS
        self._status = ""

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, is done, and how things stand since."""
        self._status = status
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` ends that."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that we end on purpose."""
        self._send("STOPPING=1")

    async def report(self, status: Callable[[], str]) -> None:
        """Give a sign of life thrice in the watchdog's time, for ever, and the status in one line when it changes.

        That it comes shows that the event loop is alive, and no more: trouble with etcd is no reason to be restarted.
        """
        while self._address:
            shown = status().replace("\n", " ")
            news = [f"STATUS={shown}"] if shown != self._status else []
            self._status = shown
            self._send(*news, *(["WATCHDOG=1"] if self._has_watchdog else []))
            await asyncio.sleep(self._tick)

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.settimeout(_PATIENCE_SECONDS)
            end.sendto("\n".join(lines).encode(), address)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return the time without a sign of life after which systemd ends us; 0 if it never does."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
