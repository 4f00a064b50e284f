"""Who we are to etcd, by password or by certificate, what each may do, and what is said to people if that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, created_at, put_op
from tests.certificates import FOR_CLIENTS, authority, signed
from tests.etcd.following import complaint, run
from tests.etcd_server import Cut, EtcdCluster, EtcdServer

PASSWORD = "wonderful-p@ss"
TOKEN_ENDS_AFTER = 2.5
"""Seconds: a second idle, and etcd looks once a second."""
CHEAP = "--bcrypt-cost=4"
"""What a login costs a server is not the subject here."""


def appoint(server: EtcdServer) -> None:
    """Make root, and a reader who may see and change the services alone."""
    server.ctl("user", "add", f"root:{PASSWORD}")
    server.ctl("user", "grant-role", "root", "root")
    server.ctl("user", "add", f"reader:{PASSWORD}")
    server.ctl("role", "add", "services")
    server.ctl("role", "grant-permission", "services", "--prefix=true", "readwrite", "/services/")
    server.ctl("user", "grant-role", "reader", "services")


def reader(*endpoints: str) -> EtcdSettings:
    """Return what the reader needs."""
    return EtcdSettings(endpoints=endpoints, user="reader", password=PASSWORD, timeout=10.0)


def guard(server: EtcdServer) -> None:
    """Switch authentication on."""
    server.ctl("auth", "enable")
    server.ctl_flags = ("--user", f"root:{PASSWORD}")


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give an etcd with users that is not guarded yet."""
    with EtcdServer(tmp_path_factory.mktemp("etcd"), flags=[CHEAP]) as server:
        appoint(server)
        yield server


@pytest.fixture
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give one whose tokens end when they are idle for a second."""
    with EtcdServer(tmp_path_factory.mktemp("etcd"), flags=[CHEAP, "--auth-token-ttl=1"]) as server:
        appoint(server)
        yield server


# --- logging in ------------------------------------------------------------------------------------------------------


def test_authentication_switched_on_and_off_live_and_tokens_that_end(forgetful: EtcdServer) -> None:
    """The client logs in when it is asked to, again when its token has ended, and many calls log in once."""

    async def story() -> None:
        async with Client(reader(forgetful.endpoint)) as client:
            await client.put(b"/services/a", b"1")
            assert client.metadata() == ()
            guard(forgetful)
            await asyncio.gather(*(client.get(b"/services/a") for _ in range(10)))
            token = client.metadata()
            assert token
            await asyncio.sleep(TOKEN_ENDS_AFTER)
            assert await client.get(b"/services/a") is not None
            assert client.metadata() != token
            forgetful.restart()
            assert await client.put(b"/services/a", b"2") > 1
            forgetful.ctl("auth", "disable")
            assert await client.put(b"/elsewhere", b"3") > 1
            forgetful.ctl_flags = ()
            guard(forgetful)
            with pytest.raises(EtcdRefused, match="does not permit user reader to write /elsewhere"):
                await client.put(b"/elsewhere", b"4")

    run(story())


def test_a_member_that_does_not_know_the_token_is_logged_in_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each member counts for itself how long a simple token is idle: one that is used here ends there."""
    with EtcdCluster(tmp_path_factory.mktemp("cluster"), flags=[CHEAP, "--auth-token-ttl=1"]) as cluster:
        first, second, _ = cluster.members
        appoint(first)
        guard(first)

        async def story() -> None:
            async with Client(reader(*cluster.endpoints)) as client:
                await client.put(b"/services/a", b"1")
                token, ends_at = client.metadata(), time.monotonic() + TOKEN_ENDS_AFTER
                while time.monotonic() < ends_at:
                    await client.get(b"/services/a")
                    await asyncio.sleep(0.1)
                assert (client.endpoint, client.metadata()) == (first.endpoint, token)
                client.leave(first.endpoint)
                assert await client.put(b"/services/a", b"2") > 1
                assert client.endpoint == second.endpoint
                assert client.metadata() != token

        run(story())


def test_a_login_that_hangs_leaves_a_write_unsent(guarded: EtcdServer) -> None:
    """So it may go to the next endpoint, unlike a write that hangs."""
    guard(guarded)

    async def story() -> None:
        with Cut(guarded.endpoint) as cut:
            cut.hold()
            settings = EtcdSettings((cut.endpoint, guarded.endpoint), user="reader", password=PASSWORD, timeout=2.0)
            async with Client(settings) as client:
                assert await client.put(b"/services/a", b"1") > 1

    run(story())


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_wrong_password_no_password_and_a_missing_permission(guarded: EtcdServer) -> None:
    """Each is said for people, and the password is in none of them."""
    guard(guarded)
    where = (guarded.endpoint,)
    wrong = complaint(EtcdSettings(endpoints=where, user="reader", password="not-" + PASSWORD, timeout=3.0))
    nobody = complaint(EtcdSettings(endpoints=where, timeout=3.0))
    barred = complaint(reader(guarded.endpoint))
    assert "refused user reader, or the password; check --etcd-user and ALERTD_ETCD_PASSWORD[_FILE]" in str(wrong)
    assert "wants a user and a password; give --etcd-user and ALERTD_ETCD_PASSWORD[_FILE]" in str(nobody)
    assert "does not permit user reader to read key; grant it" in str(barred)
    for error in (wrong, nobody, barred):
        assert isinstance(error, EtcdRefused)
        assert PASSWORD not in str(error)
    assert PASSWORD not in repr(EtcdSettings(password=PASSWORD))


