"""What is said to people when etcd is not where they say; see test_tls.py and test_users.py for the rest."""

from __future__ import annotations

import time

import pytest

from alertd.errors import AlertdError, EtcdRefused
from alertd.etcd.channel import EtcdSettings, parse_endpoints
from alertd.etcd.client import Client
from alertd.etcd.faults import WrongHistory
from tests.etcd.following import complaint, run
from tests.etcd_server import HOST, EtcdServer, free_port


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


def test_a_revision_that_etcd_has_not_reached(shared_etcd: EtcdServer) -> None:
    """It is an older state than one that was seen; no operator can mend that."""

    async def story() -> None:
        async with Client(EtcdSettings(endpoints=(shared_etcd.endpoint,))) as client:
            with pytest.raises(WrongHistory, match="has not come as far as that revision"):
                await client.get(b"key", revision=1 << 40)

    run(story())


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
