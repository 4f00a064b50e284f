"""What the outbox tests share: boxes that do as they are told, a store, receivers that keep books, an engine's memory.

The books hold the invariants for each target, and each channel that it is told for: what begins has not begun before,
each end comes once, nothing comes out of order. A message that bears a known id is a repetition, and is dropped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from alertd.config.schema import Channel, Ruleset, Settings
from alertd.delivery.lane import Attempt, Delivery
from alertd.delivery.outbox import Outbox
from alertd.model import AlertState, Cause, Entry, Instant, Kind, Notification
from tests.delivery.examples import MORNING, lost_alert, notification

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.delivery.letter import Diversion

_ORDER = {Kind.FIRING: 0, Kind.REMINDER: 1, Kind.RESOLVED: 2}


class FakeBox:
    """A target's queue of which every step is asked for; `is_recalled` what is under way is not tried again."""

    numbers = 0

    def __init__(self, channel: str, label: str, world: World) -> None:
        FakeBox.numbers += 1
        self.number = FakeBox.numbers
        self.channel = channel
        self.label = label
        self.digest = ""
        self.queue: list[tuple[Notification, Diversion | None]] = []
        self.is_sending = self.is_recalled = self.is_retired = False
        self.attempts = 0
        self.begun: Instant | None = None
        self._world = world

    def submit(self, told: Notification, diversion: Diversion | None = None) -> None:
        """Queue a notification; it must be durable."""
        assert self._world.is_durable(told.id, self.channel), f"{told.id} is handed over before it is durable"
        if self.is_recalled and self.queue[0][0].id == told.id:
            self.is_recalled = False
            return
        assert told.id not in self.ids, f"{told.id} is handed over twice"
        if self.is_retired:
            self._world.reports.append(self._delivery(told.id, 1, "its target is no longer in the rules"))
            return
        self.queue.append((told, diversion))

    def withdraw(self, identifier: str) -> bool:
        """Take one out, but not what is being sent."""
        where = self.ids.index(identifier) if identifier in self.ids else -1
        if where < 0 or (where == 0 and self.is_sending):
            return False
        del self.queue[where]
        self.attempts = 0 if where == 0 else self.attempts
        return True

    def hold(self, *, is_held: bool = True) -> None:
        """Do nothing: every step is asked for."""

    def recall(self) -> None:
        """Drop all but what is being sent."""
        self.is_recalled = self.is_sending
        self.queue = self.queue[:1] if self.is_sending else []
        self.attempts = self.attempts if self.is_sending else 0

    @property
    def ids(self) -> list[str]:
        """What is queued."""
        return [told.id for told, _ in self.queue]

    def start(self, now: Instant) -> list[Attempt]:
        """Begin to send what is at the head."""
        self.is_sending = True
        if self.attempts:
            return []
        self.begun = now
        return [self._attempt("")]

    def fail(self) -> list[Attempt]:
        """Fail to send it."""
        self.is_sending = False
        self.attempts += 1
        failed = self._attempt("HTTP 503")
        if self.is_recalled:
            self._next()
        return [failed]

    def end(self, error: str = "") -> list[Delivery]:
        """Have it taken, or refused."""
        told, diversion = self.queue[0]
        if not error:
            self._world.books.enter(self.label, told, diversion)
        attempts = self.attempts + 1
        self._next()
        return [self._delivery(told.id, attempts, error)]

    def _delivery(self, identifier: str, attempts: int, error: str) -> Delivery:
        return Delivery(identifier, self.channel, self.label, not error, attempts, 0.0, error, self.number)

    def _next(self) -> None:
        del self.queue[0]
        self.is_sending = self.is_recalled = False
        self.attempts = 0

    def _attempt(self, error: str) -> Attempt:
        begun = self.begun
        assert begun is not None
        return Attempt(self.queue[0][0].id, self.channel, self.label, self.number, self.attempts, begun, error)


