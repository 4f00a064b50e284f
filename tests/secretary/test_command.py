"""Real commands that end well, badly, by a signal or not at all, and what is left of them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alertd.secretary import command
from alertd.secretary.verdict import GOOD, Finding
from tests.etcd_server import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def newcomers() -> Iterator[Callable[[], set[int]]]:
    """Make this process inherit what its children leave behind, as the first of a container does; none may be left."""
    libc, before = ctypes.CDLL(None), children()
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
    yield lambda: children() - before
    try:
        wait_until(lambda: children() <= before, "no process and no zombie is left", 5)
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def children() -> set[int]:
    """Return the processes that are ours to wait for."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = stat.read_text().partition(" ")
            if int(rest.rpartition(") ")[2].split()[1]) == os.getpid():
                found.add(int(pid))
    return found


def shell(script: str, timeout: float = 10.0) -> Finding:
    """Return what is found with a script that sh runs."""
    return asyncio.run(command.run(("sh", "-c", script), timeout))


def bad(reason: str) -> Finding:
    """Return a finished bad finding."""
    return Finding(good=False, reason=reason)


def test_exit_0_is_good() -> None:
    """Whatever it says on stderr."""
    assert shell("exit 0") == GOOD
    assert shell("echo fine >&2") == GOOD


def test_what_a_good_command_prints_is_its_data() -> None:
    """A bad one's is not."""
    assert shell("""echo '{"load": {"one": 0.5}}'""") == Finding(good=True, data={"load": {"one": 0.5}})
    assert shell("""echo '{"a": 1}'; exit 1""") == bad("exit 1")


def test_output_that_is_no_object_leaves_a_remark() -> None:
    """It stays good."""
    finding = shell("echo all is well")
    assert finding.good
    assert finding.data == {}
    assert finding.remark == "its output is not a JSON object, so nothing is merged"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 2", "exit 2"),
        ("echo first >&2; echo cannot connect >&2; exit 2", "exit 2: cannot connect"),
        ("printf 'cannot connect\\n \\n\\n' >&2; exit 255", "exit 255: cannot connect"),
        ("printf '\\033[1;31mred\\033[0m\\a\\ttext\\377' >&2; exit 1", "exit 1: red  text\ufffd"),
        ("printf '10%%\\r20%%\\rbroken' >&2; exit 1", "exit 1: broken"),
        ("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1", f"exit 1: {'x' * 199}…"),
        ("head -c 100000 /dev/zero >&2; exit 1", "exit 1"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("echo out of luck >&2; kill -KILL $$", "killed by SIGKILL: out of luck"),
        ("kill -40 $$", "killed by signal 40"),
    ],
)
def test_why_it_is_bad(script: str, reason: str) -> None:
    """The last line that it wrote to stderr, short and fit for people to read."""
    assert shell(script) == bad(reason)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """Not there, not to be run, or not a program: it says which, and is good once it is mended."""
    script = tmp_path / "check"
    words = (str(script),)
    assert asyncio.run(command.run(("no-such-command",), 5)) == bad("no such command: no-such-command")
    assert asyncio.run(command.run(words, 5)) == bad(f"no such command: {script}")
    script.write_text("#!/no/such/shell\n")
    assert asyncio.run(command.run(words, 5)) == bad(f"{script} is not executable")
    script.chmod(0o755)
    assert asyncio.run(command.run(words, 5)) == bad(f"the interpreter of {script} is missing")
    script.write_text("exit 0\n")
    assert asyncio.run(command.run(words, 5)) == bad(f"{script} cannot be started: exec format error")
    script.write_text("#!/bin/sh\nexit 0\n")
    assert asyncio.run(command.run(words, 5)) == GOOD


