"""A target is slow, dead, refusing, trickling, or takes a message and hangs up; the one beside it is healthy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from alertd.delivery.courier import ENDS_WITHIN
from tests.faults.reading import CHANNELS
from tests.faults.sink import HANGS, REFUSES, TRICKLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.stage import Stage
    from tests.sinks import Answer

RETRY = 12.0
"""Seconds after which a message is tried again at the latest, after so short a trouble."""
_PATIENCE = 16.0
"""Seconds after which an attempt is given up that gets no answer."""


def misbehave(answer: Answer, seconds: float = 4.0) -> Callable[[Stage], None]:
    """Return the fault in which one target answers so for a while; the other one's messages are due all the time."""

    def fault(stage: Stage) -> None:
        stage.start()
        bad = stage.random.choice(CHANNELS)
        held = {HANGS: _PATIENCE, TRICKLES: ENDS_WITHIN}.get(answer, 0.0)
        with (
            stage.truth.dark(is_watched=True, channel=bad, forced=RETRY + held),
            stage.driver.traffic(0.25),
            stage.receivers.misbehaving(bad, answer),
        ):
            time.sleep(seconds)
        stage.moves(6)

    return fault


def vanish(stage: Stage, seconds: float = 4.0) -> None:
    """Take a target away: connections are broken, and new ones end at once."""
    stage.start()
    bad = stage.random.choice(CHANNELS)
    with stage.truth.dark(is_watched=True, channel=bad, forced=RETRY), stage.driver.traffic(0.25):
        stage.truth.note_break()
        stage.receivers.cuts[bad].cut()
        time.sleep(seconds)
        stage.receivers.cuts[bad].mend()
    stage.moves(6)


def accept_and_break_off(stage: Stage, times: int = 5) -> None:
    """Have a target take messages and hang up before it says so: each may come twice, with the same id."""
    stage.start()
    bad = stage.random.choice(CHANNELS)
    with stage.truth.dark(is_watched=True, channel=bad, forced=RETRY):
        for _ in range(times):
            stage.receivers.break_off(bad)
            stage.moves(2)
    stage.moves(4)


def die_while_refused(stage: Stage) -> None:
    """Kill the leader while a target refuses what it has to tell: the next leader tells it."""
    stage.start()
    bad = stage.random.choice(CHANNELS)
    with stage.truth.dark(is_watched=True, channel=bad, forced=RETRY), stage.receivers.misbehaving(bad, REFUSES):
        stage.moves(6)
        leader = stage.await_leader()
        with stage.without(leader):
            stage.kill(leader)
            stage.free_lease_of(leader)
        leader.start()
        stage.moves(3)
