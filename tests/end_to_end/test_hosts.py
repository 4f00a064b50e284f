"""The case, on hosts of its own: three run etcd, a service and its secretary; two run alertd, one takes the mail.

Whatever happens to a host is told once, with its cause, within the lease's time and 2 s; nothing else is told.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.process import ROUTES, DaemonProcess, alertd, environment
from tests.etcd_server import EtcdServer, wait_until
from tests.hosts import Host, hosts, why_not
from tests.sinks import HttpInbox, http_inbox

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "hosts can be made")

TTL = 5
SOON = TTL + 2
ELECTION = 2
RULES = f"""
rules:
  - {{name: lost, service: "*", when: {{instance: down}}}}
  - {{name: stopped, service: apache, when: {{instance: down, cause: [stopped]}}}}
  - {{name: marker, service: marker, when: {{instance: up}}}}
  - {{name: too-few, service: apache, when: {{instances: {{below: 2}}}}, severity: critical}}
{ROUTES}
"""


class Process:
    """A process on a host."""

    def __init__(self, host: Host, log: Path, *command: str) -> None:
        with host.inside(), log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=environment())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal and, if that ends it, wait until it has ended."""
        self._process.send_signal(number)
        assert self._process.wait(5) in {0, -number}

    def end(self) -> None:
        """Kill it if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Unit:
    """A service on a host and its secretary, started and stopped together, as their units are."""

    def __init__(self, name: str, host: Host, folder: Path, etcd: str) -> None:
        self.instance = host.address
        self._name = name
        self._host = host
        self._etcd = etcd
        self._folder = folder / f"{name}-{host.address}"
        self._folder.mkdir()
        self.page = self._folder / "health.txt"
        self._port = {"apache": "8080", "web": "8081"}[name]
        self.service: Process | None = None
        self.secretary: Process | None = None

    def start(self) -> None:
        """Start both."""
        self.page.write_text("well\n")
        self.start_service()
        self.start_secretary()

    def start_service(self) -> None:
        """Start the service: a web server on the host's address."""
        where = ("--bind", self._host.address, "--directory", str(self._folder))
        self.service = Process(
            self._host, self._folder / "log", sys.executable, "-m", "http.server", self._port, *where
        )

    def start_secretary(self) -> None:
        """Start the secretary; it speaks with its own host's etcd first."""
        address = self._host.address
        self.secretary = Process(
            self._host,
            self._folder / "secretary.log",
            *(sys.executable, "-m", "alertd", "secretary", "--etcd", self._etcd),
            *("--service", self._name, "--instance", address, "--set", f"host={self._host.label}"),
            *("--set", f"ipv4_addr={address}", "--set", f"port={self._port}"),
            *("--check", f"http://{address}:{self._port}/health.txt", "--every", "1s", "--timeout", "1s"),
            *("--ttl", f"{TTL}s"),
        )

    def stop(self) -> None:
        """Stop both on purpose, the secretary first, as it is bound to the service."""
        for process in (self.secretary, self.service):
            assert process is not None
            process.signal(signal.SIGTERM)

    def end(self) -> None:
        """Kill what still runs."""
        for process in (self.secretary, self.service):
            if process is not None:
                process.end()


