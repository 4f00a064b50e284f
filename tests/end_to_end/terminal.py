"""A command on a terminal of its own, as a person runs it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from typing import Self

from tests.end_to_end.process import environment

HOME = "\x1b[H"
_ESCAPES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class TerminalProcess:
    """`alertd` with arguments, on a terminal of so many columns and lines."""

    def __init__(self, *arguments: str, columns: int = 80, lines: int = 24) -> None:
        self._near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._received: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        command = [sys.executable, "-m", "alertd", *arguments]
        self.process = subprocess.Popen(command, env=environment(TERM="xterm"), stdin=far, stdout=far, stderr=far)
        os.close(far)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._near, 1 << 16)
            except OSError:  # nobody holds the other end any more
                return
            if not data:
                return
            self._received.append(data)

    @property
    def output(self) -> str:
        """All that the terminal was sent."""
        return b"".join(self._received).decode(errors="replace").replace("\r\n", "\n")

    @property
    def frames(self) -> list[list[str]]:
        """The pictures that were drawn in place, each as its lines without control sequences."""
        return [_ESCAPES.sub("", frame).splitlines() for frame in self.output.split(HOME)[1:]]

    @property
    def last(self) -> str:
        """The picture that is seen now, as one text."""
        return "\n".join(self.frames[-1]) if self.frames else ""

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(10)
        self._reader.join(5)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        os.close(self._near)
