"""Daemons are killed, frozen, stopped and started again."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.etcd_server import wait_until
from tests.faults.stage import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.replica import Replica
    from tests.faults.stage import Stage


STAMP, LEADER = "/alertd/outbox/term", "/alertd/leader"
"""The keys that say who wrote last of what was told, and who leads."""


def _hasten(stage: Stage, dead: Replica) -> None:
    """Mostly spare the run the time of a dead leader's lease."""
    if stage.random.random() < 0.85:
        stage.free_lease_of(dead)


def kill_leader(stage: Stage, times: int = 5) -> None:
    """Kill the leader at random moments; another takes over, and the dead one comes back."""
    stage.start()
    with stage.driver.traffic(0.25):
        for _ in range(times):
            stage.pause(1.5)
            leader = stage.await_leader()
            with stage.without(leader):
                stage.kill(leader)
                _hasten(stage, leader)
            leader.start()


def kill_only_daemon(stage: Stage, times: int = 5) -> None:
    """Kill the only daemon at random moments, and start it again after a while."""
    stage.start()
    with stage.driver.traffic(0.25):
        for _ in range(times):
            stage.pause(1.5)
            stage.await_leader()
            with stage.without(stage.daemon):
                stage.kill(stage.daemon)
                stage.pause(1.0)
                _hasten(stage, stage.daemon)
                stage.daemon.start()


def kill_standby(stage: Stage, times: int = 3) -> None:
    """Kill one that does not lead: nobody notices."""
    stage.start()
    with stage.driver.traffic(0.25):
        for _ in range(times):
            stage.pause(1.0)
            leader = stage.await_leader()
            standby = next(replica for replica in stage.replicas if replica is not leader)
            standby.kill()
            stage.kills += 1
            standby.start()


def hand_over(stage: Stage, times: int = 3) -> None:
    """Ask the leader to end while things change: the next takes over at once, and nothing is told twice."""
    stage.start()
    with stage.driver.traffic(0.15):
        for _ in range(times):
            stage.pause(1.0, 0.3)
            leader = stage.await_leader()
            with stage.without(leader):
                assert leader.terminate() == 0, f"{leader.name} did not end well"
            leader.start()


def restart_only_daemon(stage: Stage, times: int = 2) -> None:
    """Stop the only daemon, change services while it is away, some of it undone, and start it."""
    stage.start()
    stage.moves(4)
    for _ in range(times):
        stage.settle()
        with stage.without(stage.daemon):
            stage.daemon.terminate()
            stage.moves(8, pause=0.02)
            stage.daemon.start()
        stage.moves(4)


def roll(stage: Stage) -> None:
    """Restart all daemons one after the other while things change."""
    stage.start()
    with stage.driver.traffic(0.2):
        for replica in stage.replicas:
            stage.pause(0.5)
            leader = stage.await_leader()
            if replica is leader:
                with stage.without(replica):
                    replica.terminate()
            else:
                replica.terminate()
            replica.start()


def _check_fences(stage: Stage) -> None:
    """Fail unless all that was ever written of what was told was written by who led at that moment."""
    stamp = stage.gateway.get_at(STAMP)
    assert stamp is not None, "nothing was told"
    while stamp is not None:
        term = json.loads(stamp.value)["revision"]
        leader = stage.gateway.get_at(LEADER, stamp.revision)
        assert leader is not None, f"nobody led at revision {stamp.revision}, and yet it was written"
        assert leader.made_at == term, f"at revision {stamp.revision} the term {term} wrote, {leader.made_at} led"
        stamp = stage.gateway.get_at(STAMP, stamp.revision - 1)


def freeze_leader(stage: Stage) -> None:
    """Freeze the leader for longer than its lease, then let it go on: two believe that they lead."""
    stage.start()
    stage.moves(4)
    leader = stage.await_leader()
    with stage.driver.traffic(0.2):
        with stage.frozen(leader):
            with stage.truth.dark(is_watched=True):
                wait_until(lambda: stage.leader() not in (None, leader), "another leads", LEASE + 10)
            stage.pause(1.5, 0.5)
        stage.pause(1.5, 1.0)
    stage.calm()
    _check_fences(stage)


