"""etcd with TLS, users and roles as `deploy/README.md` has them.

The whole case works with these roles and no more, and what does not fit is said in one line.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alertd.audits import Audits
from alertd.etcd.channel import EtcdSettings
from tests.certificates import FOR_CLIENTS, authority, signed
from tests.end_to_end.guarded import GuardedEtcd, Program
from tests.end_to_end.process import ROUTES, DaemonProcess, alertd
from tests.etcd.following import following, run, until
from tests.etcd_server import Cut, wait_until
from tests.sinks import HttpInbox

RULES = "rules: [{name: lost, service: '*', when: {instance: down}, flap: false}]\n" + ROUTES
PACE = ("--every", "300ms", "--timeout", "500ms", "--ttl", "2s", "--failures", "1")
TROUBLE = ("etcd at ", "permi", "refuse", "Traceback")
"""No log has any of these words where everybody may do what they must: each complaint about an etcd says which."""


class Service:
    """A small HTTP service whose status can be set."""

    def __init__(self) -> None:
        self.status = 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(service.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def service() -> Iterator[Service]:
    """Give a service that is well."""
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedEtcd]:
    """Give an etcd with TLS where users log in by password."""
    with GuardedEtcd(tmp_path_factory.mktemp("password")) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedEtcd]:
    """Give one where users log in by certificate."""
    with GuardedEtcd(tmp_path_factory.mktemp("certificate"), by_certificate=True) as etcd:
        yield etcd


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove what a test put into the etcds that all tests here share."""
    yield
    for name in {"guarded", "mutual"} & set(request.fixturenames):
        request.getfixturevalue(name).ctl("del", "--prefix", "/")


def secretary(name: str, service: Service, log: Path, login: dict[str, str]) -> Program:
    """Start a secretary of `name`, which is `service/instance`."""
    names = dict(zip(("--service", "--instance"), name.split("/"), strict=True))
    options = [part for pair in names.items() for part in pair]
    return Program(log, ["secretary", *options, "--check", service.url, *PACE], login)


def up(login: dict[str, str]) -> dict[str, int]:
    """Return how many instances of each service `alertd status` shows up to a user."""
    shown = alertd("status", "--json", timeout=30, **login)
    assert shown.returncode == 0, shown.stderr
    return {row["service"]: row["up"] for row in json.loads(shown.stdout)["services"]}


def expect(inbox: HttpInbox, count: int, title: str, cause: str = "") -> None:
    """Wait for one more message, with this beginning of its title, and a cause."""
    message = inbox.wait_for_count(count, timeout=10)[-1]
    assert message["title"].startswith(title)
    assert cause in message["message"]


def expect_no_trouble(*logs: Path) -> None:
    """Nobody has been refused anything."""
    text = "\n".join(log.read_text() for log in logs)
    assert [word for word in TROUBLE if word in text] == []


# --- the case --------------------------------------------------------------------------------------------------------


def test_the_case_with_no_more_than_the_roles(
    tmp_path: Path, inbox: HttpInbox, service: Service, guarded: GuardedEtcd
) -> None:
    """Failing, recovered, killed, back again: each is told, `alertd status` shows it, and nobody is refused."""
    login, reader = guarded.login("alertd-secretary"), guarded.login("alertd-reader")
    with ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(tmp_path / "alertd", guarded.etcd, **guarded.login("alertd-daemon")))
        daemon.write_rules(RULES, inbox).start()
        held = stack.enter_context(secretary("apache/a", service, tmp_path / "a.log", login))
        held.wait_for("registered")
        assert up(reader) == {"apache": 1}
        service.status = 503
        expect(inbox, 1, "[FIRING] lost apache/a", "failing: HTTP 503")
        service.status = 200
        expect(inbox, 2, "[RESOLVED] lost apache/a")
        held.kill()
        expect(inbox, 3, "[FIRING] lost apache/a", "expired")
        assert up(reader) == {}
        again = stack.enter_context(secretary("apache/a", service, tmp_path / "again.log", login))
        expect(inbox, 4, "[RESOLVED] lost apache/a")
        assert (again.stop(), daemon.stop()) == (0, 0)
    expect_no_trouble(daemon.log_path, held.log, again.log)


