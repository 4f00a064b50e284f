"""Webhooks over real HTTP: what arrives, how it is signed, and what is said if it does not."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from alertd.config.schema import Channel, Ruleset, Templates, Webhook
from alertd.delivery import channel, render
from alertd.delivery.letter import Letter, Tone
from alertd.delivery.webhook import WebhookSender
from alertd.errors import DeliveryError
from tests.delivery.examples import MORNING, PROD, at, notification
from tests.delivery.test_document import assert_is_alertmanagers
from tests.sinks import Answer, HttpInbox, http_inbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LETTER = render.letter(notification(), PROD, Templates(), delivered=MORNING)


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    """Run a webhook inbox."""
    with http_inbox() as box:
        yield box


def hook(inbox: HttpInbox, path: str = "/hook", account: str = "", secret: str = "", **headers: str) -> Webhook:
    """Return a webhook at the inbox."""
    return Webhook(
        url=SecretStr(f"http://{account}127.0.0.1:{inbox.port}{path}"),
        headers={name.replace("_", "-"): SecretStr(value) for name, value in headers.items()},
        secret=SecretStr(secret) if secret else None,
    )


def send(webhook: Webhook, letter: Letter = LETTER) -> None:
    """Send a letter at the morning."""
    WebhookSender(webhook, "hook", lambda: at(0)).send(letter)


def refusal(webhook: Webhook) -> DeliveryError:
    """Return the error of a send that must fail."""
    with pytest.raises(DeliveryError) as caught:
        send(webhook)
    return caught.value


def sign(key: str, signed: bytes) -> str:
    """Sign as a receiver would."""
    return "sha256=" + hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()


def test_the_document_arrives_with_the_users_headers_and_the_notifications_id(inbox: HttpInbox) -> None:
    """As JSON by POST, at the address with its query."""
    send(hook(inbox, "/a/b?c=d", Authorization="Bearer s3cr3t-token", X_Tenant="42"))
    (got,) = inbox.wait_for_count(1)
    assert_is_alertmanagers(json.loads(got["raw"]))
    headers = got["headers"]
    assert got["path"] == "/a/b?c=d"
    assert headers["Content-Type"] == "application/json"
    assert (headers["Authorization"], headers["X-Tenant"]) == ("Bearer s3cr3t-token", "42")
    assert headers["X-Alertd-Notification"] == "9abc"
    assert "X-Alertd-Signature" not in headers


def test_a_secret_signs_the_body_and_when_it_was_sent(inbox: HttpInbox) -> None:
    """One signature of the body as it is, and one with the time in it against replays."""
    send(hook(inbox, secret="k3y"))
    (got,) = inbox.wait_for_count(1)
    headers, body = got["headers"], got["raw"]
    assert headers["X-Alertd-Signature"] == sign("k3y", body)
    assert headers["X-Alertd-Timestamp"] == str(int(MORNING.timestamp()))
    signed = f"{headers['X-Alertd-Timestamp']}.".encode() + body
    assert headers["X-Alertd-Timestamp-Signature"] == sign("k3y", signed)


def test_a_redirect_is_not_followed(inbox: HttpInbox) -> None:
    """Headers and document must not go where nobody sent them; the error says what to do."""
    with http_inbox() as elsewhere:
        inbox.default = Answer(307, (("Location", f"http://127.0.0.1:{elsewhere.port}/"),), b"")
        error = refusal(hook(inbox, Authorization="Bearer s3cr3t-token"))
        assert elsewhere.received == []
    assert str(error) == (
        "HTTP 307 Temporary Redirect; redirects are not followed, so write the address where it leads"
    )


def test_the_account_in_the_address_is_used_and_a_header_wins_over_it(
    inbox: HttpInbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the machine's own `.netrc` says is not: it would replace the user's header."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    send(hook(inbox, account="bob:p%40ss@"))
    send(hook(inbox, account="bob:p%40ss@", Authorization="Bearer x"))
    send(hook(inbox))
    first, second, third = (got["headers"] for got in inbox.wait_for_count(3))
    assert first["Authorization"] == "Basic Ym9iOnBAc3M="
    assert second["Authorization"] == "Bearer x"
    assert "Authorization" not in third


@pytest.mark.parametrize(
    ("answer", "words", "recoverable", "retry_after"),
    [
        (Answer(500), "HTTP 500 Internal Server Error: ok", True, None),
        (Answer(429, (("Retry-After", "7"),), b"slow\ndown"), "HTTP 429 Too Many Requests: slow down", True, 7.0),
        (Answer(404, body=b""), "HTTP 404 Not Found", True, None),
        (Answer(400, body=b"bad \x00 payload"), "HTTP 400 Bad Request: bad \\x00 payload", False, None),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_a_refusal_says_why_and_whether_to_try_again(
    inbox: HttpInbox, answer: Answer, words: str, *, recoverable: bool, retry_after: float | None
) -> None:
    """As of any other target."""
    inbox.default = answer
    error = refusal(hook(inbox))
    assert (str(error), error.recoverable, error.retry_after) == (words, recoverable, retry_after)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(inbox: HttpInbox, status: int) -> None:
    """Whatever the body says."""
    inbox.default = Answer(status, body=b"")
    send(hook(inbox))


def test_nobody_listening_is_named() -> None:
    """Without the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        webhook = Webhook(url=SecretStr(f"http://127.0.0.1:{free.getsockname()[1]}/hook-secret"))
        assert str(refusal(webhook)) == "connection refused"


def test_no_secret_is_in_errors_or_reprs(inbox: HttpInbox) -> None:
    """Though the server echoes all that it was sent."""
    inbox.default = Answer(500, body=b"Bearer s3cr3t-token s3cr3t-token hook-secret k3y-secret bob hunter22 q-secret")
    webhook = hook(
        inbox, "/hook-secret?q=q-secret", "bobby:hunter22@", "k3y-secret", Authorization="Bearer s3cr3t-token"
    )
    error = refusal(webhook)
    said = f"{error} {error!r} {error.__cause__} {error.__context__} {webhook!r}"
    said += repr(WebhookSender(webhook, "hook", lambda: at(0))) + repr(channel.describe("hook", 1, webhook))
    assert "HTTP 500" in said
    for secret in ("s3cr3t", "hook-secret", "k3y", "hunter22", "q-secret", "bobby"):
        assert secret not in said


def test_a_webhook_is_described_by_where_it_is() -> None:
    """Scheme, host and port; the rest is masked."""
    webhook = Webhook(url=SecretStr("https://bob:pw@hooks.example:8443/secret?token=x"))
    seen = channel.describe("hook", 1, webhook)
    assert (seen.service, seen.schema, seen.host, seen.port) == ("Webhook", "webhook", "hooks.example", 8443)
    assert seen.address == "https://***@hooks.example:8443/***?***"
    assert channel.label_of("hook", 1, webhook) == "hook #1 webhook"


def test_a_letter_that_is_ready_goes_to_a_webhook_too(inbox: HttpInbox) -> None:
    """A heartbeat: one alert of its name."""
    send(hook(inbox), Letter("beat-1", "watchdog", Tone.INFO, lambda _: "alive"))
    (got,) = inbox.wait_for_count(1)
    assert got["commonLabels"]["alertname"] == "watchdog"
    assert got["headers"]["X-Alertd-Notification"] == "beat-1"


def test_webhooks_need_no_verification(inbox: HttpInbox) -> None:
    """What can be wrong with one is found where the rules are read."""
    assert channel.verify(Ruleset(channels={"hook": Channel(webhook=hook(inbox))})) == []
