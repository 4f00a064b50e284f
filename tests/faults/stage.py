"""What is harmed: an etcd, daemons on it, receivers, and services that come and go; all real, all on loopback.

A `Stage` is a context manager: whatever happens, its processes are gone afterwards. A fault is a function of a stage;
`finish` waits until the receivers' pictures equal the truth, and has the oracle judge.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Self

from tests.etcd_server import Cut, EtcdCluster, EtcdServer, wait_until
from tests.faults.driver import Driver
from tests.faults.gateway import Gateway, GatewayDown, GatewayRefused
from tests.faults.oracle import Circumstances, Verdict, judge
from tests.faults.reading import CHANNELS, GROUP_BODY, JSON, WEBHOOK
from tests.faults.replica import Replica
from tests.faults.sink import Receivers
from tests.faults.truth import DOWN, FEW, Truth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LEASE = 5.0
"""Seconds of the leader's lease: what a leader costs that dies without a word."""
QUIET = 0.5
"""Seconds for which a stage is watched after all is told, so that what is too much arrives as well."""

CHECKPOINT = "/alertd/checkpoint"
"""The key that alertd writes last of what it knows of services."""
STORM = "{above: 1000000, within: 3s}"
"""No number of messages is a storm; where there is a digest for another reason, what becomes of it soon follows."""

_SERVICES: Mapping[str, int] = {"web": 3, "pay": 2, "db": 2}
_MINIMUMS: Mapping[str, int] = {"web": 2}


@dataclass(frozen=True, slots=True)
class Setup:
    """What a fault needs.

    `services` are numbers of instances by service, `minimums` how many must be up. `has_groups`: one message is about
    all of a service. `has_proxy`: the daemons reach etcd through a proxy that can be cut;
    `has_target_proxy`: so do messages the receivers. `registry` is the setting of
    that name. `patience`: seconds for all to be told at the end. `channels` are those judged.
    """

    members: int = 1
    replicas: int = 1
    services: Mapping[str, int] = field(default_factory=lambda: _SERVICES)
    minimums: Mapping[str, int] = field(default_factory=lambda: _MINIMUMS)
    has_groups: bool = False
    has_proxy: bool = False
    has_target_proxy: bool = False
    etcd_flags: tuple[str, ...] = ()
    registry: str = "{unreachable_after: 1h, settle: 0s, suspect: 100%}"
    patience: float = 25.0
    channels: tuple[str, ...] = CHANNELS


def rules_of(setup: Setup, receivers: Receivers) -> str:
    """Return the rules of a stage as YAML: everything is told at once, and nothing holds it back."""
    group = "[rule, service]" if setup.has_groups else "[rule, service, instance]"
    timing = f"group_wait: {'200ms' if setup.has_groups else '0s'}, group_interval: 0s, repeat_interval: 30d"
    body = f', templates: {{body: "{GROUP_BODY}"}}' if setup.has_groups else ""
    minimums = "".join(
        f"- {{name: {FEW}, service: {service}, when: {{instances: {{below: {least}}}}}, flap: false}}\n"
        for service, least in setup.minimums.items()
    )
    return (
        f'rules:\n- {{name: {DOWN}, service: "*", when: {{instance: down}}, flap: false}}\n{minimums}'
        f"settings: {{flap: false, storm: {STORM}, registry: {setup.registry}, forget_after: 30d}}\n"
        f"routes: [{{default: true, group_by: {group}, {timing}}}]\n"
        "channels:\n"
        f'  {JSON}: {{urls: ["{receivers.url(JSON)}"]{body}}}\n'
        f'  {WEBHOOK}: {{webhook: "{receivers.url(WEBHOOK)}"}}\n'
    )


