"""Stories that go on in another process: a restart, or a standby that takes over.

What outlives an engine goes through JSON, as it does through etcd. The last revision before a restart is known to have
been remembered; what happens while nobody watches is replayed from there, or, where history is lost, found by listing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from alertd.engine.core import Engine
from alertd.engine.memory import Damaged
from alertd.model import Action, EventKind, Instant, KeyEvent, Notification
from tests.engine.story import PREFIX, Story, ruleset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.config.schema import Rule

_THERE = (EventKind.PUT, EventKind.FOUND)


def through_json(value: Any) -> Any:
    """Return what etcd gives back."""
    return json.loads(json.dumps(value))


def tells(actions: Iterable[Action]) -> bool:
    """Tell whether anybody is told anything."""
    return any(isinstance(action, Notification) for action in actions)


class Relay(Story):
    """A story whose engine may be followed by another. `standby` is one that judges the same and does not speak.

    `books` and `storms` are what was told, as the daemon keeps it before anybody hears of it.
    """

    def __init__(self, *rules: Rule, up: tuple[str, ...] = (), has_standby: bool = False, **fields: Any) -> None:
        self.present: dict[bytes, KeyEvent] = {}
        self.books: dict[str, Any] = {}
        self.storms: dict[str, Any] = {}
        self.memory: dict[str, Any] = {}
        self.era = 0
        self.rules, self.fields = rules, fields
        self.standby: Engine | None = None
        self._missed: list[KeyEvent] = []
        self._left: tuple[Instant, list[KeyEvent]] | None = None
        super().__init__(*rules, up=up, **fields)
        if has_standby:
            self.standby = self._begin(ruleset(*rules, **fields))
            self.standby.open_gap(self.now)
            self.standby.feed(list(self.present.values()), self.now)
            self.standby.close_gap(self.now)
            self.standby.stand_by(another_speaks=True)

    # --- one engine, and another beside it ---------------------------------------------------------------------------

    def at(self, when: float) -> Self:
        """Let time pass, for the standby as well; while nobody watches, for the clock alone."""
        if self._left is not None:
            self.now = self._instant(when)
            return self
        super().at(when)
        self._write()
        if self.standby is not None:
            assert not tells(self.standby.advance(self.now))
        return self

    def events(self, *events: KeyEvent) -> Self:
        """Feed events, unless nobody watches: then they wait."""
        for event in events:
            if event.kind in _THERE:
                self.present[event.key] = event
            else:
                self.present.pop(event.key, None)
        if self._left is not None:
            self._missed += events
            return self
        super().events(*events)
        self._write()
        if self.standby is not None:
            assert not tells(self.standby.feed(events, self.now))
        return self

    def gap(self) -> Self:
        """Begin a listing after a gap, in both."""
        super().gap()
        if self.standby is not None:
            self.standby.open_gap(self.now)
        return self

    def begin_history(self, at: int = 0) -> Self:
        """Let etcd be another from now on, for both; what was told is written anew."""
        super().begin_history(at)
        self.books = through_json(self.engine.take_told(self.now, everything=True)[0])
        if self.standby is not None:
            self.standby.rebase(self.now)
        return self

    def synced(self) -> Self:
        """End the listing."""
        super().synced()
        self._write()
        if self.standby is not None:
            assert not tells(self.standby.close_gap(self.now))
        return self

    def hold(self, why: str = "etcd was away for 2m") -> Self:
        """Doubt what is lost, in both."""
        super().hold(why)
        if self.standby is not None:
            assert not tells(self.standby.hold(why, self.now))
        return self

    def reload(self, *rules: Rule, **fields: Any) -> Self:
        """Put another ruleset in force, in both."""
        self.rules, self.fields = rules, fields
        super().reload(*rules, **fields)
        self._write()
        if self.standby is not None:
            assert not tells(self.standby.load(ruleset(*rules, **fields), self.now))
        return self

    def _write(self) -> None:
        groups, storms = self.engine.take_told(self.now)
        for name, record in groups.items():
            if record is None:
                self.books.pop(name, None)
            else:
                self.books[name] = through_json(record)
        self.storms.update(through_json(storms))

    @staticmethod
    def _begin(rules: Any) -> Engine:
        engine = Engine(rules, PREFIX)
        engine.hush()
        return engine

    # --- the next engine ---------------------------------------------------------------------------------------------

    def leave(self) -> Self:
        """Let the engine die; it has remembered all that has happened by now."""
        self._write()
        self.memory = {name: each for name, each in through_json(self.engine.remember(self.now)).items() if each}
        self.era = self.engine.era
        self._left = self.now, list(self.present.values())
        return self

    def come_back(self, *rules: Rule, lost_history: bool = False, **fields: Any) -> Self:
        """Begin anew, maybe with other rules: recall, catch up with what was missed, and speak."""
        assert self._left is not None
        (left_at, then), self._left = self._left, None
        missed, self._missed = self._missed, []
        self.engine = engine = self._begin(ruleset(*(rules or self.rules), **{**self.fields, **fields}))
        assert engine.recall(self.memory, self.now, self.era) == []
        known = set(engine.present_keys())
        caught_up = engine.open_gap(self.now, left_at)
        if lost_history:
            then, missed = list(self.present.values()), []
            gone = known - set(self.present)
            missed = [KeyEvent(EventKind.MISSED, key, b"", 0, self._revision) for key in sorted(gone)]
        caught_up += engine.feed([event._replace(kind=EventKind.FOUND) for event in then], self.now)
        caught_up += engine.feed(missed, self.now)
        caught_up += engine.close_gap(self.now)
        assert not tells(caught_up)
        self.actions += caught_up
        return self._speak()

    def restart(self, *rules: Rule, **fields: Any) -> Self:
        """Die and begin anew at once."""
        return self.leave().come_back(*rules, **fields)

    def restart_standby(self) -> Self:
        """Let the standby die, and another begin from what whoever speaks remembers."""
        self.standby = engine = self._begin(ruleset(*self.rules, **self.fields))
        engine.stand_by(another_speaks=True)
        memory = {name: each for name, each in through_json(self.engine.remember(self.now)).items() if each}
        assert engine.recall(memory, self.now, self.engine.era) == []
        assert not tells(engine.open_gap(self.now, self.now))
        found = [event._replace(kind=EventKind.FOUND) for event in self.present.values()]
        assert not tells(engine.feed(found, self.now))
        assert not tells(engine.close_gap(self.now))
        return self

    def fail_over(self) -> Self:
        """Let the standby speak instead; whoever spoke is its standby now."""
        assert self.standby is not None
        self._write()
        self.engine.hush()
        self.engine, self.standby = self.standby, self.engine
        self.standby.stand_by(another_speaks=True)
        return self._speak()

    def fall_silent(self) -> Self:
        """Lose the lead, with nobody else to take it."""
        self._write()
        self.engine.hush()
        return self

    def speak_again(self) -> Self:
        """Go on from what this engine told itself."""
        groups, storms = self.engine.take_told(self.now, everything=True)
        told = [record for record in through_json(groups).values() if record is not None]
        actions, damaged = self.engine.speak(told, through_json(storms), self.now, was_own=True)
        return self._go_on(actions, damaged)

    def _speak(self) -> Self:
        return self._go_on(*self.engine.speak(self.books.values(), self.storms, self.now))

    def _go_on(self, actions: list[Action], damaged: list[Damaged]) -> Self:
        assert damaged == []
        self.actions += actions
        self._write()
        return self.at(self.now.mono - 1000)
