"""What people said, brought to a real engine: which firing is meant, what is spent, what is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from alertd.model import Ack, Action, Alert, Match, Silence
from alertd.order import Forget, OrderKind
from alertd.people import People
from tests.engine.story import Story, instant, rule

LOST = rule("lost")
QUICK: dict[str, Any] = {"repeat_interval": "10s"}


class Hall:
    """A story in which people speak; `spent` is what need not be kept any more."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.spent: list[tuple[OrderKind, str]] = []
        self.people = People(story.engine, self._do, lambda *spent: self.spent.append(spent), lambda: story.now)
        self._heard = len(story.actions)

    def _do(self, actions: Sequence[Action]) -> None:
        self.story.actions += actions
        self._heard += len(actions)
        self.people.heed(actions)

    def then(self, story: Story) -> Story:
        """Let the people hear what has happened in the story."""
        assert story is self.story
        new, self._heard = story.actions[self._heard :], len(story.actions)
        self.people.heed(new)
        return story

    @property
    def alert(self) -> Alert | None:
        """The only alert, if it is under way."""
        return next(iter(self.story.alerts.values()), None)

    @property
    def has_taker(self) -> bool:
        """Whether somebody has taken the alert on."""
        return self.alert is not None and self.alert.acknowledged is not None

    def ack(
        self, *, at: float | None = None, since: float | None = None, seconds: float = 3600, by: str = "ann"
    ) -> Ack:
        """Take on apache/a, whose lost alert the person saw firing since `since`."""
        spoken = self.story.now if at is None else instant(at)
        until = spoken.wall + timedelta(seconds=seconds)
        ack = Ack(ALERT_ID, by, "", spoken.wall, until, None if since is None else instant(since).wall)
        self.people.take(ack)
        return ack


ALERT_ID = next(iter(Story(LOST, up=("apache/a",)).expire("apache/a").alerts.values())).id


@pytest.fixture
def hall() -> Hall:
    """Give a hall where apache/a is up and everything has been judged."""
    hall = Hall(Story(LOST, up=("apache/a",), **QUICK))
    hall.people.resume()
    return hall


def reminders(story: Story) -> int:
    """Return how many reminders were sent."""
    return sum(" reminder " in told for told in story.told)


# --- acknowledgements ------------------------------------------------------------------------------------------------


def test_who_takes_an_alert_on_is_not_reminded_of_it(hall: Hall) -> None:
    """Until the alert resolves; then the document is spent, and the next firing is nobody's."""
    story = hall.then(hall.story.expire("apache/a").at(5))
    hall.ack(since=0)
    hall.then(story.at(35))
    assert (hall.has_taker, reminders(story), hall.spent) == (True, 0, [])
    hall.then(story.up("apache/a"))
    assert story.told[-1] == "35 resolved lost apache/a"
    assert hall.spent == [(OrderKind.ACK, ALERT_ID)]
    hall.then(story.at(40).expire("apache/a").at(55))
    assert (hall.has_taker, reminders(story)) == (False, 1)


def test_what_is_given_back_is_reminded_of_again(hall: Hall) -> None:
    """The reminder that was due meanwhile comes at once."""
    story = hall.then(hall.story.expire("apache/a"))
    hall.ack()
    hall.then(story.at(25))
    hall.people.withdraw(OrderKind.ACK, ALERT_ID)
    hall.then(story.at(26))
    assert (hall.has_taker, reminders(story), hall.spent) == (False, 1, [])


def test_one_that_replaces_another_counts(hall: Hall) -> None:
    """Somebody else takes over, for longer."""
    story = hall.then(hall.story.expire("apache/a"))
    hall.ack(seconds=5)
    hall.ack(seconds=50, by="bob")
    hall.then(story.at(30))
    assert hall.alert is not None
    assert hall.alert.acknowledged is not None
    assert (hall.alert.acknowledged.by, reminders(story)) == ("bob", 0)
    hall.then(story.at(51))
    assert (hall.has_taker, hall.spent) == (False, [(OrderKind.ACK, ALERT_ID)])


