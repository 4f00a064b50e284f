"""A connection to a host and port, whose name is looked up aside: a resolver that hangs holds up nobody else.

A lookup goes on when whoever asked has lost patience; the next who asks for the same joins it, so that there is never
more than one thread for an address.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from alertd.secretary.aside import start_aside

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

LARGEST_LINE = 64 * 1024
"""Bytes that a line of an answer may have."""


class _Address(NamedTuple):
    """One way to reach a host, as getaddrinfo(3) gives it."""

    family: int
    kind: int
    protocol: int
    name: str
    socket_address: tuple[object, ...]


_lookups: dict[tuple[str, int], Future[list[_Address]]] = {}


@asynccontextmanager
async def connected(
    host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, with TLS where there is a context for it; raise OSError, or UnicodeError for what cannot be a name."""
    end = await _connect(await _look_up(host, port))
    try:
        name = host if tls else None
        reader, writer = await asyncio.open_connection(sock=end, ssl=tls, server_hostname=name, limit=LARGEST_LINE)
    except BaseException:
        end.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.close()
        if tls is None:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        else:
            writer.transport.abort()


async def _connect(addresses: list[_Address]) -> socket.socket:
    """Connect to the first address that can be reached; raise what the first one says if none can."""
    failures: list[OSError] = []
    for address in addresses:
        end = socket.socket(address.family, address.kind, address.protocol)
        end.settimeout(0)
        try:
            await asyncio.get_running_loop().sock_connect(end, address.socket_address)
        except OSError as failure:
            end.close()
            failures.append(failure)
        except BaseException:
            end.close()
            raise
        else:
            return end
    raise failures[0] if failures else socket.gaierror(socket.EAI_NODATA, "no address")


async def _look_up(host: str, port: int) -> list[_Address]:
    with contextlib.suppress(socket.gaierror):
        return _ask(host, port, socket.AI_NUMERICHOST)
    lookup = _lookups.get((host, port))
    if lookup is None:
        lookup = _lookups[host, port] = Future()
        lookup.set_running_or_notify_cancel()  # from now on nobody who waits for it can cancel it
        try:
            start_aside(partial(_answer, lookup, host, port))
        except OSError:
            del _lookups[host, port]
            raise
    return await asyncio.wrap_future(lookup)


def _answer(lookup: Future[list[_Address]], host: str, port: int) -> None:
    """Ask the resolver, for as long as that takes; who asks after that asks anew."""
    try:
        found = _ask(host, port)
    except Exception as error:  # noqa: BLE001 - whoever waits is told
        del _lookups[host, port]
        lookup.set_exception(error)
    else:
        del _lookups[host, port]
        lookup.set_result(found)


def _ask(host: str, port: int, flags: int = 0) -> list[_Address]:
    return [_Address(*found) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)]
