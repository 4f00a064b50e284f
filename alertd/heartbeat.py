"""Signs of life: to a channel or to a URL, every so often, for as long as alertd could tell of anything.

Whoever receives them raises the alarm when they stay away. So they are withheld while the watch makes no progress or a
channel is stuck: a daemon that lives and can tell nobody is as good as dead. A beat that comes late is worth nothing:
of each heartbeat at most one is on its way, what was missed is not made up for, and none fills a channel's queue.
`every` is measured by the monotonic clock, unlike the scheduler's jobs, for else a step of the wall clock would look
like an end.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

import structlog

from alertd.delivery import observe
from alertd.delivery.letter import Letter, Tone
from alertd.delivery.scrub import Scrubber, of_url
from alertd.delivery.wording import Times, cut, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from requests import PreparedRequest

    from alertd.config.schema import Heartbeat, Ruleset
    from alertd.delivery.lane import Delivery, LaneStatus
    from alertd.model import Instant

_log = structlog.get_logger("alertd")

STUCK_AFTER = timedelta(minutes=5)
"""How long a channel may be stuck before alertd counts as one that cannot tell."""

PATIENCE = 10.0
"""Seconds for a URL to answer."""

_REASON_ROOM = 100


class Source(Protocol):
    """What beats."""

    @property
    def unready_reason(self) -> str:
        """Why the watch makes no progress, empty if it does."""

    @property
    def may_speak(self) -> bool:
        """Whether it is for this replica to tell people."""

    @property
    def watched(self) -> str:
        """What is watched, in a few words."""

    @property
    def watching_since(self) -> Instant | None:
        """When the first snapshot was judged."""

    @property
    def ruleset(self) -> Ruleset:
        """The ruleset in force."""

    def targets(self) -> Iterable[LaneStatus]:
        """Return every target of every channel as it is now."""


def why_withheld(unready: str, lanes: Iterable[LaneStatus], now: Instant) -> str:
    """Return why no heartbeat may be sent, empty if one may.

    `unready` is why the watch makes no progress. Of several channels that are stuck, the one that is so longest is
    named, so that the reason stays the same while it lasts.
    """
    if unready:
        return unready
    stuck = [(lane.stuck_since, lane.target) for lane in lanes if lane.stuck_since is not None]
    since, target = min(stuck, default=(now.wall, ""))
    if now.wall - since > STUCK_AFTER:
        return f"{target} has been stuck since {since:%Y-%m-%dT%H:%M:%SZ}"
    return ""


class Heartbeats:
    """The heartbeats of the ruleset in force; `send` queues a letter for a channel and returns for how many targets.

    To be used on one event loop.
    """

    def __init__(self, source: Source, clock: Callable[[], Instant], send: Callable[[str, Letter], int]) -> None:
        self._source = source
        self._clock = clock
        self._send = send
        self._pulses: dict[str, _Pulse] = {}
        self._on_their_way: dict[str, _Pulse] = {}
        """Whose letter it is, by its id, until all targets have taken it: also where a reload dropped the heartbeat."""
        self._begun = asyncio.Event()
        self._withheld = ""

    def begin(self) -> None:
        """Let the first beats out, since the first snapshot is judged; before that they are withheld when due."""
        self._begun.set()

    def follow(self, ruleset: Ruleset) -> None:
        """Beat as `ruleset` says from now on; what it leaves as it was keeps its rhythm."""
        wanted = {each.name: each for each in ruleset.heartbeats}
        for name, pulse in list(self._pulses.items()):
            if name not in wanted or _meaning(wanted[name]) != _meaning(pulse.heartbeat):
                self._pulses.pop(name).stop()
        for name, heartbeat in wanted.items():
            pulse = self._pulses.get(name) or _Pulse(heartbeat)
            pulse.heartbeat = heartbeat
            if name not in self._pulses:
                self._pulses[name] = pulse
                pulse.task = asyncio.create_task(self._keep_beating(pulse), name=f"heartbeat {name}")

    def close(self) -> None:
        """Beat no more."""
        for pulse in self._pulses.values():
            pulse.stop()
        self._pulses.clear()

    def note(self, delivery: Delivery) -> bool:
        """Take note of how a delivery ended; return whether it was a heartbeat's."""
        pulse = self._on_their_way.get(delivery.notification)
        if pulse is None:
            return False
        pulse.note(delivery)
        if not pulse.is_under_way:
            del self._on_their_way[delivery.notification]
        return True

    async def _keep_beating(self, pulse: _Pulse) -> None:
        loop = asyncio.get_running_loop()
        every = pulse.heartbeat.every
        if not self._begun.is_set():
            await self._rest(every)
        due = loop.time()
        while True:
            self._beat(pulse)
            due = max(due + every, loop.time())
            await self._rest(due - loop.time())
            due = min(due, loop.time())

    async def _rest(self, seconds: float) -> None:
        """Wait until a beat is due, or the first may be sent."""
        if self._begun.is_set():
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._begun.wait()

    def _beat(self, pulse: _Pulse) -> None:
        if not self._source.may_speak:
            return
        now = self._clock()
        self._say_withheld(why_withheld(self._source.unready_reason, self._source.targets(), now))
        if not self._withheld and not pulse.is_under_way:
            if pulse.heartbeat.channel is not None:
                self._send_letter(pulse, self._letter(pulse.heartbeat, now))
            elif pulse.heartbeat.url is not None:
                pulse.ping(pulse.heartbeat.url.get_secret_value())

    def _send_letter(self, pulse: _Pulse, letter: Letter) -> None:
        pulse.waiting = self._send(pulse.heartbeat.channel or "", letter)
        if pulse.waiting:
            self._on_their_way[letter.id] = pulse

    def _say_withheld(self, why: str) -> None:
        """Log the reason when it begins, and that it is over."""
        before, self._withheld = self._withheld, why
        if why and why != before:
            _log.warning("heartbeats are withheld", reason=why)
        elif before and not why:
            _log.info("heartbeats go on", were_withheld=before)

    def _letter(self, heartbeat: Heartbeat, now: Instant) -> Letter:
        settings = self._source.ruleset.settings
        title = " · ".join(part for part in (f"[HEARTBEAT] {plain(heartbeat.name)}", plain(settings.name)) if part)
        since = self._source.watching_since or now
        line = f"watching {self._source.watched} since {Times.of(settings.timezone, now.wall).stamp(since)}"
        mark = f"heartbeat\0{heartbeat.name}\0{now.wall.isoformat()}"
        return Letter(
            id=sha256(mark.encode()).hexdigest()[:12],
            title=title,
            tone=Tone.INFO,
            body=lambda limit: line if limit is None else cut(line, limit),
        )


