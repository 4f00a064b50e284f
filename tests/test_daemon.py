"""What the shell makes of the watch's steps; the rest of it is tested from outside."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from alertd.daemon import Daemon, read_clock
from alertd.etcd.watch import Events, GapOpened
from alertd.model import Decision, EventKind, KeyEvent
from alertd.settings import DaemonSettings

KEY = b"/services/apache/a"
RULES = "rules: [{name: lost, service: '*', when: {instance: down}}]\n"


async def missed_after(tmp_path: Path, away: float, *, is_start: bool) -> set[str]:
    """Return the rules of which an alert fires if a key is found gone after a gap of so many seconds."""
    (tmp_path / "a.yaml").write_text(RULES)
    seen: list[object] = []
    daemon = Daemon(DaemonSettings(tmp_path), environ={}, observe=seen.append)
    daemon._take(GapOpened("start"))
    daemon._take(Events([KeyEvent(EventKind.FOUND, KEY, b"", 7, 1)]))
    if not is_start:
        daemon._engine.close_gap(read_clock())
        daemon._judged.set()
    daemon._take(GapOpened("away", time.monotonic() - away))
    daemon._take(Events([KeyEvent(EventKind.MISSED, KEY, b"", 0, 2)]))
    daemon._do(daemon._engine.close_gap(read_clock(), 2))
    return {action.rule for action in seen if isinstance(action, Decision)}


@pytest.mark.parametrize(
    ("away", "is_start", "fires"),
    [(60, False, {"alertd-registry"}), (5, False, {"lost"}), (60, True, {"lost"})],
)
def test_losses_found_after_etcd_was_away_are_doubted(
    tmp_path: Path, away: float, *, is_start: bool, fires: set[str]
) -> None:
    """For longer than `unreachable_after`; at the start it was the daemon that was away."""
    assert asyncio.run(missed_after(tmp_path, away, is_start=is_start)) == fires