@dataclass
class Books:
    """What each target was told, by (target, channel that it was told for)."""

    received: list[tuple[str, Notification, Diversion | None]] = field(default_factory=list)
    begun: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    ends: dict[tuple[str, str], dict[str, list[int]]] = field(default_factory=dict)
    repeated: int = 0
    _ids: set[tuple[str, str]] = field(default_factory=set)
    _latest: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)

    def enter(self, label: str, told: Notification, diversion: Diversion | None) -> None:
        """Enter a message; fail if it should not have come."""
        if (label, told.id) in self._ids:
            self.repeated += 1
            return
        self._ids.add((label, told.id))
        self.received.append((label, told, diversion))
        for kind, alert in told.entries:
            self._enter((label, told.channel), kind, alert.id, alert.changes)

    def _enter(self, stream: tuple[str, str], kind: Kind, alert: str, episode: int) -> None:
        begun = self.begun.setdefault(stream, {})
        moment = (episode, _ORDER[kind])
        assert moment >= self._latest.get((*stream, alert), (0, 0)), f"{stream}: {kind} of {alert} out of order"
        self._latest[*stream, alert] = moment
        if kind is Kind.FIRING:
            assert alert not in begun, f"{stream}: {alert} begins twice"
        if kind is Kind.RESOLVED:
            ends = self.ends.setdefault(stream, {}).setdefault(alert, [])
            assert episode not in ends, f"{stream}: {alert} ends twice"
            ends.append(episode)
            begun.pop(alert, None)
        else:
            begun[alert] = episode

    def told(self, label: str) -> list[str]:
        """Return the ids that a target has, in order."""
        return [told.id for each, told, _ in self.received if each == label]


@dataclass
class Memory:
    """What an engine believes a channel was told of an alert: the episode, and whether it fires."""

    episode: int = 0
    fires: bool = False


def rules(channels: dict[str, str | None], give_up_after: float = 1e9) -> Ruleset:
    """Return a ruleset of channels, each with its fallback."""
    settings = Settings().model_copy(update={"give_up_after": give_up_after})
    return Ruleset(settings=settings, channels={name: Channel(fallback=after) for name, after in channels.items()})


