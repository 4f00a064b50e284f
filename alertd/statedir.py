"""What must outlive the process while etcd cannot keep it: a few small files of JSON in the state dir.

Each bears the `format` of its shape, is replaced as a whole, and is on the disk before that is said. Where the disk
takes nothing more, work goes on without, and that is said.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import structlog

from alertd.document import FORMAT

_log = structlog.get_logger("alertd")


class StateDir:
    """One folder, made when the first file is written; `None` keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._failed = ""

    def read(self, name: str) -> dict[str, Any]:
        """Return what a file holds; an empty dict if it is not there, or cannot be understood."""
        if self._folder is None:
            return {}
        try:
            content = json.loads((self._folder / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("a file in the state dir cannot be read", file=name, error=type(error).__name__)
            return {}
        if not isinstance(content, dict):
            return {}
        if content.pop("format", FORMAT) != FORMAT:
            _log.warning("a file in the state dir is a newer alertd's, and is left out", file=name)
            return {}
        return content

    def write(self, name: str, content: dict[str, Any] | None) -> bool:
        """Replace a file (None: remove it); return whether that is on the disk."""
        if self._folder is None:
            return False
        path = self._folder / f"{name}.json"
        try:
            if content is None:
                path.unlink(missing_ok=True)
            else:
                self._folder.mkdir(parents=True, exist_ok=True)
                _replace(path, json.dumps({"format": FORMAT, **content}).encode())
        except OSError as error:
            if self._failed != str(error.strerror):
                self._failed = str(error.strerror)
                _log.error(
                    "the state dir cannot be written: what etcd cannot keep is lost if alertd ends now",
                    folder=str(self._folder),
                    error=self._failed,
                )
            return False
        self._failed = ""
        return True


def _replace(path: Path, raw: bytes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
