"""YAML text to a tree of values that know their places: strict, bounded, and never raising.

This is the one module that knows the YAML library, and only its event stream: nothing is ever constructed by it, so
that a file can neither make objects nor grow beyond `MOST_NODES` values and `DEEPEST` levels, aliases counted at their
full size. The C parser is used where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from alertd.config import scalars
from alertd.errors import Problem
from alertd.model import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_NODES = 250_000
"""Values a file may hold; a dense file of 1 MiB has fewer."""

DEEPEST = 32
"""Levels of nesting; the deepest thing the contract knows has nine."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Scalar:
    """One value; `text` is as it was written, `is_block` tells a text that begins on the line after its place."""

    place: Place
    value: scalars.Scalar
    text: str
    is_block: bool = False


@dataclass(slots=True)
class Sequence:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """A mapping: each key's text with the place of the key and its value."""

    place: Place
    entries: dict[str, tuple[Place, Node]] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping


def plain(node: Node) -> Any:
    """Return the tree as plain lists, dictionaries and scalars."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, (_, value) in node.entries.items()}


def scalars_of(node: Node) -> Iterator[Scalar]:
    """Walk all scalar values (not the keys) below a node."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from scalars_of(item)
    else:
        for _, value in node.entries.values():
            yield from scalars_of(value)


def value_of(node: Node | None, key: str) -> Node | None:
    """Return what a mapping holds under a key; None where it is no mapping or holds no such key."""
    entry = node.entries.get(key) if isinstance(node, Mapping) else None
    return None if entry is None else entry[1]


def items_of(node: Node | None) -> list[Node]:
    """Return the items of a list; what is written without one is a list of itself."""
    if isinstance(node, Sequence):
        return node.items
    return [] if node is None else [node]


def texts_of(node: Node | None) -> Iterator[Scalar]:
    """Walk the texts of a list, or the single one; other kinds are the schema's to refuse."""
    for item in items_of(node):
        if isinstance(item, Scalar) and isinstance(item.value, str):
            yield item


