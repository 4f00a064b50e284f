"""A webhook receiver on loopback, so that what is shown as sent has really arrived somewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Callable

_LARGEST = 1 << 20


class Message(NamedTuple):
    """A notification as Apprise's `json://` posts it."""

    title: str
    body: str


class Inbox:
    """Serves HTTP while it is entered; `receive` is called on the event loop with every message."""

    def __init__(self, receive: Callable[[Message], None]) -> None:
        self._receive = receive
        self._server: asyncio.Server | None = None
        self.url = ""
        """Where to send to, as an Apprise URL; known once entered."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"json://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer one request, and hang up."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            is_good = self._take(await _body(reader))
            status = "200 OK" if is_good else "400 Bad Request"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    def _take(self, body: bytes) -> bool:
        try:
            document = json.loads(body)
            message = Message(str(document["title"]), str(document["message"]))
        except (ValueError, TypeError, KeyError):
            return False
        self._receive(message)
        return True


async def _body(reader: StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return await reader.readexactly(min(int(value), _LARGEST))
    return b""