def test_one_that_comes_too_late_is_not_for_the_next_firing(hall: Hall) -> None:
    """It resolved and fired again between the person's look and the word's arrival."""
    story = hall.then(hall.story.expire("apache/a").at(5).up("apache/a").at(10).expire("apache/a"))
    hall.ack(at=7, since=0)
    assert (hall.has_taker, hall.spent) == (False, [(OrderKind.ACK, ALERT_ID)])
    assert hall.then(story.at(20)).told[-1] == "20 reminder lost apache/a"


@pytest.mark.parametrize("at", [-300, 3, 500])
def test_a_clock_of_the_speaker_that_is_wrong_does_no_harm(hall: Hall, at: float) -> None:
    """As long as what was shown to the speaker is what fires."""
    hall.then(hall.story.expire("apache/a"))
    hall.ack(at=at, since=0.4)
    assert hall.has_taker


def test_a_replica_that_found_the_alert_later_counts_it_as_the_same(hall: Hall) -> None:
    """The leader showed an earlier beginning, but the word came after both."""
    hall.then(hall.story.at(100).expire("apache/a").at(101))
    hall.ack(since=-5000)
    assert hall.has_taker


def test_what_happened_in_a_gap_may_have_been_before_the_word(hall: Hall) -> None:
    """A replica that was cut off learns of the loss only after it has heard who took it on."""
    story = hall.story.at(50)
    hall.people.pause()
    story.gap()
    story.now = instant(60)
    hall.ack(at=55, since=51)
    hall.then(story.miss("apache/a").synced())
    hall.people.resume()
    assert hall.has_taker


def test_a_word_from_before_the_start_holds_for_what_is_found() -> None:
    """After a restart the same firing begins anew; nothing is spent while it lasts."""
    few = rule("few", when={"instances": {"below": 2}}, for_="5s")
    hall = Hall(Story(few, up=("apache/a",), **QUICK))
    assert hall.alert is not None
    ack = Ack(hall.alert.id, "ann", "", instant(-500).wall, instant(500).wall, instant(-1000).wall)
    hall.people.take(ack)
    hall.people.resume()
    story = hall.then(hall.story.at(30))
    assert story.told == ["5 firing few apache"]
    assert (hall.has_taker, hall.spent) == (True, [])
    hall.then(story.up("apache/b"))
    assert hall.spent == [(OrderKind.ACK, ack.alert_id)]


def test_a_word_for_what_is_not_found_again_is_spent() -> None:
    """It resolved while nobody watched."""
    hall = Hall(Story(LOST, up=("apache/a",)))
    hall.ack(at=-100, since=-200)
    hall.people.resume()
    assert hall.spent == [(OrderKind.ACK, ALERT_ID)]
    hall.then(hall.story.expire("apache/a"))
    assert not hall.has_taker


def test_what_flaps_stays_taken_on_until_it_settles() -> None:
    """Its turns are no ends."""
    flap = rule("lost", flap={"changes": 3, "within": "1m", "settle": "30s"})
    hall = Hall(Story(flap, up=("apache/a",), **QUICK))
    hall.people.resume()
    story = hall.then(hall.story.expire("apache/a").at(1).up("apache/a").at(2).expire("apache/a").at(3))
    hall.ack()
    hall.then(story.up("apache/a").at(4))
    hall.then(story.expire("apache/a"))
    assert hall.has_taker
    hall.then(story.at(5).up("apache/a"))
    hall.then(story.at(40))
    assert (hall.alert, hall.spent) == (None, [(OrderKind.ACK, ALERT_ID)])


# --- silences --------------------------------------------------------------------------------------------------------


def silence(until: float = 3600, *, until_resolved: bool = False) -> Silence:
    """Return a silence of apache."""
    return Silence(
        "s1", Match({"service": ("apache",)}), instant(until).wall, until_resolved=until_resolved, author="ann"
    )


