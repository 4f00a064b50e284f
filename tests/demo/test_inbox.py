"""The demo's webhook receiver."""

from __future__ import annotations

import asyncio
import json

import pytest

from alertd.demo.inbox import Inbox, Message


def post(body: bytes) -> tuple[bytes, list[Message]]:
    """Post a body to an inbox; return the first line of the answer and what the inbox made of it."""

    async def go() -> tuple[bytes, list[Message]]:
        received: list[Message] = []
        async with Inbox(received.append) as inbox:
            port = int(inbox.url.rstrip("/").rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        return answer.split(b"\r\n")[0], received

    return asyncio.run(go())


def test_a_notification_is_handed_on() -> None:
    """Title and body as Apprise posts them."""
    answer, received = post(json.dumps({"title": "[FIRING] 支付", "message": "since\nDOWN a"}).encode())
    assert answer == b"HTTP/1.1 200 OK"
    assert received == [Message("[FIRING] 支付", "since\nDOWN a")]


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}", b"\xff"])
def test_what_is_no_notification_is_refused(body: bytes) -> None:
    """400, and nothing is handed on."""
    assert post(body) == (b"HTTP/1.1 400 Bad Request", [])
