"""Several files' sections merged into one, before anything in them is judged.

Decides which sections there are, which may stand in one file only, and that a name is given once; whatever is given
twice is a problem that names both places. The first one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from alertd.config.document import PLANNED_SECTIONS, Document
from alertd.config.nodes import Mapping, Node, Scalar, Sequence, code, quote
from alertd.config.problems import suggest
from alertd.errors import Problem
from alertd.model import Place


class Named(NamedTuple):
    """Something under a key: the key's place, and what it holds."""

    place: Place
    node: Node


_LISTS = frozenset({"rules", "inhibit", "silences", "heartbeats", "reports"})
_BY_NAME = frozenset({"services", "channels", "windows"})


@dataclass(slots=True)
class Sections:
    """All files together, by the names of the sections. Lists keep the order of the files and of their lines."""

    settings: Named | None = None
    routes: Named | None = None
    services: dict[str, Named] = field(default_factory=dict)
    channels: dict[str, Named] = field(default_factory=dict)
    windows: dict[str, Named] = field(default_factory=dict)
    rules: list[Node] = field(default_factory=list)
    inhibit: list[Node] = field(default_factory=list)
    silences: list[Node] = field(default_factory=list)
    heartbeats: list[Node] = field(default_factory=list)
    reports: list[Node] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add_file(self, root: Node) -> None:
        """Merge one file's root."""
        if isinstance(root, Scalar) and root.value is None:
            return
        if not isinstance(root, Mapping):
            self._complain(root.place, "a rules file is a mapping of sections, such as `rules:`")
            return
        for name, (place, node) in root.entries.items():
            if not (isinstance(node, Scalar) and node.value is None):
                self._add_section(name, Named(place, node))

    def _add_section(self, name: str, found: Named) -> None:
        is_list = name in _LISTS or name == "routes"
        if name in PLANNED_SECTIONS:
            self._complain(found.place, f"{code(name)} is not supported yet; remove the section")
        elif name not in Document.model_fields:
            self._complain(found.place, f"unknown section {quote(name)}{suggest(name, Document.model_fields)}")
        elif not isinstance(found.node, Sequence if is_list else Mapping):
            self._complain(found.node.place, f"{code(name)} must be {'a list' if is_list else 'a mapping'}")
        elif name in _LISTS and isinstance(found.node, Sequence):
            getattr(self, name).extend(found.node.items)
        elif name in _BY_NAME and isinstance(found.node, Mapping):
            self._add_names(name.removesuffix("s"), getattr(self, name), found.node)
        else:
            self._add_only_once(name, found)

    def _add_names(self, kind: str, known: dict[str, Named], mapping: Mapping) -> None:
        for name, (place, node) in mapping.entries.items():
            if not name or not name.isprintable() or name != name.strip():
                self._complain(place, f"a {kind}'s name must be one printable line, without spaces around it")
            elif name in known:
                self._complain(place, f"{kind} {quote(name)} is defined at {known[name].place} as well")
            else:
                known[name] = Named(place, node)

    def _add_only_once(self, name: str, found: Named) -> None:
        first: Named | None = getattr(self, name)
        if first is not None:
            self._complain(found.place, f"{code(name)} may stand in one file only, and stands at {first.place} as well")
        else:
            setattr(self, name, found)

    def _complain(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))
