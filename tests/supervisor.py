"""A service manager's end of the notification socket, as sd_notify(3) describes it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Self


class Supervisor:
    """Collects the datagrams that arrive at `address`, a path or an abstract name that begins with a NUL."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(0)
        self.all: list[str] = []
        """Whatever has been heard."""

    def heard(self) -> list[str]:
        """Return what has come since the last look."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(4096).decode())
        self.all += messages
        return messages

    def has_heard(self, text: str) -> bool:
        """Whether anything heard so far contains this."""
        self.heard()
        return any(text in message for message in self.all)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
