"""Real receivers on loopback for tests: an inbox for webhooks that can misbehave, and one for mail."""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage

    from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request is answered. `hang` never answers, `trickle` sends a byte a second; both until the inbox ends."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"ok"
    hang: bool = False
    trickle: bool = False


class Box:
    """What has arrived, in order, and a way to wait for it."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self._arrived = threading.Condition()

    def put(self, item: dict[str, Any]) -> None:
        """Add an arrival."""
        with self._arrived:
            self.received.append(item)
            self._arrived.notify_all()

    def wait_for(
        self, predicate: Callable[[list[dict[str, Any]]], object], timeout: float = 5.0
    ) -> list[dict[str, Any]]:
        """Return all arrivals once `predicate(arrivals)` holds; fail the test if it does not within `timeout` s."""
        with self._arrived:
            held = self._arrived.wait_for(lambda: predicate(self.received), timeout)
            assert held, f"not within {timeout} s; received: {self.received}"
            return list(self.received)

    def wait_for_count(self, count: int, timeout: float = 5.0) -> list[dict[str, Any]]:
        """Return all arrivals once there are `count`."""
        return self.wait_for(lambda received: len(received) >= count, timeout)


@dataclass
class HttpInbox(Box):
    """Records each request as `{"path", "headers", "raw", "at", …}` merged with its body where that is a JSON object.

    Answers are taken from `answers` while there are any, then `default`.
    """

    answers: deque[Answer] = field(default_factory=deque)
    default: Answer = field(default_factory=Answer)
    port: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def url(self) -> str:
        """The inbox as an Apprise URL, without a path."""
        return f"json://127.0.0.1:{self.port}"

    def next_answer(self) -> Answer:
        """Take the answer for the request at hand."""
        try:
            return self.answers.popleft()
        except IndexError:
            return self.default


def _handler_for(inbox: HttpInbox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = inbox.next_answer()
            inbox.put(
                {
                    **_object_in(raw),
                    "path": self.path,
                    "headers": dict(self.headers),
                    "raw": raw,
                    "at": monotonic(),
                    "status": answer.status,
                }
            )
            if answer.hang:
                inbox.ended.wait()
                self.close_connection = True
            elif answer.trickle:
                self._trickle()
            else:
                self._answer(answer)

        do_GET = do_PUT = do_POST

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def _trickle(self) -> None:
            self.close_connection = True
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 10_000:
                try:
                    self.wfile.write(bytes([byte]))
                except OSError:
                    return
                if inbox.ended.wait(1.0):
                    return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Keep quiet."""

    return Handler


def _object_in(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that went away is part of many tests."""


@contextmanager
def http_inbox(default: Answer = Answer()) -> Iterator[HttpInbox]:
    """Run an inbox on an ephemeral port of loopback."""
    inbox = HttpInbox(default=default)
    server = _Server(("127.0.0.1", 0), _handler_for(inbox))
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
    """Records each mail as `{"from", "to", "subject", "text", "html"}`; `refusal` is an SMTP answer instead."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.refusal = ""

    @property
    def url(self) -> str:
        """The inbox as an Apprise URL."""
        return f"mailto://127.0.0.1:{self.port}?from=alertd@example.com&to=ops@example.com"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Take a mail."""
        if self.refusal:
            return self.refusal
        content = envelope.content
        assert isinstance(content, bytes)
        mail: EmailMessage = message_from_bytes(content, policy=policy.default)  # type: ignore[assignment]  # by policy
        parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        self.put(
            {
                "from": str(mail["From"]),
                "to": envelope.rcpt_tos,
                "subject": str(mail["Subject"]),
                "text": parts.get("text/plain", ""),
                "html": parts.get("text/html", ""),
            }
        )
        return "250 OK"


@contextmanager
def mail_inbox() -> Iterator[MailInbox]:
    """Run a mail server on an ephemeral port of loopback."""
    inbox = MailInbox()
    controller = _Controller(inbox, hostname="127.0.0.1", port=0)
    controller.start()
    assert controller.server is not None
    inbox.port = controller.server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        controller.stop()


class _Controller(Controller):
    def _trigger_server(self) -> None:
        """Skip the self-connection: it goes to the port asked for, and that is 0, "any"."""
