"""Commands that end with the process that started them, whatever becomes of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

_TETHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[3], sys.argv[3:])
"""
"""Asks Linux for a signal when the parent dies (PR_SET_PDEATHSIG, prctl(2)), then becomes the command.

A small program, since `preexec_fn` would fork the caller with gRPC's threads in it.
"""


def tethered(command: Sequence[str], number: signal.Signals) -> list[str]:
    """Return `command` so that it gets signal `number` when this process dies; elsewhere than on Linux, as it is.

    The first word of `command` is a path.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), str(int(number)), *command]