def test_a_silence_holds_until_it_is_taken_back(hall: Hall) -> None:
    """Then what fires is told."""
    hall.people.take(silence())
    story = hall.then(hall.story.expire("apache/a").at(10))
    assert story.told == []
    hall.people.withdraw(OrderKind.SILENCE, "s1")
    assert hall.then(story.at(11)).told == ["10 firing lost apache/a"]


def test_one_that_ends_with_all_that_it_muted_is_spent(hall: Hall) -> None:
    """Whoever leads deletes it."""
    hall.people.take(silence(until_resolved=True))
    story = hall.then(hall.story.expire("apache/a").at(10))
    assert hall.spent == []
    hall.then(story.up("apache/a"))
    assert hall.spent == [(OrderKind.SILENCE, "s1")]


def test_the_log_says_who_keeps_what_quiet(hall: Hall) -> None:
    """And who takes on what; but not what is over anyway."""
    with capture_logs() as logs:
        hall.people.take(silence())
        hall.people.withdraw(OrderKind.SILENCE, "s1")
        hall.people.take(silence(until=-1))
        hall.people.withdraw(OrderKind.SILENCE, "s1")
        hall.ack(by="bob")
    until = "2026-01-01T01:00:00+00:00"
    assert [{name: text for name, text in line.items() if name != "log_level"} for line in logs] == [
        {"event": "silenced", "silence": "s1", "match": "service=apache", "by": "ann", "until": until},
        {"event": "silence taken back", "silence": "s1"},
        {"event": "taken on", "alert": ALERT_ID, "by": "bob", "until": until},
    ]


# --- forgetting ------------------------------------------------------------------------------------------------------


def forget(name: str = "f1", instance: str | None = "a") -> Forget:
    """Return a request to forget apache/a."""
    return Forget(name, "apache", instance, "ann", instant(0).wall)


def test_what_is_gone_is_forgotten_on_request(hall: Hall) -> None:
    """Told as forgotten, since its firing was told."""
    hall.then(hall.story.expire("apache/a"))
    hall.people.take(forget())
    assert hall.story.at(1).told == ["0 firing lost apache/a", "0 forgotten lost apache/a"]


def test_each_request_is_obeyed_once(hall: Hall) -> None:
    """Though it is told again after a break, and the instance has come and gone meanwhile."""
    hall.then(hall.story.expire("apache/a"))
    hall.people.take(forget())
    story = hall.then(hall.story.at(1).up("apache/a").at(2).expire("apache/a").at(3))
    hall.people.take(forget())
    hall.people.resume()
    assert story.at(4).told[-1] == "2 firing lost apache/a"
    hall.people.withdraw(OrderKind.FORGET, "f1")
    hall.people.take(forget("f2", None))
    assert story.at(5).told[-1] == "4 forgotten lost apache/a"


def test_what_is_lost_after_the_request_was_not_meant(hall: Hall) -> None:
    """It may be read much later: by a daemon that has just begun, or that was catching up."""
    story = hall.then(hall.story.at(20).expire("apache/a").at(30))
    hall.people.take(forget())
    assert story.at(40).engine.counts["instances"] == 1
    assert not any("forgotten" in line for line in story.told)


def test_a_request_waits_until_what_happened_before_it_is_known(hall: Hall) -> None:
    """While services are caught up with, the instance may be gone in truth and there in the view."""
    hall.people.pause()
    story = hall.story.gap()
    hall.people.take(forget())
    hall.then(story.miss("apache/a").synced())
    hall.people.resume()
    assert story.at(1).engine.counts["instances"] == 0


def test_a_request_that_is_gone_before_that_is_not_obeyed(hall: Hall) -> None:
    """It was collected."""
    hall.people.pause()
    story = hall.story.gap()
    hall.people.take(forget())
    hall.people.withdraw(OrderKind.FORGET, "f1")
    hall.then(story.miss("apache/a").synced())
    hall.people.resume()
    assert story.engine.counts["instances"] == 1
