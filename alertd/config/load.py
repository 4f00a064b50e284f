"""A rules directory to a `Ruleset`: the one way in.

`load` either returns a ruleset in which every name and value has been checked, or raises with every problem found;
`load_texts` does the same with files that lie elsewhere than on disk, and `survey` tells it without raising. They read
files and nothing else; the environment and the time are arguments.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from alertd.config import nodes
from alertd.config.alerts import Alerts
from alertd.config.build import BUILT_IN_CHANNEL, Builder
from alertd.config.files import from_texts, read_directory, show_path
from alertd.config.quiet import doubt_inhibitions, doubt_meaning, doubt_silences, doubt_windows
from alertd.config.references import check_references
from alertd.config.routes import check_routes, doubt_routes
from alertd.config.schema import Route, Ruleset
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


class Loaded(NamedTuple):
    """A ruleset without errors, what was warned of, and the texts of its files by their paths below the directory."""

    ruleset: Ruleset
    warnings: tuple[Problem, ...] = ()
    texts: Mapping[str, str] = MappingProxyType({})


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
    files, problems = read_directory(directory)
    given = _Given(environ, now, secrets_required)
    return _loaded(files, _survey(files, problems, show_path(directory), given))


def load_texts(texts: Mapping[str, str], shown: str, *, environ: Mapping[str, str], now: datetime) -> Loaded:
    """Read the texts of rule files by their paths below a folder that is called `shown`; see `load`."""
    files = from_texts(texts, shown)
    return _loaded(files, _survey(files, [], shown, _Given(environ, now)))


def _loaded(files: list[SourceFile], found: Survey) -> Loaded:
    if found.has_errors:
        raise ConfigError(found.problems)
    return Loaded(found.draft, found.problems, {file.relative: file.text for file in files})


def survey(directory: Path, *, environ: Mapping[str, str], now: datetime, secrets_required: bool = True) -> Survey:
    """Read a rules directory and tell everything about it, raising nothing; see `load`."""
    files, problems = read_directory(directory)
    return _survey(files, problems, show_path(directory), _Given(environ, now, secrets_required))


@dataclass(frozen=True, slots=True)
class _Given:
    """What files are read by."""

    environ: Mapping[str, str]
    now: datetime
    secrets_required: bool = True


def _survey(files: list[SourceFile], problems: list[Problem], shown: str, given: _Given) -> Survey:
    sections = Sections()
    for file in files:
        root, found = nodes.parse(file.text, file.shown)
        problems += found
        if root is not None:
            sections.add_file(root)
    draft, found = _build(sections, Builder(TargetReader(given.environ, given.secrets_required)), given.now)
    draft = draft.model_copy(update={"digest": _digest(files)})
    problems += [*sections.problems, *found, *check_references(sections)]
    if not sections.rules and not problems:
        message = "no file holds a rule: nobody will ever be told anything"
        problems.append(Problem(Place(shown), message, is_warning=True))
    counts = (len(files), len(sections.rules), len(sections.channels))
    return Survey(draft, tuple(_in_order(problems)), *counts)


def _build(sections: Sections, builder: Builder, now: datetime) -> tuple[Ruleset, list[Problem]]:
    """Return what can be understood, and all that is wrong or doubtful about it."""
    settings = builder.settings(sections.settings)
    routes = builder.routes(sections.routes)
    silences = builder.silences(sections)
    inhibitions = builder.inhibitions(sections)
    values = [route.value for route in routes]
    draft = Ruleset(
        settings=settings,
        services=builder.services(sections),
        rules=builder.rules(sections),
        channels=builder.channels(sections),
        routes=tuple(values if values and values[-1].default else [*values, Route(default=True)]),
        windows=builder.windows(sections, settings.timezone),
        inhibit=tuple(inhibition.value for inhibition in inhibitions),
        silences=tuple(silence.value for silence in silences),
        heartbeats=builder.heartbeats(sections),
        reports=builder.reports(sections, settings.timezone),
    )
    problems = [
        *builder.problems,
        *check_routes(routes, list(sections.channels) or [BUILT_IN_CHANNEL]),
        *doubt_silences(silences, now),
        *doubt_inhibitions(inhibitions),
        *doubt_windows(draft.windows, sections.windows),
    ]
    if draft.rules and len(draft.rules) == len(sections.rules) and len(draft.services) == len(sections.services):
        alerts = Alerts(draft.rules, draft.services)
        problems += [*doubt_routes(routes, alerts), *doubt_meaning(silences, inhibitions, alerts)]
    return draft, problems


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
