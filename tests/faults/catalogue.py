"""All faults: what each is called, what it does and needs, and how often it runs in the short and the long form."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from alertd.delivery.courier import ENDS_WITHIN
from alertd.delivery.step import Step
from tests import hosts
from tests.etcd_server import program
from tests.faketime import LIBRARY
from tests.faults import chaos, daemon_faults, data_faults, etcd_faults, partition, target_faults
from tests.faults.reading import WEBHOOK
from tests.faults.sink import HANGS, REFUSES, TRICKLES
from tests.faults.stage import Setup, Stage

BULK = {"web": 3, "pay": 2, "bulk": 128}
CROWD = {"web": 3, "pay": 2} | {f"bulk{number}": 100 for number in range(20)}


@cache
def mounts() -> str:
    """Return why nothing can be mounted here."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "alertd-try", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return "mounting a small disk is not permitted"
        subprocess.run(["umount", folder], check=True, timeout=10)
    return ""


@cache
def namespaces() -> str:
    """Return why there can be no networks of our own here."""
    return hosts.why_not()


def faketime() -> str:
    """Return why the wall clock cannot be stepped here."""
    return "" if LIBRARY is not None else "libfaketime is not installed (Debian: faketime)"


_PLAIN = Setup()


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table.

    `needs` return why they are not met, or nothing. `short` and `long` are the runs of each form. `is_old_ok`: it may
    be run on etcd 3.4 as well.
    """

    name: str
    run: Callable[[Stage], None]
    setup: Setup = _PLAIN
    needs: tuple[Callable[[], str], ...] = ()
    short: int = 1
    long: int = 5
    is_old_ok: bool = True

    @property
    def why_not(self) -> str:
        """Return why it cannot be run here, empty if it can."""
        return next((reason for need in self.needs if (reason := need())), "")


_TWO = Setup(replicas=2)
_THREE = Setup(replicas=3)
_MEMBERS = Setup(members=3)
_PROXY = Setup(has_proxy=True)
_GROUPS = Setup(services=BULK, has_groups=True)
_CROWD = Setup(services=CROWD, has_groups=True, patience=60.0)
_SUSPECT = Setup(
    services={"web": 3, "bulk": 60},
    has_groups=True,
    registry="{unreachable_after: 1h, settle: 4s, suspect: 50%}",
    channels=(WEBHOOK,),
)
_AWAY = Setup(has_groups=True, registry="{unreachable_after: 4s, settle: 3s, suspect: 50%}", channels=(WEBHOOK,))
_SLOW_TARGET = Setup(patience=60.0)
_TRICKLING_TARGET = Setup(patience=60.0 + ENDS_WITHIN)
_SLOW_TARGET_OF_TWO = Setup(replicas=2, patience=60.0)
_NOSPACE = Setup(etcd_flags=(f"--quota-backend-bytes={16 << 20}",), patience=40.0)
_NOSPACE_FOR_TWO = replace(_NOSPACE, replicas=2)


def _deaths() -> list[Fault]:
    """Return the faults that kill the daemon at each step of a delivery."""
    alone = [Fault(f"killed when {step}", daemon_faults.die_at(step, 6), long=18) for step in Step]
    beside = [
        Fault(
            f"killed when {step}, beside a standby",
            daemon_faults.die_at_beside_standby(step, 6),
            _TWO,
            (),
            short=0,
            long=8,
        )
        for step in Step
    ]
    return alone + beside


FAULTS = (
    Fault("leader killed", partial(daemon_faults.kill_leader, times=8), _TWO, long=15),
    Fault("only daemon killed", partial(daemon_faults.kill_only_daemon, times=8), long=15),
    Fault("standby killed", partial(daemon_faults.kill_standby, times=5), _TWO, long=6),
    *_deaths(),
    Fault("handover on SIGTERM", daemon_faults.hand_over, _TWO),
    Fault("only daemon restarted while things change", daemon_faults.restart_only_daemon),
    Fault("three daemons restarted in turn", daemon_faults.roll, _THREE),
    Fault("leader frozen past its lease, then goes on", daemon_faults.freeze_leader, _TWO),
    Fault("leader frozen about as long as its lease", daemon_faults.freeze_leader_shortly, _TWO, short=0),
    Fault("rules broken at a restart", daemon_faults.start_on_broken_rules),
    Fault("rules broken at a reload", daemon_faults.break_rules_live, long=3),
    Fault("etcd frozen", etcd_faults.freeze),
    Fault("packets dropped, connections open", etcd_faults.drop_packets, _PROXY),
    Fault("connections to etcd broken over and over", etcd_faults.break_connections, _PROXY),
    Fault("streams of etcd ended politely", etcd_faults.end_streams),
    Fault("member cut off from the quorum", partition.cut_off_member, _MEMBERS, (namespaces,)),
    Fault("two of three members killed", etcd_faults.lose_quorum, _MEMBERS),
    Fault("etcd's leader killed", etcd_faults.kill_etcd_leader, _MEMBERS),
    Fault("etcd's leader frozen", etcd_faults.freeze_member, _MEMBERS),
    Fault("all members down and back", etcd_faults.kill_all_members, _MEMBERS),
    Fault("compaction while the daemon is down", etcd_faults.compact_while_down),
    Fault("compaction while cut off", etcd_faults.compact_while_cut_off, _PROXY),
    Fault("compaction exactly at the next revision", etcd_faults.compact_at_cursor, _PROXY),
    Fault("restored from an older snapshot", etcd_faults.restore_snapshot, is_old_ok=False),
    Fault("another cluster at the same address", etcd_faults.replace_cluster),
    Fault("100,000 keys written while cut off", etcd_faults.change_much_while_cut_off, _PROXY, long=3),
    Fault("authentication switched on, tokens forgotten", etcd_faults.switch_auth_on),
    Fault("TLS with a wrong authority", etcd_faults.mistrust, long=4),
    Fault("etcd full: writes refused, keys expire", etcd_faults.fill_up, _NOSPACE, long=4),
    Fault("etcd full, and the leader killed", etcd_faults.fill_up_and_kill_leader, _NOSPACE_FOR_TWO, short=0, long=4),
    Fault("transaction of 128 operations", data_faults.large_transaction, _GROUPS),
    Fault("deleted and made again in one batch", data_faults.delete_and_recreate),
    Fault("keys change their leases", data_faults.change_leases),
    Fault("2,000 leases end at once", data_faults.end_many_leases, _CROWD, (), long=2),
    Fault("values of 1 MiB, binary, NaN, deep", data_faults.strange_values),
    Fault("wall clock stepped", data_faults.step_wall_clock, needs=(faketime,)),
    Fault("disk full in the state dir", data_faults.fill_state_dir, needs=(mounts,), long=4),
    Fault("target refuses", target_faults.misbehave(REFUSES), _SLOW_TARGET),
    Fault("target gone, then back", target_faults.vanish, Setup(patience=60.0, has_target_proxy=True)),
    Fault("target hangs", target_faults.misbehave(HANGS), _SLOW_TARGET, long=3),
    Fault("target trickles", target_faults.misbehave(TRICKLES), _TRICKLING_TARGET, long=3),
    Fault("target accepts and breaks off", target_faults.accept_and_break_off, _SLOW_TARGET),
    Fault("leader killed while a target refuses", target_faults.die_while_refused, _SLOW_TARGET_OF_TWO),
    Fault("half of all instances expire: registry suspect", data_faults.suspect, _SUSPECT, (), long=4),
    Fault("etcd away longer than allowed", data_faults.registry_away, _AWAY, (), long=4),
    Fault(
        "random faults, three members, three daemons",
        chaos.twenty_seconds,
        Setup(members=3, replicas=3, patience=60.0),
        (),
        long=0,
    ),
    Fault(
        "five minutes of random faults, three of each",
        chaos.five_minutes,
        Setup(members=3, replicas=3, patience=60.0),
        (),
        short=0,
        long=4,
    ),
)

OLD_PROGRAMS = ("/usr/bin/etcd", "/usr/local/bin/etcd")


@cache
def old_etcd() -> str:
    """Return the program of an etcd 3.4 that is installed beside the one on the path, empty if none is."""
    for old in OLD_PROGRAMS:
        if Path(old).exists() and "etcd Version: 3.4" in _version_of(old):
            return old
    return ""


def _version_of(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout


def programs() -> tuple[str, ...]:
    """Return the etcds to run on, the one that all faults run on first."""
    found = program("etcd")
    return (found, old_etcd()) if old_etcd() else (found,)
