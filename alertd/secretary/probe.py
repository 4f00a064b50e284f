"""One probe of a service: connect, and for HTTP ask and read the answer, or run a command; all in the plan's timeout.

Whatever the other side does is a `Finding`, never an exception. Only the standard library is used, and of an answer no
more is read than the check needs, so that a secretary stays small beside what it watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from contextlib import aclosing
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from alertd.secretary import command
from alertd.secretary.connection import LARGEST_LINE, connected
from alertd.secretary.plan import ExecCheck, HttpCheck
from alertd.secretary.verdict import GOOD, Finding

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from alertd.secretary.plan import Check

LARGEST_BODY = 1024 * 1024
"""Bytes of an answer that are read, for `--expect-body`."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: .*)?\r?\n")
_MOST_HEADERS = 200
_LEAVE_SECONDS = 0.1

_REASONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((socket.gaierror, UnicodeError), "the host's name does not resolve"),
    ((ConnectionRefusedError,), "connection refused"),
    ((ConnectionError, EOFError), "connection closed without an answer"),
    ((ValueError,), "the answer is not HTTP"),
)
"""The first that fits; what is left are the system's own words, such as "no route to host"."""


class _Framing(NamedTuple):
    """How long the body is: chunked, or so many bytes at most."""

    is_chunked: bool
    length: int


class _Unfit(Exception):
    """The answer does not do; the message is the reason."""


async def probe(check: Check, timeout: float) -> Finding:  # noqa: ASYNC109 - a timeout is what a probe is about
    """Return what is found within `timeout` seconds."""
    if isinstance(check, ExecCheck):
        return await command.run(check.command, timeout)
    try:
        async with asyncio.timeout(timeout) as limit:
            if isinstance(check, HttpCheck):
                await _ask(check, limit)
            else:
                async with connected(check.host, check.port):
                    pass
    except TimeoutError:
        return Finding(good=False, reason=f"no answer within {timeout:g} s", hung=True)
    except (_Unfit, OSError, EOFError, ValueError) as error:
        return Finding(good=False, reason=_reason(error))
    return GOOD


def _reason(error: Exception) -> str:
    """Say in a few words what went wrong. ValueErrors come from overlong lines and from numbers that are none."""
    if isinstance(error, _Unfit):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}"
    for kinds, text in _REASONS:
        if isinstance(error, kinds):
            return text
    return str(getattr(error, "strerror", None) or type(error).__name__).lower()


@cache
def _trust() -> ssl.SSLContext:
    """Return what verifies certificates: the system's authorities; made once, since it takes memory."""
    return ssl.create_default_context()


async def _ask(check: HttpCheck, limit: asyncio.Timeout) -> None:
    """Send a GET and raise `_Unfit` unless the answer is as expected; the `limit` is for that alone."""
    request = (
        f"GET {check.target} HTTP/1.1\r\nHost: {check.host_header}\r\nUser-Agent: alertd-secretary\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    async with connected(check.host, check.port, _trust() if check.is_tls else None) as (reader, writer):
        writer.write(request.encode())
        status = await _read_status(reader)
        while 100 <= status < 200:
            await _read_headers(reader)
            status = await _read_status(reader)
        if status not in check.statuses:
            raise _Unfit(f"HTTP {status}")
        if check.body:
            await _expect_body(reader, check.body.encode())
        limit.reschedule(None)
        await _take_leave(reader)


async def _read_status(reader: asyncio.StreamReader) -> int:
    line = await reader.readline()
    if not line:
        raise EOFError
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise _Unfit("the answer is not HTTP")
    return int(match[1])


async def _read_headers(reader: asyncio.StreamReader) -> _Framing:
    """Read the headers and return what they say of the body."""
    is_chunked, length = False, LARGEST_BODY
    for _ in range(_MOST_HEADERS):
        line = await reader.readline()
        if not line.strip():
            return _Framing(is_chunked=is_chunked, length=length)
        name, _, value = line.partition(b":")
        field = name.strip().lower()
        if field == b"transfer-encoding":
            is_chunked = b"chunked" in value.lower()
        elif field == b"content-length":
            length = int(value)
    raise _Unfit("the answer has too many headers")


async def _expect_body(reader: asyncio.StreamReader, expected: bytes) -> None:
    """Read until the expected bytes appear; raise `_Unfit` if they do not."""
    framing = await _read_headers(reader)
    body = bytearray()
    async with aclosing(_chunks(reader) if framing.is_chunked else _pieces(reader, framing.length)) as pieces:
        async for piece in pieces:
            begin = max(0, len(body) - len(expected))
            body += piece
            if body.find(expected, begin) >= 0:
                return
            if len(body) >= LARGEST_BODY:
                raise _Unfit("the first 1 MiB of the body lacks the expected text")
    raise _Unfit("the body lacks the expected text")


async def _pieces(reader: asyncio.StreamReader, length: int) -> AsyncGenerator[bytes, None]:
    """Yield a body of `length` bytes, or what there is of it."""
    while length > 0 and (piece := await reader.read(min(length, LARGEST_LINE))):
        length -= len(piece)
        yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a chunked body (RFC 9112, section 7.1)."""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        if not 0 < size <= LARGEST_BODY:
            raise _Unfit("the body comes in chunks of over 1 MiB")
        yield await reader.readexactly(size)
        await reader.readline()


async def _take_leave(reader: asyncio.StreamReader) -> None:
    """Read what is left if it comes at once: a service must not find its log full of connections that were reset."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEAVE_SECONDS):
            async for _ in _pieces(reader, LARGEST_BODY):
                pass
