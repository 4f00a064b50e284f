"""Probes of real servers on loopback that answer well, badly, slowly or not at all."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from alertd.secretary import probe as probing
from alertd.secretary.plan import read_plan
from alertd.secretary.verdict import GOOD, Finding
from tests.etcd_server import free_port

if TYPE_CHECKING:
    from pathlib import Path

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


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for is bad; one that is trusted is good."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        writer.close()

    async def ask() -> tuple[Finding, Finding]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
            address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            check = read_plan({"service": "s", "instance": "i", "check": address}, {}).check
            distrusting = await probing.probe(check, 2)
            monkeypatch.setattr(probing, "_trust", lambda: ssl.create_default_context(cafile=certificate))
            return distrusting, await probing.probe(check, 2)

    distrusting, trusting = asyncio.run(ask())
    assert distrusting.reason.startswith("TLS: self")
    assert trusting == GOOD
