"""Outages of etcd, one after the other: each is told at its beginning and at its end, by ids of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from alertd.config.schema import Channel
from alertd.delivery.lane import Delivery
from alertd.engine.core import Engine
from alertd.etcd.retry import Trouble
from alertd.outage import Lookout, Outage
from alertd.statedir import StateDir
from tests.delivery.examples import target
from tests.engine.story import PREFIX, instant, ruleset

if TYPE_CHECKING:
    from pathlib import Path

    from alertd.delivery.letter import Letter
    from alertd.model import Instant

RULES = ruleset(channels={"ops": Channel(targets=(target("json://one"), target("json://two")))})
AFTER = RULES.settings.registry.unreachable_after


class Etcd:
    """What a watch and an election say of it."""

    def __init__(self) -> None:
        self.is_connected = True
        self.alive_at: float | None = instant(0).mono
        self.led_last = True
        self.last_term = 7
        self.refused_since: float | None = None
        self.refusal = ""


class Replica:
    """One that looks out, by a clock that only the test moves; the channel has one target that lives and a dead one."""

    def __init__(self, etcd: Etcd, folder: Path | None) -> None:
        self.etcd = etcd
        self.seconds = 0.0
        self.letters: list[Letter] = []
        self.doubts: list[float] = []
        there = cast("Any", etcd)
        lookout = Lookout(there, there, Engine(RULES, PREFIX), Trouble("away"), instant(0), self.clock)
        self.state = StateDir(folder)
        self.outage = Outage(lookout, lambda: RULES.settings, self.state, self.send, self.doubts.append)

    def clock(self) -> Instant:
        """Return what time it is."""
        return instant(self.seconds)

    def send(self, channel: str, letter: Letter) -> int:
        """Queue a letter; the target that lives takes it at once."""
        assert channel == "ops"
        self.letters.append(letter)
        return 2

    def take(self, which: int, *, ok: bool) -> None:
        """Report how it ended with a letter at one of the targets."""
        self.outage.note(Delivery(self.letters[which].id, "ops", "", ok=ok, attempts=1, seconds=0.0))

    def wait(self, seconds: float, *, is_away: bool) -> list[str]:
        """Let time pass, with etcd there or away, and return what was told, in one word each."""
        self.etcd.is_connected = not is_away
        told = len(self.letters)
        for _ in range(int(seconds)):
            self.seconds += 1
            if not is_away:
                self.etcd.alive_at = self.clock().mono
            self.outage._look()
        for number in range(told, len(self.letters)):
            self.take(number, ok=True)
        return self.told[told:]

    @property
    def told(self) -> list[str]:
        """What was told, in one word each."""
        return [letter.title.split()[0] for letter in self.letters]

    @property
    def ids(self) -> list[str]:
        """The ids of what was told."""
        return [letter.id for letter in self.letters]


def test_an_outage_is_told_though_a_dead_target_has_not_taken_the_end_of_the_one_before(tmp_path: Path) -> None:
    """By ids of its own in the same term too; the state dir holds the later one, until all have taken its end."""
    one = Replica(Etcd(), tmp_path)
    for _ in range(3):
        assert one.wait(AFTER + 2, is_away=True) == ["[FIRING]"]
        assert one.wait(5, is_away=False) == ["[RESOLVED]"]
    assert len(set(one.ids)) == 6
    assert one.state.read("outage")["end"]
    for number in range(4):
        one.take(number, ok=False)
    assert one.state.read("outage")["end"], "what was told of the earlier ones is not waited for"
    for number in (4, 5):
        one.take(number, ok=False)
    assert one.state.read("outage") == {}


def test_replicas_name_outages_alike_though_not_all_tell_all_of_them() -> None:
    """One that did not lead waits longer, and so tells only one that lasts, by the same id."""
    one, two = Replica(Etcd(), None), Replica(Etcd(), None)
    two.etcd.led_last = False
    for seconds in (AFTER + 2, 3 * AFTER + 2):
        for replica in (one, two):
            replica.wait(seconds, is_away=True)
            replica.wait(5, is_away=False)
    assert one.told == ["[FIRING]", "[RESOLVED]"] * 2
    assert two.ids == one.ids[2:]


def test_an_outage_is_named_by_the_term_that_it_ends() -> None:
    """How many there were in terms before does not count: others may not know of them."""
    one, two = Replica(Etcd(), None), Replica(Etcd(), None)
    one.wait(AFTER + 2, is_away=True)
    one.wait(5, is_away=False)
    for replica in (one, two):
        replica.etcd.last_term = 9
        replica.wait(AFTER + 2, is_away=True)
    assert two.ids == one.ids[2:]


def test_who_began_anew_during_an_outage_tells_the_next_by_another_id(tmp_path: Path) -> None:
    """In the same term, while the end of the one before is on its way."""
    etcd = Etcd()
    one = Replica(etcd, tmp_path)
    one.wait(AFTER + 2, is_away=True)
    etcd.alive_at = None
    again = Replica(etcd, tmp_path)
    again.seconds = one.seconds
    again.outage.recall()
    assert again.wait(5, is_away=False) == ["[RESOLVED]"]
    assert again.wait(AFTER + 2, is_away=True) == ["[FIRING]"]
    assert again.wait(5, is_away=False) == ["[RESOLVED]"]
    assert again.ids[0] == one.ids[0]
    assert len(set(again.ids)) == 4


def test_who_began_anew_while_etcd_is_away_names_the_outage_as_all_others_do(tmp_path: Path) -> None:
    """The first in a term and the second, though it has not seen that term itself."""
    one, two = Replica(Etcd(), None), Replica(Etcd(), tmp_path)
    for number in range(2):
        for replica in (one, two):
            replica.wait(1, is_away=False)
        begun_anew = Etcd()
        begun_anew.alive_at, begun_anew.last_term, begun_anew.led_last = None, 0, False
        again = Replica(begun_anew, tmp_path)
        again.outage.recall()
        one.wait(AFTER + 2, is_away=True)
        assert again.wait(3 * AFTER + 2, is_away=True) == ["[FIRING]"], number
        assert again.ids == one.ids[-1:], number
        again.outage._forget()
        two.wait(AFTER + 2, is_away=True)
        for replica in (one, two):
            replica.wait(5, is_away=False)
        two.outage._forget()


def test_that_nobody_can_lead_is_told_too() -> None:
    """In its time, while services are watched; what is lost is not doubted for that."""
    one, two = Replica(Etcd(), None), Replica(Etcd(), None)
    two.etcd.led_last = False
    for replica, patience in ((one, AFTER), (two, 3 * AFTER)):
        replica.wait(1, is_away=False)
        replica.etcd.refused_since = replica.clock().mono
        replica.etcd.refusal = "etcd at db:2379: its database is full"
        assert replica.wait(patience - 1, is_away=False) == []
        assert replica.wait(2, is_away=False) == ["[FIRING]"]
        assert replica.letters[0].title == (
            "[FIRING] alertd-registry alertd · no alertd leads, so nobody is told of services: "
            "etcd at db:2379: its database is full · critical"
        )
        replica.etcd.refused_since = None
        assert replica.wait(2, is_away=False) == ["[RESOLVED]"]
        assert "somebody leads again after" in replica.letters[1].title
        assert replica.doubts == []
    assert one.ids == two.ids
