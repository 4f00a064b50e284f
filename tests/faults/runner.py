"""Runs faults, several stages beside each other since most of a run is waiting, and adds up what came out.

Every run has a seed of its own, made from the seed of all, the fault's name and the run's number, so that one run can
be repeated: `python -m tests.faults --seed N --only-run M FAULT`. A run that ends in an error of its own is wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from zlib import crc32

from tests.faults.catalogue import Fault, old_etcd, programs
from tests.faults.oracle import Verdict
from tests.faults.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

COLUMNS = ("fault", "runs", "transitions made", "told", "lost", "duplicated", "wrong", "worst delay")
_live: set[Stage] = set()
"""What there is now."""
_SLOW = 3.0
"""Seconds of delay that are worth a line."""
_SHOWN = 8
"""Complaints of one run that are printed."""


class Run(NamedTuple):
    """One run to be made."""

    fault: Fault
    number: int
    seed: int
    program: str

    @property
    def name(self) -> str:
        """What the run is called in messages."""
        version = " on etcd 3.4" if self.program != programs()[0] else ""
        return f"{self.fault.name} #{self.number}{version}"


@dataclass(slots=True)
class Outcome:
    """What came out of some runs."""

    name: str
    runs: int = 0
    kills: int = 0
    verdict: Verdict = field(default_factory=Verdict)

    def add(self, other: Outcome) -> None:
        """Add what came out of others."""
        self.runs += other.runs
        self.kills += other.kills
        self.verdict.add(other.verdict)

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, and nothing wrong."""
        return self.verdict.is_good

    def row(self) -> str:
        """Return its row of the table."""
        verdict = self.verdict
        name = f"{self.name} ({self.kills} kills)" if self.kills else self.name
        figures = (self.runs, verdict.made, verdict.told, verdict.lost, verdict.duplicated, verdict.wrong)
        return f"| {name} | {' | '.join(map(str, figures))} | {verdict.worst_delay:.1f} s |"


def say(text: str) -> None:
    """Tell who waits how it goes."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


@contextmanager
def _noted(stage: Stage) -> Iterator[None]:
    """Remember a stage while it is there."""
    _live.add(stage)
    try:
        yield
    finally:
        _live.discard(stage)


def abandon() -> NoReturn:
    """End at once, and let nothing be left of what goes on."""
    for stage in tuple(_live):
        with suppress(Exception):
            stage.stack.close()
        shutil.rmtree(stage.folder, ignore_errors=True)
    os._exit(130)


def plan(
    faults: Iterable[Fault], *, seed: int, is_short: bool, runs: int | None = None, only: int | None = None
) -> list[Run]:
    """Return all runs to be made, or only those of that number; old and new etcds take turns."""
    found = []
    for place, fault in enumerate(faults):
        count = runs if runs is not None else (fault.short if is_short else fault.long)
        for number in range(count) if only is None else (only,):
            some = programs() if fault.is_old_ok else programs()[:1]
            program = some[(place + number) % len(some)]
            found.append(Run(fault, number, crc32(f"{seed} {fault.name} {number}".encode()), program))
    return found


def perform(run: Run, keep: Path | None = None) -> Outcome:
    """Make one run, and return what came out; the stage's folder stays below `keep` if it was not good."""
    outcome = Outcome(run.fault.name, runs=1)
    folder = Path(tempfile.mkdtemp(prefix="alertd-fault-"))
    began = time.monotonic()
    try:
        with Stage(folder, run.fault.setup, run.seed, run.program) as stage, _noted(stage):
            try:
                run.fault.run(stage)
                outcome.verdict.add(stage.finish())
            finally:
                outcome.kills = stage.kills
    except Exception as error:  # noqa: BLE001 - whatever it is, the run is not good, and the others go on
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome.verdict.blame(f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
    finally:
        if keep is not None and not outcome.is_good:
            shutil.move(folder, keep / f"{run.fault.name.replace(' ', '-').replace('/', '-')}-{run.number}")
        shutil.rmtree(folder, ignore_errors=True)
    _report(run, outcome, time.monotonic() - began)
    return outcome


def _report(run: Run, outcome: Outcome, seconds: float) -> None:
    verdict = outcome.verdict
    facts = f"made {verdict.made}, told {verdict.told}, lost {verdict.lost}, wrong {verdict.wrong}"
    lines = [f"{'good' if outcome.is_good else 'BAD '} {run.name}: {facts}, {seconds:.0f} s, seed {run.seed}"]
    if verdict.worst_delay > _SLOW:
        lines.append(f"         {verdict.worst_delay:.1f} s late: {verdict.slowest}")
    lines += [f"         {complaint}" for complaint in verdict.complaints[:_SHOWN]]
    if len(verdict.complaints) > _SHOWN:
        lines.append(f"         and {len(verdict.complaints) - _SHOWN} more")
    say("\n".join(lines))


def run_all(runs: Sequence[Run], workers: int, keep: Path | None = None) -> Iterator[Outcome]:
    """Make all runs, `workers` at once, and yield what came out of each fault, in their order."""
    by_fault: dict[str, list[Future[Outcome]]] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="run") as pool:
        for run in runs:
            by_fault.setdefault(run.fault.name, []).append(pool.submit(perform, run, keep))
        try:
            for name, futures in by_fault.items():
                outcome = Outcome(name)
                for future in futures:
                    outcome.add(future.result())
                yield outcome
        except (KeyboardInterrupt, SystemExit):
            abandon()


def skips(faults: Iterable[Fault]) -> list[str]:
    """Return what is not run here, by name and reason."""
    found = [f"{fault.name}: {fault.why_not}" for fault in faults if fault.why_not]
    return found if old_etcd() else [*found, "etcd 3.4: not installed (Debian: etcd-server)"]
