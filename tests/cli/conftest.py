"""A service and an etcd for the tests of secretaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.secretaries import Service
from tests.etcd_server import EtcdServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def service() -> Iterator[Service]:
    """Give a service that is well."""
    with Service() as service:
        yield service


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """Give a server that the test may harm."""
    with EtcdServer(tmp_path / "etcd") as server:
        yield server