class _Pulse:
    """One heartbeat: its task, and the beat that is on its way, if any."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.heartbeat = heartbeat
        self.task: asyncio.Task[None] | None = None
        self.waiting = 0
        """How many targets have not taken the last letter yet."""
        self._asking: threading.Thread | None = None
        self._trouble = ""

    @property
    def is_under_way(self) -> bool:
        """Whether the last beat has not ended."""
        return self.waiting > 0 or (self._asking is not None and self._asking.is_alive())

    def stop(self) -> None:
        """Beat no more."""
        if self.task is not None:
            self.task.cancel()

    def note(self, delivery: Delivery) -> None:
        """Take note of how one target ended with the last letter."""
        self.waiting -= 1
        self._end("" if delivery.ok else f"{delivery.target}: {delivery.error}")

    def ping(self, url: str) -> None:
        """Ask for a URL in a thread of its own, for an answer may trickle for ever; it ends in time, whatever comes."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.call_later(PATIENCE, _settle, ended, "no answer in time")
        ended.add_done_callback(lambda future: self._end(future.result()))

        def ask() -> None:
            error = get(url)
            with suppress(RuntimeError):  # the loop is closed: nobody is left to hear
                loop.call_soon_threadsafe(_settle, ended, error)

        self._asking = threading.Thread(target=ask, name=f"heartbeat {self.heartbeat.name}", daemon=True)
        try:
            self._asking.start()
        except RuntimeError:
            _settle(ended, "no thread to be had")

    def _end(self, error: str) -> None:
        """Log a failure once, until it is well again."""
        before, self._trouble = self._trouble, error
        if error and not before:
            _log.warning("a heartbeat failed, the next is tried as usual", heartbeat=self.heartbeat.name, error=error)
        elif before and not error:
            _log.info("a heartbeat is well again", heartbeat=self.heartbeat.name)


def get(url: str, patience: float = PATIENCE) -> str:
    """Ask for a URL; return what went wrong without its secrets, empty if nothing did. Any 2xx is good.

    `patience` is for each step of it, in seconds, so it may last longer.
    """
    import requests  # noqa: PLC0415 - see `observe.install`

    try:
        with requests.get(
            url, headers={"User-Agent": "alertd"}, auth=_account(url), timeout=patience, stream=True
        ) as response:
            if 200 <= response.status_code < 300:
                return ""
            error = f"HTTP {response.status_code} {plain(response.reason or '', _REASON_ROOM)}".rstrip()
    except Exception as fault:  # noqa: BLE001 - whatever a request raises is its target's failure
        error = observe.in_words(fault)
    return Scrubber(of_url(url, _host(url)))(error)


def _account(url: str) -> Callable[[PreparedRequest], PreparedRequest]:
    """Return what puts the URL's own account into a request, and never one of `~/.netrc`."""
    from requests.auth import HTTPBasicAuth  # noqa: PLC0415 - see `observe.install`

    parts = urlsplit(url)
    if parts.username is None:
        return lambda request: request
    return HTTPBasicAuth(unquote(parts.username).encode(), unquote(parts.password or "").encode())


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _settle(future: asyncio.Future[str], error: str) -> None:
    if not future.done():
        future.set_result(error)


def _meaning(heartbeat: Heartbeat) -> tuple[object, ...]:
    """Return all that makes a heartbeat what it is but its place in the file."""
    return heartbeat.every, heartbeat.channel, heartbeat.url