def parse(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """Return the tree of one YAML document, or None if it is empty or too broken, and every problem found."""
    building = _Building(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            building.take(event)
    except _Hopeless as hopeless:
        return None, [*building.problems, hopeless.problem]
    except yaml.MarkedYAMLError as error:
        return None, [*building.problems, _syntax_problem(error, text, file)]
    return building.root, building.problems


class _Hopeless(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class _Open:
    """A list or mapping not yet closed; `key` is a mapping's key whose value comes next.

    `start` is the tree's size before it.
    """

    node: Sequence | Mapping
    anchor: str | None
    start: int
    key: tuple[Place, str] | None = None


class _Building:
    """The tree so far. Events come in document order; `stack` holds what is open.

    `size` counts keys and values as if every alias were written out; `anchors` has each anchor's node with its size, or
    None while it is open.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int] | None] = {}
        self.size = 0
        self.documents = 0

    def take(self, event: Any) -> None:
        """Grow the tree by one parser event."""
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event)
            self._add_scalar(event)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._refuse_tag(event)
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._add_alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise _Hopeless(Problem(self._place(event), "a second document; put it into a file of its own"))

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _complain(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            what = event.tag.replace("tag:yaml.org,2002:", "!!")
            message = (
                f"{code(what)} is a YAML tag, which is not supported; to write text that begins with `!`, quote it"
            )
            self._complain(self._place(event), message)

    def _add_scalar(self, event: Any) -> None:
        place = self._place(event)
        if self._wants_key():
            self._add_key(place, event.value, is_quoted=bool(event.style))
            return
        value: scalars.Scalar = event.value
        if not event.style and event.tag is None:
            value = self._resolved(event.value, place)
            if value is None:
                place = self._complain_of_null(event.value, place)
        node = Scalar(place, value, event.value, is_block=event.style in ("|", ">"))
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, 1)
        self._count(1, place)
        self._attach(node)

    def _resolved(self, text: str, place: Place) -> scalars.Scalar:
        try:
            return scalars.resolve(text)
        except scalars.Refused as refused:
            self._complain(place, f"{code(text)} {refused}")
            return text

    def _complain_of_null(self, text: str, place: Place) -> Place:
        """Say that a value is missing, at its key; an empty section or an empty file is fine."""
        holder = self.stack[-1] if self.stack else None
        if holder is None:
            if text:
                self._complain(place, "a rules file is a mapping of sections, such as `rules:`")
            return place
        if holder.key is None:
            self._complain(place, "an empty entry in a list; give it a value or remove it")
            return place
        key_place, key = holder.key
        if len(self.stack) > 1 or text:
            hint = f"give it one (quote {code(text)} if it is text)" if text else "give it one"
            self._complain(key_place, f"{code(key)} has no value; {hint}, or remove the key")
        return key_place

    def _add_key(self, place: Place, text: str, *, is_quoted: bool) -> None:
        if not is_quoted:
            if text == "<<":
                self._complain(place, "merge keys (`<<`) are not supported; write the keys out")
            elif isinstance(meaning := self._resolved(text, place), bool) or meaning is None:
                self._complain(place, f"{code(text)} is not text, which a key must be; quote it")
        self._count(1, place)
        self.stack[-1].key = (place, text)

    def _open(self, event: Any) -> None:
        place = self._place(event)
        if self._wants_key():
            message = "a list or mapping as a key; quote the text if it begins with `[` or `{`, as a template does"
            raise _Hopeless(Problem(place, message))
        if len(self.stack) >= DEEPEST:
            raise _Hopeless(Problem(place, f"nested more than {DEEPEST} levels deep"))
        node: Sequence | Mapping
        node = Sequence(place) if isinstance(event, yaml.SequenceStartEvent) else Mapping(place)
        self.stack.append(_Open(node, event.anchor, self.size))
        self._count(1, place)
        if event.anchor is not None:
            self.anchors[event.anchor] = None

    def _close(self) -> None:
        closed = self.stack.pop()
        if closed.anchor is not None:
            self.anchors[closed.anchor] = (closed.node, self.size - closed.start)
        self._attach(closed.node)

    def _add_alias(self, event: Any) -> None:
        place = self._place(event)
        if event.anchor not in self.anchors:
            message = (
                f"no anchor `&{shorten(event.anchor)}` above this alias; to write text that begins with `*`, quote it"
            )
            raise _Hopeless(Problem(place, message))
        known = self.anchors[event.anchor]
        if known is None:
            raise _Hopeless(Problem(place, f"alias `*{shorten(event.anchor)}` stands inside what it repeats"))
        node, size = known
        if not self._wants_key():
            self._count(size, place)
            self._attach(node)
        elif isinstance(node, Scalar):
            self._add_key(place, node.text, is_quoted=True)
        else:
            raise _Hopeless(Problem(place, "a list or mapping as a key"))

    def _wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].node, Mapping) and self.stack[-1].key is None

    def _attach(self, node: Node) -> None:
        """Put a finished node where it belongs."""
        if not self.stack:
            self.root = node
            return
        holder = self.stack[-1]
        if isinstance(holder.node, Sequence):
            holder.node.items.append(node)
        elif holder.key is not None:
            place, key = holder.key
            holder.key = None
            self._add_entry(holder.node, place, key, node)

    def _add_entry(self, mapping: Mapping, place: Place, key: str, node: Node) -> None:
        if key in mapping.entries:
            first = mapping.entries[key][0]
            self._complain(place, f"{code(key)} is given twice; first at {first}")
        else:
            mapping.entries[key] = (place, node)

    def _count(self, size: int, place: Place) -> None:
        self.size += size
        if self.size > MOST_NODES:
            raise _Hopeless(Problem(place, f"more than {MOST_NODES:,} keys and values, aliases counted at full size"))


def quote(text: str) -> str:
    """Return a short, printable, one-line form of what a user wrote."""
    return f'"{shorten(text)}"'


def code(text: str) -> str:
    """Return a key or a piece of YAML as it stands in a sentence."""
    return f"`{shorten(text)}`"


def shorten(text: str) -> str:
    """Cut to 40 characters and escape what does not print."""
    return printable(text if len(text) <= 40 else text[:39] + "…")


def printable(text: str) -> str:
    """Escape what does not print, so that nothing in a file can end a line of output."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    """Say what the parser found in words that tell what to do about it."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(Place(file), "not YAML")
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    found = line[mark.column : mark.column + 1]
    what = f"not YAML here: {error.problem}"
    place = mark
    if error.context in ("while scanning an alias", "while scanning a tag") and error.context_mark:
        place = error.context_mark
        what = "text that begins with `*`, `&` or `!` must be quoted"
    elif "\t" in line[: mark.column + 1] and not line[: mark.column].strip():
        what = "a tab; indent with spaces"
    elif found in ("@", "`", "%") and "cannot start any token" in str(error.problem):
        what = f"text that begins with {'a backtick' if found == '`' else code(found)} must be quoted"
    elif "mapping values are not allowed" in str(error.problem):
        what = "an unexpected `:`; quote text that contains `: `, and check the indentation"
    elif "{{" in line:
        what = "not YAML here; a template must be quoted as a whole"
    elif error.context_mark and error.context_mark.line != mark.line:
        what += f" ({error.context} that begins in line {error.context_mark.line + 1})"
    return Problem(Place(file, place.line + 1, place.column + 1), what)
