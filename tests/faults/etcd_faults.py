"""etcd is frozen, killed, cut off, compacted, set back, replaced, or refuses."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.certificates import authority, signed
from tests.etcd_server import HOST, free_port, wait_until
from tests.faults.gateway import Gateway, GatewayDown, GatewayRefused
from tests.faults.stage import LEASE
from tests.faults.truth import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.etcd_server import EtcdServer
    from tests.faults.stage import Stage

RETRY = LEASE + 2.0
"""Seconds after which somebody leads again once etcd is back: a lease may begin anew, and pauses grow to 2 s."""


def _leader_of(stage: Stage) -> EtcdServer:
    """Return the member that leads."""
    for member in stage.cluster.members:
        if member.process is None:
            continue
        try:
            status = Gateway([member.endpoint]).call("maintenance/status")
        except (GatewayDown, GatewayRefused):
            continue
        if status.get("leader") == status["header"]["member_id"]:
            return member
    return stage.etcd


@contextmanager
def _cut_off(stage: Stage) -> Iterator[None]:
    """Cut the daemons off from etcd during the block; the driver is not."""
    with stage.nobody(forced=RETRY):
        for cut in stage.cuts:
            cut.cut()
        yield
        for cut in stage.cuts:
            cut.mend()


def _go_on(stage: Stage) -> None:
    """When all is told, change services again: it works as before."""
    stage.calm()
    stage.moves(5)


def freeze(stage: Stage, seconds: float = 8.0) -> None:
    """Freeze etcd with its connections open; what is asked of it meanwhile happens afterwards."""
    stage.start()
    with stage.driver.traffic(0.2):
        stage.pause(1.0, 0.5)
        with stage.nobody(forced=RETRY):
            stage.etcd.freeze()
            time.sleep(seconds)
            stage.etcd.thaw()
        stage.pause(5.0, 4.0)
    _go_on(stage)


def drop_packets(stage: Stage, seconds: float = 8.0) -> None:
    """Let the daemon's connections to etcd stay open and silent, then break them."""
    stage.start()
    with stage.driver.traffic(0.3):
        with stage.nobody(forced=RETRY):
            for cut in stage.cuts:
                cut.hold()
            time.sleep(seconds)
            for cut in stage.cuts:
                cut.cut()
                cut.mend()
        stage.pause(5.0, 4.0)
    _go_on(stage)


def break_connections(stage: Stage, times: int = 6) -> None:
    """Break all connections to etcd, over and over."""
    stage.start()
    with stage.driver.traffic(0.2):
        for _ in range(times):
            with _cut_off(stage):
                stage.pause(0.3)
            stage.pause(2.0)
    _go_on(stage)


def end_streams(stage: Stage, times: int = 2) -> None:
    """Stop etcd politely, which ends its streams without an error, and start it again."""
    stage.start()
    with stage.driver.traffic(0.3):
        for _ in range(times):
            with stage.nobody(forced=RETRY):
                stage.etcd.stop()
                stage.pause(1.0)
                stage.etcd.start()
            stage.pause(4.0, 3.0)
    _go_on(stage)


def kill_all_members(stage: Stage) -> None:
    """Kill all members, and start them on their data."""
    stage.start()
    with stage.driver.traffic(0.3):
        stage.pause(1.0, 0.5)
        with stage.nobody(forced=RETRY):
            for member in stage.cluster.members:
                member.kill()
            stage.pause(2.0, 1.0)
            for member in stage.cluster.members:
                member.start(is_waiting=False)
            for member in stage.cluster.members:
                wait_until(member.is_healthy, f"{member.name} serves")
        stage.pause(5.0, 4.0)
    _go_on(stage)


def kill_etcd_leader(stage: Stage, times: int = 3) -> None:
    """Kill the member that leads; the others elect one, and it comes back."""
    stage.start()
    with stage.driver.traffic(0.2):
        for _ in range(times):
            stage.pause(1.0, 0.5)
            with stage.nobody(forced=RETRY):
                victim = _leader_of(stage)
                victim.kill()
                stage.pause(1.5, 0.5)
                victim.start()
    _go_on(stage)


def freeze_member(stage: Stage, seconds: float = 6.0) -> None:
    """Freeze the member that leads, connections open; the others elect another."""
    stage.start()
    with stage.driver.traffic(0.3):
        with stage.nobody(forced=RETRY):
            victim = _leader_of(stage)
            victim.freeze()
            time.sleep(seconds)
            victim.thaw()
        stage.pause(4.0, 3.0)
    _go_on(stage)


