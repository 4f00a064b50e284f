"""An etcd with TLS, users and roles, made by running what `deploy/README.md` says, and programs that log in to it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.certificates import Pair
from tests.end_to_end.process import environment
from tests.etcd_server import EtcdServer, etcd_environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

_README = Path(__file__).parents[2] / "deploy" / "README.md"
_SECTION = "## etcd with authentication and TLS"
_ADDRESS = "127.0.0.1:2379"


def blocks(kind: str) -> list[str]:
    """Return the marked blocks of the section, in order."""
    section = _README.read_text().split(f"\n{_SECTION}\n")[1].split("\n## ")[0]
    found: list[str] = re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return found


MAKE_CERTIFICATES, MAKE_ROLES, MAKE_NARROW_ROLE = blocks("sh")
ETCD_TLS, ETCD_BY_CERTIFICATE, BY_PASSWORD, BY_CERTIFICATE = blocks("ini")


class GuardedEtcd:
    """An etcd as the README has it; with `by_certificate` only who has a certificate may connect.

    `folder` stands for `/etc/etcd` and `/etc/alertd`, and the port of 127.0.0.1 is a free one; nothing else is changed.
    """

    def __init__(self, folder: Path, *, by_certificate: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.by_certificate = by_certificate
        self._shell(MAKE_CERTIFICATES)
        settings = ETCD_TLS + (ETCD_BY_CERTIFICATE if by_certificate else "")
        flags = [f"--{name[5:].lower().replace('_', '-')}={value}" for name, value in self._read(settings).items()]
        self.etcd = EtcdServer(folder / "server", flags=flags, scheme="https")
        self.etcd.ctl_flags = ("--cacert", str(folder / "ca.pem"))
        if by_certificate:
            self.etcd.ctl_flags += ("--cert", str(folder / "root.pem"), "--key", str(folder / "root.key"))

    @property
    def ca(self) -> Pair:
        """The authority."""
        return Pair(self.folder / "ca.pem", self.folder / "ca.key")

    def login(self, user: str) -> dict[str, str]:
        """Return alertd's variables for a user."""
        settings = BY_CERTIFICATE if self.by_certificate else BY_PASSWORD
        return self._read(settings.replace("alertd-daemon", user))

    def ctl(self, *arguments: str, user: str = "root") -> str:
        """Run etcdctl as a user and return what it prints; AssertionError if etcd says no."""
        password = (self.folder / f"{user}.password").read_text().strip()
        return self.etcd.ctl("--user", f"{user}:{password}", *arguments)

    def _read(self, settings: str) -> dict[str, str]:
        """Return the variables of a block, at the place where everything lies here."""
        placed = re.sub(r"/etc/(etcd|alertd)\b", str(self.folder), settings)
        if "ALERTD_ETCD=" in placed:
            placed = placed.replace(_ADDRESS, self.etcd.endpoint)
        pairs = (line.partition("=") for line in placed.splitlines())
        return {name: value for name, _, value in pairs}

    def _shell(self, commands: str) -> None:
        """Run a block as it stands in the README, but for the port, until the first command that fails."""
        port = commands.replace(_ADDRESS, self.etcd.endpoint) if "ETCDCTL" in commands else commands
        mutual = {"ETCDCTL_CERT": "root.pem", "ETCDCTL_KEY": "root.key"} if self.by_certificate else {}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", port],
            cwd=self.folder,
            env={**etcd_environment(), **mutual},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{port}\n{done.stdout}{done.stderr}"

    def __enter__(self) -> Self:
        self.etcd.start()
        self._shell(MAKE_ROLES + MAKE_NARROW_ROLE)
        return self

    def __exit__(self, *_: object) -> None:
        self.etcd.discard()


class Program:
    """A command of alertd as a process, its stderr read as it is written."""

    def __init__(self, log: Path, arguments: Sequence[str], variables: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alertd", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment(**variables),
            )

    @property
    def lines(self) -> list[str]:
        """What it has said so far, whole lines."""
        return [line.rstrip("\n") for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, words: str, seconds: float = 15.0) -> str:
        """Wait for a line with these words, and return it."""
        wait_until(lambda: any(words in line for line in self.lines), f"it says {words!r}; see {self.log}", seconds)
        return next(line for line in self.lines if words in line)

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
