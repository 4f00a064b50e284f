"""The rules that a daemon begins with, and the last good ones, which whoever leads keeps in etcd.

A daemon whose folder does not load when it starts had better judge by the rules that were in force than by none. So the
leader keeps its files at `ruleset`, as they are on disk: what they take from the environment is filled in where they
are loaded, and never written. The document is `{"digest", "at", "files": {name: text}}`; `at` is when it was written.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from alertd import chronicle, document
from alertd.config.load import load, load_texts
from alertd.delivery import channel, proof
from alertd.delivery.headline import counted
from alertd.errors import ConfigError, EtcdUnavailable
from alertd.etcd.client import Client
from alertd.etcd.election import NotLeading
from alertd.etcd.retry import Backoff, Trouble
from alertd.etcd.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from alertd.config.load import Loaded
    from alertd.etcd.channel import EtcdSettings
    from alertd.etcd.election import Term
    from alertd.model import Instant

_log = structlog.get_logger("alertd")

RULESET = "ruleset"

_PATIENCE = 3.0
"""Seconds for etcd to say which rules it keeps, when a daemon starts on rules that do not load."""


class Home(NamedTuple):
    """Where last good rules are kept."""

    etcd: EtcdSettings
    namespace: str


def load_rules(directory: Path, environ: Mapping[str, str], now: datetime) -> Loaded:
    """Return the ruleset of `directory` and the warnings about it; raise ConfigError with all that is wrong."""
    return _verified(load(directory, environ=environ, now=now))


def in_words(error: ConfigError) -> str:
    """Return the first of what is wrong with rules that do not load, and how much there is."""
    problems = [problem for problem in error.problems if not problem.is_warning]
    many = f", {counted(len(problems), 'error')}" if len(problems) > 1 else ""
    return f"the rules do not load{many}: {problems[0].place}: {problems[0].message}"


def _verified(loaded: Loaded) -> Loaded:
    problems = (*loaded.warnings, *channel.verify(loaded.ruleset), *proof.verify(loaded.ruleset))
    if any(not problem.is_warning for problem in problems):
        raise ConfigError(problems)
    return loaded._replace(warnings=problems)


async def first_rules(directory: Path, home: Home, environ: Mapping[str, str], now: datetime) -> Loaded:
    """Return the ruleset of `directory`, or the last good one, and say so; raise ConfigError if there is neither."""
    try:
        return await asyncio.to_thread(load_rules, directory, environ, now)
    except ConfigError as error:
        kept = await _recall(home)
        loaded = None if kept is None else _load_kept(kept, home, environ, now)
        if kept is None or loaded is None:
            raise
        chronicle.log_problems(error.problems)
        _log.error(
            "the rules do not load: the last good ones are in force until they do",
            in_force=loaded.ruleset.digest,
            since=kept.get("at"),
            instead_of=str(directory),
        )
        return loaded


def _load_kept(kept: Mapping[str, Any], home: Home, environ: Mapping[str, str], now: datetime) -> Loaded | None:
    """Load rules that were kept; None if they do not load here and now, which is logged."""
    shown = f"etcd:{home.namespace}{RULESET}"
    try:
        return _verified(load_texts(texts_of(kept), shown, environ=environ, now=now))
    except ConfigError as error:
        chronicle.log_problems(error.problems)
        _log.error("the last good rules, which etcd keeps, do not load either", since=kept.get("at"))
        return None


async def _recall(home: Home) -> dict[str, Any] | None:
    """Return the document of the last good rules; None if there is none that can be read, or etcd does not answer."""
    async with Client(home.etcd) as client:
        backoff = Backoff(0.1, 1.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while True:
                    with suppress(EtcdUnavailable):
                        found = await Store(client, home.namespace.encode()).read(RULESET)
                        return found.contents.get(RULESET)
                    await asyncio.sleep(backoff.next_delay())
    return None


def texts_of(kept: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of a document of last good rules; what cannot be understood is left out."""
    files = kept.get("files")
    texts = files if isinstance(files, dict) else {}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


class Rulebook:
    """Keeps the rules in force in a store; `texts` are their files by name."""

    def __init__(self, loaded: Loaded, store: Store, clock: Callable[[], Instant]) -> None:
        self._loaded = loaded
        self._store = store
        self._clock = clock
        self._changed = asyncio.Event()
        self._backoff = Backoff(0.5, 10.0)
        self._trouble = Trouble("the rules in force cannot be kept in etcd")

    def follow(self, loaded: Loaded) -> None:
        """Keep these from now on."""
        self._loaded = loaded
        self._changed.set()

    async def keep(self, term: Term) -> None:
        """Write the rules in force where others are kept, until `term` is over."""
        while not term.is_over:
            self._changed.clear()
            try:
                await self._write(term)
            except NotLeading:
                return
            except EtcdUnavailable as error:
                self._trouble.note(error, time.monotonic())
                await asyncio.sleep(self._backoff.next_delay())
            else:
                self._backoff.reset()
                self._trouble.end(time.monotonic())
                await self._changed.wait()

    async def _write(self, term: Term) -> None:
        loaded = self._loaded
        kept = (await self._store.read(RULESET)).contents.get(RULESET, {})
        if texts_of(kept) != loaded.texts:
            at = document.stamp(self._clock())
            content = {"digest": loaded.ruleset.digest, "at": at, "files": loaded.texts}
            await self._store.commit(term, {RULESET: content})