def lose_quorum(stage: Stage, seconds: float = 3.0) -> None:
    """Kill two of three: the member that is left answers and watches, but knows nothing new."""
    stage.start()
    with stage.driver.traffic(0.3):
        with stage.nobody(forced=RETRY):
            for member in stage.cluster.members[:2]:
                member.kill()
            time.sleep(seconds)
            for member in stage.cluster.members[:2]:
                member.start(is_waiting=False)
            for member in stage.cluster.members:
                wait_until(member.is_healthy, f"{member.name} serves")
        stage.pause(4.0, 3.0)
    _go_on(stage)


# --- history ---------------------------------------------------------------------------------------------------------


def compact_while_down(stage: Stage) -> None:
    """Stop the only daemon, change services, forget the history, and start it."""
    stage.start()
    stage.driver.never_stop()
    stage.moves(4)
    stage.calm()
    with stage.without(stage.daemon):
        stage.daemon.terminate()
        stage.moves(6, pause=0.02)
        stage.gateway.compact(stage.gateway.revision())
        stage.moves(2, pause=0.02)
        stage.daemon.start()
    stage.moves(6)


def compact_while_cut_off(stage: Stage) -> None:
    """Cut the daemon off, change services, forget the history, and mend it."""
    stage.start()
    stage.driver.never_stop()
    stage.moves(4)
    stage.calm()
    with _cut_off(stage):
        stage.moves(6, pause=0.02)
        stage.gateway.compact(stage.gateway.revision())
        stage.moves(1, pause=0.02)
    stage.moves(6)


def compact_at_cursor(stage: Stage) -> None:
    """Compact exactly at the first revision that the daemon has not seen, which is a deletion (etcd#18089)."""
    stage.start()
    for name in stage.random.sample(stage.driver.names, 3):
        stage.calm()
        with _cut_off(stage):
            stage.driver.delete(name)
            stage.gateway.compact(stage.gateway.revision())
        stage.calm()
        stage.driver.recover(name)


def restore_snapshot(stage: Stage) -> None:
    """Put an older snapshot in the place of etcd's data: revisions go back."""
    stage.start()
    stage.driver.never_stop()
    stage.moves(3)
    stage.calm()
    snapshot = stage.folder / "snapshot"
    stage.etcd.save(snapshot)
    stage.moves(6)
    stage.calm()
    with stage.nobody(forced=RETRY):
        since = time.monotonic()
        stage.etcd.stop()
        stage.etcd.restore(snapshot)
        stage.etcd.start()
        stage.driver.adopt(since)
    stage.moves(6)
    _die_and_go_on(stage)


def _die_and_go_on(stage: Stage) -> None:
    """Kill the only daemon when all is told: the next one knows from etcd what that was."""
    stage.calm()
    with stage.without(stage.daemon):
        stage.kill(stage.daemon)
        stage.daemon.start()
    stage.moves(6)


def replace_cluster(stage: Stage) -> None:
    """Another cluster answers at the same address, with some of the same services."""
    stage.start()
    stage.driver.never_stop()
    stage.moves(3)
    stage.calm()
    with stage.nobody(forced=RETRY):
        since = time.monotonic()
        stage.etcd.stop()
        stage.etcd.wipe()
        stage.etcd.peer_port = free_port()
        stage.etcd.start()
        stage.driver.adopt(since)  # nothing is there for a moment, which may be seen
        for _ in range(stage.random.randrange(60)):
            stage.gateway.put("/elsewhere", "")
        stage.driver.recover(*stage.random.sample(stage.driver.names, 4))
    stage.moves(6)
    _die_and_go_on(stage)


def change_much_while_cut_off(stage: Stage, keys: int = 100_000) -> None:
    """Write many keys, more than fits into one message of gRPC, while the daemon is cut off."""
    stage.gateway.timeout = 20.0
    stage.start()
    stage.moves(3)
    stage.calm()
    with _cut_off(stage):
        lease = stage.driver.lease()
        for start in range(0, keys, 100):
            names = [f"bulk{start // 1000}/{number}" for number in range(start, min(start + 100, keys))]
            stage.driver.recover(*names, value="x" * 40, lease=lease)
        stage.moves(6, pause=0.02)
    stage.moves(6)


