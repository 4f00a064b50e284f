"""Sees how the HTTP requests of one send went, which Apprise keeps to itself.

Apprise answers yes or no. Why, and when to come again (`Retry-After`), stands in the response that its plugins read
and drop. They all go through `requests.Session.send`, so that is wrapped, once and for the whole process, as tracing
libraries do; outside `watch` the wrapper does nothing, and inside it only looks.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

from alertd.delivery.wording import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from requests import PreparedRequest, Response, Session

_WRAPPED = "_alertd_watches"
_ANSWER_ROOM = 200
"""Characters of a refusal's body that an error shows."""
_LONGEST_WISH = 3600.0
"""Seconds of `Retry-After` that are believed: a provider that asks for a day must not silence a channel for one."""

_REFUSED_MESSAGE = frozenset({400, 406, 413, 414, 415, 422, 431})
"""The message is at fault: the same one is refused again, while the next may pass."""


@dataclass(slots=True)
class Exchanges:
    """What the requests of one send came to, in order."""

    failures: list[Response | BaseException] = field(default_factory=list)
    last: Response | None = None

    @property
    def worst(self) -> Response | BaseException | None:
        """The last failure, or the last response where the plugin alone saw a fault in it."""
        return self.failures[-1] if self.failures else self.last


_watched: ContextVar[Exchanges | None] = ContextVar("alertd_watched_exchanges", default=None)


@contextmanager
def watch() -> Iterator[Exchanges]:
    """Collect the exchanges that this thread makes within the block."""
    exchanges = Exchanges()
    token = _watched.set(exchanges)
    try:
        yield exchanges
    finally:
        _watched.reset(token)


def install() -> None:
    """Wrap `requests.Session.send`; a second call does nothing."""
    from requests import Session  # noqa: PLC0415 - costs 50 ms, which `alertd status` must not pay

    if not hasattr(Session.send, _WRAPPED):
        Session.send = _looking(Session.send)  # type: ignore[method-assign]  # the one place that does this, see above


def _looking(send: Any) -> Any:
    @wraps(send)
    def observed(session: Session, request: PreparedRequest, **options: Any) -> Response:
        exchanges = _watched.get()
        if exchanges is None:
            return send(session, request, **options)  # type: ignore[no-any-return]  # as wrapped
        try:
            response: Response = send(session, request, **options)
        except Exception as error:
            exchanges.failures.append(error)
            raise
        exchanges.last = response
        if response.status_code >= 400:
            exchanges.failures.append(response)
        return response

    setattr(observed, _WRAPPED, True)
    return observed


def is_recoverable(outcome: Response | BaseException | None) -> bool:
    """Say whether sending the same again can help.

    No answer is recoverable, and so are the refusals that ask for a later try (408, 425, 429).
    Refusals of the target as such (401, 403, 404, 410 …) count as recoverable: a proxy being redeployed answers 404,
    and an operator may mend the far side without touching our files. Refusals of the message (400, 413, 422) do not.
    """
    return getattr(outcome, "status_code", None) not in _REFUSED_MESSAGE


def retry_after(outcome: Response | BaseException | None) -> float | None:
    """Return the seconds that a response asks us to wait, judged by the server's own clock where it names a date."""
    headers: Mapping[str, str] = getattr(outcome, "headers", {})
    wish = headers.get("Retry-After")
    if not wish:
        return None
    try:
        seconds = float(wish)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(wish) - parsedate_to_datetime(headers["Date"])).total_seconds()
        except (ValueError, TypeError, KeyError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WISH) if seconds == seconds else None  # noqa: PLR0124 - NaN is no wish


def in_words(outcome: Response | BaseException | None) -> str:
    """Return what went wrong, without the address: `HTTP 503 Service Unavailable`, `connection refused`."""
    if outcome is None:
        return ""
    if isinstance(outcome, BaseException):
        return _error_in_words(outcome)
    text = f"HTTP {outcome.status_code} {outcome.reason or ''}".rstrip()
    said = " ".join(_body_of(outcome).split())
    return f"{text}: {plain(said, _ANSWER_ROOM)}" if said else text


def _body_of(response: Response) -> str:
    """Return the start of a response's text; pages are left out, for they say nothing in so little room."""
    start = (response.content or b"")[: _ANSWER_ROOM * 4].decode(errors="replace")
    return "" if start.lstrip().startswith("<") else start


def _error_in_words(error: BaseException) -> str:
    """Return the innermost cause in words; the text of `requests` itself is not used, for it holds the URL."""
    from requests import ConnectTimeout, Timeout  # noqa: PLC0415 - see `install`

    if isinstance(error, ConnectTimeout):
        return "no connection in time"
    if isinstance(error, Timeout):
        return "no answer in time"
    words = next((words for cause in _chain(error) if (words := _cause_in_words(cause))), "")
    return words or ("the connection broke" if isinstance(error, OSError) else type(error).__name__)


def _cause_in_words(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {cause.reason or 'handshake failed'}"
    if isinstance(cause, socket.gaierror):
        return "its host name does not resolve"
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
        return os.strerror(cause.errno).lower()
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it wraps, whichever way: as cause, context, `reason` or argument."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__context__, each.__cause__, *each.args, getattr(each, "reason", None)]