class World:
    """A daemon's outbox with all that is around it; `labels` are the targets of each channel."""

    def __init__(self, ruleset: Ruleset, labels: dict[str, tuple[str, ...]]) -> None:
        self.ruleset = ruleset
        self.labels = labels
        self.books = Books()
        self.memory: dict[tuple[str, str], Memory] = {}
        self.now = Instant(1000.0, MORNING)
        self.store: dict[str, tuple[str, dict[tuple[str, str], Memory]]] = {}
        self.groups: dict[str, str] = {}
        self.reports: list[Attempt | Delivery] = []
        self.refusals: dict[tuple[str, str], str] = {}
        self.serial = 0
        self.boxes: list[FakeBox] = []
        self.retired: list[FakeBox] = []
        """Boxes of addresses that are gone, where something is under way."""
        self.dirty: dict[str, None] = {}
        self.late: dict[str, None] = {}
        self.begin()

    def begin(self) -> None:
        """Start a daemon: new lanes, and nothing in memory but what the store has."""
        self.reports.clear()
        self.retired.clear()
        self.boxes = [FakeBox(name, label, self) for name, labels in self.labels.items() for label in labels]
        self.outbox = Outbox(self, self.ruleset, lambda name: self.dirty.update({name: None}))
        self.take_over()

    def take_over(self) -> None:
        """Lead: know what the store has."""
        self.dirty.clear()
        self.late.clear()
        self.memory = {}
        for name, (raw, memory) in self.store.items():
            self.outbox.restore(name, json.loads(raw), self.now)
            self.memory |= {key: Memory(each.episode, each.fires) for key, each in memory.items()}
        self.outbox.take_up(self.now)

    def lose(self) -> None:
        """Lose leadership, and win it back after another has led; the lanes go on, but for those of addresses gone."""
        self.retired.clear()
        self.outbox.recall()
        self.outbox.clear()
        self.take_over()

    def regain(self) -> None:
        """Lose leadership, and win it back before another has led; all is written anew."""
        self.outbox.recall()
        self.late.clear()
        self.outbox.take_up(self.now)
        self.dirty |= dict.fromkeys((*self.store, *self.outbox.contents()))

    def change_address(self, label: str) -> None:
        """Reload rules in which a target has another address; what is under way at the old one may still end.

        But not what the outbox has given up meanwhile, since it was lost and won: that is as if its daemon had died.
        """
        old = self.box(label)
        new = FakeBox(old.channel, label, self)
        self.boxes[self.boxes.index(old)] = new
        self.outbox.follow(self.ruleset, {old.number: new})
        old.is_retired = True
        stop = self.outbox.stop_at(old.ids[0], old.channel, label) if old.is_sending else None
        self.retired += [old] if stop is not None and stop.heir is new else []

    def end_retired(self, error: str = "") -> None:
        """End the first of what is under way at an address that is gone."""
        if self.retired:
            self.reports += self.retired.pop(0).end(error)

    # --- the post, for the outbox ------------------------------------------------------------------------------------

    def lanes_of(self, channel: str) -> list[FakeBox]:
        """Return the boxes of a channel."""
        return [box for box in self.boxes if box.channel == channel]

    def recall(self) -> None:
        """Take all back."""
        for box in (*self.boxes, *self.retired):
            box.recall()

    def box(self, label: str) -> FakeBox:
        """Return the box with a label."""
        return next(box for box in self.boxes if box.label == label)

    def is_durable(self, identifier: str, channel: str) -> bool:
        """Tell whether the store says that a channel is to be told."""
        return any((identifier, channel) in _ways(raw) for raw, _ in self.store.values())

    # --- the engine --------------------------------------------------------------------------------------------------

    def entry(self, alert: str, kind: Kind, episode: int) -> Entry:
        """Return what is told of an alert; `changes` holds the episode."""
        ended = {"state": AlertState.INACTIVE, "until": self.now, "cause": Cause.RECOVERED}
        since = self.now.shifted_to(self.now.mono - 60)
        over = ended if kind is Kind.RESOLVED else {}
        return Entry(kind, lost_alert(alert, id=alert, changes=episode, since=since, **over))

    def turn(self, channel: str, group: str, alerts: Iterable[str]) -> Notification:
        """Decide a message in which each of these alerts begins, or ends."""
        entries = self._turned(channel, alerts)
        return self._decide(channel, group, entries, f"{channel} {_named(entries)}")

    def digest(self, channel: str, alerts: Iterable[str]) -> Notification:
        """Decide a digest in which each of these alerts begins, or ends; it has a document of its own."""
        entries = self._turned(channel, alerts)
        return self._decide(channel, "storm", entries, f"{channel} digest {_named(entries)}", kind=Kind.DIGEST)

    def _turned(self, channel: str, alerts: Iterable[str]) -> list[Entry]:
        entries = []
        for alert in alerts:
            known = self.memory.setdefault((channel, alert), Memory())
            known.episode += not known.fires
            known.fires = not known.fires
            entries.append(self.entry(alert, Kind.FIRING if known.fires else Kind.RESOLVED, known.episode))
        return entries

    def remind(self, channel: str, group: str, alerts: Iterable[str]) -> Notification | None:
        """Decide a reminder of those of these alerts that fire."""
        self.serial += 1
        known = {alert: self.memory.get((channel, alert), Memory()) for alert in alerts}
        firing = [self.entry(name, Kind.REMINDER, it.episode) for name, it in known.items() if it.fires]
        return self._decide(channel, group, firing, f"{channel} reminder {self.serial}") if firing else None

    def _decide(self, channel: str, group: str, entries: list[Entry], identifier: str, **more: Any) -> Notification:
        told = notification(*entries, id=identifier, channel=channel, group=group, key=group, at=self.now, **more)
        name = self.outbox.decide(told)
        for _, alert in entries:
            self.dirty[self.groups.setdefault(alert.id, name)] = None
        self.dirty[name] = None
        return told

    # --- the daemon --------------------------------------------------------------------------------------------------

    def write(self, name: str, *, release: bool = True) -> None:
        """Write a document, the engine's memory of its group with it; that it is written may be said later."""
        self.release(name)
        self._store(name)
        if release:
            self.release(name)

    def write_together(self) -> list[str]:
        """Write all that is to be written as one; that it is written is to be said later. Return what it is."""
        for name in list(self.late):
            self.release(name)
        names = list(self.dirty)
        for name in names:
            self._store(name)
        return names

    def _store(self, name: str) -> None:
        self.dirty.pop(name, None)
        mine = {key: Memory(it.episode, it.fires) for key, it in self.memory.items() if self.groups[key[1]] == name}
        self.store[name] = (json.dumps(self.outbox.content(name)), mine)
        self.late[name] = None

    def release(self, name: str) -> None:
        """Say that a document is written, if that is not said yet."""
        if name in self.late:
            del self.late[name]
            self.outbox.release(name)

    def write_all(self) -> None:
        """Write all that is to be written, and what is to be written by that."""
        for _ in range(100):
            for name in self.write_together():
                self.release(name)
            if not self.dirty:
                return
        raise AssertionError("documents change for ever")

    def hear(self) -> None:
        """Take note of all that the lanes report."""
        while self.reports:
            told = self.reports.pop(0)
            if isinstance(told, Attempt):
                self.outbox.note_attempt(told, self.now)
            else:
                self.outbox.note_end(told, self.now)

    def start(self, label: str) -> bool:
        """Begin an attempt at a target, if there is anything."""
        box = self.box(label)
        if not box.queue or box.is_sending:
            return False
        self.reports += box.start(self.now)
        return True

    def attempt(self, label: str, error: str = "", *, is_final: bool = False) -> None:
        """Make a whole attempt at a target, which takes it, fails or refuses; and hear of it."""
        assert self.start(label), f"{label} has nothing to send"
        self.finish(label, error, is_final=is_final)
        self.hear()

    def finish(self, label: str, error: str = "", *, is_final: bool = False) -> None:
        """End an attempt; who has refused a message for good refuses it again, also where the refusal was forgotten."""
        box = self.box(label)
        asked = (label, box.ids[0])
        if is_final:
            self.refusals[asked] = error
        elif not error:
            error = self.refusals.get(asked, "")
        self.reports += box.end(error) if is_final or not error or asked in self.refusals else box.fail()

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now = Instant(self.now.mono + seconds, self.now.wall + timedelta(seconds=seconds))
        self.outbox.advance(self.now)

    def deliver_all(self) -> None:
        """Let every target take all that it is told."""
        for name in list(self.late):
            self.release(name)
        for _ in range(10_000):
            self.end_retired()
            self.hear()
            self.write_all()
            busy = next((box for box in self.boxes if box.queue), None)
            if busy is None:
                return
            self.start(busy.label)
            self.finish(busy.label)
        raise AssertionError("there is always something more to send")

    def contents(self) -> list[Any]:
        """Return all letters in the store."""
        return [item for raw, _ in self.store.values() for item in json.loads(raw) if "letter" in item]

    def owed(self) -> list[tuple[str, str, str]]:
        """Return channel, fallback and alert of each end that the store says is owed."""
        told = [item["told"] for raw, _ in self.store.values() for item in json.loads(raw) if "told" in item]
        rows = [(channel, fallback, by[fallback]) for each in told for channel, by in each.items() for fallback in by]
        return [(channel, fallback, alert) for channel, fallback, alerts in rows for alert in alerts]


def _named(entries: Iterable[Entry]) -> str:
    return " ".join(f"{alert.id}{'+' if kind is Kind.FIRING else '-'}{alert.changes}" for kind, alert in entries)


@lru_cache(maxsize=64)
def _ways(raw: str) -> frozenset[tuple[str, str]]:
    """Return by id and channel which letters of a document go where."""
    letters = [item for item in json.loads(raw) if "letter" in item]
    return frozenset((item["letter"]["id"], leg["channel"]) for item in letters for leg in item["to"])
