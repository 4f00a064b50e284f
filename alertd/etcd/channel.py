"""Where etcd is and how one endpoint is spoken to: addresses, TLS and the options that every gRPC channel needs.

Sources: etcd's keepalive enforcement (a ping interval below 10 s or pings without calls end in `too_many_pings`), and
gRPC's default of 4 MiB a message, which ends a watch for ever once a catch-up batch is larger.
"""

from __future__ import annotations

import re
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from alertd.errors import AlertdError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]@,]+):(?P<port>[0-9]{1,5})")

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
"""The last keeps channels from sharing a connection: a watch must not wait behind large reads (etcd#15402)."""


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """Where etcd is and who we are. `timeout` is the deadline of one attempt at one endpoint, in seconds.

    TLS is spoken if `ca` or `cert` is given; without `ca` the system's authorities are trusted.
    """

    endpoints: tuple[str, ...] = ("127.0.0.1:2379",)
    user: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    timeout: float = 5.0

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.ca is not None or self.cert is not None


def parse_endpoints(text: str) -> tuple[str, ...]:
    """Read `host:port[,host:port...]`; raise AlertdError that names the part that is none."""
    endpoints = []
    for part in text.split(","):
        address = part.strip().removeprefix("http://").rstrip("/")
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match["port"]) < 65536:
            hint = "; TLS is turned on by --etcd-ca" if address.startswith("https://") else ""
            raise AlertdError(f"--etcd: {part.strip()!r} is not host:port, such as 127.0.0.1:2379{hint}")
        endpoints.append(address)
    return tuple(dict.fromkeys(endpoints))


def credentials_for(settings: EtcdSettings) -> grpc.ChannelCredentials | None:
    """Return TLS credentials, or None for plain text; raise AlertdError for files that are not what they should be."""
    if not settings.is_tls:
        return None
    if (settings.cert is None) != (settings.key is None):
        raise AlertdError("--etcd-cert and --etcd-key belong together: give both or neither")
    ca = _read_pem(settings.ca, "--etcd-ca", "CERTIFICATE")
    cert = _read_pem(settings.cert, "--etcd-cert", "CERTIFICATE")
    key = _read_pem(settings.key, "--etcd-key", "PRIVATE KEY")
    _try_out(settings)
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def _read_pem(path: Path | None, option: str, what: str) -> bytes | None:
    """Return a file's content, which gRPC would refuse in a word of its own if there were no such block in it."""
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AlertdError(f"{option}: cannot read {path}: {error.strerror}") from None
    if f"{what}-----".encode() not in content:
        raise AlertdError(f"{option}: {path} holds no {what.lower()} in PEM form")
    return content


def _try_out(settings: EtcdSettings) -> None:
    """Raise AlertdError for files that gRPC cannot use: to it, and then to us, that is an etcd out of reach."""

    def refuse() -> str:
        raise AlertdError(f"--etcd-key: {settings.key} is locked with a passphrase; give one that is not")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.ca is not None:
        with _naming(f"--etcd-ca: {settings.ca}"):
            context.load_verify_locations(settings.ca)
    if settings.cert is not None:
        with _naming(f"--etcd-cert, --etcd-key: {settings.cert} or {settings.key}"):
            context.load_cert_chain(settings.cert, settings.key, password=refuse)


@contextmanager
def _naming(files: str) -> Iterator[None]:
    """Say what is wrong with files; what gRPC does not mind, such as short keys, is none of our business."""
    try:
        yield
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise AlertdError(f"{files} is the wrong one: the key is not that of the certificate") from None
        if error.reason in {None, "PEM_LIB"}:
            raise AlertdError(f"{files} is damaged: it cannot be read as PEM") from None


def open_channel(address: str, credentials: grpc.ChannelCredentials | None) -> Any:
    """Return a `grpc.aio` channel with a connection of its own; the caller closes it."""
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
