"""`python -m tests.faults [--short] [--seed N] [--runs N] [FAULT ...]`: harm a real alertd, and print one table.

The long form takes its time (at least 1,000 random kills); the short one takes less than four minutes. The table goes
to stdout, progress and complaints to stderr. Exit 1 if anything was lost or wrong. A fault that is named is run even if
what it needs is not met. How it is judged, and what the worst delay is, stands in `tests/faults/oracle.py`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.faults.catalogue import FAULTS, Fault
from tests.faults.runner import COLUMNS, Outcome, plan, run_all, say, skips

WORKERS = 5
"""Runs at once: most of a run is waiting."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="names, or parts of names; none means all")
    parser.add_argument("--short", action="store_true", help="what CI runs")
    parser.add_argument("--seed", type=int, default=1, help="what all that is random comes from")
    parser.add_argument("--runs", type=int, help="runs of each fault, instead of what the form says")
    parser.add_argument("--only-run", type=int, help="make only the run of this number again, of each fault")
    parser.add_argument("--workers", type=int, default=WORKERS, help="runs at once")
    parser.add_argument("--keep", type=Path, help="keep logs and data of bad runs in this folder")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    return parser.parse_args()


def chosen(names: list[str]) -> list[Fault]:
    """Return the faults that are meant, in their order."""
    for name in names:
        if not any(name in fault.name for fault in FAULTS):
            sys.exit(f"unknown fault {name!r}; there are:\n" + "\n".join(fault.name for fault in FAULTS))
    return [fault for fault in FAULTS if any(name in fault.name for name in names)]


def show(outcomes: list[Outcome]) -> None:
    """Print the table."""
    total = Outcome("all")
    for outcome in outcomes:
        total.add(outcome)
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|{'---:|' * (len(COLUMNS) - 1)}"]
    lines += [outcome.row() for outcome in (*outcomes, total)]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run what is asked for; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = _arguments()
    if arguments.list:
        sys.stdout.write("\n".join(fault.name for fault in FAULTS) + "\n")
        return 0
    faults = chosen(arguments.faults) if arguments.faults else [fault for fault in FAULTS if not fault.why_not]
    for reason in skips(FAULTS if not arguments.faults else ()):
        say(f"skip {reason}")
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    how = {"seed": arguments.seed, "is_short": arguments.short, "runs": arguments.runs, "only": arguments.only_run}
    runs = plan(faults, **how)
    outcomes = list(run_all(runs, arguments.workers, arguments.keep))
    show(outcomes)
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
