"""A channel's targets and web addresses with their secrets filled in.

Decides what can be known of a target without asking who sends: that there is a scheme, that a port is one, that two
URLs are not joined into one, that a header is one. No message here holds any part of a URL or of a header's value,
since every part may be secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from alertd.config import secrets
from alertd.config.nodes import Mapping, Node, Scalar, code, items_of, quote, value_of
from alertd.config.schema import Target, Webhook
from alertd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_JOINED = re.compile(r"[\s,][\s,]*[A-Za-z][A-Za-z0-9]*://")
_PORT = re.compile(r":(-?[0-9]+)$")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""What HTTP allows in the name of a header."""
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e\xa0-\xff](?:[\t\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?)?")
"""One line of what HTTP carries, without spaces around it."""


@dataclass(frozen=True)
class TargetReader:
    """Reads targets; `environ` is where variables come from, `problems` is what it adds to."""

    environ: MappingType[str, str]
    secrets_required: bool
    problems: list[Problem] = field(default_factory=list)

    def read_all(self, urls: Node) -> tuple[Target, ...]:
        """Return the targets of a channel that can be understood; a single one need not be in a list."""
        targets = [self._read(node) for node in items_of(urls)]
        return tuple(target for target in targets if target is not None)

    def read_webhook(self, channel: Node) -> Webhook | None:
        """Return a channel's webhook; None if something in it cannot be understood, or a secret is not there."""
        address, secret = value_of(channel, "webhook"), value_of(channel, "secret")
        url = self.read_web_address("webhook", address) if isinstance(address, Scalar) else None
        headers = self._read_headers(value_of(channel, "headers"))
        key = self._fill_in(secret) if isinstance(secret, Scalar) else ""
        if url is None or headers is None or key is None:
            return None
        return Webhook(url=url, headers=headers, secret=SecretStr(key) if key else None)

    def read_web_address(self, key: str, node: Scalar) -> SecretStr | None:
        """Return the address under `key`; None if it is not one of the web, or a secret of it is not there."""
        url = self._fill_in(node)
        if url is None:
            return None
        fault = _fault_of_web_address(url)
        if fault:
            self._complain(node, f"{code(key)} {fault}")
            return None
        return SecretStr(url)

    def _read_headers(self, node: Node | None) -> dict[str, SecretStr] | None:
        """Read headers; a single one that is wrong or whose secret is not there makes all of them None."""
        headers: dict[str, SecretStr | None] = {}
        known: set[str] = set()
        for name, (place, value) in node.entries.items() if isinstance(node, Mapping) else ():
            if not _HEADER_NAME.fullmatch(name):
                self.problems.append(Problem(place, f"{quote(name)} is not the name of an HTTP header"))
            elif name.lower() in known:
                self.problems.append(Problem(place, f"the header {quote(name)} is given twice, in another case"))
            known.add(name.lower())
            headers[name] = self._read_header(name, value) if isinstance(value, Scalar) else None
        filled = {name: text for name, text in headers.items() if text is not None}
        return filled if len(filled) == len(headers) else None

    def _read_header(self, name: str, node: Scalar) -> SecretStr | None:
        text = self._fill_in(node)
        if text is None:
            return None
        if not _HEADER_VALUE.fullmatch(text):
            fault = "must be one line of Latin letters, digits and signs, without spaces around it"
            self._complain(node, f"the header {quote(name)} {fault}")
            return None
        return SecretStr(text)

    def _read(self, node: Node) -> Target | None:
        if isinstance(node, Scalar):
            return self._read_url(node)
        if isinstance(node, Mapping):
            return self._read_options(node)
        self._complain(node, "a target is a URL or a mapping, not a list")
        return None

    def _read_url(self, node: Scalar) -> Target | None:
        if not isinstance(node.value, str):
            self._complain(node, "a target is a URL such as json://host/path, or a mapping")
            return None
        url = self._fill_in(node)
        if url is None:
            return Target(place=node.place)
        fault = fault_of_url(url)
        if fault:
            self._complain(node, fault)
            return None
        return Target(url=SecretStr(url), place=node.place)

    def _read_options(self, node: Mapping) -> Target | None:
        """Read the dict form. A single secret that is not set makes all of it unset."""
        if "schema" not in node.entries:
            self._complain(node, "a target given as a mapping needs a `schema`, such as `schema: mailto`")
            return None
        options: dict[str, str | None] = {}
        for key, (_, value) in node.entries.items():
            if not isinstance(value, Scalar):
                self._complain(value, f"{code(key)} must be text; separate several by commas")
                return None
            options[key] = self._fill_in(value)
        port = options.get("port")
        if port is not None and not _is_port(port):
            self._complain(node.entries["port"][1], "`port` must be a whole number from 1 to 65535")
            return None
        known = {key: SecretStr(text) for key, text in options.items() if text is not None}
        return Target(options=known if len(known) == len(options) else None, place=node.place)

    def _fill_in(self, node: Scalar) -> str | None:
        """Return the text with its secrets, or None where one is not there."""
        try:
            return secrets.fill_in(node.text, self.environ)
        except secrets.SecretMissing as missing:
            self.problems.append(Problem(node.place, str(missing), is_warning=not self.secrets_required))
        except secrets.ReferenceFault as fault:
            self._complain(node, str(fault))
        return None

    def _complain(self, node: Node, message: str) -> None:
        self.problems.append(Problem(node.place, message))


def fault_of_url(url: str) -> str:
    """Return what is wrong with a target's URL, or nothing; the answer holds no part of the URL."""
    if not url.strip():
        return "the URL is empty"
    scheme = _SCHEME.match(url)
    if scheme is None:
        return "the URL has no scheme, such as json:// or mailto://"
    if _JOINED.search(url, scheme.end()):
        return "two URLs in one text; make each an entry of its own in the list"
    authority = re.split(r"[/?#]", url[scheme.end() :], maxsplit=1)[0]
    port = _PORT.search(authority.rsplit("@", 1)[-1])
    if port and not _is_port(port[1]):
        return "the URL's port must lie between 1 and 65535"
    return ""


def _fault_of_web_address(url: str) -> str:
    """Return what is wrong with the address of a webhook, or nothing; the answer holds no part of it."""
    hint = "must be an address that begins with http:// or https://"
    if not re.fullmatch(r"(?i:https?)://\S+", url) or not url.isprintable():
        return hint
    try:
        has_host = bool(urlsplit(url).hostname)
    except ValueError:
        has_host = False
    fault = fault_of_url(url)
    return fault and f"is wrong: {fault}" if has_host else f"{hint}, followed by a host"


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 0 < int(text) < 65536
