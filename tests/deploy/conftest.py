"""An etcd, an inbox and a service for each test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.cli.secretaries import Service
from tests.etcd_server import EtcdServer
from tests.sinks import HttpInbox, http_inbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """Give a server that the test may harm."""
    with EtcdServer(tmp_path / "etcd") as server:
        yield server


@pytest.fixture(scope="module")
def _lasting_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give the one server behind `shared_etcd`."""
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
def shared_etcd(_lasting_etcd: EtcdServer) -> Iterator[EtcdServer]:
    """Give a server that tests share which do it no harm; it is emptied after each."""
    yield _lasting_etcd
    _lasting_etcd.ctl("del", "--prefix", "/")
    for line in _lasting_etcd.ctl("lease", "list").splitlines()[1:]:
        _lasting_etcd.ctl("lease", "revoke", line)


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    """Give a receiver of webhooks."""
    with http_inbox() as box:
        yield box


@pytest.fixture
def service() -> Iterator[Service]:
    """Give a service that is well."""
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield service
    service.over.set()
    service.server.shutdown()
    service.server.server_close()
    thread.join()
