"""What `--listen` serves: the probes for machines, and a thin overview for people.

It reads a `Source` and changes nothing. Reading is open on loopback; elsewhere the overview wants the token from
ALERTD_WEB_TOKEN (or its _FILE). The probes say nothing of services, and are open everywhere.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import uvicorn
from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from alertd.errors import AlertdError
from alertd.model import CAUSE_IN_WORDS, AlertState

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.requests import Request

    from alertd.config.schema import Ruleset
    from alertd.model import Alert, ServiceFacts

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_DEAD_LETTERS = 10
"""How many of what was given up are shown."""
_STYLE = (Path(__file__).parent / "style.css").read_text()


class Source(Protocol):
    """What is served."""

    @property
    def unready_reason(self) -> str:
        """Why the daemon is not ready, empty if it is."""

    @property
    def ruleset(self) -> Ruleset:
        """The ruleset in force."""

    def services(self) -> Iterator[ServiceFacts]:
        """Return all services, by name."""

    def alerts(self) -> Iterator[Alert]:
        """Return the alerts under way."""

    def targets(self) -> Iterable[Any]:
        """Return every target of every channel, as `delivery.lane.LaneStatus`."""

    def dead_letters(self) -> Iterable[Any]:
        """Return what was given up last, the latest last, as `delivery.dead.DeadLetter`."""


class _Server(uvicorn.Server):
    """Uvicorn without its signal handling: signals are the daemon's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WebServer:
    """Serves `source` at `listen` (`host:port`; empty: nothing) while it is entered.

    `listener` is a socket that is bound there beforehand, if any.
    """

    def __init__(
        self, listen: str, source: Source, environ: Mapping[str, str], listener: socket.socket | None = None
    ) -> None:
        self._address = parse_listen(listen)
        self._listener = listener
        self._app = make_app(source, None if _is_loopback(self._address) else _read_token(environ))
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the overview is, empty if nothing is served."""
        if self._address is None:
            return ""
        host, port = self._address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    async def __aenter__(self) -> Self:
        if self._address is not None:
            listener = self._listener or _bind(*self._address)
            config = uvicorn.Config(
                self._app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
            )
            self._server = _Server(config)
            self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="web")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving


def parse_listen(listen: str) -> tuple[str, int] | None:
    """Read `host:port` (`[::1]:9490` too); raise AlertdError if it is neither that nor empty."""
    if not listen:
        return None
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise AlertdError(f'--listen: {listen!r} is not host:port, such as 127.0.0.1:9490; "" serves nothing')
    return host.strip("[]"), int(port)


def make_app(source: Source, token: str | None) -> Starlette:
    """Return the web application; with a `token`, the overview wants it as a bearer token."""
    pages = Environment(loader=PackageLoader("alertd.web", "pages"), autoescape=select_autoescape())
    page = pages.get_template("overview.html")

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("healthy\n")

    async def ready(_: Request) -> Response:
        reason = source.unready_reason
        return PlainTextResponse(f"{reason or 'ready'}\n", status_code=503 if reason else 200)

    async def style(_: Request) -> Response:
        return Response(_STYLE, media_type="text/css")

    async def overview(request: Request) -> Response:
        if token is not None and not _has_token(request, token):
            return PlainTextResponse("a token is needed: Authorization: Bearer …\n", status_code=401, headers=_HEADERS)
        alerts = sorted(source.alerts(), key=lambda alert: (alert.state is not AlertState.FIRING, alert.target))
        html = page.render(
            name=source.ruleset.settings.name,
            trouble=source.unready_reason,
            services=list(source.services()),
            alerts=alerts,
            targets=list(source.targets()),
            dead_letters=list(source.dead_letters())[: -1 - _DEAD_LETTERS : -1],
            words=CAUSE_IN_WORDS,
        )
        return HTMLResponse(html, headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/", overview),
            Route("/style.css", style),
            Route("/-/healthy", healthy),
            Route("/-/ready", ready),
        ]
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        why = (
            "is taken"
            if error.errno == errno.EADDRINUSE
            else f"cannot be used: {os.strerror(error.errno or 0).lower()}"
        )
        raise AlertdError(f'--listen: {host}:{port} {why}; choose another address, or "" for none') from None


def _is_loopback(address: tuple[str, int] | None) -> bool:
    if address is None or address[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False


def _read_token(environ: Mapping[str, str]) -> str:
    """Return the token that readers must show; raise AlertdError if there is none."""
    token = environ.get("ALERTD_WEB_TOKEN", "")
    if file := environ.get("ALERTD_WEB_TOKEN_FILE"):
        try:
            token = Path(file).read_text().strip()
        except OSError as error:
            raise AlertdError(f"ALERTD_WEB_TOKEN_FILE: cannot read {file}: {error.strerror}") from None
    if not token:
        raise AlertdError(
            "--listen: on an address that is not loopback, readers must show a token; "
            "set ALERTD_WEB_TOKEN or ALERTD_WEB_TOKEN_FILE"
        )
    return token


def _has_token(request: Request, token: str) -> bool:
    shown = request.headers.get("authorization", "")
    return hmac.compare_digest(shown.encode(), f"Bearer {token}".encode())
