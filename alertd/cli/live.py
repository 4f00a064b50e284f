"""A picture that follows etcd: drawn anew on a terminal, printed anew elsewhere, for ever.

Nothing is polled but what is left of the leases that a terminal shows: the rest comes from two watches. Where etcd is
away the last picture stays, and it is said that it is the last.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import sys
import time
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import typer

from alertd.cli.picture import Picture, Scope, ask_ttls
from alertd.cli.sketch import sketch
from alertd.errors import EtcdUnavailable
from alertd.etcd.client import Client
from alertd.etcd.watch import Events, Synced, Watch
from alertd.model import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alertd.cli.picture import InstanceRow
    from alertd.etcd.channel import EtcdSettings

_TICK = 1.0
"""Seconds between two drawings where nothing but time goes on."""
_PAUSE = 0.2
"""Seconds, at least, between two drawings."""
_AWAY_AFTER = 2.0
"""Seconds without a watch after which that is said."""
_PRESENT = frozenset({EventKind.PUT, EventKind.FOUND})


class Display(Protocol):
    """Where the picture is shown. `ticks` says whether it wants to be drawn when only time has passed."""

    ticks: bool

    def rows_shown(self, rows: Sequence[InstanceRow]) -> Sequence[InstanceRow]:
        """Return those whose leases are to be asked what is left of them."""

    def show(self, picture: Picture, trouble: str, *, is_news: bool) -> None:
        """Show a picture, which changed if it `is_news`; `trouble` says why it is the last, empty if it is not."""


class _LastWord(logging.Handler):
    """Keeps what the watches say of their trouble: the display says it in its own way."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = "etcd does not answer"

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.text = record.getMessage()


class Live:
    """A picture and the watches that keep it."""

    def __init__(self, client: Client, scope: Scope) -> None:
        self._watches = [Watch(client, scope.services), Watch(client, scope.namespace.encode())]
        self._unsynced = set(self._watches)
        self._seen_at = time.monotonic()
        self._last_word = _LastWord()
        logging.getLogger("alertd.etcd").addHandler(self._last_word)
        self.picture = Picture(scope)
        self.changed = asyncio.Event()

    @property
    def is_complete(self) -> bool:
        """Whether each watch has been through its first listing."""
        return not self._unsynced

    def follow(self) -> list[asyncio.Task[None]]:
        """Start following; the caller cancels the tasks."""
        return [asyncio.create_task(self._follow(watch)) for watch in self._watches]

    async def _follow(self, watch: Watch) -> None:
        async with aclosing(watch.follow()) as steps:
            async for step in steps:
                if isinstance(step, Events):
                    for event in step.events:
                        self._take(event.kind, event.key, event.value, event.lease)
                        self.picture.revision = max(self.picture.revision, event.revision)
                elif isinstance(step, Synced):
                    self.picture.revision = max(self.picture.revision, step.revision)
                    if watch in self._unsynced:
                        self._unsynced.discard(watch)
                        self.changed.set()

    def _take(self, kind: EventKind, key: bytes, value: bytes, lease: int) -> None:
        is_news = self.picture.put(key, value, lease) if kind in _PRESENT else self.picture.drop(key)
        if is_news:
            self.changed.set()

    @property
    def trouble(self) -> str:
        """Why the picture may be out of date, empty if it is not."""
        now = time.monotonic()
        if all(watch.is_connected for watch in self._watches):
            self._seen_at = now
        return self._last_word.text if now - self._seen_at > _AWAY_AFTER else ""


async def watch(settings: EtcdSettings, scope: Scope, display: Display) -> None:
    """Show what `scope` holds, and again when that changes, until cancelled.

    Raises EtcdUnavailable if etcd is away at first.
    """
    async with Client(replace(settings, timeout=2.0)) as client:
        await _try_out(client, scope)
        live = Live(client, scope)
        tasks = live.follow()
        try:
            await _show_for_ever(client, live, display, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _try_out(client: Client, scope: Scope) -> None:
    """Raise EtcdUnavailable unless both folders can be read now."""
    await client.get(scope.leader)
    async with aclosing(client.list_prefix(scope.services, keys_only=True, page=1)) as pages:
        await anext(pages)


async def _show_for_ever(client: Client, live: Live, display: Display, tasks: Sequence[asyncio.Task[None]]) -> None:
    shown_trouble = ""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_TICK):
                await live.changed.wait()
        for task in tasks:
            if task.done():
                task.result()
        trouble = live.trouble
        is_news = live.is_complete and live.changed.is_set()
        if is_news or trouble != shown_trouble or (live.is_complete and display.ticks):
            shown_trouble = trouble
            if not trouble:
                with suppress(EtcdUnavailable):
                    await ask_ttls(client, display.rows_shown(live.picture.rows))
            if is_news:
                live.changed.clear()
            display.show(live.picture, trouble, is_news=is_news)
        await asyncio.sleep(_PAUSE)


# --- where it is shown -----------------------------------------------------------------------------------------------


class Terminal:
    """Draws in place, cut to the terminal's size; to be used within `screen()`."""

    ticks = True

    def rows_shown(self, rows: Sequence[InstanceRow]) -> Sequence[InstanceRow]:
        """Return as many as there are lines."""
        return rows[: shutil.get_terminal_size().lines]

    def show(self, picture: Picture, trouble: str, *, is_news: bool) -> None:  # noqa: ARG002 - it is drawn anyhow
        """Write all in one go, over what was there, so that nothing flickers."""
        now = datetime.now(UTC)
        drawn = sketch(picture, now)
        drawn.foot.append(f"this is the last that was seen: {trouble}" if trouble else f"{now:%H:%M:%S} UTC")
        size = shutil.get_terminal_size()
        lines = drawn.fitted(size.columns, size.lines)
        sys.stdout.write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J")
        sys.stdout.flush()

    @contextmanager
    def screen(self) -> Iterator[None]:
        """Take the terminal over, without its cursor, and give it back as it was."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        sys.stdout.write("\x1b[?1049h\x1b[?25l")
        try:
            yield
        finally:
            sys.stdout.write("\x1b[?25h\x1b[?1049l")
            sys.stdout.flush()


class Pipe:
    """Prints a block, or a line of JSON, for each change; that etcd goes and comes back is said on stderr."""

    ticks = False

    def __init__(self, *, as_json: bool, most_ttls: int) -> None:
        self._as_json = as_json
        self._most_ttls = most_ttls
        self._is_away = False

    def rows_shown(self, rows: Sequence[InstanceRow]) -> Sequence[InstanceRow]:
        """Return all, or none where they are too many."""
        return rows if len(rows) <= self._most_ttls else ()

    def show(self, picture: Picture, trouble: str, *, is_news: bool) -> None:
        """Print what is new: that etcd is away or back, and the picture."""
        if bool(trouble) is not self._is_away:
            self._is_away = bool(trouble)
            typer.echo(f"alertd: {trouble or 'etcd is back'}", err=True)
        if not is_news:
            return
        if self._as_json:
            typer.echo(json.dumps(picture.as_json(), ensure_ascii=False, default=str))
        else:
            now = datetime.now(UTC)
            typer.echo("\n".join([f"--- {now:%Y-%m-%d %H:%M:%S} UTC", *sketch(picture, now).lines(), ""]))
