"""What a supervisor hears of us on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from alertd.sdnotify import ServiceManager
from tests.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """Give one that listens at a path."""
    with Supervisor(str(tmp_path / "notify")) as supervisor:
        yield supervisor


async def report_for(manager: ServiceManager, seconds: float, status: str = "fine") -> None:
    """Let it report for a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await manager.report(lambda: status)


def test_the_stages_of_a_life(supervisor: Supervisor, tmp_path: Path) -> None:
    """Each is one datagram; a reload bears the monotonic clock, as systemd wants it."""
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    manager.ready("fine")
    manager.reloading()
    manager.stopping()
    ready, reloading, stopping = supervisor.heard()
    assert (ready, stopping) == ("READY=1\nSTATUS=fine", "STOPPING=1")
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_an_abstract_socket() -> None:
    """Written with an @ in the environment."""
    with Supervisor(f"\0alertd-test-{os.getpid()}") as supervisor:
        ServiceManager({"NOTIFY_SOCKET": f"@alertd-test-{os.getpid()}"}).ready("fine")
        assert supervisor.heard() == ["READY=1\nSTATUS=fine"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nobody/listens"}])
def test_nobody_listens(environ: dict[str, str]) -> None:
    """Nothing happens."""
    manager = ServiceManager(environ)
    manager.ready("fine")
    asyncio.run(report_for(manager, 0.01))


def test_signs_of_life_come_thrice_in_the_watchdog_s_time(supervisor: Supervisor, tmp_path: Path) -> None:
    """And the status only when it changes, in one line."""
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000", "WATCHDOG_PID": str(os.getpid())}
    asyncio.run(report_for(ServiceManager(environ), 0.2, "two\nlines"))
    first, *others = supervisor.heard()
    assert first == "STATUS=two lines\nWATCHDOG=1"
    assert 2 <= len(others) <= 10
    assert set(others) == {"WATCHDOG=1"}


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "30000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_no_watchdog_of_ours(supervisor: Supervisor, tmp_path: Path, watchdog: dict[str, str]) -> None:
    """The status is told, and no sign of life that nobody asked us for."""
    asyncio.run(report_for(ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), **watchdog}), 0.1))
    assert supervisor.heard() == ["STATUS=fine"]