class Stage:
    """One run's etcd, daemons, receivers and services; `program` is the etcd to run, `seed` makes it repeatable."""

    def __init__(self, folder: Path, setup: Setup, seed: int, program: str = "") -> None:
        self.folder = folder
        self.setup = setup
        self.random = Random(seed)  # noqa: S311 - to be repeatable
        self.truth = Truth(setup.minimums)
        self.receivers = Receivers(self.truth, has_groups=setup.has_groups, has_proxy=setup.has_target_proxy)
        self.cluster = EtcdCluster(folder / "etcd", flags=setup.etcd_flags, program=program, size=setup.members)
        for member in self.cluster.members:
            member.is_tethered = True
        self.gateway = Gateway(self.cluster.endpoints)
        self.driver = Driver(self.gateway, self.truth, self.random)
        self.replicas: list[Replica] = []
        self.cuts: list[Cut] = []
        self.kills = 0
        self._dead_leases: set[int] = set()
        """Leases of daemons that were killed: for a while the leader's key may lie under one still."""
        self.expected_notices: list[str] = []
        """Rules of alertd's own that must have told something by the end."""
        self.stack = ExitStack()

    @property
    def etcd(self) -> EtcdServer:
        """The only member, or the first."""
        return self.cluster.members[0]

    @property
    def daemon(self) -> Replica:
        """The only daemon, or the first."""
        return self.replicas[0]

    @property
    def rules(self) -> Path:
        """The folder with the rules of all daemons."""
        return self.folder / "rules"

    # --- life --------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.stack.close()
            raise
        return self

    def _set_up(self) -> None:
        self.stack.enter_context(self.receivers)
        self.stack.enter_context(self.cluster)
        endpoints = self.cluster.endpoints
        if self.setup.has_proxy:
            self.cuts = [self.stack.enter_context(Cut(endpoint)) for endpoint in endpoints]
            endpoints = tuple(cut.endpoint for cut in self.cuts)
        for service, count in self.setup.services.items():
            self.driver.register(f"{service}/{number}" for number in range(count))
        self.rules.mkdir()
        self.write_rules(rules_of(self.setup, self.receivers))
        for number in range(self.setup.replicas):
            self.replicas.append(Replica(f"r{number}", self.folder / f"r{number}", self.rules, endpoints))
        self.stack.callback(self._kill_all)

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _kill_all(self) -> None:
        for replica in self.replicas:
            replica.kill()

    def write_rules(self, text: str) -> None:
        """Write what all daemons read when they start."""
        (self.rules / "rules.yaml").write_text(text)

    def start(self) -> None:
        """Start all daemons, and wait until each has judged its first snapshot, and one leads and has kept it.

        What nobody has kept, nobody misses who comes after: a service that is lost by then was never known.
        """
        for replica in self.replicas:
            replica.start(is_waiting=False)
        for replica in self.replicas:
            replica.wait_until_ready()
            assert replica.is_running, f"{replica.name} ended: {replica.said()[-2000:]!r}"
        self.await_leader()
        wait_until(lambda: self.gateway.get(CHECKPOINT), "what is known is kept")

    # --- who leads ---------------------------------------------------------------------------------------------------

    def leader(self) -> Replica | None:
        """Return who leads, as etcd has it, if that daemon is running."""
        try:
            name, lease = self.gateway.leader()
        except GatewayDown:
            return None
        if lease in self._dead_leases:
            return None
        return next((replica for replica in self.replicas if replica.name == name and replica.is_running), None)

    def await_leader(self, seconds: float = 20.0) -> Replica:
        """Wait until a running daemon leads."""
        found: list[Replica] = []

        def is_found() -> bool:
            leader = self.leader()
            found.extend([leader] if leader is not None else [])
            return bool(found)

        wait_until(is_found, "a daemon leads", seconds)
        return found[0]

    def has_standby(self, leader: Replica) -> bool:
        """Whether somebody watches while `leader` does not."""
        return any(other is not leader and other.is_running and other.is_ready for other in self.replicas)

    def free_lease_of(self, dead: Replica) -> None:
        """Take the leader's key away from a daemon that is dead, so that the next one need not wait for its lease."""
        with suppress(GatewayDown, GatewayRefused):
            name, lease = self.gateway.leader()
            if name == dead.name and lease:
                self.gateway.revoke(lease)

    # --- harm that many faults do ------------------------------------------------------------------------------------

    def kill(self, replica: Replica) -> None:
        """Kill a daemon with SIGKILL."""
        self.truth.note_break()
        replica.kill()
        self.kills += 1
        with suppress(GatewayDown, GatewayRefused):
            name, lease = self.gateway.leader()
            if name == replica.name:
                self._dead_leases.add(lease)

    @contextmanager
    def frozen(self, replica: Replica) -> Iterator[None]:
        """Freeze a daemon during the block."""
        began = time.monotonic()
        replica.freeze()
        try:
            yield
        finally:
            self.truth.stalls.append((began, time.monotonic()))
            replica.thaw()

    @contextmanager
    def without(self, replica: Replica, *, since: float | None = None) -> Iterator[None]:
        """Record that a daemon that led is not there during the block, and until it, or another, leads again."""
        with self.truth.dark(is_watched=self.has_standby(replica), since=since):
            yield
            self.await_leader()

    @contextmanager
    def nobody(self, forced: float = 0.0) -> Iterator[None]:
        """Record that nobody can see or speak during the block, and `forced` seconds after it."""
        with self.truth.dark(is_watched=False, forced=forced):
            yield

    def pause(self, most: float, least: float = 0.0) -> None:
        """Let a random time pass."""
        time.sleep(self.random.uniform(least, most))

    def moves(self, count: int, pause: float = 0.1) -> None:
        """Make some random changes, a random pause after each."""
        for _ in range(count):
            self.driver.move()
            self.pause(2 * pause)

    def settle(self, seconds: float | None = None) -> bool:
        """Wait until the receivers' pictures equal the truth."""
        return self.receivers.settle(self.setup.patience if seconds is None else seconds, self.setup.channels)

    def calm(self) -> None:
        """Wait until all is told, and what needs no telling has been seen as well."""
        self.settle()
        time.sleep(QUIET)

    # --- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> Verdict:
        """Wait until all is told that has to be, and a little longer, and return the verdict."""
        deadline = time.monotonic() + self.setup.patience
        self.settle()
        time.sleep(QUIET)
        while not self._judge().is_good and time.monotonic() < deadline:
            time.sleep(0.5)  # what is over as well may still be on its way, or what came after an end that has arrived
        time.sleep(QUIET)
        self.driver.check()
        verdict = self._judge()
        for request in self.receivers.unreadable:
            verdict.blame(f"unreadable: {request}")
        for rule in self.expected_notices:
            if not any(news.alert.rule == rule for message in self.receivers.messages() for news in message.news):
                verdict.blame(f"nothing was told of {rule}")
        return verdict

    def _judge(self) -> Verdict:
        circumstances = Circumstances(self.truth.windows(), tuple(self.truth.breaks), tuple(self.truth.stalls))
        return judge(self.truth.edges, self.receivers.messages(), circumstances, self.setup.channels)
