"""`python -m tests.faults.victim --die-at STEP --after N -- run …`: alertd, which kills itself at the N-th such step.

SIGKILL, on the thread where the step is, so that nothing of it is tidied up or goes on. alertd itself has no switch for
this: its daemon tells an observer how far each notification has come.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from typing import Any

import alertd.daemon
from alertd import cli
from alertd.delivery.step import Step


class Fate:
    """Observes a daemon, and ends it at the `after`-th time that it is at `step`."""

    def __init__(self, step: Step, after: int) -> None:
        self._step = step
        self._left = after
        self._lock = threading.Lock()

    def __call__(self, step: Step, _identifier: str) -> None:
        """Take note of a step."""
        if step is not self._step:
            return
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def doom(fate: Fate) -> None:
    """Have every daemon that this process makes be observed by `fate`."""

    class Doomed(alertd.daemon.Daemon):
        """A daemon that has an observer."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **{**named, "observe_step": fate})

    alertd.daemon.Daemon = Doomed  # type: ignore[misc]  # `alertd run` takes it from there


def main() -> None:
    """Run alertd until its fate."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.victim")
    parser.add_argument("--die-at", type=Step, choices=list(Step), required=True)
    parser.add_argument("--after", type=int, default=1)
    parser.add_argument("arguments", nargs="+", help="what alertd is run with, after --")
    chosen = parser.parse_args()
    doom(Fate(chosen.die_at, chosen.after))
    sys.argv = ["alertd", *chosen.arguments]
    cli.main()


if __name__ == "__main__":
    main()