def test_the_same_by_certificate(tmp_path: Path, inbox: HttpInbox, service: Service, mutual: GuardedEtcd) -> None:
    """Without a password anywhere: registered, shown, failing, told."""
    login, reader = mutual.login("alertd-secretary"), mutual.login("alertd-reader")
    with DaemonProcess(tmp_path / "alertd", mutual.etcd, **mutual.login("alertd-daemon")) as daemon:
        daemon.write_rules(RULES, inbox).start()
        with secretary("apache/a", service, tmp_path / "a.log", login) as held:
            held.wait_for("registered")
            assert up(reader) == {"apache": 1}
            service.status = 503
            expect(inbox, 1, "[FIRING] lost apache/a", "failing: HTTP 503")
        assert daemon.stop() == 0
    expect_no_trouble(daemon.log_path, held.log)


def test_a_secretary_whose_role_has_its_own_service_alone(
    tmp_path: Path, guarded: GuardedEtcd, service: Service
) -> None:
    """It holds and releases its key, and gets no further; what it may not do is named."""
    login = guarded.login("alertd-secretary-apache")
    with secretary("apache/a", service, tmp_path / "a.log", login) as own:
        own.wait_for("registered")
        assert own.stop() == 0
        assert "stopped, removed" in own.lines[-1]
    with secretary("apache2/a", service, tmp_path / "b.log", login) as other:
        assert "does not permit user alertd-secretary-apache to read /services/apache2/a" in other.wait_for("trouble")


def test_an_operator_speaks_and_the_daemon_hears(tmp_path: Path, inbox: HttpInbox, guarded: GuardedEtcd) -> None:
    """Each command of an operator's works, the leader clears away what is over, and nobody is refused."""
    login = guarded.login("alertd-operator")
    guarded.ctl("put", "/services/apache/a", "")
    with DaemonProcess(tmp_path / "alertd", guarded.etcd, **guarded.login("alertd-daemon")) as daemon:
        daemon.write_rules(RULES, inbox).start()
        guarded.ctl("del", "/services/apache/a")
        expect(inbox, 1, "[FIRING] lost apache/a")
        wait_until(lambda: "apache" in guarded.ctl("get", "--prefix", "/alertd/alerts/"), "the alert is shown")
        for command in (
            ("ack", "apache"),
            ("unack", "apache"),
            ("silence", "add", "apache", "--for", "1h", "--until-resolved"),
            ("silence", "list"),
            ("forget", "apache/a"),
        ):
            done = alertd(*command, timeout=30, **login)
            assert (done.returncode, done.stderr) == (0, "")
        expect(inbox, 2, "[FORGOTTEN] lost apache/a")
        wait_until(lambda: not guarded.ctl("get", "--prefix", "/alertd/silences/"), "the leader deletes it")
        assert daemon.stop() == 0
    expect_no_trouble(daemon.log_path)
    refused = alertd("silence", "add", "apache", "--for", "1h", timeout=30, **guarded.login("alertd-reader"))
    assert refused.returncode == 3
    assert "does not permit user alertd-reader" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("user", "permitted", "forbidden"),
    [
        ("alertd-daemon", ("get /services/", "put /alertd/leader"), ("put /services/a/b", "get /elsewhere")),
        ("alertd-secretary", ("get /services/", "put /services/a/b"), ("get /alertd/leader", "put /alertd/leader")),
        (
            "alertd-reader",
            ("get /services/", "get /alertd/"),
            ("put /services/a/b", "put /alertd/leader", "put /alertd/silences/x"),
        ),
        (
            "alertd-operator",
            ("get /services/", "get /alertd/", "put /alertd/silences/x", "put /alertd/acks/x", "put /alertd/forget/x"),
            ("put /services/a/b", "put /alertd/leader", "put /alertd/alerts/x"),
        ),
        (
            "alertd-secretary-apache",
            ("get /services/apache/", "put /services/apache/a"),
            ("get /services/", "put /services/apache2/a"),
        ),
    ],
)
def test_a_role_holds_no_more_than_the_readme_says(
    guarded: GuardedEtcd, user: str, permitted: tuple[str, ...], forbidden: tuple[str, ...]
) -> None:
    """Each user asks for what it should have, and for what is another's."""

    def ask(wish: str) -> None:
        verb, key = wish.split()
        guarded.ctl(verb, key, "--prefix" if verb == "get" else "value", user=user)

    for wish in permitted:
        ask(wish)
    for wish in forbidden:
        with pytest.raises(AssertionError, match="permission denied"):
            ask(wish)


