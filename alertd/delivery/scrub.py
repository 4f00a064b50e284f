"""Takes a target's secrets out of a text, in every form in which they may have got there.

Apprise's own masks leave headers and webhook paths readable, and what a provider answers may quote what it was sent.
So everything of a target that could be a secret counts as one, but for its schema, a real host and its port, and
parameters known to be harmless.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MASK = "***"
_SHORTEST = 4
"""Characters from which a piece of an address counts as a secret: shorter ones are everywhere in any text."""
_SHORTEST_PASSWORD = 2

HARMLESS = frozenset(
    {
        "cto",
        "emojis",
        "format",
        "image",
        "method",
        "mode",
        "overflow",
        "port",
        "redirect",
        "rto",
        "schema",
        "tz",
        "verify",
    }
)
"""Parameters whose values are no secrets and may be words that messages need."""


class Scrubber:
    """Replaces the secrets of one target in any text by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the secrets as they are written; their encoded forms are derived here."""
        forms = {form for secret in secrets for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None

    def __call__(self, text: str) -> str:
        """Return `text` without the secrets."""
        return self._pattern.sub(MASK, text) if self._pattern is not None else text

    def __repr__(self) -> str:
        return "Scrubber(…)"


def of_url(url: str, host: str = "") -> Iterator[str]:
    """Yield what may be secret in an Apprise URL; `host` is what is known to be a real host, not a token.

    The URL is cut in every way in which it may be read, since a password with `@`, `/` or `#` is read in several.
    """
    yield url
    rest = url.partition("://")[2]
    yield rest
    main, _, query = rest.partition("?")
    for account in {main.partition("@")[0], main.rpartition("@")[0]}:
        user, _, password = account.partition(":")
        yield from _long_enough([user, account], host)
        if len(password) >= _SHORTEST_PASSWORD:
            yield password
            yield _basic(user, password)
    for fragment in main.split("@")[1:-1]:
        yield f"{main.partition(':')[0]}@{fragment}"
        if len(fragment) >= _SHORTEST_PASSWORD:
            yield fragment
    pieces = [*re.split(r"[/@:]", main), *main.split("/")]
    yield from _long_enough(pieces, host)
    for parameter in query.split("&"):
        name, _, value = parameter.partition("=")
        if name.lower() not in HARMLESS:
            yield from _long_enough([value, *value.split("+"), *value.split("%20")], host)


def of_options(options: Mapping[str, str], host: str = "") -> Iterator[str]:
    """Yield what may be secret in the dict form."""
    for name, value in options.items():
        if name not in HARMLESS and value != host and len(value) >= _SHORTEST_PASSWORD:
            yield value
    yield _basic(options.get("user", ""), options.get("password", ""))


def _long_enough(pieces: Iterable[str], host: str) -> Iterator[str]:
    """Yield the pieces that are neither host nor port and too long to be met by chance."""
    harmless = re.compile(rf"({re.escape(host)})?:?([0-9]{{1,5}})?") if host else None
    for piece in pieces:
        bare = unquote(piece)
        if len(bare) >= _SHORTEST and not (harmless and harmless.fullmatch(bare)):
            yield piece


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def _forms(secret: str) -> set[str]:
    """Return a secret as written, decoded and encoded in the ways of URLs, headers, JSON and Python."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    encoded = {form for each in plain for form in (quote(each), quote(each, safe=""), quote_plus(each))}
    quoted = {form[1:-1] for each in plain for form in (json.dumps(each), repr(each))}
    return {form for form in plain | encoded | quoted if len(form) >= _SHORTEST_PASSWORD}
