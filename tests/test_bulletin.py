"""What is wrong with delivery, as whoever leads keeps it in etcd: written where it changes, gone when all is well."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from alertd.bulletin import Bulletin
from alertd.delivery.dead import DeadLetter, DeadLetters
from alertd.delivery.lane import LaneStatus
from alertd.delivery.trouble import Trouble
from alertd.errors import EtcdUnavailable
from alertd.etcd.election import NotLeading
from alertd.etcd.store import Documents
from alertd.model import Instant
from tests.delivery.examples import at


@dataclass
class Delivery:
    """Stands for post and outbox at once: two targets, and what is wrong with them."""

    dead_letters: DeadLetters = field(default_factory=DeadLetters)
    troubles: dict[int, Trouble] = field(default_factory=dict)

    @property
    def outbox(self) -> Delivery:
        """Return itself."""
        return self

    def targets(self) -> tuple[LaneStatus, ...]:
        """Return the targets."""
        return tuple(LaneStatus("ops", f"ops #{n} json", "json", 3, 0, 0, 0, "", None, n) for n in (1, 2))

    def trouble_of(self, number: int) -> Trouble | None:
        """Return what is wrong with one."""
        return self.troubles.get(number)


class Store:
    """Takes what is committed; `story` says what happens before each commit, and ends the term."""

    def __init__(self, story: list[Any], found: Documents) -> None:
        self.story = story
        self.found = found
        self.reads = 0
        self.written: list[Any] = []

    @property
    def is_over(self) -> bool:
        """Whether the term is over."""
        return not self.story

    async def rest(self, _seconds: float) -> None:
        """Let no time pass."""
        await asyncio.sleep(0)

    async def read(self, *_: str) -> Documents:
        """Return what was there."""
        self.reads += 1
        return self.found

    async def commit(self, _term: object, wanted: dict[str, Any]) -> int:
        """Take it, or fail as told."""
        happens = self.story.pop(0)
        self.written.append(wanted["delivery"])
        happens()
        return 1


def keep(delivery: Delivery, *story: Any, found: Documents | None = None, clock: list[Instant] | None = None) -> Store:
    """Keep a bulletin while a story goes on."""
    store = Store([*story, lambda: None], found or Documents(1, {}, [], []))
    times = clock or [at(0)]
    bulletin = Bulletin(delivery, store, lambda: times[-1])  # type: ignore[arg-type]  # stand-ins
    asyncio.run(bulletin.keep(store))  # type: ignore[arg-type]  # a stand-in
    return store


def fail(error: Exception) -> Any:
    """Return what raises an error."""

    def happens() -> None:
        raise error

    return happens


LETTER = DeadLetter("ops", "ops #2 json", "n1", "r/apache", "HTTP 400", at(0).wall)
SHOWN_LETTER = {"id": "n1", "about": "r/apache", "why": "HTTP 400", "at": "2026-10-01T02:12:41.000Z"}
SHOWN = {
    "channel": "ops",
    "target": "ops #2 json",
    "undelivered": 3,
    "stuck_since": None,
    "last_error": "HTTP 400",
    "given_up": 1,
    "dead_letters": [SHOWN_LETTER],
}


def test_only_what_is_wrong_is_shown_and_only_while_it_is() -> None:
    """Who is stuck, and who gave something up within a day; of a target that is gone, what it gave up."""
    delivery, clock = Delivery(), [at(0)]
    gone = DeadLetter("boss", "", "n2", "r/pay", "there is no channel", at(0).wall)

    def is_stuck() -> None:
        trouble = delivery.troubles[1] = Trouble("ops #1 json", at(-60))
        trouble.error = "HTTP 503"

    def has_given_up() -> None:
        delivery.troubles.clear()
        delivery.dead_letters.add(LETTER)
        delivery.dead_letters.add(gone)

    store = keep(delivery, is_stuck, has_given_up, lambda: clock.append(at(86_401)), clock=clock)
    well, stuck, given_up, at_last = store.written
    assert well is at_last is None
    (target,) = stuck["targets"]
    assert (target["target"], target["stuck_since"]) == ("ops #1 json", "2026-10-01T02:11:41.000Z")
    assert (target["undelivered"], target["last_error"], target["given_up"]) == (3, "HTTP 503", 0)
    assert given_up["targets"][0] == SHOWN
    assert (given_up["targets"][1]["channel"], given_up["targets"][1]["undelivered"]) == ("boss", 0)


def test_the_next_leader_goes_on_with_what_was_given_up() -> None:
    """Junk beside it does no harm."""
    letters = [SHOWN_LETTER, 7, {"id": 3}, {**SHOWN_LETTER, "at": "?"}]
    targets = [{**SHOWN, "given_up": 9, "dead_letters": letters}, None, {"given_up": "x"}, {**SHOWN, "dead_letters": 5}]
    for junk in ({}, {"targets": 7}):
        assert keep(Delivery(), found=Documents(1, {"delivery": junk}, [], [])).written == [None]
    (written,) = keep(Delivery(), found=Documents(1, {"delivery": {"targets": targets}}, [], [])).written
    assert written == {"targets": [{**SHOWN, "given_up": 9}]}


def test_what_a_newer_alertd_wrote_is_left_alone() -> None:
    """Whatever is wrong."""
    assert keep(Delivery(), found=Documents(1, {}, ["delivery"], [])).written == []


def test_etcd_away_delays_it_and_another_leader_ends_it() -> None:
    """It is read once a term."""
    store = keep(Delivery(), fail(EtcdUnavailable("away")), lambda: None, fail(NotLeading("over")), lambda: None)
    assert (len(store.written), len(store.story), store.reads) == (3, 2, 1)
