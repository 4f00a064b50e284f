"""Probes of real servers on loopback that answer well, badly, slowly or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from alertd.secretary import probe as probing
from alertd.secretary.plan import read_plan
from alertd.secretary.verdict import GOOD, Finding
from tests.certificates import authority, signed
from tests.etcd_server import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.certificates import Pair

OK = b"HTTP/1.1 200 OK\r\n\r\n"


def probe_of(answer: bytes | None, check: str = "http", *, timeout: float = 1.0, **options: str) -> Finding:
    """Return what a probe finds at a server that answers so, closing afterwards; None never answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if check == "http":
            requests.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    async def ask() -> Finding:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            address = f"{check}://127.0.0.1:{port}" + ("/a?b=c" if check == "http" else "")
            texts = {"service": "s", "instance": "i", "check": address}
            texts |= {name.replace("_", "-"): text for name, text in options.items()}
            return await probing.probe(read_plan(texts, {}).check, timeout)

    requests: list[bytes] = []
    finding = asyncio.run(ask())
    assert all(request.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:") for request in requests)
    return finding


def bad(reason: str) -> Finding:
    """Return a finished bad finding."""
    return Finding(good=False, reason=reason)


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_2xx_and_3xx_are_good(status: int) -> None:
    """A redirect is an answer and is not followed, so it cannot loop."""
    assert probe_of(b"HTTP/1.1 %d Some Reason\r\nLocation: /a?b=c\r\n\r\n" % status) == GOOD


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_other_statuses_are_bad(status: int) -> None:
    """And are the reason."""
    assert probe_of(b"HTTP/1.1 %d\r\n\r\n" % status) == bad(f"HTTP {status}")


def test_a_redirect_is_not_followed() -> None:
    """So it can neither loop nor lead elsewhere; who wants 200 gets 200 or a reason."""
    loop = b"HTTP/1.1 302 Found\r\nLocation: /a?b=c\r\n\r\n"
    assert probe_of(loop) == GOOD
    assert probe_of(loop, expect_status="200") == bad("HTTP 302")


def test_what_comes_before_the_answer_is_skipped() -> None:
    """`100 Continue` is no answer."""
    assert probe_of(b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 503 No\r\n\r\n") == bad("HTTP 503")


def test_an_expected_status() -> None:
    """It takes the place of 2xx and 3xx."""
    assert probe_of(b"HTTP/1.1 401 No\r\n\r\n", expect_status="401") == GOOD
    assert probe_of(OK, expect_status="401") == bad("HTTP 200")


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"all is well",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nall i\r\n6;x=y\r\ns well\r\n0\r\n\r\n",
    ],
)
def test_an_expected_body_is_found_however_it_is_sent(answer: bytes) -> None:
    """Also across the border of two chunks."""
    assert probe_of(answer, expect_body="is well") == GOOD
    assert probe_of(answer, expect_body="is ill") == bad("the body lacks the expected text")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "connection closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (b"x" * 200_000, "the answer is not HTTP"),
        (b"HTTP/1.1 999 Odd\r\n\r\n", "the answer is not HTTP"),
    ],
)
def test_what_is_no_http_is_bad(answer: bytes, reason: str) -> None:
    """And never an exception."""
    assert probe_of(answer) == bad(reason)


def test_an_odd_body_is_bad() -> None:
    """A chunk without a size, and a body that never says what it should."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert probe_of(chunked + b"zz\r\n", expect_body="a") == bad("the answer is not HTTP")
    assert (
        probe_of(OK + b"x" * 2_000_000, expect_body="a").reason == "the first 1 MiB of the body lacks the expected text"
    )


def test_a_server_that_never_answers_hangs_the_probe_for_its_timeout() -> None:
    """And is told apart from one that answers badly."""
    began = time.monotonic()
    assert probe_of(None, timeout=0.2) == Finding(good=False, reason="no answer within 0.2 s", hung=True)
    assert time.monotonic() - began < 1


def test_tcp_is_good_if_it_connects() -> None:
    """Whatever is said afterwards."""
    assert probe_of(b"", "tcp") == GOOD


def test_a_closed_port_and_an_unknown_name() -> None:
    """Both say what they are."""
    for check, reason in (
        (f"tcp://127.0.0.1:{free_port()}", "connection refused"),
        (f"http://127.0.0.1:{free_port()}/", "connection refused"),
        ("http://no-such-host.invalid/", "the host's name does not resolve"),
        (f"http://{'a' * 70}.invalid/", "the host's name does not resolve"),
    ):
        plan = read_plan({"service": "s", "instance": "i", "check": check}, {})
        assert asyncio.run(probing.probe(plan.check, 5)) == bad(reason)


async def ask_tls(pair: Pair | None, trusted: Path | None, monkeypatch: pytest.MonkeyPatch) -> Finding:
    """Return what an https probe finds at a server with a certificate, or without TLS, if one authority is trusted."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\n")
        writer.write(OK)
        writer.close()

    context = None
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
    if trusted is not None:
        monkeypatch.setattr(probing, "_trust", lambda: ssl.create_default_context(cafile=trusted))
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        return await probing.probe(read_plan({"service": "s", "instance": "i", "check": address}, {}).check, 5)


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed by a trusted authority: good. By nobody known, for another host, expired, or no TLS: why it is not."""
    ca = authority(tmp_path)
    expired = signed(ca, "expired", days=-1)
    other = signed(ca, "other", "subjectAltName=DNS:other.example,IP:127.0.0.2\n")
    for pair, trusted, reason in (
        (signed(ca, "good"), ca.cert, ""),
        (ca, None, "TLS: self"),
        (other, ca.cert, "TLS: IP address mismatch, certificate is not valid for '127.0.0.1'"),
        (expired, ca.cert, "TLS: certificate has expired"),
        (None, ca.cert, "TLS: "),
    ):
        with monkeypatch.context() as patch:
            finding = asyncio.run(ask_tls(pair, trusted, patch))
        assert finding.good is not bool(reason)
        assert finding.reason.startswith(reason)
        assert not finding.hung


def trickle(timeout: float) -> Finding:
    """Return what a probe finds at a server that sends its answer, and then a body without end, byte by byte."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in OK + b"x" * 100_000:
            if writer.is_closing():
                break
            writer.write(bytes([byte]))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(0.02)
        over.set()

    async def ask() -> Finding:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            check = read_plan({"service": "s", "instance": "i", "check": address}, {}).check
            found = await probing.probe(check, timeout)
            await over.wait()
            return found

    over = asyncio.Event()
    return asyncio.run(ask())


def test_an_answer_that_trickles_is_good_if_it_comes_in_time() -> None:
    """A body that nobody asked for is not awaited."""
    assert trickle(5.0) == GOOD


def test_an_answer_that_trickles_cannot_stretch_a_probe() -> None:
    """The time is for the whole of it."""
    assert trickle(0.1) == Finding(good=False, reason="no answer within 0.1 s", hung=True)


def test_the_time_is_for_the_verdict_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes at the last moment counts, though leaving takes a little longer."""
    monkeypatch.setattr(probing, "_LEAVE_SECONDS", 1.0)
    assert trickle(0.9) == GOOD
