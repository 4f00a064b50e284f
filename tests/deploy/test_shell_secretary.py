"""The shell secretary shows the same in etcd as `alertd secretary`: real services, real etcds, real signals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.secretaries import Keys, lease_of
from tests.deploy.shell import QUICK, SCRIPT, SHELLS, UP, of, run, secretary
from tests.etcd_server import EtcdServer, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.secretaries import Service


def test_shellcheck_finds_nothing() -> None:
    """The script is plain POSIX sh."""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_from_registered_to_failing_and_back_to_stopped(shared_etcd: EtcdServer, service: Service, shell: str) -> None:
    """The value is written once; each end is announced, then the key goes; no lease stays behind; exit 0."""
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service), shell=shell) as process:
        keys.wait_for(UP)
        service.status = 503
        keys.wait_for(None)
        service.status = 302
        keys.wait_for(UP)
        process.terminate()
        assert process.wait(5) == 0
        keys.wait_for(None)
        failing, stopped = {**UP, "status": "failing", "reason": "HTTP 503"}, {**UP, "status": "stopped"}
        assert keys.seen == [UP, failing, None, UP, stopped, None]
        assert shared_etcd.ctl("lease", "list").startswith("found 0 leases")


@pytest.mark.parametrize("status", [200, 0])
def test_a_stop_is_announced_within_2_s(shared_etcd: EtcdServer, service: Service, status: int) -> None:
    """Also in the middle of a probe that hangs, and by SIGINT."""
    with (
        Keys(shared_etcd) as keys,
        secretary(shared_etcd, *of(service), "--every", "9s", "--timeout=8s", "--ttl=20s") as process,
    ):
        keys.wait_for(UP)
        service.status = status
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2
        keys.wait_for(None)
        assert keys.seen == [UP, {**UP, "status": "stopped"}, None]


def test_a_stop_is_announced_while_the_service_fails(shared_etcd: EtcdServer, service: Service) -> None:
    """So that who takes a failing service down on purpose is not called about it any longer."""
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service)) as process:
        keys.wait_for(UP)
        service.status = 500
        keys.wait_for(None)
        process.terminate()
        assert process.wait(5) == 0
        wait_until(lambda: len(keys.seen) == 5, "the stop is seen")
        assert keys.seen[3:] == [{**UP, "status": "stopped"}, None]


REFUSES_ONCE = """#!/bin/sh
case $* in *txn*) rm {folder}/refuse 2>/dev/null && echo "Error: requested lease not found" >&2 && exit 1;; esac
exec {etcdctl} "$@"
"""


def test_a_stop_is_announced_though_the_lease_ends_meanwhile(
    shared_etcd: EtcdServer, service: Service, tmp_path: Path
) -> None:
    """As when the signal comes while the lease of a service that failed is being revoked."""
    etcdctl = tmp_path / "etcdctl"
    etcdctl.write_text(REFUSES_ONCE.format(folder=tmp_path, etcdctl=shutil.which("etcdctl")))
    etcdctl.chmod(0o755)
    flags = (*of(service), "--every", "9s", "--timeout=8s", "--ttl=20s")
    path = f"{tmp_path}:{os.environ['PATH']}"
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *flags, PATH=path) as process:
        keys.wait_for(UP)
        (tmp_path / "refuse").touch()
        process.terminate()
        assert process.wait(5) == 0
        assert not (tmp_path / "refuse").exists()
        wait_until(lambda: len(keys.seen) == 3, "the stop is seen")
        assert keys.seen == [UP, {**UP, "status": "stopped"}, None]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_dies_or_hangs_loses_its_lease(
    shared_etcd: EtcdServer, service: Service, ending: signal.Signals
) -> None:
    """Nothing is announced, and the key goes within the TTL."""
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service)) as process:
        keys.wait_for(UP)
        process.send_signal(ending)
        keys.wait_for(None, seconds=4)
        assert keys.seen == [UP, None]
        process.send_signal(signal.SIGCONT)
        if ending is signal.SIGSTOP:
            keys.wait_for(UP)


def test_a_service_that_hangs_loses_its_lease(shared_etcd: EtcdServer, service: Service) -> None:
    """A probe that hangs keeps nothing alive, however many failures are allowed."""
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service), "--failures", "99"):
        keys.wait_for(UP)
        service.status = 0
        keys.wait_for(None, seconds=6)
        assert keys.seen == [UP, None]


def test_etcd_away_at_the_start_and_later(etcd: EtcdServer, service: Service) -> None:
    """It keeps trying, says so once, and registers when etcd comes; also when the lease is gone."""
    etcd.stop()
    log = etcd.folder / "secretary.log"
    with secretary(etcd, *of(service)) as process:
        wait_until(lambda: "the probe failed" not in log.read_text() and "trying on" in log.read_text(), "it says so")
        etcd.start()
        wait_until(lambda: lease_of(etcd), "it registers")
        wait_until(lambda: "etcd does as it is asked again" in log.read_text(), "it says so")
        assert log.read_text().count("trying on") == 1
        etcd.kill()
        etcd.wipe()
        etcd.start()
        wait_until(lambda: lease_of(etcd), "it registers with an empty etcd")
        etcd.freeze()
        began = time.monotonic()
        process.terminate()
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2
        assert "the stop is not announced; the key ends with its lease within 2 s" in log.read_text()


def test_etcd_away_while_the_service_fails(etcd: EtcdServer, service: Service) -> None:
    """What etcd did not take is announced when it is back."""
    slow = ("--ttl", "9s", "--failures", "1")
    with secretary(etcd, *of(service), *slow):
        wait_until(lambda: lease_of(etcd), "it registers")
        etcd.stop()
        service.status = 500
        log = etcd.folder / "secretary.log"
        wait_until(lambda: "HTTP 500" in log.read_text() and "trying on" in log.read_text(), "it tries")
        etcd.start()
        with Keys(etcd):
            wait_until(lambda: "failing, removed: HTTP 500" in log.read_text(), "it is told")
        assert lease_of(etcd) == 0


def test_a_key_that_somebody_removed_or_overwrote_is_put_back(shared_etcd: EtcdServer, service: Service) -> None:
    """By hand: the secretary knows better. A lease that was revoked is replaced."""
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service)):
        keys.wait_for(UP)
        shared_etcd.ctl("del", "/services/apache/core01")
        wait_until(lambda: keys.seen == [UP, None, UP], "it is put back")
        shared_etcd.ctl("put", "/services/apache/core01", "{}")
        wait_until(lambda: keys.seen[3:] == [{}, UP], "it is overwritten")
        shared_etcd.ctl("lease", "revoke", f"{lease_of(shared_etcd):x}")
        wait_until(lambda: keys.seen[5:] == [None, UP], "it is put under a new lease")


REFUSES_TO_DELETE = """#!/bin/sh
case "$*" in *txn*) tee {folder}/request | grep -q '^del' && [ -e {folder}/refuse ] && exit 1;; esac
exec {etcdctl} "$@" <{folder}/request
"""


def test_an_end_that_etcd_took_only_half_of_is_undone(
    shared_etcd: EtcdServer, service: Service, tmp_path: Path
) -> None:
    """The service is back before its key could be removed: the key says that it is well, and no longer `failing`."""
    (tmp_path / "refuse").touch()
    (tmp_path / "request").touch()
    etcdctl = tmp_path / "etcdctl"
    etcdctl.write_text(REFUSES_TO_DELETE.format(folder=tmp_path, etcdctl=shutil.which("etcdctl")))
    etcdctl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service), PATH=path):
        keys.wait_for(UP)
        service.status = 503
        keys.wait_for({**UP, "status": "failing", "reason": "HTTP 503"})
        service.status = 200
        keys.wait_for(UP)
        assert None not in keys.seen


def token_for_small_leases(peer_url: str) -> str:
    """Return a cluster token with which a single etcd grants leases whose 16 hex digits begin with 0.

    A lease begins with the last bits of the member's id, and that is a digest of its address and the token.
    """

    def leads_to_zero(token: str) -> bool:
        member = hashlib.sha1(f"{peer_url}{token}".encode(), usedforsecurity=False).digest()[:8]
        return member[6] & 0x7F < 0x10

    return next(token for token in map(str, range(1000)) if leads_to_zero(token))


def test_a_lease_that_begins_with_a_zero_is_known_again(service: Service, tmp_path: Path) -> None:
    """One cluster in eight grants such; etcdctl writes the zero, and a number has none."""
    etcd = EtcdServer(tmp_path / "etcd")
    etcd.flags = ("--initial-cluster-token", token_for_small_leases(etcd.peer_url))
    with etcd, Keys(etcd) as keys, secretary(etcd, *of(service)) as process:
        keys.wait_for(UP)
        assert etcd.ctl("lease", "list").splitlines()[1].startswith("0")
        process.terminate()
        assert process.wait(5) == 0
        keys.wait_for(None)
        assert keys.seen == [UP, {**UP, "status": "stopped"}, None]


def test_the_second_of_two_says_who_holds_the_key(shared_etcd: EtcdServer, service: Service, tmp_path: Path) -> None:
    """And does nothing, until the first has stopped."""
    log = tmp_path / "second.log"
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service), "--ttl", "5s") as first:
        keys.wait_for(UP)
        with secretary(shared_etcd, *of(service), "--ttl", "5s", "--set", "second=1", log=log) as second:
            wait_until(lambda: "another secretary holds /services/apache/core01" in log.read_text(), "it says so")
            assert keys.seen == [UP]
            first.terminate()
            keys.wait_for({**UP, "second": 1})
            assert second.poll() is None
            assert keys.seen == [UP, {**UP, "status": "stopped"}, None, {**UP, "second": 1}]
            assert log.read_text().count("another secretary") == 1


def test_killed_and_started_again_makes_no_gap(shared_etcd: EtcdServer, service: Service) -> None:
    """The key stays where it is, though its first lease ends."""
    slow = ("--ttl", "4s")
    with Keys(shared_etcd) as keys:
        with secretary(shared_etcd, *of(service), *slow):
            keys.wait_for(UP)
        first = lease_of(shared_etcd)
        with secretary(shared_etcd, *of(service), *slow):
            wait_until(lambda: lease_of(shared_etcd) not in (first, 0), "it is under another lease")
            wait_until(
                lambda: "expired" in shared_etcd.ctl("lease", "timetolive", f"{first:x}"), "the first lease ends"
            )
            assert None not in keys.seen


AWKWARD = {"ipv4_addr": "172.31.14.97", "port": 8080, "quote": """a "b" 'c' \\d""", "text": "支付 é\t$(x) `y`\nz"}


@pytest.mark.parametrize("shell", SHELLS)
def test_any_value_is_valid_json(shared_etcd: EtcdServer, service: Service, shell: str) -> None:
    """Addresses are quoted, whole numbers are numbers, and what only looks like one stays text as it is given."""
    texts = {**AWKWARD, "zero": "0", "minus": "-12", "octal": "010", "version": "1.10", "long": "1" * 20, "empty": ""}
    numbers = {"zero": 0, "minus": -12}
    sets = [word for name, value in texts.items() for word in ("--set", f"{name}={value}")]
    flags = ("--service", "支付", "--instance", 'a b/"c"\\', "--check", service.url, *QUICK)
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *flags, *sets, shell=shell) as process:
        keys.wait_for({**texts, **numbers})
        process.terminate()
        assert process.wait(5) == 0
        keys.wait_for(None)
        assert keys.seen[1] == {**texts, **numbers, "status": "stopped"}


def test_all_options_can_come_from_the_environment(shared_etcd: EtcdServer, service: Service) -> None:
    """The same variables as for `alertd secretary`, so that one unit serves both."""
    known = secretary(
        shared_etcd,
        ALERTD_SERVICE="apache",
        ALERTD_INSTANCE="core01",
        ALERTD_CHECK=service.url,
        ALERTD_SET="host=core01 port=8080",
    )
    with Keys(shared_etcd) as keys, known:
        keys.wait_for(UP)


@pytest.mark.parametrize("shell", SHELLS)
def test_an_exec_check_gives_its_reason(shared_etcd: EtcdServer, tmp_path: Path, shell: str) -> None:
    """Its exit code decides, its last word on stderr is the reason; one that hangs is killed with its children."""
    flag = tmp_path / "flag"
    command = (
        f"case $(cat {flag}) in good) exit 0;; bad) echo 'no \"luck\"' >&2; exit 3;; *) sleep 777 | sleep 777;; esac"
    )
    flag.write_text("good")
    flags = ("--service", "a", "--instance", "b", "--check", f"exec:{command}", *QUICK)
    log = tmp_path / "secretary.log"
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *flags, shell=shell, log=log):
        keys.wait_for({})
        flag.write_text("bad")
        keys.wait_for(None)
        assert keys.seen == [{}, {"status": "failing", "reason": 'exit 3: no "luck"'}, None]
        flag.write_text("good")
        keys.wait_for({})
        flag.write_text("hang")
        wait_until(lambda: "no answer within 0.5 s" in log.read_text(), "it is killed")


def test_a_tcp_check_connects(shared_etcd: EtcdServer, service: Service, tmp_path: Path) -> None:
    """And nothing more."""
    port = service.url.rpartition(":")[2].strip("/")
    flags = ("--service", "a", "--instance", "b", *QUICK)
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *flags, "--check", f"tcp://127.0.0.1:{port}"):
        keys.wait_for({})
    log = tmp_path / "closed.log"
    with secretary(shared_etcd, *flags, "--check", f"tcp://127.0.0.1:{free_port()}", log=log):
        wait_until(lambda: "the probe failed: cannot connect" in log.read_text(), "it fails")


def test_nothing_is_left_in_the_temporary_folder(shared_etcd: EtcdServer, service: Service, tmp_path: Path) -> None:
    """Once it has stopped."""
    (tmp_path / "t").mkdir()
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service), TMPDIR=str(tmp_path / "t")) as process:
        keys.wait_for(UP)
        assert list((tmp_path / "t").iterdir()) != []
        process.terminate()
        process.wait(5)
    assert list((tmp_path / "t").iterdir()) == []


GOOD = ("--service", "a", "--instance", "b", "--check", "tcp://h:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--service is missing"),
        (("--service", "a"), "--instance is missing"),
        (("--service", "a", "--instance", "b"), "--check is missing"),
        (("--service", "a/b", *GOOD[2:]), "--service 'a/b' contains a slash"),
        ((*GOOD, "--instance", "a\nb"), "must be printable"),
        ((*GOOD, "--check", "ftp://h"), "--check 'ftp://h' is none of http://"),
        ((*GOOD, "--check", "tcp://h"), "is none of"),
        ((*GOOD, "--check", "http://me:secret@h/"), "must not hold a user or password"),
        ((*GOOD, "--set", "port"), "--set 'port' is not name=value"),
        ((*GOOD, "--set", "=1"), "--set '=1' is not name=value"),
        ((*GOOD, "--set", "status=up"), "--set status=... is the secretary's own field"),
        ((*GOOD, "--every", "10"), "--every must be a duration with its unit, such as 500ms, 30s or 1h30m, not '10'"),
        ((*GOOD, "--every", "0s"), "--every must be a duration"),
        ((*GOOD, "--timeout", "s"), "--timeout must be a duration"),
        ((*GOOD, "--ttl", "1s"), "--ttl must be at least 2s"),
        ((*GOOD, "--ttl", "20s500ms"), "--ttl must be whole seconds"),
        ((*GOOD, "--every", "28s"), "--ttl is too short: --every and --timeout together must be less"),
        ((*GOOD, "--failures", "0"), "--failures and --successes must be from 1 to 9999"),
        ((*GOOD, "--prefix", "/"), "--prefix names no folder of keys"),
        ((*GOOD, "--config", "x.yaml"), "--config is not known here"),
        ((*GOOD, "--every"), "--every needs a value"),
        ((*GOOD, "word"), "word is no option"),
    ],
)
def test_what_cannot_work_is_refused(arguments: tuple[str, ...], message: str) -> None:
    """With one line that says why and exit code 2, before anything is done."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "secret@" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_missing_on_the_host_is_named(tmp_path: Path) -> None:
    """Before the first probe, not with every probe."""
    for tool in ("sh", "cut", "sed", "awk", "dirname"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = run(*GOOD[:-1], "http://127.0.0.1/", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (
        2,
        "secretary.sh: curl is not on the PATH, and is needed for --check http://127.0.0.1/\n",
    )


def test_help_shows_how_it_is_called() -> None:
    """The head of the script is its help."""
    done = run("--help")
    assert done.returncode == 0
    assert "--service apache --instance 172.31.14.97" in done.stdout
    assert "#" not in done.stdout


def test_the_value_reads_as_json_with_other_tools(shared_etcd: EtcdServer, service: Service) -> None:
    """What plain etcdctl prints is one line of JSON."""
    with Keys(shared_etcd) as keys, secretary(shared_etcd, *of(service)):
        keys.wait_for(UP)
        assert json.loads(shared_etcd.ctl("get", "--print-value-only", "/services/apache/core01")) == UP
