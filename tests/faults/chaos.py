"""Random faults, some in a row and calm between them, while services come and go."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tests.etcd_server import wait_until
from tests.faults import target_faults
from tests.faults.etcd_faults import RETRY
from tests.faults.gateway import GatewayRefused
from tests.faults.reading import CHANNELS
from tests.faults.sink import REFUSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.stage import Stage


def _kill_daemon(stage: Stage) -> None:
    victim = stage.random.choice(stage.replicas)
    stage.kill(victim)
    stage.pause(2.0)
    if stage.random.random() < 0.5:
        stage.free_lease_of(victim)
    victim.start()


def _stop_daemon(stage: Stage) -> None:
    victim = stage.random.choice(stage.replicas)
    victim.terminate()
    stage.pause(1.0)
    victim.start()


def _freeze_daemon(stage: Stage) -> None:
    with stage.frozen(stage.random.choice(stage.replicas)):
        stage.pause(8.0, 0.5)


def _kill_member(stage: Stage) -> None:
    victim = stage.random.choice(stage.cluster.members)
    stage.truth.note_break()
    victim.kill()
    stage.pause(2.0)
    victim.start(is_waiting=False)
    wait_until(victim.is_healthy, f"{victim.name} serves", 30)


def _freeze_member(stage: Stage) -> None:
    victim = stage.random.choice(stage.cluster.members)
    stage.truth.note_break()
    victim.freeze()
    stage.pause(4.0, 0.5)
    victim.thaw()


def _refuse(stage: Stage) -> None:
    bad = stage.random.choice(CHANNELS)
    with (
        stage.truth.dark(is_watched=True, channel=bad, forced=target_faults.RETRY),
        stage.receivers.misbehaving(bad, REFUSES),
    ):
        stage.pause(2.0, 0.5)


def _break_off(stage: Stage) -> None:
    stage.receivers.break_off(stage.random.choice(CHANNELS), stage.random.choice((1, 2)))
    stage.pause(1.0)


def _compact(stage: Stage) -> None:
    with suppress(GatewayRefused):  # that is compacted already, or the member asked is behind
        stage.gateway.compact(stage.gateway.revision())


_ALL: tuple[Callable[[Stage], None], ...] = (
    _kill_daemon,
    _kill_daemon,
    _stop_daemon,
    _freeze_daemon,
    _kill_member,
    _freeze_member,
    _refuse,
    _break_off,
    _compact,
)


def rage(stage: Stage, seconds: float) -> None:
    """Do random faults for so long, with a calm of some seconds now and then in which all must be told."""
    stage.start()
    stage.driver.never_stop()
    end = time.monotonic() + seconds
    with stage.driver.traffic(0.3):
        while time.monotonic() < end:
            with stage.nobody(forced=RETRY):
                for _ in range(stage.random.choice((1, 2, 3))):
                    stage.random.choice(_ALL)(stage)
                stage.await_leader(30.0)
            stage.pause(6.0, 0.5)


twenty_seconds = partial(rage, seconds=20.0)
five_minutes = partial(rage, seconds=300.0)
