"""What systemd hears of a real daemon and a real secretary."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.process import DaemonProcess, environment
from tests.etcd_server import EtcdServer, wait_until
from tests.supervisor import Supervisor

RULES = "rules: [{name: lost, service: '*', when: {instance: down}}]\n"


def test_a_daemon_is_ready_when_it_has_judged(tmp_path: Path, etcd: EtcdServer) -> None:
    """Not before: without etcd it says what it waits for. It gives signs of life, tells of a reload and of its end."""
    etcd.stop()
    with Supervisor(str(tmp_path / "notify")) as supervisor:
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        with DaemonProcess(tmp_path / "alertd", etcd, **variables) as daemon:
            daemon.write_rules(RULES).start(is_waiting=False)
            wait_until(lambda: supervisor.has_heard("STATUS=the first snapshot is not judged yet"), "it says so")
            wait_until(lambda: supervisor.has_heard("WATCHDOG=1"), "a sign of life")
            assert not supervisor.has_heard("READY=1")
            etcd.start()
            etcd.ctl("put", "/services/apache/a", "")
            wait_until(lambda: supervisor.has_heard("READY=1"), "it is ready")
            wait_until(lambda: supervisor.has_heard("STATUS=watching: instances 1, services 1"), "it says what it does")
            supervisor.all.clear()
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: supervisor.has_heard("READY=1"), "the reload has ended")
            assert supervisor.has_heard("RELOADING=1")
            assert daemon.stop() == 0
            assert supervisor.has_heard("STOPPING=1")


def test_a_secretary_is_ready_when_it_probes(tmp_path: Path, etcd: EtcdServer) -> None:
    """Whether or not its service is well; the status tells."""
    command = [
        *(sys.executable, "-m", "alertd", "secretary", "--etcd", etcd.endpoint, "--service", "apache"),
        *("--instance", "a", "--check", f"tcp://{etcd.endpoint}", "--every", "200ms"),
    ]
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
    with (
        Supervisor(str(tmp_path / "notify")) as supervisor,
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, env=environment(**variables), stderr=log) as process,
    ):
        wait_until(lambda: supervisor.has_heard("READY=1"), "it is ready")
        wait_until(lambda: supervisor.has_heard("STATUS=holding 1 of 1 keys"), "it holds its key")
        assert supervisor.has_heard("WATCHDOG=1")
        process.terminate()
        assert process.wait(5) == 0
        assert supervisor.has_heard("STOPPING=1")
