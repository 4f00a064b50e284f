"""The short form of the fault suite: nothing is lost, and nothing wrong is told, whatever is done to alertd."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS, Fault, old_etcd
from tests.faults.runner import COLUMNS
from tests.faults.stage import Setup, Stage

TABLE = os.environ.get("ALERTD_FAULTS")
"""The file with the table that was made before, all by itself on the machine."""


@pytest.mark.skipif(TABLE is None, reason="wants minutes of a machine to itself: `tests/run` without arguments does it")
def test_nothing_is_lost_and_nothing_is_wrong() -> None:
    """`python -m tests.faults --short` says so."""
    lines = Path(TABLE or "").read_text().splitlines()[2:]
    rows = [dict(zip(COLUMNS, map(str.strip, line.strip("|").split("|")), strict=True)) for line in lines]
    names = {row["fault"].partition(" (")[0] for row in rows}
    assert names == {"all", *(fault.name for fault in FAULTS if fault.short and not fault.why_not)}
    assert [row for row in rows if row["lost"] != "0" or row["wrong"] != "0"] == []


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.why_not], ids=lambda fault: fault.name)
def test_what_is_not_tried_here(fault: Fault) -> None:
    """What a fault needs may be missing: that is shown by name."""
    pytest.skip(f"{fault.name}: {fault.why_not}")


def test_the_older_etcd() -> None:
    """Runs take turns on etcd 3.5 and, where it is installed, 3.4."""
    if not old_etcd():
        pytest.skip("etcd 3.4: not installed (Debian: etcd-server)")


def test_the_table_is_large_enough() -> None:
    """At least 25 faults; a thousand kills are counted when the long form runs."""
    assert len(FAULTS) >= 25
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("step", ["decided", "accepted"])
def test_a_victim_dies_at_its_step(tmp_path: Path, step: str) -> None:
    """It kills itself the second time that it comes there, and not before."""
    with Stage(tmp_path, Setup(), seed=1) as stage:
        stage.daemon.victim = ("--die-at", step, "--after", "2")
        stage.start()
        stage.driver.delete("pay/0")
        assert stage.daemon.wait_for_end(20)
        assert stage.daemon.process is not None
        assert stage.daemon.process.returncode == -signal.SIGKILL
        if step == "accepted":
            assert stage.receivers.messages()


def test_a_stage_without_a_fault_is_good(tmp_path: Path) -> None:
    """Three kinds of loss and a stop, each told to both channels."""
    with Stage(tmp_path, Setup(), seed=2) as stage:
        stage.start()
        for name, how in (("pay/0", "delete"), ("pay/1", "revoke"), ("db/0", "failing"), ("db/1", "stopped")):
            stage.driver.lose(name, how)
        stage.settle()
        stage.driver.recover("pay/0", "pay/1")
        verdict = stage.finish()
    assert (verdict.made, verdict.told, verdict.lost, verdict.wrong) == (10, 10, 0, 0), verdict.complaints