def test_what_is_not_permitted_is_named(guarded: EtcdServer) -> None:
    """The verb and the key tell which permission is missing; a key that is not text does not garble the line."""
    guard(guarded)
    lease = guarded.ctl("lease", "grant", "60").split()[1]
    guarded.ctl("put", "/a", "", f"--lease={lease}")

    async def story() -> list[str]:
        said = []
        async with Client(reader(guarded.endpoint)) as client:
            for attempt in (
                client.put(b"/a\n\xff", b""),
                client.delete(b"/a"),
                client.txn([created_at(b"/a", 0)], [put_op(b"/a", b"")]),
                anext(client.list_prefix(b"/a/")),
                client.lease_revoke(int(lease, 16)),
            ):
                with pytest.raises(EtcdUnavailable) as caught:
                    await attempt
                said.append(str(caught.value).split(" to ")[1].split(";")[0])
        return said

    keys = ["write /a\\xff", "delete /a", "read and write /a", "read keys from /a/ on"]
    assert run(story()) == [*keys, f"use lease {lease.lstrip('0')}"]


# --- users by certificate --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def naming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EtcdServer, dict[str, EtcdSettings]]]:
    """Give a guarded etcd that takes the common name for the user, and settings with certificates by their names."""
    ca = authority(tmp_path_factory.mktemp("tls"))
    server, root = signed(ca, "etcd"), signed(ca, "root", FOR_CLIENTS)
    flags = [f"--cert-file={server.cert}", f"--key-file={server.key}", "--client-cert-auth", CHEAP]
    flags.append(f"--trusted-ca-file={ca.cert}")
    with EtcdServer(tmp_path_factory.mktemp("etcd"), flags=flags, scheme="https") as etcd:
        etcd.ctl_flags = ("--cacert", str(ca.cert), "--cert", str(root.cert), "--key", str(root.key))
        appoint(etcd)
        etcd.ctl("user", "add", "nameless", "--no-password")
        etcd.ctl("auth", "enable")
        signatures = {"root": root} | {name: signed(ca, name, FOR_CLIENTS) for name in ("reader", "host7")}
        yield (
            etcd,
            {
                name: EtcdSettings((etcd.endpoint,), ca=ca.cert, cert=cert, key=key)
                for name, (cert, key) in signatures.items()
            },
        )


def written(settings: EtcdSettings, key: bytes) -> int:
    """Return the revision at which a key was written."""

    async def story() -> int:
        async with Client(settings) as client:
            return await client.put(key, b"1")

    return run(story())


def test_a_certificate_is_a_user_without_a_password(naming: tuple[EtcdServer, dict[str, EtcdSettings]]) -> None:
    """By its common name; one that names nobody is told apart from a user who may not."""
    _, by = naming
    assert written(by["reader"], b"/services/a") > 1
    with pytest.raises(EtcdRefused, match="does not permit the user whom --etcd-cert names to write /services/a"):
        written(by["host7"], b"/services/a")


@pytest.mark.parametrize("name", ["host7", "root"])
def test_a_named_user_counts_more_than_the_certificate(
    naming: tuple[EtcdServer, dict[str, EtcdSettings]], name: str
) -> None:
    """Both if the certificate's name is no user, and if it is one who may do more."""
    etcd, by = naming
    both = EtcdSettings((etcd.endpoint,), "reader", PASSWORD, by[name].ca, by[name].cert, by[name].key)
    assert written(both, b"/services/a") > 1
    with pytest.raises(EtcdRefused, match="does not permit user reader to write /elsewhere"):
        written(both, b"/elsewhere")


def test_a_named_user_logs_in_when_the_certificates_is_denied(
    naming: tuple[EtcdServer, dict[str, EtcdSettings]],
) -> None:
    """Authentication switched on live asks nobody to log in who has a certificate: it denies its name."""
    etcd, by = naming
    both = EtcdSettings((etcd.endpoint,), "reader", PASSWORD, by["host7"].ca, by["host7"].cert, by["host7"].key)

    async def story() -> None:
        etcd.ctl("auth", "disable")
        async with Client(both) as client:
            await client.put(b"/services/a", b"1")
            etcd.ctl("auth", "enable")
            await client.put(b"/services/a", b"2")

    run(story())


def test_a_password_for_a_user_who_has_none(naming: tuple[EtcdServer, dict[str, EtcdSettings]]) -> None:
    """Said as what it is, not as a wrong password."""
    etcd, by = naming
    host = by["host7"]
    nameless = EtcdSettings((etcd.endpoint,), "nameless", PASSWORD, host.ca, host.cert, host.key)
    assert "knows user nameless without a password; leave --etcd-user out" in str(complaint(nameless))