def freeze_leader_shortly(stage: Stage, times: int = 2) -> None:
    """Freeze the leader for about as long as its lease lasts, and let it go on just before or after its end."""
    stage.start()
    with stage.driver.traffic(0.2):
        for _ in range(times):
            leader = stage.await_leader()
            with stage.truth.dark(is_watched=True, forced=1.0):
                with stage.frozen(leader):
                    stage.pause(LEASE + 0.7, LEASE - 1.5)
                stage.await_leader()
            stage.pause(1.0, 0.5)


def start_on_broken_rules(stage: Stage) -> None:
    """Start the only daemon on rules that do not load: the last good ones stay in force, and that is said."""
    stage.start()
    stage.moves(4)
    stage.settle()
    with stage.without(stage.daemon):
        stage.daemon.terminate()
        stage.write_rules("rules: [{name: broken, when: {\n")
        stage.moves(4, pause=0.02)
        stage.daemon.start()
        assert stage.daemon.is_running, "it does not run on the last good rules"
    stage.moves(6)
    said = stage.daemon.said()
    assert b"not load" in said or b"last good" in said, "it does not say that the rules in the folder do not load"


def break_rules_live(stage: Stage) -> None:
    """Reload rules that do not load: those in force stay."""
    stage.start()
    stage.moves(4)
    stage.write_rules("rules: [{name: broken, when: {\n")
    stage.daemon.reload()
    stage.moves(8)


def die_at(step: str, times: int) -> Callable[[Stage], None]:
    """Return the fault that kills the only daemon at a step of a delivery, the next one again, and so on."""

    def fault(stage: Stage) -> None:
        stage.start()
        stage.daemon.terminate()
        stage.free_lease_of(stage.daemon)
        since = time.monotonic()
        for _ in range(times):
            with stage.truth.dark(is_watched=False, since=since):
                stage.moves(stage.random.choice((0, 1, 2)), pause=0.02)
                _start_doomed(stage, stage.daemon, step)
            since, _ = _drive_to_death(stage)
        with stage.truth.dark(is_watched=False, since=since):
            stage.daemon.victim = ()
            stage.daemon.start()
            stage.await_leader()
        stage.moves(4)

    return fault


def die_at_beside_standby(step: str, times: int) -> Callable[[Stage], None]:
    """Return the fault in which whoever comes to a step is killed there, and the other one takes over."""

    def fault(stage: Stage) -> None:
        stage.start()
        for replica in stage.replicas:
            with stage.without(replica):
                replica.terminate()
                _start_doomed(stage, replica, step)
                stage.pause(0.3)
        for number in range(times):
            since, dead = _drive_to_death(stage)
            is_last = number == times - 1
            with stage.truth.dark(is_watched=stage.has_standby(dead), since=since):
                _start_doomed(stage, dead, step)
                if not is_last:
                    stage.pause(0.5)
        _raise_the_undoomed(stage)
        stage.moves(4)

    return fault


def _raise_the_undoomed(stage: Stage) -> None:
    """Replace all daemons by such as live."""
    with stage.nobody():
        for replica in stage.replicas:
            stage.truth.note_break()
            replica.kill()
            stage.free_lease_of(replica)
            replica.victim = ()
            replica.start()
        stage.await_leader()


def _start_doomed(stage: Stage, replica: Replica, step: str) -> None:
    """Start a daemon that will die at a step; it may be dead already when this returns."""
    replica.victim = ("--die-at", step, "--after", str(stage.random.choice((1, 1, 2, 3, 5))))
    replica.start()


def _drive_to_death(stage: Stage) -> tuple[float, Replica]:
    """Change services until a daemon is dead; return a moment at which it still lived, and which it is."""
    alive = time.monotonic()
    deadline = alive + 40
    while (dead := next((replica for replica in stage.replicas if not replica.is_running), None)) is None:
        alive = time.monotonic()
        assert alive < deadline, f"no daemon comes to its end: {stage.daemon.victim}"
        stage.driver.move()
        stage.pause(0.15)
    stage.truth.breaks.append(alive)
    stage.kills += 1
    stage.free_lease_of(dead)
    return alive, dead
