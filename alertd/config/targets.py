"""A channel's `urls` as targets with their secrets filled in.

Decides what can be known of a target without asking the library that sends: that there is a scheme, that a port is
one, that two URLs are not joined into one. No message here holds any part of a URL, since every part may be secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import SecretStr

from alertd.config import secrets
from alertd.config.nodes import Mapping, Node, Scalar, Sequence, code
from alertd.config.schema import Target
from alertd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_JOINED = re.compile(r"[\s,][\s,]*[A-Za-z][A-Za-z0-9]*://")
_PORT = re.compile(r":(-?[0-9]+)$")


@dataclass(frozen=True)
class TargetReader:
    """Reads targets; `environ` is where variables come from, `problems` is what it adds to."""

    environ: MappingType[str, str]
    secrets_required: bool
    problems: list[Problem] = field(default_factory=list)

    def read_all(self, urls: Node) -> tuple[Target, ...]:
        """Return the targets of a channel that can be understood; a single one need not be in a list."""
        nodes = urls.items if isinstance(urls, Sequence) else [urls]
        targets = [self._read(node) for node in nodes]
        return tuple(target for target in targets if target is not None)

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


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 0 < int(text) < 65536