class Case:
    """Three hosts with a member of etcd and an apache each, and two where alertd runs; in the office people listen."""

    def __init__(self, machines: list[Host], folder: Path, stack: ExitStack) -> None:
        *self.hosts, self.annex, self.office = machines
        self._folder = folder
        self._stack = stack
        self.members = [EtcdServer(folder, name=f"m{host.address}", address=host.address) for host in self.hosts]
        self._start_etcd()
        self._member_ids = [self._ask(index)["header"]["member_id"] for index in range(len(self.members))]
        self.apaches = [self.unit("apache", host) for host in self.hosts]
        for apache in self.apaches:
            apache.start()
        with self.office.inside():
            self.inbox: HttpInbox = stack.enter_context(http_inbox(address=self.office.address))
        self.wait_for_instances("apache", 3)
        self.daemons = {host: self._start_daemon(host) for host in (self.office, self.annex)}
        self._read = 0

    def _start_etcd(self) -> None:
        for host, member in zip(self.hosts, self.members, strict=True):
            member.members = self.members
            self._stack.callback(member.discard)
            with host.inside():
                member.start(is_waiting=False)
        for host, member in zip(self.hosts, self.members, strict=True):
            with host.inside():
                wait_until(member.is_healthy, f"{member.name} serves")

    def _start_daemon(self, host: Host) -> DaemonProcess:
        with host.inside():
            daemon = self._stack.enter_context(
                DaemonProcess(
                    self._folder / host.name, self.members[0], "--etcd", self.endpoints(0), "--replica", host.name
                )
            )
            return daemon.write_rules(RULES, self.inbox).start()

    def speaker(self) -> Host:
        """Return the host of the daemon that leads."""
        with self.office.inside():
            holder = self.members[1].ctl("get", "/alertd/leader", "--print-value-only")
        name = json.loads(holder)["replica"] if holder.strip() else ""
        return next((host for host in self.daemons if host.name == name), self.hosts[0])

    def unit(self, name: str, host: Host) -> Unit:
        """Return a service on a host that is not started yet."""
        index = self.hosts.index(host)
        unit = Unit(name, host, self._folder, self.endpoints(index))
        self._stack.callback(unit.end)
        return unit

    def endpoints(self, first: int) -> str:
        """Return all members' addresses, beginning with one."""
        return ",".join(member.endpoint for member in self.members[first:] + self.members[:first])

    def status(self, host: Host, first: int = 0) -> list[dict[str, Any]]:
        """Return the services as `alertd status` shows them on a host."""
        with host.inside():
            done = alertd("status", "--json", "--etcd", self.endpoints(first))
        assert done.returncode == 0, done.stderr
        services: list[dict[str, Any]] = json.loads(done.stdout)["services"]
        return services

    def wait_for_instances(self, service: str, count: int) -> None:
        """Wait until so many are registered."""

        def are_there() -> bool:
            with self.office.inside():
                listed = self.members[0].ctl("get", f"/services/{service}/", "--prefix", "--keys-only")
            return len(listed.split()) == count

        wait_until(are_there, f"{count} instances of {service}")

    def told(self, seconds: float) -> str:
        """Return the next message, title and body, once it has come."""
        message = self.inbox.wait_for_count(self._read + 1, seconds)[self._read]
        self._read += 1
        return f"{message['title']}\n{message['message']}"

    @contextmanager
    def nothing_else_told(self) -> Iterator[None]:
        """See that what is read inside is all there is: what is put last, when all is well again, is told next."""
        yield
        for host, member in zip(self.hosts, self.members, strict=True):
            with host.inside():
                wait_until(member.is_healthy, f"{member.name} serves")
        self.wait_for_instances("apache", 3)
        with self.office.inside():
            self.members[0].ctl("put", f"/services/marker/{self._read}", "")
        marker = f"marker/{self._read}"
        assert self.told(2).startswith(f"[FIRING] marker {marker}")
        wait_until(self.is_recorded, "it is recorded, so that whoever is killed next leaves nothing to be told again")

    def is_recorded(self) -> bool:
        """Whether all that was told is known to have been taken."""
        with self.office.inside():
            return not self.members[0].ctl("get", "/alertd/outbox/letters/", "--prefix", "--keys-only").strip()

    def leader(self, asked: int = 0) -> int:
        """Return which member leads, by the word of the one asked."""
        return self._member_ids.index(self._ask(asked)["leader"])

    def elect(self, index: int) -> None:
        """Have a member lead etcd."""
        leader = self.leader()
        if leader != index:
            with self.office.inside():
                self.members[leader].ctl("move-leader", f"{self._member_ids[index]:x}")
            wait_until(lambda: self.leader() == index, f"{self.members[index].name} leads")

    def _ask(self, index: int) -> dict[str, Any]:
        """Return what a member says of itself."""
        with self.office.inside():
            answer: dict[str, Any] = json.loads(self.members[index].ctl("endpoint", "status", "-w", "json"))[0][
                "Status"
            ]
        return answer


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Give the case with all well; each test leaves it so."""
    with hosts(5) as machines, ExitStack() as stack:
        yield Case(machines, tmp_path_factory.mktemp("case"), stack)


def test_the_state_can_be_read_on_every_host(case: Case) -> None:
    """By `alertd status` and by plain etcdctl, the same everywhere."""
    with case.nothing_else_told():
        for index, (host, member) in enumerate(zip(case.hosts, case.members, strict=True)):
            (apache,) = case.status(host, index)
            assert (apache["service"], apache["up"]) == ("apache", 3)
            assert [one["instance"] for one in apache["instances"]] == ["10.77.0.1", "10.77.0.2", "10.77.0.3"]
            assert apache["instances"][2]["value"] == {"host": "h3", "ipv4_addr": "10.77.0.3", "port": 8080}
            with host.inside():
                assert '"host":"h2"' in member.ctl("get", "/services/apache/10.77.0.2")


def test_a_service_is_stopped(case: Case) -> None:
    """Its secretary says so: `stopped`, and no word of a loss; started again it is resolved."""
    with case.nothing_else_told():
        case.apaches[0].stop()
        told = case.told(2)
        assert told.startswith("[FIRING] stopped apache/10.77.0.1")
        assert "stopped: stopped on purpose" in told
        case.apaches[0].start()
        assert case.told(SOON).startswith("[RESOLVED] stopped apache/10.77.0.1")


def test_a_service_dies(case: Case) -> None:
    """The secretary is still there, and says what its probe found."""
    with case.nothing_else_told():
        service = case.apaches[1].service
        assert service is not None
        service.signal(signal.SIGKILL)
        told = case.told(SOON)
        assert told.startswith("[FIRING] lost apache/10.77.0.2")
        assert "failing: connection refused" in told
        case.apaches[1].start_service()
        assert case.told(SOON).startswith("[RESOLVED] lost apache/10.77.0.2")


def test_a_probe_breaks(case: Case) -> None:
    """The service runs, and answers what it should not."""
    with case.nothing_else_told():
        case.apaches[2].page.unlink()
        told = case.told(SOON)
        assert told.startswith("[FIRING] lost apache/10.77.0.3")
        assert "failing: HTTP 404" in told
        case.apaches[2].page.write_text("well\n")
        assert case.told(SOON).startswith("[RESOLVED] lost apache/10.77.0.3")


def test_a_secretary_is_killed(case: Case) -> None:
    """Nothing is announced: its lease ends, and contact is lost."""
    with case.nothing_else_told():
        secretary = case.apaches[0].secretary
        assert secretary is not None
        secretary.signal(signal.SIGKILL)
        told = case.told(SOON)
        assert told.startswith("[FIRING] lost apache/10.77.0.1")
        assert "expired: lost contact, its lease ended" in told
        case.apaches[0].start_secretary()
        assert case.told(SOON).startswith("[RESOLVED] lost apache/10.77.0.1")


def test_a_host_is_cut_off_and_its_service_moves(case: Case) -> None:
    """Both its services are lost; one comes up elsewhere, which resolves it as replaced; the other when it is back."""
    with case.nothing_else_told():
        here, there = case.unit("web", case.hosts[1]), case.unit("web", case.hosts[0])
        here.start()
        case.wait_for_instances("web", 1)
        case.elect(2)
        case.hosts[1].cut_off()
        lost = sorted([case.told(SOON), case.told(SOON)])
        assert lost[0].startswith("[FIRING] lost apache/10.77.0.2")
        assert lost[1].startswith("[FIRING] lost web/10.77.0.2")
        assert all("expired: lost contact" in told for told in lost)
        there.start()
        told = case.told(SOON)
        assert told.startswith("[RESOLVED] lost web/10.77.0.2")
        assert "replaced" in told
        case.hosts[1].mend()
        assert case.told(SOON).startswith("[RESOLVED] lost apache/10.77.0.2")
        case.wait_for_instances("web", 2)
        here.stop()
        there.stop()


def test_the_leader_of_etcd_is_cut_off(case: Case) -> None:
    """The one that alertd speaks with. Each lease starts anew with a new leader; then its host's service is lost."""
    with case.nothing_else_told():
        case.elect(0)
        case.hosts[0].cut_off()
        told = case.told(ELECTION + SOON)
        assert told.startswith("[FIRING] lost apache/10.77.0.1")
        assert "expired: lost contact" in told
        assert case.leader(1) != 0
        case.hosts[0].mend()
        assert case.told(SOON + ELECTION).startswith("[RESOLVED] lost apache/10.77.0.1")


def test_a_daemon_is_killed_and_then_the_host_of_the_other_is_cut_off(case: Case) -> None:
    """Each time the one that is left tells what happened meanwhile, once; who comes back stands by."""
    with case.nothing_else_told():
        first = case.speaker()
        daemon = case.daemons[first]
        daemon.kill()
        case.apaches[1].stop()
        assert case.told(SOON).startswith("[FIRING] stopped apache/10.77.0.2")
        second = case.speaker()
        assert second is not first
        with first.inside():
            daemon.start()
        case.apaches[1].start()
        assert case.told(SOON).startswith("[RESOLVED] stopped apache/10.77.0.2")
    with case.nothing_else_told():
        case.annex.cut_off()
        wait_until(lambda: case.speaker() is case.office, "the daemon in the office leads", SOON)
        case.apaches[1].stop()
        assert case.told(SOON).startswith("[FIRING] stopped apache/10.77.0.2")
        case.annex.mend()
        case.apaches[1].start()
        assert case.told(SOON).startswith("[RESOLVED] stopped apache/10.77.0.2")
