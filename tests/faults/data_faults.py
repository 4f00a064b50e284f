"""What services write is large, strange, or comes all at once; and what surrounds the daemon is."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from tests.faketime import WallClock
from tests.faults.truth import Standing

if TYPE_CHECKING:
    from tests.faults.stage import Stage

_LARGE = 1_000_000
STRANGE: dict[str, bytes] = {
    "1 MiB": b'{"blob": "' + b"x" * _LARGE + b'"}',
    "binary": bytes(range(256)) * 8,
    "invalid UTF-8": b'{"host": "\xff\xfe"}',
    "NaN": b'{"load": NaN, "more": -Infinity}',
    "deep": b"[" * 20_000 + b"]" * 20_000,
    "deep object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "not JSON": b'{"status": "failing"',
    "a number too big": b'{"n": ' + b"9" * 5_000 + b"}",
    "status of another type": b'{"status": ["failing"]}',
    "empty": b"",
}


def strange_values(stage: Stage) -> None:
    """Instances write what nobody can make sense of: they are up, and others come and go as ever."""
    stage.start()
    for value in stage.random.sample(list(STRANGE.values()), len(STRANGE)):
        name = stage.random.choice(stage.driver.names)
        stage.driver.recover(name, value=value)
        stage.moves(1)
        if stage.truth.standing_of(name) is Standing.UP:
            stage.driver.lose(name, "delete")


def large_transaction(stage: Stage, times: int = 3) -> None:
    """Lose 128 instances in one transaction, and have them back in one."""
    stage.start()
    names = [name for name in stage.driver.names if name.startswith("bulk/")]
    for _ in range(times):
        stage.driver.delete(*names)
        stage.moves(1)
        stage.settle()
        stage.driver.recover(*names)
        stage.settle()


def delete_and_recreate(stage: Stage, times: int = 12) -> None:
    """Delete and make again so quickly that it comes in one batch, some of it ending gone."""
    stage.start()
    for _ in range(times):
        name = stage.random.choice(stage.driver.names)
        for _ in range(stage.random.choice((1, 2, 3))):
            if stage.truth.standing_of(name) is Standing.UP:
                stage.driver.delete(name)
            stage.driver.recover(name, lease=0)
        if stage.random.random() < 0.5:
            stage.driver.delete(name)
        stage.pause(0.4)


def change_leases(stage: Stage, times: int = 12) -> None:
    """Put keys under other leases and end the old ones: the end of a lease that no key has any more is no loss."""
    stage.start()
    for _ in range(times):
        name = stage.random.choice(stage.driver.names)
        if stage.truth.standing_of(name) is Standing.UP:
            stage.driver.change_lease(name)
        if stage.random.random() < 0.4:
            stage.driver.move()
        stage.pause(0.3)


def end_many_leases(stage: Stage) -> None:
    """Let the leases of many instances, one each, run out at once, by etcd itself; then have all of them back."""
    stage.start()
    names = [name for name in stage.driver.names if name.startswith("bulk")]
    since = time.monotonic()
    for name in names:
        stage.driver.recover(name, lease=stage.driver.lease(seconds=20))
    stage.driver.await_expiry(names, since)
    stage.settle()
    for start in range(0, len(names), 100):
        stage.driver.recover(*names[start : start + 100])


def step_wall_clock(stage: Stage) -> None:
    """Set the daemon's wall clock forward and back by hours while services come and go, over a restart too."""
    clock = WallClock(stage.folder)
    stage.daemon.variables.update(clock.variables)
    stage.start()
    for hours in (3, -5, 24 * 400, 0):
        clock.set(hours * 3600)
        stage.moves(4)
    stage.settle()
    clock.set(-7200)
    with stage.without(stage.daemon):
        stage.daemon.terminate()
        stage.moves(2)
        stage.daemon.start()
    stage.moves(4)


def fill_state_dir(stage: Stage) -> None:
    """Fill the disk of the state dir, from the start and over a restart: nothing depends on it."""
    folder = stage.daemon.state_dir
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "alertd-full", str(folder)]
    subprocess.run(mount, check=True, capture_output=True, timeout=10)
    stage.stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False, timeout=10)
    (folder / "filler").write_bytes(b"x" * 65536)
    stage.start()
    stage.moves(6)
    stage.settle()
    with stage.without(stage.daemon):
        stage.daemon.terminate()
        stage.moves(3)
        stage.daemon.start()
    stage.moves(6)


def suspect(stage: Stage) -> None:
    """Let most instances expire within one time of a lease, and half come back: held, told as suspect, then judged."""
    stage.expected_notices.append("alertd-registry")
    stage.start()
    names = [name for name in stage.driver.names if name.startswith("bulk/")]
    with stage.truth.dark(is_watched=False, forced=6.0):
        since = time.monotonic()
        for number in range(10):
            stage.driver.recover(*names[number::10], lease=stage.driver.lease(seconds=2))
        stage.driver.await_expiry(names, since)
        stage.driver.recover(*names[: len(names) // 2])
    stage.receivers.settle(20.0, stage.setup.channels)
    stage.driver.recover(*names[len(names) // 2 :])


def registry_away(stage: Stage) -> None:
    """Take etcd away for longer than the rules allow: one message says so, one that it is back."""
    stage.expected_notices.append("alertd-registry")
    stage.start()
    stage.moves(3)
    stage.settle()
    with stage.nobody(forced=10.0):
        stage.etcd.freeze()
        time.sleep(12.0)
        stage.etcd.thaw()
        stage.moves(3)
    stage.moves(3, pause=1.0)
