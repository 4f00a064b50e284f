"""The etcds that the tests share, and those that a test has for itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.etcd_server import EtcdCluster, EtcdServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give the one server that all tests use which do it no harm."""
    with EtcdServer(tmp_path_factory.mktemp("etcd"), flags=["--max-txn-ops=1000"]) as server:
        yield server


@pytest.fixture
def prefix() -> bytes:
    """Give a prefix of the test's own on the shared server."""
    return f"/services-{next(_numbers)}/".encode()


@pytest.fixture
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give a server that the test may harm."""
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Give three members."""
    with EtcdCluster(tmp_path_factory.mktemp("cluster")) as members:
        yield members
