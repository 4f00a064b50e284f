"""What is said to people when etcd does not answer, or not us: addresses, TLS, users and passwords."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from alertd.errors import AlertdError, EtcdRefused, EtcdUnavailable
from alertd.etcd.channel import EtcdSettings, parse_endpoints
from alertd.etcd.client import Client
from tests.etcd.following import run
from tests.etcd_server import HOST, EtcdServer, free_port

PASSWORD = "wonderful-p@ss"
TOKEN_ENDS_AFTER = 2.5
"""Seconds: a second idle, and etcd looks once a second."""


def complaint(settings: EtcdSettings) -> EtcdUnavailable:
    """Return what a read of one key raises."""

    async def story() -> EtcdUnavailable:
        async with Client(settings) as client:
            with pytest.raises(EtcdUnavailable) as caught:
                await client.get(b"key")
        return caught.value

    return run(story())


# --- what is said to people ------------------------------------------------------------------------------------------


def test_nobody_there() -> None:
    """A refused connection is named as such, at once."""
    address = f"{HOST}:{free_port()}"
    began = time.monotonic()
    error = complaint(EtcdSettings(endpoints=(address,), timeout=5.0))
    assert str(error) == f"etcd at {address} refuses the connection; is etcd running there?"
    assert not isinstance(error, EtcdRefused)
    assert time.monotonic() - began < 2


def test_a_name_that_does_not_resolve() -> None:
    """The cure is the option."""
    error = complaint(EtcdSettings(endpoints=("no-such-host.invalid:2379",), timeout=5.0))
    assert "no-such-host.invalid:2379" in str(error)


def test_a_port_that_is_not_etcds(shared_etcd: EtcdServer) -> None:
    """The metrics port speaks HTTP/1 only."""
    error = complaint(EtcdSettings(endpoints=(f"{HOST}:{shared_etcd.health_port}",)))
    assert "client port" in str(error)


def test_the_worst_of_several_is_said(shared_etcd: EtcdServer) -> None:
    """What an operator must mend tells more than an endpoint that is away."""
    wrong, away = f"{HOST}:{shared_etcd.health_port}", f"{HOST}:{free_port()}"
    assert wrong in str(complaint(EtcdSettings(endpoints=(wrong, away))))


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("127.0.0.1:2379", ("127.0.0.1:2379",)),
        ("a:1, b:2,a:1", ("a:1", "b:2")),
        ("http://a:1/", ("a:1",)),
        ("[::1]:2379", ("[::1]:2379",)),
    ],
)
def test_endpoints_are_read(text: str, endpoints: tuple[str, ...]) -> None:
    """As people write them; once each."""
    assert parse_endpoints(text) == endpoints


@pytest.mark.parametrize("text", ["", "a", "a:0", "a:65536", "https://a:1", "a:1,,b:2", "::1:2379", "user:pw@a:1"])
def test_what_is_no_endpoint_is_named(text: str) -> None:
    """With an example of one that is."""
    with pytest.raises(AlertdError, match="is not host:port, such as"):
        parse_endpoints(text)


# --- TLS -------------------------------------------------------------------------------------------------------------


class Certificates(NamedTuple):
    """A CA, another one, and what the first has signed for server and client."""

    ca: Path
    other_ca: Path
    server: Path
    server_key: Path


def openssl(*arguments: str | Path) -> None:
    """Run openssl quietly."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make them."""
    folder = tmp_path_factory.mktemp("tls")
    made = Certificates(*(folder / name for name in ("ca.pem", "other.pem", "server.pem", "server.key")))
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for ca in (made.ca, made.other_ca):
        openssl("req", "-x509", *key, "-keyout", ca.with_suffix(".key"), "-out", ca, "-subj", f"/CN={ca.stem}")
    request, names = folder / "server.csr", folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("req", *key[:-2], "-keyout", made.server_key, "-out", request, "-subj", "/CN=etcd")
    signer = ("-CA", made.ca, "-CAkey", made.ca.with_suffix(".key"), "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", request, *signer, "-extfile", names, "-out", made.server)
    return made


@pytest.fixture(scope="module", params=["server", "mutual"])
def tls_etcd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[EtcdServer]:
    """Give an etcd that speaks TLS; `mutual` wants a client certificate besides."""
    flags = [f"--cert-file={certificates.server}", f"--key-file={certificates.server_key}"]
    if request.param == "mutual":
        flags += ["--client-cert-auth", f"--trusted-ca-file={certificates.ca}"]
    with EtcdServer(tmp_path_factory.mktemp("etcd"), flags=flags, scheme="https") as server:
        yield server


def is_mutual(server: EtcdServer) -> bool:
    """Whether it wants a client certificate."""
    return "--client-cert-auth" in server.flags


