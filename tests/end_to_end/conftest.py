"""An etcd, an inbox and a daemon for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.process import DaemonProcess
from tests.etcd_server import EtcdServer
from tests.sinks import HttpInbox, http_inbox


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """Give a server that the test may harm."""
    with EtcdServer(tmp_path / "etcd") as server:
        yield server


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    """Give a receiver of webhooks."""
    with http_inbox() as box:
        yield box


@pytest.fixture
def daemon(tmp_path: Path, etcd: EtcdServer) -> Iterator[DaemonProcess]:
    """Give a daemon that is not started yet."""
    with DaemonProcess(tmp_path / "alertd", etcd) as process:
        yield process
