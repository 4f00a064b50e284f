"""A probe that is a command: run in a process group of its own, all of which ends with its first process.

Whatever the command does is a `Finding`: it may be missing, crash, print without end, leave others behind or never end.
Of its output no more is kept than the finding needs. Out of our reach is only what left the group by setsid(2), and
what runs when we are killed ourselves: there the control group of the service's unit is what ends it.

Invariant: a signal goes to the group only while its number is certainly the group's own, that is, before the first
process is waited for. Hence the processes are ours and not asyncio's, which waits for its own at any time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, cast

from alertd.secretary import fields
from alertd.secretary.aside import start_aside
from alertd.secretary.verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("alertd.secretary")

LONGEST_REASON = 200
"""Letters of what a command says of its failure."""

_OURS = frozenset({"ALERTD_ETCD_PASSWORD", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"})
"""Variables that are meant for us alone."""

_PIECE = 64 * 1024
_PIECES_LEFT = 2
"""A pipe holds one; what is in it when the command ends is still read."""

_LAST_WORDS = 4096
_KILLED_WITHIN = 0.3
_STYLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Colours and the like, for terminals (ECMA-48, section 5.4)."""


async def run(command: Sequence[str], timeout: float) -> Finding:  # noqa: ASYNC109 - it is what a probe is about
    """Return what a command says within `timeout` seconds; nothing of it runs any more then."""
    try:
        child = _Child(command)
    except OSError as error:
        return Finding(good=False, reason=_why_not(command[0], error))
    try:
        async with asyncio.timeout(timeout):
            await child.ended.wait()
    except TimeoutError:
        if not await child.end():  # it became another user's or hangs in the kernel; such must not pile up
            _log.warning("%s cannot be killed; its service is not probed until it ends", command[0])
            await child.ended.wait()
        return Finding(good=False, reason=f"not done within {timeout:g} s", hung=True)
    except asyncio.CancelledError:
        await child.end()
        raise
    return child.finding()


class _Child:
    """A command that runs. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = subprocess.Popen(  # noqa: S603 - what to run is the operator's choice
            command,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name not in _OURS},
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._is_reaped = False
        self.ended = asyncio.Event()
        self._out = _Pipe(cast("IO[bytes]", self._process.stdout), slice(fields.LARGEST + 1))
        self._err = _Pipe(cast("IO[bytes]", self._process.stderr), slice(-_LAST_WORDS, None))
        try:
            start_aside(self._see_out)
        except OSError:
            self._kill()
            self._see_out()
            raise

    async def end(self) -> bool:
        """Kill it and return whether it is gone, which is soon or not at all."""
        self._kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(_KILLED_WITHIN):
                await self.ended.wait()
        return self.ended.is_set()

    def finding(self) -> Finding:
        """Return what is found once it has ended."""
        code = self._process.returncode
        if code == 0:
            output = fields.read(self._out.kept)
            return Finding(good=True, data=output.fields, remark=output.remark)
        ending = f"exit {code}" if code > 0 else f"killed by {_name_of(-code)}"
        words = _last_words(self._err.kept)
        return Finding(good=False, reason=f"{ending}: {words}" if words else ending)

    def _kill(self) -> None:
        with self._lock:
            if not self._is_reaped:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def _see_out(self) -> None:
        """Wait for the first process to end, end the rest of its group, and reap: it in any case, them if we inherit.

        As the first process of a container we do.
        """
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._kill()
        with self._lock:
            self._process.wait()
            self._is_reaped = True
        with suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self._close)
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-self._process.pid, 0)

    def _close(self) -> None:
        self._out.close()
        self._err.close()
        self.ended.set()


class _Pipe:
    """What comes out of a command, read as it comes; `kept` is the part that is asked for, the beginning or the end."""

    def __init__(self, file: IO[bytes], part: slice) -> None:
        self.kept = b""
        self._file = file
        self._part = part
        self._loop = asyncio.get_running_loop()
        os.set_blocking(file.fileno(), False)
        self._loop.add_reader(file.fileno(), self._read)

    def _read(self) -> None:
        piece = self._file.read(_PIECE)
        if piece:
            self.kept = (self.kept + piece)[self._part]
        elif piece is not None:  # the end of the file, which is ready to be read for ever
            self._loop.remove_reader(self._file.fileno())

    def close(self) -> None:
        """Take what was written until now, and no longer wait for those that could still write."""
        for _ in range(_PIECES_LEFT):
            self._read()
        self._loop.remove_reader(self._file.fileno())
        self._file.close()


def _why_not(name: str, error: OSError) -> str:
    """Return why a command does not start."""
    if isinstance(error, FileNotFoundError):
        return f"no such command: {name}" if shutil.which(name) is None else f"the interpreter of {name} is missing"
    if isinstance(error, PermissionError):
        return f"{name} is not executable"
    return f"{name} cannot be started: {(error.strerror or 'unknown').lower()}"


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_words(raw: bytes) -> str:
    """Return the last line that says anything, without what is not for people to read."""
    text = _STYLE.sub("", raw.decode(errors="replace"))
    lines = ["".join(letter if letter.isprintable() else " " for letter in line).strip() for line in text.splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return last if len(last) <= LONGEST_REASON else f"{last[: LONGEST_REASON - 1]}…"
