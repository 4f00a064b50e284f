"""Processes that end with the one that started them, whatever becomes of it, also if they are frozen.

Linux kills them when their parent dies (PR_SET_PDEATHSIG); elsewhere only an orderly end takes them along.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Self

from alertd.tether import tethered

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

_ENDS_WITHIN = 3.0


class Children:
    """Python modules run as processes, by name; use it as an async context manager. `log` takes what they print."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._processes: dict[str, Process] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ask all to end, frozen ones too, and kill what has not within three seconds."""
        for name in self._processes:
            self.signal(name, signal.SIGTERM)
            self.signal(name, signal.SIGCONT)
        waiting = [asyncio.create_task(process.wait()) for process in self._processes.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=_ENDS_WITHIN)
        for name in self._processes:
            self.signal(name, signal.SIGKILL)
        await asyncio.gather(*waiting)

    async def start(self, name: str, module: str, *arguments: str) -> None:
        """Run `python -m module`; one of this name that has ended is replaced."""
        command = tethered([sys.executable, "-m", module, *arguments], signal.SIGKILL)
        with self.log.open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal; one that has ended does not mind."""
        process = self._processes[name]
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def ended(self) -> dict[str, int]:
        """Return the exit codes of those that have ended."""
        return {name: child.returncode for name, child in self._processes.items() if child.returncode is not None}