# --- roles given and taken away --------------------------------------------------------------------------------------


def test_a_secretary_with_the_readers_user_waits_for_the_role(
    tmp_path: Path, guarded: GuardedEtcd, service: Service
) -> None:
    """One line names user, key and cure; once the role is granted it registers by itself."""
    with secretary("apache/a", service, tmp_path / "log", guarded.login("alertd-reader")) as program:
        line = program.wait_for("does not permit user alertd-reader to read and write /services/apache/a")
        assert "grant it with `etcdctl role grant-permission`" in line
        assert len(program.lines) == 1
        guarded.ctl("user", "grant-role", "alertd-reader", "alertd-secretary")
        program.wait_for("registered")
        guarded.ctl("user", "revoke-role", "alertd-reader", "alertd-secretary")


def test_a_role_that_is_taken_away_while_the_daemon_runs(
    tmp_path: Path, guarded: GuardedEtcd, inbox: HttpInbox
) -> None:
    """The stream goes on until it breaks; then it says so, and goes on where it was when the role is back."""
    guarded.ctl("put", "/services/apache/a", "")
    login = guarded.login("alertd-daemon")
    with Cut(guarded.etcd.endpoint) as cut, DaemonProcess(tmp_path / "alertd", guarded.etcd, **login) as daemon:
        daemon.command[daemon.command.index(guarded.etcd.endpoint)] = cut.endpoint
        daemon.write_rules(RULES, inbox).start()
        guarded.ctl("role", "revoke-permission", "--prefix", "alertd-daemon", "/services/")
        guarded.ctl("put", "/services/pay/a", "")
        wait_until(lambda: "pay/a" in instances(daemon), "the stream goes on")
        cut.cut()
        guarded.ctl("del", "/services/apache/a")
        cut.mend()
        refusal = "does not permit user alertd-daemon to read keys from /services/ on"
        wait_until(lambda: any(refusal in event for event in daemon.events()), "it says so")
        assert inbox.received == []
        guarded.ctl("role", "grant-permission", "--prefix", "alertd-daemon", "read", "/services/")
        expect(inbox, 1, "[FIRING] lost apache/a", "deleted")
        assert sum(refusal in event for event in daemon.events()) == 1


def test_an_audit_notices_what_the_stream_does_not(guarded: GuardedEtcd) -> None:
    """A watch is judged at its beginning alone; an audit that is refused is a warning."""
    password = (guarded.folder / "alertd-daemon.password").read_text().strip()
    login = EtcdSettings((guarded.etcd.endpoint,), "alertd-daemon", password, guarded.ca.cert)

    async def story() -> None:
        async with following(login=login) as (_, follower):
            await until(lambda: follower.watch.is_connected)
            guarded.ctl("role", "revoke-permission", "--prefix", "alertd-daemon", "/services/")
            with capture_logs() as logs:
                await Audits(follower.watch).make()
            guarded.ctl("role", "grant-permission", "--prefix", "alertd-daemon", "read", "/services/")
            assert [entry["log_level"] for entry in logs] == ["warning"]
            assert "does not permit user alertd-daemon to read keys from /services/ on" in logs[0]["reason"]
            assert follower.watch.is_connected

    run(story())


def instances(daemon: DaemonProcess) -> list[str]:
    """Return the instances that came and went, as the daemon logged them."""
    return [line["instance"] for line in daemon.log() if "instance" in line]


# --- what does not fit -----------------------------------------------------------------------------------------------


def wrong_password(etcd: GuardedEtcd, login: dict[str, str]) -> dict[str, str]:
    """Return a login with a password that is not the user's."""
    file = etcd.folder / "wrong.password"
    file.write_text("wrong\n")
    return login | {"ALERTD_ETCD_PASSWORD_FILE": str(file)}


def wrong_ca(etcd: GuardedEtcd, login: dict[str, str]) -> dict[str, str]:
    """Return a login that trusts another authority."""
    return login | {"ALERTD_ETCD_CA": str(authority(etcd.folder, "other").cert)}


def plain_text(etcd: GuardedEtcd, login: dict[str, str]) -> dict[str, str]:
    """Return a login without TLS."""
    return {name: value for name, value in login.items() if name == "ALERTD_ETCD"}


