"""What is said to people when TLS does not come about: certificates on either side, and the files they come from."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from alertd.errors import AlertdError, EtcdRefused
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from tests.certificates import FOR_CLIENTS, Pair, authority, openssl, signed
from tests.etcd.following import complaint, run
from tests.etcd_server import HOST, EtcdServer

WANTS_A_CERTIFICATE = "wants a client certificate that its CA vouches for"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Give an authority; what it signs lies in its folder."""
    return authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(ca: Pair) -> Pair:
    """Give a certificate for 127.0.0.1."""
    return signed(ca, "etcd")


@pytest.fixture(scope="module", params=["server", "mutual"])
def tls_etcd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ca: Pair, server: Pair
) -> Iterator[EtcdServer]:
    """Give an etcd that speaks TLS; `mutual` wants a client certificate besides."""
    flags = [f"--cert-file={server.cert}", f"--key-file={server.key}"]
    if request.param == "mutual":
        flags += ["--client-cert-auth", f"--trusted-ca-file={ca.cert}"]
    with EtcdServer(tmp_path_factory.mktemp("etcd"), flags=flags, scheme="https") as etcd:
        yield etcd


def is_mutual(etcd: EtcdServer) -> bool:
    """Whether it wants a client certificate."""
    return "--client-cert-auth" in etcd.flags


def context_with(pair: Pair) -> ssl.SSLContext:
    """Return what a server needs that shows `pair` and speaks HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    context.set_alpn_protocols(["h2"])
    return context


@contextmanager
def tls_listener(context: ssl.SSLContext) -> Iterator[str]:
    """Shake hands with whoever comes and hang up; yield the address."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), near, context.wrap_socket(near, server_side=True) as tls:
                tls.recv(1)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"{HOST}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def said_of(cert: Pair, *, ca: Path) -> str:
    """Return what is said of a server that shows `cert` to one who trusts `ca`."""
    with tls_listener(context_with(cert)) as address:
        error = complaint(EtcdSettings(endpoints=(address,), ca=ca))
        assert isinstance(error, EtcdRefused)
        return str(error)


# --- etcd's certificate ----------------------------------------------------------------------------------------------


def test_tls_with_the_right_ca(tls_etcd: EtcdServer, ca: Pair, server: Pair) -> None:
    """With a client certificate where one is wanted."""
    cert, key = server if is_mutual(tls_etcd) else (None, None)

    async def story() -> None:
        settings = EtcdSettings(endpoints=(tls_etcd.endpoint,), ca=ca.cert, cert=cert, key=key)
        async with Client(settings) as client:
            assert await client.put(b"key", b"1") > 1

    run(story())


def test_tls_with_a_wrong_ca(tls_etcd: EtcdServer, ca: Pair) -> None:
    """An operator must act, and is told where."""
    other = authority(ca.cert.parent, "other")
    error = complaint(EtcdSettings(endpoints=(tls_etcd.endpoint,), ca=other.cert))
    assert isinstance(error, EtcdRefused)
    assert str(error).endswith("shows a certificate that the CA does not vouch for; check --etcd-ca")


def test_a_certificate_of_etcds_that_has_expired(ca: Pair) -> None:
    """It is no fault of the CA's."""
    assert "shows a certificate that has expired; renew it" in said_of(signed(ca, "old", days=-1), ca=ca.cert)


def test_a_certificate_of_etcds_for_another_name(ca: Pair) -> None:
    """The name in --etcd must be one of those in the certificate."""
    elsewhere = signed(ca, "elsewhere", "subjectAltName=DNS:etcd.example\n")
    assert "for other names; use one of them in --etcd" in said_of(elsewhere, ca=ca.cert)


def test_plain_text_to_an_etcd_that_wants_tls(tls_etcd: EtcdServer) -> None:
    """It hangs up; the message thinks of TLS."""
    assert "--etcd-ca" in str(complaint(EtcdSettings(endpoints=(tls_etcd.endpoint,), timeout=5.0)))


def test_tls_to_an_etcd_that_speaks_plain_text(shared_etcd: EtcdServer, ca: Pair) -> None:
    """The message says which options are too many."""
    error = complaint(EtcdSettings(endpoints=(shared_etcd.endpoint,), ca=ca.cert, timeout=5.0))
    assert "if it speaks plain text, leave --etcd-ca and --etcd-cert out" in str(error)


# --- ours ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls_etcd", ["mutual"], indirect=True)
def test_no_client_certificate_where_one_is_wanted(tls_etcd: EtcdServer, ca: Pair) -> None:
    """The cure is named."""
    error = complaint(EtcdSettings(endpoints=(tls_etcd.endpoint,), ca=ca.cert))
    assert WANTS_A_CERTIFICATE in str(error)
    assert "give --etcd-cert and --etcd-key" in str(error)


@pytest.mark.parametrize("tls_etcd", ["mutual"], indirect=True)
def test_a_client_certificate_that_has_expired(tls_etcd: EtcdServer, ca: Pair) -> None:
    """It is refused as one that is not there would be."""
    cert, key = signed(ca, "late", FOR_CLIENTS, days=-1)
    error = complaint(EtcdSettings(endpoints=(tls_etcd.endpoint,), ca=ca.cert, cert=cert, key=key))
    assert isinstance(error, EtcdRefused)
    assert WANTS_A_CERTIFICATE in str(error)


def test_a_client_certificate_that_is_missed_after_the_handshake(ca: Pair, server: Pair) -> None:
    """TLS 1.3 refuses it once our side of the handshake is done: to gRPC that is a connection that breaks."""
    context = context_with(server)
    context.minimum_version, context.verify_mode = ssl.TLSVersion.TLSv1_3, ssl.CERT_REQUIRED
    context.load_verify_locations(ca.cert)
    with tls_listener(context) as address:
        error = complaint(EtcdSettings(endpoints=(address,), ca=ca.cert))
    assert isinstance(error, EtcdRefused)
    assert WANTS_A_CERTIFICATE in str(error)


def test_files_that_cannot_be_used_are_named(ca: Pair, server: Pair, tmp_path: Path) -> None:
    """Before anything is sent, since gRPC takes them for an etcd out of reach."""
    text, damaged, locked = tmp_path / "text", tmp_path / "damaged", tmp_path / "locked"
    text.write_text("hello\n")
    damaged.write_text(f"{'-' * 5}BEGIN CERTIFICATE{'-' * 5}\nabcd\n{'-' * 5}END CERTIFICATE{'-' * 5}\n")
    openssl("pkcs8", "-topk8", "-in", server.key, "-out", locked, "-passout", "pass:secret")
    for settings, says in (
        (EtcdSettings(ca=tmp_path / "none"), r"^--etcd-ca: cannot read .*/none: No such file"),
        (EtcdSettings(ca=text), r"^--etcd-ca: .*/text holds no certificate in PEM form"),
        (EtcdSettings(ca=damaged), r"^--etcd-ca: .*/damaged is damaged"),
        (EtcdSettings(cert=tmp_path / "none"), "belong together"),
        (EtcdSettings(cert=server.cert, key=text), r"^--etcd-key: .*/text holds no private key in PEM form"),
        (EtcdSettings(cert=damaged, key=server.key), r"^--etcd-cert, --etcd-key: .* is damaged"),
        (EtcdSettings(cert=server.cert, key=ca.key), "the key is not that of the certificate"),
        (EtcdSettings(cert=server.cert, key=locked), "is locked with a passphrase"),
    ):
        with pytest.raises(AlertdError, match=says):
            Client(settings)
