"""Which files make up a rules directory, and their text.

Decides what is read at all: `*.yaml` and `*.yml`, at any depth, in the order of their paths, nothing hidden. Everything
that cannot be read is a problem at its own place and never an exception. Nothing here knows YAML.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alertd.errors import Problem
from alertd.model import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_FILE = 1024 * 1024
"""Bytes that one file may have."""

MOST_ENTRIES = 10_000
"""Directory entries looked at before the directory is taken for the wrong one (`/`, say)."""

_SUFFIXES = frozenset({".yaml", ".yml"})
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not allow in a file."""


class SourceFile(NamedTuple):
    """One file: its path as the user would write it, its path below the directory, its bytes and its text."""

    shown: str
    relative: str
    content: bytes
    text: str


def read_directory(directory: Path) -> tuple[list[SourceFile], list[Problem]]:
    """Read all rule files below `directory`; what cannot be read is among the problems instead."""
    problems: list[Problem] = []
    files: list[SourceFile] = []
    paths = _find(directory, problems)
    for path in paths:
        source = _read(path, directory, problems)
        if source is not None:
            files.append(source)
    if not paths and not problems:
        problems.append(_problem(directory, "the directory holds no *.yaml or *.yml file"))
    return files, problems


def from_texts(texts: Mapping[str, str], shown: str) -> list[SourceFile]:
    """Return files that lie elsewhere than on disk, by their paths below a folder that is called `shown`."""
    return [SourceFile(f"{shown}/{name}", name, text.encode(), text) for name, text in sorted(texts.items())]


def read_file(path: Path) -> tuple[SourceFile | None, list[Problem]]:
    """Read one file that the user named; what is wrong with it is among the problems instead."""
    problems: list[Problem] = []
    return _read(path, path.parent, problems), problems


def show_path(path: Path) -> str:
    """Return a path as one line of text, whatever bytes its name has."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _problem(path: Path, message: str) -> Problem:
    return Problem(Place(show_path(path)), message)


def _find(directory: Path, problems: list[Problem]) -> list[Path]:
    """Walk the directory without recursion; a link back to a folder that holds it is a problem, not a loop."""
    try:
        if not directory.is_dir():
            what = "is a file" if directory.exists() else "there is no such directory"
            problems.append(_problem(directory, f"{what}; give the directory that holds the rules"))
            return []
        waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(directory, (_identity(directory),))]
    except OSError as error:
        problems.append(_problem(directory, f"it cannot be read: {_why(error)}"))
        return []
    found: list[Path] = []
    seen = 0
    while waiting:
        folder, ancestors = waiting.pop()
        for path in _entries(folder, problems):
            seen += 1
            if seen > MOST_ENTRIES:
                message = f"more than {MOST_ENTRIES:,} files and folders; is this the rules directory?"
                problems.append(_problem(directory, message))
                return []
            if not path.is_dir():
                found.extend([path] if path.suffix.lower() in _SUFFIXES else [])
            elif (identity := _identity(path)) in ancestors:
                problems.append(_problem(path, "a link to a folder that contains it; remove the link"))
            else:
                waiting.append((path, (*ancestors, identity)))
    return sorted(found)


def _entries(folder: Path, problems: list[Problem]) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        problems.append(_problem(folder, f"it cannot be read: {_why(error)}"))
        return []


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_dev, status.st_ino)


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _read(path: Path, directory: Path, problems: list[Problem]) -> SourceFile | None:
    """Read one file; opening anything but a regular file could block for ever."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            problems.append(_problem(path, "not a regular file"))
            return None
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        problems.append(_problem(path, f"it cannot be read: {_why(error)}"))
        return None
    text = _decode(path, content, problems)
    return None if text is None else SourceFile(show_path(path), show_path(path.relative_to(directory)), content, text)


def _decode(path: Path, content: bytes, problems: list[Problem]) -> str | None:
    """Return the text, or None and a problem at the first byte that is not text."""
    if len(content) > LARGEST_FILE:
        problems.append(_problem(path, "the file is larger than 1 MiB; split it into several"))
        return None
    if content.startswith(b"\xef\xbb\xbf"):
        problems.append(_problem(path, "the file begins with a byte order mark; save it as UTF-8 without one"))
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        problems.append(Problem(_place_after(path, before), "not UTF-8 from here on; save the file as UTF-8"))
        return None
    unprintable = _NOT_TEXT.search(text)
    if unprintable:
        place = _place_after(path, text[: unprintable.start()])
        problems.append(Problem(place, f"control character {unprintable[0]!a}; remove it"))
        return None
    return text


def _place_after(path: Path, before: str) -> Place:
    return Place(show_path(path), before.count("\n") + 1, len(before) - before.rfind("\n"))