def test_tls_with_the_right_ca(tls_etcd: EtcdServer, certificates: Certificates) -> None:
    """With a client certificate where one is wanted."""
    cert, key = (certificates.server, certificates.server_key) if is_mutual(tls_etcd) else (None, None)

    async def story() -> None:
        settings = EtcdSettings(endpoints=(tls_etcd.endpoint,), ca=certificates.ca, cert=cert, key=key)
        async with Client(settings) as client:
            assert await client.put(b"key", b"1") > 1

    run(story())


def test_tls_with_a_wrong_ca(tls_etcd: EtcdServer, certificates: Certificates) -> None:
    """An operator must act, and is told where."""
    error = complaint(EtcdSettings(endpoints=(tls_etcd.endpoint,), ca=certificates.other_ca, timeout=5.0))
    assert isinstance(error, EtcdRefused)
    assert "--etcd-ca" in str(error)


def test_plain_text_to_an_etcd_that_wants_tls(tls_etcd: EtcdServer) -> None:
    """It hangs up; the message thinks of TLS."""
    assert "--etcd-ca" in str(complaint(EtcdSettings(endpoints=(tls_etcd.endpoint,), timeout=5.0)))


def test_tls_to_an_etcd_that_speaks_plain_text(shared_etcd: EtcdServer, certificates: Certificates) -> None:
    """The message says which options are too many."""
    error = complaint(EtcdSettings(endpoints=(shared_etcd.endpoint,), ca=certificates.ca, timeout=5.0))
    assert "if it speaks plain text, leave --etcd-ca and --etcd-cert out" in str(error)


@pytest.mark.parametrize("tls_etcd", ["mutual"], indirect=True)
def test_no_client_certificate_where_one_is_wanted(tls_etcd: EtcdServer, certificates: Certificates) -> None:
    """The cure is named."""
    error = complaint(EtcdSettings(endpoints=(tls_etcd.endpoint,), ca=certificates.ca, timeout=5.0))
    assert "give --etcd-cert and --etcd-key" in str(error)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(AlertdError, match=r"--etcd-ca: cannot read .*/none: No such file"):
        Client(EtcdSettings(ca=tmp_path / "none"))
    with pytest.raises(AlertdError, match="belong together"):
        Client(EtcdSettings(cert=tmp_path / "none"))


# --- users -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give an etcd with users that is not guarded yet; its tokens end when idle for a second."""
    with EtcdServer(tmp_path_factory.mktemp("etcd"), flags=["--auth-token-ttl=1"]) as server:
        server.ctl("user", "add", f"root:{PASSWORD}")
        server.ctl("user", "grant-role", "root", "root")
        server.ctl("user", "add", f"reader:{PASSWORD}")
        server.ctl("role", "add", "services")
        server.ctl("role", "grant-permission", "services", "--prefix=true", "readwrite", "/services/")
        server.ctl("user", "grant-role", "reader", "services")
        yield server


def reader(server: EtcdServer) -> EtcdSettings:
    """Return what a user needs who may see the services alone."""
    return EtcdSettings(endpoints=(server.endpoint,), user="reader", password=PASSWORD, timeout=3.0)


def guard(server: EtcdServer) -> None:
    """Switch authentication on."""
    server.ctl("auth", "enable")
    server.ctl_flags = ("--user", f"root:{PASSWORD}")


def test_authentication_switched_on_live_and_tokens_that_end(guarded: EtcdServer) -> None:
    """The client logs in when it is asked to, again when its token has ended, and many calls log in once."""

    async def story() -> None:
        async with Client(reader(guarded)) as client:
            await client.put(b"/services/a", b"1")
            assert client.metadata() == ()
            guard(guarded)
            await asyncio.gather(*(client.get(b"/services/a") for _ in range(10)))
            token = client.metadata()
            assert token
            await asyncio.sleep(TOKEN_ENDS_AFTER)
            assert await client.get(b"/services/a") is not None
            assert client.metadata() != token
            guarded.restart()
            assert await client.put(b"/services/a", b"2") > 1

    run(story())


def test_a_wrong_password_no_password_and_a_missing_permission(guarded: EtcdServer) -> None:
    """Each is said for people, and the password is in none of them."""
    guard(guarded)
    where = (guarded.endpoint,)
    wrong = complaint(EtcdSettings(endpoints=where, user="reader", password="not-" + PASSWORD, timeout=3.0))
    nobody = complaint(EtcdSettings(endpoints=where, timeout=3.0))
    barred = complaint(reader(guarded))
    assert "refused the user or the password; check --etcd-user and ALERTD_ETCD_PASSWORD" in str(wrong)
    assert "wants a user and a password; give --etcd-user and ALERTD_ETCD_PASSWORD" in str(nobody)
    assert "does not permit that to this user" in str(barred)
    for error in (wrong, nobody, barred):
        assert isinstance(error, EtcdRefused)
        assert PASSWORD not in str(error)
    assert PASSWORD not in repr(EtcdSettings(password=PASSWORD))
