"""Real receivers for tests: an inbox for webhooks that can misbehave, and one for mail."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiosmtpd.smtp import Envelope, Session

Arrivals = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request is answered, and after how many `seconds`.

    `hang` never answers, `trickle` sends a byte a second, `trickle_body` those of the body alone; all until the inbox
    ends. `break_off` hangs up instead of answering, though the message is taken.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"ok"
    hang: bool = False
    trickle: bool = False
    trickle_body: bool = False
    break_off: bool = False
    reason: str | None = None
    seconds: float = 0.0


class Box:
    """What has arrived, in order, and a way to wait for it."""

    def __init__(self) -> None:
        self.received: Arrivals = []
        self._arrived = threading.Condition()

    def put(self, item: dict[str, Any]) -> None:
        """Add an arrival."""
        with self._arrived:
            self.received.append(item)
            self._arrived.notify_all()

    def wait_for(self, predicate: Callable[[Arrivals], object], timeout: float = 5.0) -> Arrivals:
        """Return all arrivals once `predicate(arrivals)` holds; fail the test if it does not within `timeout` s."""
        with self._arrived:
            held = self._arrived.wait_for(lambda: predicate(self.received), timeout)
            assert held, f"not within {timeout} s; received: {self.received}"
            return list(self.received)

    def wait_for_count(self, count: int, timeout: float = 5.0) -> Arrivals:
        """Return all arrivals once there are `count`."""
        return self.wait_for(lambda received: len(received) >= count, timeout)


class HttpInbox(Box):
    """Records each request as the members of its body, if that is a JSON object, and facts about it.

    Those are `method`, `path`, `headers`, `raw`, `at` (monotonic seconds), the `status` it was answered with, and that
    `answer` itself.
    Answers are taken from `answers` while there are any, then `default`.
    """

    def __init__(self, default: Answer, address: str) -> None:
        super().__init__()
        self.answers: deque[Answer] = deque()
        self.default = default
        self.address = address
        self.port = 0
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        """The inbox as an Apprise URL, without a path."""
        return f"json://{self.address}:{self.port}"

    def next_answer(self) -> Answer:
        """Take the answer for the request at hand."""
        try:
            return self.answers.popleft()
        except IndexError:
            return self.default


class _Handler(BaseHTTPRequestHandler):
    """Records a request in its server's inbox and answers as that says."""

    server: _Server

    def do_POST(self) -> None:
        """Take a message."""
        inbox = self.server.inbox
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = inbox.next_answer()
        facts = {
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers),
            "raw": raw,
            "at": monotonic(),
        }
        inbox.put({**_object_in(raw), **facts, "status": answer.status, "answer": answer})
        if answer.hang:
            inbox.ended.wait()
            self.close_connection = True
        elif answer.break_off:
            self.close_connection = True
        elif answer.trickle or answer.trickle_body:
            self._trickle(answer, inbox.ended)
        else:
            inbox.ended.wait(answer.seconds)
            self._answer(answer)

    def do_GET(self) -> None:
        """Take a request without a body."""
        self.do_POST()

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status, answer.reason)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _trickle(self, answer: Answer, ended: threading.Event) -> None:
        self.close_connection = True
        start = b"HTTP/1.1 %d OK\r\n" % answer.status
        if answer.trickle_body:
            self.wfile.write(start + b"Content-Length: 10000\r\n\r\n")
            start = b""
        for byte in start + b"X-Slow: " + b"z" * 10_000:
            self.wfile.write(bytes([byte]))
            if ended.wait(1.0):
                return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet."""


class _Server(ThreadingHTTPServer):
    """One inbox's server; its threads do not outlive the test."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, inbox: HttpInbox) -> None:
        super().__init__((inbox.address, 0), _Handler)
        self.inbox = inbox

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that went away is part of many tests."""


def _object_in(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


@contextmanager
def http_inbox(default: Answer = Answer(), address: str = "127.0.0.1") -> Iterator[HttpInbox]:
    """Run an inbox on an ephemeral port."""
    inbox = HttpInbox(default, address)
    server = _Server(inbox)
    inbox.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        inbox.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class MailInbox(Box):
    """Records each mail as `{"from", "to", "subject", "headers", "text", "html", "files"}`, the files by name.

    A `refusal` is the SMTP answer instead; so many as `trickles` get one that has no end, a line now and then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.refusal = ""
        self.trickles = 0

    @property
    def url(self) -> str:
        """The inbox as an Apprise URL."""
        return f"mailto://127.0.0.1:{self.port}?from=alertd@example.com&to=ops@example.com"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Take a mail."""
        if self.trickles:
            self.trickles -= 1
            while True:
                await server.push("250-wait")
                await asyncio.sleep(0.05)
        if self.refusal:
            return self.refusal
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        files = {part.get_filename(): part.get_payload(decode=True) for part in mail.walk() if part.get_filename()}
        self.put(
            {
                "from": str(mail["From"]),
                "to": envelope.rcpt_tos,
                "subject": str(mail["Subject"]),
                "headers": {name: str(value) for name, value in mail.items()},
                "text": parts.get("text/plain", ""),
                "html": parts.get("text/html", ""),
                "files": files,
            }
        )
        return "250 OK"


@contextmanager
def mail_inbox() -> Iterator[MailInbox]:
    """Run a mail server on an ephemeral port of loopback."""
    inbox = MailInbox()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = loop.create_server(lambda: SMTP(inbox, hostname="localhost", loop=loop), "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(listening, loop).result()
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        asyncio.run_coroutine_threadsafe(_wind_up(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _wind_up(server: asyncio.Server) -> None:
    """Close the server and end what still talks to it."""
    server.close()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
