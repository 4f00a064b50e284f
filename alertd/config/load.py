"""A rules directory to a `Ruleset`: the one way in.

`load` either returns a ruleset in which every name and value has been checked, or raises with every problem found;
`survey` tells the same without raising. Both read files and nothing else; the environment and the time are arguments.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from alertd.config import nodes
from alertd.config.build import Builder
from alertd.config.files import read_directory, show_path
from alertd.config.references import check_references
from alertd.config.schema import Ruleset
from alertd.config.sections import Sections
from alertd.config.targets import TargetReader
from alertd.errors import ConfigError, Problem
from alertd.model import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from alertd.config.files import SourceFile

MOST_PROBLEMS = 1000
"""Problems reported; who has more will not read on."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A ruleset without errors, and what was warned of."""

    ruleset: Ruleset
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """All that can be said of a directory.

    `draft` is what could be understood, for further judging only; the counts are of what is written.
    """

    draft: Ruleset
    problems: tuple[Problem, ...]
    files: int
    rules: int
    channels: int

    @property
    def has_errors(self) -> bool:
        """Whether the directory must not be loaded."""
        return any(not problem.is_warning for problem in self.problems)

    def with_more(self, problems: Iterable[Problem]) -> Survey:
        """Return the survey with what someone else found as well, in order."""
        return replace(self, problems=tuple(_in_order([*self.problems, *problems])))


def load(directory: Path, *, environ: Mapping[str, str], now: datetime, secrets_required: bool = True) -> Loaded:
    """Read a rules directory; raise `ConfigError` with all problems if one of them is an error.

    With `secrets_required` false a variable that is not set is a warning, and its target is None. `now` (aware) is for
    telling what is over.
    """
    found = survey(directory, environ=environ, now=now, secrets_required=secrets_required)
    if found.has_errors:
        raise ConfigError(found.problems)
    return Loaded(found.draft, found.problems)


def survey(directory: Path, *, environ: Mapping[str, str], now: datetime, secrets_required: bool = True) -> Survey:
    """Read a rules directory and tell everything about it, raising nothing; see `load`."""
    files, problems = read_directory(directory)
    sections = Sections()
    for file in files:
        root, found = nodes.parse(file.text, file.shown)
        problems += found
        if root is not None:
            sections.add_file(root)
    builder = Builder(TargetReader(environ, secrets_required))
    draft = Ruleset(
        settings=builder.settings(sections.settings),
        services=builder.services(sections),
        rules=builder.rules(sections),
        channels=builder.channels(sections),
        routes=(builder.route(sections.routes),),
        digest=_digest(files),
    )
    problems += [*sections.problems, *builder.problems, *check_references(sections)]
    if not sections.rules and not problems:
        message = "no file holds a rule: nobody will ever be told anything"
        problems.append(Problem(Place(show_path(directory)), message, is_warning=True))
    counts = (len(files), len(sections.rules), len(sections.channels))
    return Survey(draft, tuple(_in_order(problems)), *counts)


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort by place and keep one error and one warning a place; the first one found says most."""
    kept: dict[tuple[Place, bool], Problem] = {}
    for problem in problems:
        kept.setdefault((problem.place, problem.is_warning), problem)
    return [kept[key] for key in sorted(kept)][:MOST_PROBLEMS]


def _digest(files: list[SourceFile]) -> str:
    """Return seven hexadecimal digits over names and contents; the same for the same rules in another directory."""
    digest = hashlib.sha256()
    for file in files:
        name = file.relative.encode()
        digest.update(b"%d:%s%d:%s" % (len(name), name, len(file.content), file.content))
    return digest.hexdigest()[:7]