def expired_certificate(etcd: GuardedEtcd, login: dict[str, str]) -> dict[str, str]:
    """Return a login with a certificate that was good until yesterday."""
    cert, key = signed(etcd.ca, "alertd-late", FOR_CLIENTS, days=-1)
    return login | {"ALERTD_ETCD_CERT": str(cert), "ALERTD_ETCD_KEY": str(key)}


def no_certificate(etcd: GuardedEtcd, login: dict[str, str]) -> dict[str, str]:
    """Return a login without a certificate."""
    return {name: value for name, value in login.items() if name in {"ALERTD_ETCD", "ALERTD_ETCD_CA"}}


def no_password_file(etcd: GuardedEtcd, login: dict[str, str]) -> dict[str, str]:
    """Return a login whose password file is not there."""
    return login | {"ALERTD_ETCD_PASSWORD_FILE": str(etcd.folder / "none")}


def key_of_another(etcd: GuardedEtcd, login: dict[str, str]) -> dict[str, str]:
    """Return a login whose key does not belong to its certificate."""
    return login | {"ALERTD_ETCD_KEY": str(etcd.folder / "root.key")}


Spoil = Callable[[GuardedEtcd, dict[str, str]], dict[str, str]]


@contextmanager
def all_three(folder: Path, etcd: GuardedEtcd, spoil: Spoil) -> Iterator[dict[str, Program]]:
    """Start the daemon, a secretary and `alertd status` at once, each with its login spoilt."""
    (folder / "rules").mkdir()
    (folder / "rules" / "rules.yaml").write_text(RULES)
    well = f"http://127.0.0.1:{etcd.etcd.health_port}/health"
    checks = ("--service", "apache", "--instance", "a", "--check", well, *PACE)
    commands = {
        "alertd-daemon": ["run", "--rules", str(folder / "rules"), "--listen", ""],
        "alertd-secretary": ["secretary", *checks],
        "alertd-reader": ["status"],
    }
    with ExitStack() as stack:
        yield {
            user: stack.enter_context(Program(folder / f"{user}.log", command, spoil(etcd, etcd.login(user))))
            for user, command in commands.items()
        }


@pytest.mark.parametrize(
    ("way", "spoil", "says"),
    [
        ("guarded", wrong_password, "refused user {user}, or the password; check --etcd-user"),
        ("guarded", wrong_ca, "shows a certificate that the CA does not vouch for; check --etcd-ca"),
        ("guarded", plain_text, "does it want TLS (--etcd-ca)?"),
        ("mutual", expired_certificate, "wants a client certificate that its CA vouches for, made for clients"),
        ("mutual", no_certificate, "give --etcd-cert and --etcd-key"),
    ],
)
def test_what_etcd_does_not_take_is_said_in_one_line(
    tmp_path: Path, request: pytest.FixtureRequest, way: str, spoil: Spoil, says: str
) -> None:
    """By each of the three; `status` ends with 3, the others go on trying."""
    etcd: GuardedEtcd = request.getfixturevalue(way)
    with all_three(tmp_path, etcd, spoil) as programs:
        for user, program in programs.items():
            program.wait_for(says.format(user=user))
        assert programs["alertd-reader"].process.wait(10) == 3
        for user in ("alertd-daemon", "alertd-secretary"):
            assert programs[user].stop() == 0
        for user, program in programs.items():
            assert sum(says.format(user=user) in line for line in program.lines) == 1
            assert not [line for line in program.lines if "Traceback" in line or line.startswith(("E1", "E0"))]


@pytest.mark.parametrize(
    ("way", "spoil", "says"),
    [
        ("guarded", no_password_file, "alertd: ALERTD_ETCD_PASSWORD_FILE: cannot read"),
        ("mutual", key_of_another, "the key is not that of the certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_at_once(
    tmp_path: Path, request: pytest.FixtureRequest, way: str, spoil: Spoil, says: str
) -> None:
    """It is a matter of usage: all three end with 2 after one line."""
    with all_three(tmp_path, request.getfixturevalue(way), spoil) as programs:
        for program in programs.values():
            assert program.process.wait(15) == 2
            assert says in program.lines[-1]
            assert sum("alertd: " in line for line in program.lines) == 1
