"""Trouble with etcd itself, told without etcd.

While etcd is out of reach, has no leader, or refuses to have one of us lead (it is full), nothing that is decided can
be kept there. So this one message, and the one that says it is over, go past all that: they are kept in memory and in
the state dir, and the replica that led last tells them. The others do so only if it lasts three times as long, for that
one may be what is gone; all with the same id. It takes the channels that the rule `alertd-registry` would take, and
tells nobody while that is silenced.

Invariant: whoever told the beginning tells the end, also after a restart, and all replicas give both the same ids.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any

import structlog

from alertd import document
from alertd.config.schema import Templates
from alertd.delivery import render
from alertd.delivery.wording import plain, span
from alertd.model import Alert, AlertState, BuiltIn, Entry, Instant, Kind, Notification

if TYPE_CHECKING:
    from collections.abc import Callable

    from alertd.config.schema import Settings
    from alertd.delivery.lane import Delivery
    from alertd.delivery.letter import Letter
    from alertd.engine.core import Engine
    from alertd.etcd.election import Election
    from alertd.etcd.retry import Trouble
    from alertd.etcd.watch import Watch
    from alertd.statedir import StateDir

_log = structlog.get_logger("alertd")

_FILE = "outage"
_TERM = "term"

_LOOK_EVERY = 1.0
"""Seconds."""

_OTHERS_WAIT = 3
"""Times `unreachable_after` that a replica waits that did not lead last."""

_TROUBLE_ROOM = 150

_UNWATCHED = "services are not watched"
_LEADERLESS = "no alertd leads, so nobody is told of services"


@dataclass(frozen=True, slots=True)
class Lookout:
    """What an outage is seen by. `trouble` holds what etcd, or the way there, said last."""

    watch: Watch
    election: Election
    engine: Engine
    trouble: Trouble
    begun_at: Instant
    clock: Callable[[], Instant]

    def unwatched_since(self) -> Instant | None:
        """Return since when nothing is heard of etcd; None while it is watched."""
        if self.watch.is_connected:
            return None
        heard_at = self.watch.alive_at
        return self.begun_at if heard_at is None else self.clock().shifted_to(heard_at)

    def leaderless_since(self) -> Instant | None:
        """Return since when nobody leads because etcd refuses to have anybody do so; None while that is not so."""
        refused_at = self.election.refused_since
        return None if refused_at is None else self.clock().shifted_to(refused_at)

    def patience(self, settings: Settings) -> float:
        """Return for how many seconds nothing may be heard before this replica tells."""
        after = settings.registry.unreachable_after
        return after if self.election.led_last else after * _OTHERS_WAIT

    @property
    def mark(self) -> str:
        """The term that an outage ends, by which every replica names it; empty if none is known."""
        return str(self.election.last_term or "")

    def reach(self) -> tuple[Alert, tuple[str, ...]]:
        """Return the alert that is told, and whom it reaches."""
        return self.engine.reach(BuiltIn.REGISTRY)


class Outage:
    """Watches over etcd.

    `send` queues a letter for a channel and returns for how many targets; `doubt` is called with the seconds for which
    etcd was away when it is back after `unreachable_after`, whether that was told or not.
    """

    def __init__(
        self,
        lookout: Lookout,
        settings: Callable[[], Settings],
        folder: StateDir,
        send: Callable[[str, Letter], int],
        doubt: Callable[[float], None],
    ) -> None:
        self._lookout = lookout
        self._settings = settings
        self._folder = folder
        self._send = send
        self._doubt = doubt
        self._away_since: Instant | None = None
        """Since when nothing is heard of etcd that was heard of before."""
        self._ended = ""
        """The term that the last outage, or the one under way, ended."""
        self._past = ("", 0)
        """A term, and how many outages there were in it that were long enough to be told of, by whoever led."""
        self._told: dict[str, Any] = {}
        """What was told and is not over: `mark`, `since`, `channels`, `trouble`, and the `end` that is on its way.

        `leaderless` if etcd is watched, and nobody can lead.
        """
        self._waiting: dict[str, int] = {}
        """How many targets have yet to take a letter of this outage, by its id."""

    async def watch(self) -> None:
        """Tell, for ever, when etcd is out of reach for too long, and when it is back."""
        self.recall()
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self._look()

    def recall(self) -> None:
        """Tell once more what the process before this one told and did not see taken, by the same ids."""
        term = self._folder.read(_TERM)
        self._ended = str(term.get("mark", ""))
        outages = term.get("outages")
        self._past = (self._ended, outages if isinstance(outages, int) else 0)
        self._told = self._folder.read(_FILE)
        if self._told:
            self._tell(is_over=bool(self._told.get("end")))

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
        lookout = self._lookout
        unwatched, leaderless, now = lookout.unwatched_since(), lookout.leaderless_since(), lookout.clock()
        self._note_return(unwatched, now)
        since = unwatched or leaderless
        if self._told and not self._told.get("end"):
            if since is None:
                self._told["end"] = document.stamp(now)
                self._folder.write(_FILE, self._told)
                self._tell(is_over=True)
        elif since is not None and now.mono - since.mono >= lookout.patience(self._settings()):
            self._begin(since, is_watched=unwatched is None)

    def _note_return(self, since: Instant | None, now: Instant) -> None:
        """Let losses be doubted once etcd is back: leases end late of those who could not renew them meanwhile."""
        before, self._away_since = self._away_since, None if since is self._lookout.begun_at else since
        if before is None:
            if self._lookout.mark not in {"", self._ended}:
                self._ended = self._lookout.mark
                self._keep_term()
        elif since is None:
            away = now.mono - before.mono
            if away > self._settings().registry.unreachable_after:
                self._past = (self._ended, self._number() + 1)
                self._keep_term()
                self._doubt(away)

    def _keep_term(self) -> None:
        """Let a process that is begun anew while etcd is away name that as all others do."""
        self._folder.write(_TERM, {"mark": self._ended, "outages": self._number()})

    def _number(self) -> int:
        """Return how many outages there were before in the term that this one ended; every replica counts the same."""
        term, number = self._past
        return number if term == self._ended else 0

    def _mark(self) -> str:
        """Return what names an outage that begins: the term, and its number there if it is not the first."""
        marks = (f"{self._ended}/{number}" if number else self._ended for number in count(self._number()))
        return next(mark for mark in marks if mark != self._told.get("mark"))

    def _begin(self, since: Instant, *, is_watched: bool) -> None:
        _, channels = self._lookout.reach()
        trouble = self._lookout.election.refusal if is_watched else self._lookout.trouble.last
        self._told = {
            "mark": self._mark(),
            "since": document.stamp(since),
            "trouble": plain(trouble, _TROUBLE_ROOM),
            "channels": list(channels),
            **({"leaderless": True} if is_watched else {}),
        }
        self._waiting = {}
        self._folder.write(_FILE, self._told)
        what = _LEADERLESS if is_watched else _UNWATCHED
        _log.error(f"trouble with etcd: {what}", since=self._told["since"], told=channels)
        self._tell(is_over=False)

    def _tell(self, *, is_over: bool) -> None:
        for channel in map(str, self._told.get("channels", ())):
            letter = self._letter(channel, is_over=is_over)
            targets = self._send(channel, letter)
            if targets:
                self._waiting[letter.id] = targets
        if is_over and not self._waiting:
            self._forget()

    def _forget(self) -> None:
        self._told = {}
        self._folder.write(_FILE, None)

    def _letter(self, channel: str, *, is_over: bool) -> Letter:
        now = self._lookout.clock()
        kind = Kind.RESOLVED if is_over else Kind.FIRING
        alert = self._alert(now, is_over=is_over)
        about = {"rule": alert.rule.name, "service": alert.service}
        notification = Notification(
            id=_id(str(self._told.get("mark")), channel, kind),
            kind=kind,
            channel=channel,
            group="/".join(about.values()),
            entries=(Entry(kind, alert),),
            services={},
            still_firing=0 if is_over else 1,
            at=now,
            labels=about,
            key=_id("", channel, Kind.FIRING),
        )
        return render.letter(notification, self._settings(), Templates(), delivered=now.wall)

    def _alert(self, now: Instant, *, is_over: bool) -> Alert:
        told = self._told
        since = now.at_wall(document.moment(told.get("since")) or now.wall)
        end = now.at_wall(document.moment(told.get("end")) or now.wall)
        alert, _ = self._lookout.reach()
        if not is_over:
            what = _LEADERLESS if told.get("leaderless") else _UNWATCHED
            words = (": ".join(filter(None, (what, told.get("trouble")))),)
            return alert._replace(state=AlertState.FIRING, since=since, until=None, values=words)
        over = "somebody leads again" if told.get("leaderless") else "etcd is back"
        words = (f"{over} after {span(end.mono - since.mono)}",)
        return alert._replace(state=AlertState.INACTIVE, since=since, until=end, values=words)


def _id(mark: str, channel: str, kind: Kind) -> str:
    return sha256(f"{BuiltIn.REGISTRY}\0{mark}\0{channel}\0{kind}".encode()).hexdigest()[:12]
