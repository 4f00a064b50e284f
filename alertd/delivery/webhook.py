"""Posts Alertmanager's webhook document, by HTTP and without Apprise, signed where there is a secret.

Any 2xx is success. Redirects are not followed, for they would carry headers and document to wherever they lead.
Headers of every request, besides the user's own:

`X-Alertd-Notification` is the notification's id: the same again when a delivery is repeated, so a receiver can drop
what it has. It is not called `Idempotency-Key`, since gateways that know that header answer a retry with the failure
that they remember.
`X-Alertd-Signature: sha256=<hex>` is the HMAC-SHA256 of the body. `X-Alertd-Timestamp` is when it was sent, in seconds
of Unix time, and `X-Alertd-Timestamp-Signature: sha256=<hex>` the HMAC-SHA256 of timestamp, a dot and body: who checks
that one, and refuses what is older than some minutes, cannot be shown an old message again.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from alertd.delivery import observe
from alertd.delivery.document import document_of_letter
from alertd.delivery.scrub import MASK, Scrubber, of_url
from alertd.delivery.sender import ID_HEADER
from alertd.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from requests import PreparedRequest, Response

    from alertd.config.schema import Webhook
    from alertd.delivery.letter import Letter
    from alertd.model import Instant

SCHEMA = "webhook"
"""What stands for the schema of a target that is a webhook."""
_PATIENCE = (5.0, 15.0)
"""Seconds to connect, and between two pieces of an answer."""


class WebhookSender:
    """One webhook; `receiver` is the name of its channel."""

    service = "Webhook"
    seconds_apart = 0.0
    seconds_more = 0.0

    def __init__(self, webhook: Webhook, receiver: str, clock: Callable[[], Instant]) -> None:
        self._webhook = webhook
        self._receiver = receiver
        self._clock = clock
        self._scrubber = Scrubber(_secrets_of(webhook))

    def __repr__(self) -> str:
        return f"WebhookSender({self._receiver})"

    def send(self, letter: Letter) -> None:
        """Post the letter's document; raise `DeliveryError` with the receiver's reason, free of secrets."""
        body = json.dumps(self.document(letter)).encode()
        try:
            refusal = self._post(body, self._headers(letter, body))
        except Exception as error:  # noqa: BLE001 - whatever a request raises is its target's failure
            raise DeliveryError(self._scrubber(observe.in_words(error))) from None
        if refusal is not None:
            raise refusal

    def _post(self, body: bytes, headers: Mapping[str, str]) -> DeliveryError | None:
        """Post once; of a success not even the answer's body is waited for."""
        import requests  # noqa: PLC0415 - see `observe.install`

        with requests.post(
            self._webhook.url.get_secret_value(),
            data=body,
            headers=headers,
            auth=self._authorize,
            timeout=_PATIENCE,
            allow_redirects=False,
            stream=True,
        ) as response:
            return None if 200 <= response.status_code < 300 else self._refusal(response)

    def document(self, letter: Letter) -> dict[str, Any]:
        """Return what is posted for a letter."""
        if letter.document is None:
            return document_of_letter(letter, self._receiver, self._clock().wall)
        return dict(letter.document())

    def _headers(self, letter: Letter, body: bytes) -> dict[str, str]:
        own = {name: value.get_secret_value() for name, value in self._webhook.headers.items()}
        headers = {"Content-Type": "application/json", "User-Agent": "alertd", **own}
        headers[ID_HEADER] = letter.id
        if self._webhook.secret is not None:
            key = self._webhook.secret.get_secret_value().encode()
            timestamp = str(int(self._clock().wall.timestamp()))
            headers["X-Alertd-Signature"] = _signature(key, body)
            headers["X-Alertd-Timestamp"] = timestamp
            headers["X-Alertd-Timestamp-Signature"] = _signature(key, f"{timestamp}.".encode() + body)
        return headers

    def _authorize(self, request: PreparedRequest) -> PreparedRequest:
        """Use the account in the address, but not what `~/.netrc` says, which would replace the user's own header."""
        from requests.auth import HTTPBasicAuth  # noqa: PLC0415 - see `observe.install`

        parts = urlsplit(self._webhook.url.get_secret_value())
        if parts.username is None or any(name.lower() == "authorization" for name in self._webhook.headers):
            return request
        account = (unquote(part).encode() for part in (parts.username, parts.password or ""))
        return HTTPBasicAuth(*account)(request)

    def _refusal(self, response: Response) -> DeliveryError:
        words = observe.in_words(response)
        if 300 <= response.status_code < 400:
            words += "; redirects are not followed, so write the address where it leads"
        return DeliveryError(
            self._scrubber(words),
            recoverable=observe.is_recoverable(response),
            retry_after=observe.retry_after(response),
        )


def host_and_port(webhook: Webhook) -> tuple[str, int | None]:
    """Return where a webhook is."""
    parts = urlsplit(webhook.url.get_secret_value())
    return parts.hostname or "", parts.port


def masked_address(webhook: Webhook) -> str:
    """Return an address of which only scheme, host and port are readable."""
    parts = urlsplit(webhook.url.get_secret_value())
    account = f"{MASK}@" if parts.username is not None else ""
    place = parts.netloc.rpartition("@")[2]
    path = f"/{MASK}" if parts.path.strip("/") else ""
    return f"{parts.scheme}://{account}{place}{path}" + (f"?{MASK}" if parts.query else "")


def _signature(key: bytes, signed: bytes) -> str:
    return f"sha256={hmac.digest(key, signed, 'sha256').hex()}"


def _secrets_of(webhook: Webhook) -> Iterator[str]:
    """Yield what may be secret: the address but for its host, each header and each word of it, and the secret."""
    host, _ = host_and_port(webhook)
    yield from of_url(webhook.url.get_secret_value(), host)
    for header in webhook.headers.values():
        value = header.get_secret_value()
        yield value
        yield from (word for word in value.split() if len(word) >= 8)
    if webhook.secret is not None:
        yield webhook.secret.get_secret_value()
