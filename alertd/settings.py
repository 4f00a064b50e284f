"""What a daemon is told by whoever starts it; what it is told by the rules lies in `config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from alertd.etcd.channel import EtcdSettings

if TYPE_CHECKING:
    import socket


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """What `alertd run` is told.

    `prefix` ends with a slash; an empty `listen` serves nothing; `listener` is a socket that is bound there beforehand.
    """

    rules: Path
    etcd: EtcdSettings = field(default_factory=EtcdSettings)
    prefix: str = "/services/"
    namespace: str = "/alertd/"
    listen: str = "127.0.0.1:9490"
    replica: str = ""
    state_dir: Path | None = None
    listener: socket.socket | None = None
