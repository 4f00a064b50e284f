"""A rules directory on disk, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from alertd.config.load import Survey, survey
from alertd.config.schema import Ruleset

RULE = "rules:\n  - name: a\n    service: s\n    when: {instances: {below: 2}}\n"
"""A good rule, to which a test adds a fifth line."""
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Folder:
    """A directory `rules` in the current directory, so that places read as a user would see them."""

    def __init__(self) -> None:
        self.path = Path("rules")
        self.path.mkdir()

    def write(self, content: str | bytes, name: str = "a.yaml") -> Folder:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self

    def survey(self, environ: Mapping[str, str] | None = None, *, secrets_required: bool = True) -> Survey:
        """Return all that is said of it."""
        return survey(self.path, environ=environ or {}, now=NOW, secrets_required=secrets_required)

    def problems(self, environ: Mapping[str, str] | None = None) -> list[str]:
        """Return the problems as they are printed."""
        return [str(problem) for problem in self.survey(environ).problems]

    def ruleset(self, environ: Mapping[str, str] | None = None) -> Ruleset:
        """Return the ruleset, which must be without errors."""
        found = self.survey(environ)
        assert not found.has_errors, [str(problem) for problem in found.problems]
        return found.draft
