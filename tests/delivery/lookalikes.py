"""Providers that keep incidents, as far as their APIs are documented, on loopback.

Each understands its own API's requests and no other's; the incidents are those that a person on call would see open.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

Posted = dict[str, Any]


@dataclass
class Incidents:
    """What is open at a provider: title by key. `opened` and `closed` count, `refused` holds what made no sense."""

    open: dict[str, str] = field(default_factory=dict)
    opened: int = 0
    closed: int = 0
    refused: list[str] = field(default_factory=list)
    requests: list[Posted] = field(default_factory=list)

    def trigger(self, key: str, title: str) -> None:
        """Open an incident, or update the one that is open under its key; one without a key is always new."""
        key = key or f"unnamed {self.opened}"
        self.opened += key not in self.open
        self.open[key] = title

    def resolve(self, key: str) -> None:
        """Close the incident under its key, if one is open."""
        self.closed += self.open.pop(key, None) is not None


def pagerduty(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand the Events API v2: `enqueue`."""
    if event["event_action"] == "trigger":
        incidents.trigger(event.get("dedup_key", ""), event["payload"]["summary"])
    elif event["event_action"] == "resolve":
        incidents.resolve(event["dedup_key"])


def opsgenie(incidents: Incidents, path: str, event: Posted) -> None:
    """Understand the alert API: creating answers with the request's id, closing wants the alert's, or its alias."""
    parts = urlsplit(path)
    found = re.fullmatch(r"/v2/alerts/([^/]+)/close", parts.path)
    if parts.path == "/v2/alerts":
        incidents.trigger(event.get("alias", ""), event["message"])
    elif found and parse_qs(parts.query).get("identifierType") == ["alias"]:
        incidents.resolve(unquote(found[1]))
    else:
        incidents.refused.append(path)


def splunk(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand the REST endpoint of Splunk On-Call."""
    if event["message_type"] in {"CRITICAL", "WARNING"}:
        incidents.trigger(event["entity_id"], event["entity_display_name"])
    elif event["message_type"] == "RECOVERY":
        incidents.resolve(event["entity_id"])


def signl4(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand the inbound webhook with the control fields."""
    if event.get("X-S4-Status") == "resolved":
        incidents.resolve(event["X-S4-ExternalID"])
    else:
        incidents.trigger(event.get("X-S4-ExternalID", ""), event["title"])


def ilert(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand the events API."""
    if event["eventType"] == "RESOLVE":
        incidents.resolve(event["alertKey"])
    else:
        incidents.trigger(event["alertKey"], event["summary"])


def incidentio(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand an HTTP alert source."""
    if event["status"] == "resolved":
        incidents.resolve(event["deduplication_key"])
    else:
        incidents.trigger(event["deduplication_key"], event["title"])


def squadcast(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand the incident webhook."""
    if event["status"] == "resolve":
        incidents.resolve(event["event_id"])
    else:
        incidents.trigger(event["event_id"], event["message"])


def firehydrant(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand Signals' generic endpoint."""
    if event["status"] == "CLOSED":
        incidents.resolve(event["idempotency_key"])
    else:
        incidents.trigger(event["idempotency_key"], event["summary"])


def goalert(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand the generic API; without a `dedup` the key is made of all that the message says."""
    key = event.get("dedup") or f"{event['summary']} {event['details']}"
    if event.get("action") == "close":
        incidents.resolve(key)
    else:
        incidents.trigger(key, event["summary"])


def pagertree(incidents: Incidents, _path: str, event: Posted) -> None:
    """Understand a webhook integration."""
    if event["event_type"] == "resolve":
        incidents.resolve(event["id"])
    elif event["event_type"] == "create":
        incidents.trigger(event["id"], event["title"])


class _Handler(BaseHTTPRequestHandler):
    """Lets the provider understand a request, and answers with a new request's id."""

    server: _Server

    def do_POST(self) -> None:
        """Take an event."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        incidents = self.server.incidents
        with self.server.guard:
            event: Posted = json.loads(raw) if raw.startswith(b"{") else _form(raw)
            incidents.requests.append(event)
            self.server.understand(incidents, self.path, event)
            answer = json.dumps({"requestId": f"request-{len(incidents.requests)}", "status": "success"}).encode()
        self.send_response(202 if self.server.understand in {pagerduty, opsgenie, incidentio, ilert} else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, understand: Callable[[Incidents, str, Posted], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.understand = understand
        self.incidents = Incidents()
        self.guard = threading.Lock()


def _form(raw: bytes) -> Posted:
    return {name: values[0] for name, values in parse_qs(raw.decode()).items()}


@contextmanager
def provider(understand: Callable[[Incidents, str, Posted], None]) -> Iterator[tuple[Incidents, str]]:
    """Run a provider on an ephemeral port; yield its incidents and its `http://…` address."""
    server = _Server(understand)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.incidents, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