# --- refusals --------------------------------------------------------------------------------------------------------


def switch_auth_on(stage: Stage) -> None:
    """Switch authentication on while the daemon runs, then restart etcd, which forgets all tokens."""
    gateway, user, password = stage.gateway, "root", "secret"
    gateway.call("auth/user/add", name=user, password=password)
    gateway.call("auth/role/add", name=user)
    gateway.call("auth/user/grant", user=user, role=user)
    stage.daemon.flags = ["--etcd-user", user]
    stage.daemon.variables["ALERTD_ETCD_PASSWORD"] = password
    stage.start()
    stage.moves(3)
    with stage.nobody(forced=RETRY):
        gateway.call("auth/enable")
        gateway.log_in(user, password)
    stage.moves(6)
    stage.calm()
    with stage.nobody(forced=RETRY):
        stage.etcd.restart()
    stage.moves(6)


def mistrust(stage: Stage) -> None:
    """Restart the only daemon with the wrong authority for etcd's TLS: it says so and tries on; then with the right."""
    right, wrong = authority(stage.folder), authority(stage.folder, "wrong")
    server, port = signed(right, "server"), free_port()
    listening = f"--listen-client-urls=http://{stage.etcd.endpoint},https://{HOST}:{port}"
    stage.etcd.flags += (listening, f"--cert-file={server.cert}", f"--key-file={server.key}")
    stage.etcd.restart()
    stage.daemon.endpoints = [f"{HOST}:{port}"]
    stage.daemon.flags = ["--etcd-ca", str(right.cert)]
    stage.start()
    stage.moves(4)
    stage.calm()
    with stage.without(stage.daemon):
        stage.daemon.terminate()
        stage.daemon.flags = ["--etcd-ca", str(wrong.cert)]
        stage.daemon.start(is_waiting=False)
        stage.moves(4)
        wait_until(lambda: b"certificate" in stage.daemon.said(), "it says what is wrong")
        assert not stage.daemon.is_ready
        stage.daemon.terminate()
        stage.daemon.flags = ["--etcd-ca", str(right.cert)]
        stage.daemon.start()
    _go_on(stage)


def fill_up(stage: Stage) -> None:
    """Fill etcd until it refuses writes; keys still expire, and that has to be told. Then make room."""
    stage.start()
    stage.moves(3)
    with stage.truth.dark(is_watched=True, forced=RETRY):
        _lose_while_full(stage)
    _make_room(stage)
    stage.moves(6)


def fill_up_and_kill_leader(stage: Stage) -> None:
    """Fill etcd, let something expire, and kill the leader once it has told that: nothing of it is in etcd."""
    stage.start()
    stage.moves(3)
    stage.calm()
    leader = stage.await_leader()
    standby = next(each for each in stage.replicas if each is not leader)
    standby.terminate()  # so that it begins with what is remembered, later than the leader did
    standby.start()
    stage.moves(3)
    with stage.truth.dark(is_watched=True, forced=RETRY):
        _lose_while_full(stage)
        stage.kill(leader)
        stage.pause(8.0)
        _make_room(stage)
        stage.await_leader()
    stage.moves(3)
    leader.start()
    stage.moves(3)


def _lose_while_full(stage: Stage) -> None:
    """Fill etcd, and end a lease; return once that is told."""
    stage.calm()
    name = stage.random.choice([name for name in stage.driver.names if _is_up(stage, name)] or ["db/0"])
    stage.driver.recover(name)
    stage.calm()
    _fill(stage)
    stage.driver.revoke(name)
    assert stage.settle(20.0), "what expired is not told while etcd is full"


def _is_up(stage: Stage, name: str) -> bool:
    return stage.truth.standing_of(name) is Standing.UP


def _fill(stage: Stage) -> None:
    """Write until etcd raises the alarm."""
    for number in range(400):
        try:
            stage.gateway.put(f"/filler/{number}", "x" * 500_000)
        except GatewayRefused:
            return
    raise AssertionError("etcd does not fill up")


def _make_room(stage: Stage) -> None:
    """Delete what fills etcd, compact, defragment, and end the alarm."""
    for pair in stage.gateway.get("/filler/", keys_only=True):
        stage.etcd.ctl("del", pair.key)
    stage.gateway.compact(stage.gateway.revision())
    stage.etcd.ctl("defrag")
    stage.etcd.ctl("alarm", "disarm")