def test_a_host_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread to have, nothing is left running."""

    def refuse(_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(command, "start_aside", refuse)
    assert shell("sleep 600") == bad("sh cannot be started: resource temporarily unavailable")


@pytest.mark.parametrize(
    "script",
    ["sleep 600", "sleep 600 | cat | cat", "trap '' TERM INT HUP; sleep 600 & sleep 600", "yes", "yes >&2"],
)
def test_one_that_never_ends_is_killed_whole(script: str) -> None:
    """After its timeout, pipelines too; it is told apart from one that answers badly."""
    began = time.monotonic()
    assert shell(script, 0.3) == Finding(good=False, reason="not done within 0.3 s", hung=True)
    assert time.monotonic() - began < 2


def test_what_a_command_leaves_behind_ends_with_it() -> None:
    """It neither keeps the probe waiting by the pipe that it inherited, nor goes on."""
    began = time.monotonic()
    assert shell("""sleep 600 & echo '{"a": 1}'""") == Finding(good=True, data={"a": 1})
    assert time.monotonic() - began < 2


def test_one_that_steps_out_of_the_group_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A daemon that a check starts lives on, and the probe ends though its output is still open."""
    pid = tmp_path / "pid"
    try:
        assert shell(f"setsid sh -c 'echo $$ > {pid}; exec sleep 600' & until test -s {pid}; do :; done") == GOOD
    finally:
        os.kill(int(pid.read_text()), 9)
        os.waitpid(int(pid.read_text()), 0)


def test_a_probe_that_is_cancelled_leaves_nothing(tmp_path: Path, newcomers: Callable[[], set[int]]) -> None:
    """As when the secretary is told to stop in the middle of it."""

    async def story() -> None:
        probe = asyncio.create_task(command.run(("sh", "-c", f"echo > {tmp_path / 'runs'}; sleep 600 | cat"), 600))
        await asyncio.to_thread(wait_until, (tmp_path / "runs").exists, "it runs")
        assert newcomers()
        probe.cancel()
        with suppress(asyncio.CancelledError):
            await probe
        await asyncio.to_thread(wait_until, lambda: not newcomers(), "all are gone")

    asyncio.run(story())


def test_a_megabyte_is_read_to_its_end_and_not_kept() -> None:
    """The command is not held up by a full pipe, its verdict stands, and memory does not grow with what it prints."""
    assert shell("head -c 1000000 /dev/zero").remark == "its output is over 64 KiB, so nothing is merged"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    finding = shell("head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; exit 1", 60)
    assert finding == bad("exit 1")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


def test_it_sees_our_environment_without_what_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No password for etcd, and no supervisor to be told that it is ready; nothing to read from either."""
    monkeypatch.setenv("ALERTD_ETCD_PASSWORD", "geheim")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("ALERTD_INSTANCE", "core01")
    script = 'cat; printf \'{"seen": "%s"}\' "$ALERTD_INSTANCE$NOTIFY_SOCKET$ALERTD_ETCD_PASSWORD"'
    assert shell(script).data == {"seen": "core01"}


def test_many_at_once() -> None:
    """A hundred, of which none takes another's output or verdict."""

    async def story() -> list[Finding]:
        probes = (command.run(("sh", "-c", f"echo '{{\"n\": {n}}}'; exit {n % 2}"), 30) for n in range(100))
        return await asyncio.gather(*probes)

    assert asyncio.run(story()) == [bad("exit 1") if n % 2 else Finding(good=True, data={"n": n}) for n in range(100)]


def test_one_that_cannot_be_killed_holds_up_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """As one that became another user's: else one more would be left behind every few seconds. It is told."""
    end, told = tmp_path / "end", "sh cannot be killed; its service is not probed until it ends"

    async def story() -> Finding:
        probe = asyncio.create_task(command.run(("sh", "-c", f"until test -e {end}; do sleep 0.01; done"), 0.1))
        await asyncio.to_thread(wait_until, lambda: told in caplog.text, "it is told")
        assert not probe.done()
        end.touch()
        return await probe

    monkeypatch.setattr(os, "killpg", lambda *_: None)
    assert asyncio.run(story()) == Finding(good=False, reason="not done within 0.1 s", hung=True)
