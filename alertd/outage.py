"""Trouble with etcd itself, told without etcd.

While etcd is out of reach, or has no leader, nobody can lead, and nothing that is decided can be kept there. So this
one message, and the one that says it is over, go past all that: they are kept in memory and in the state dir, and the
replica that led last tells them. The others do so only if it lasts three times as long, for that one may be what is
gone; all with the same id. It takes the channels that the rule `alertd-registry` would take, and tells nobody while
that is silenced.

Invariant: whoever told the beginning tells the end, also after a restart.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from alertd import document
from alertd.delivery.layout import Layout
from alertd.delivery.letter import Incident, Letter, Tone
from alertd.delivery.wording import Times, plain, span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alertd.config.schema import Ruleset
    from alertd.delivery.lane import Delivery
    from alertd.model import Instant
    from alertd.statedir import StateDir

_log = structlog.get_logger("alertd")

RULE = "alertd-registry"
_FILE = "outage"

_LOOK_EVERY = 1.0
"""Seconds."""

_OTHERS_WAIT = 3
"""Times `unreachable_after` that a replica waits that did not lead last."""


class Source(Protocol):
    """Whose etcd it is."""

    def unwatched_since(self) -> Instant | None:
        """Return since when nothing is heard of etcd; None while it is watched."""

    @property
    def trouble_with_etcd(self) -> str:
        """What etcd, or the way there, said last."""

    @property
    def led_last(self) -> bool:
        """Whether this replica led when somebody led last."""

    @property
    def last_term(self) -> str:
        """What names the last term that this replica knows of, the same on every replica."""

    def told_of_etcd(self) -> Sequence[str]:
        """Return the channels that the rule would tell."""

    @property
    def ruleset(self) -> Ruleset:
        """The ruleset in force."""


class Outage:
    """Watches over etcd; `send` queues a letter for a channel and returns for how many targets."""

    def __init__(
        self, source: Source, folder: StateDir, send: Callable[[str, Letter], int], clock: Callable[[], Instant]
    ) -> None:
        self._source = source
        self._folder = folder
        self._send = send
        self._clock = clock
        self._told: dict[str, Any] = {}
        """What was told and is not over: `mark`, `since`, `channels`, and whether the `end` is on its way."""
        self._waiting: dict[str, int] = {}
        """How many targets have yet to take a letter, by its id."""

    async def watch(self) -> None:
        """Tell, for ever, when etcd is out of reach for too long, and when it is back."""
        self._told = self._folder.read(_FILE)
        if self._told:
            self._tell(is_over=bool(self._told.get("end")))
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self._look()

    def note(self, delivery: Delivery) -> None:
        """Take note of how a delivery ended; once all have taken the end, the outage is history."""
        left = self._waiting.get(delivery.notification)
        if left is None:
            return
        self._waiting[delivery.notification] = left - 1
        if left <= 1:
            del self._waiting[delivery.notification]
            if self._told.get("end") and not self._waiting:
                self._forget()

    def _look(self) -> None:
        since = self._source.unwatched_since()
        if self._told:
            if since is None and not self._told.get("end"):
                self._told["end"] = document.stamp(self._clock())
                self._folder.write(_FILE, self._told)
                self._tell(is_over=True)
        elif since is not None and self._clock().mono - since.mono >= self._patience:
            channels = list(self._source.told_of_etcd())
            self._told = {"mark": self._source.last_term, "since": document.stamp(since), "channels": channels}
            self._folder.write(_FILE, self._told)
            _log.error("etcd is out of reach: services are not watched", since=self._told["since"], told=channels)
            self._tell(is_over=False)

    @property
    def _patience(self) -> float:
        after = self._source.ruleset.settings.registry.unreachable_after
        return after if self._source.led_last else after * _OTHERS_WAIT

    def _tell(self, *, is_over: bool) -> None:
        letter = self._letter(is_over=is_over)
        sent = {channel: self._send(channel, letter) for channel in map(str, self._told.get("channels", ()))}
        if sum(sent.values()):
            self._waiting[letter.id] = sum(sent.values())
        elif is_over:
            self._forget()

    def _forget(self) -> None:
        self._told = {}
        self._folder.write(_FILE, None)

    # --- the letter --------------------------------------------------------------------------------------------------

    def _letter(self, *, is_over: bool) -> Letter:
        now = self._clock()
        settings = self._source.ruleset.settings
        mark = str(self._told.get("mark", ""))
        identifier = _id(mark, "resolved" if is_over else "firing")
        since = document.moment(self._told.get("since")) or now.wall
        until = document.moment(self._told.get("end")) or now.wall
        what = f"etcd is back after {span((until - since).total_seconds())}" if is_over else "etcd is out of reach"
        parts = [f"[{'RESOLVED' if is_over else 'FIRING'}] {RULE} alertd", what, "critical", plain(settings.name)]
        body = Layout()
        for line in self._lines(now, since, until if is_over else None):
            body.head(line)
        body.foot(f"id {identifier}")
        name = plain(settings.name)
        return Letter(
            id=identifier,
            title=" · ".join(filter(None, parts)),
            tone=Tone.SUCCESS if is_over else Tone.FAILURE,
            body=body.fit,
            incident=Incident(f"{RULE}-{name}", " · ".join(filter(None, [f"{RULE} alertd", name])), is_over=is_over),
        )

    def _lines(self, now: Instant, since: datetime, until: datetime | None) -> list[str]:
        times = Times.of(self._source.ruleset.settings.timezone, now.wall)
        begun = times.stamp(now.at_wall(since))
        if until is not None:
            return [f"from {begun} to {times.stamp(now.at_wall(until))}", "what happened meanwhile is told now"]
        trouble = plain(self._source.trouble_with_etcd, 300)
        return [
            f"since {begun}",
            *([trouble] if trouble else []),
            "services are not watched; what happens to them meanwhile is told when etcd is back",
        ]


def _id(mark: str, kind: str) -> str:
    return sha256(f"{RULE}\0{mark}\0{kind}".encode()).hexdigest()[:12]
