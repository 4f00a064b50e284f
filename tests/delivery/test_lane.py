"""One target's queue: order, retries, and how it ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from alertd.config.schema import Settings, Templates
from alertd.delivery.courier import Courier
from alertd.delivery.lane import Attempt, Delivery, Flight, Lane, Lettering, Persistence, Wiring
from alertd.delivery.pace import Pace
from alertd.errors import DeliveryError
from tests.delivery.examples import notification, now
from tests.sinks import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alertd.delivery.letter import Letter
    from alertd.model import Instant

QUICK = Persistence(first_pause=0.01, longest_pause=0.04, jitter=lambda: 1.0)


@dataclass
class Target(Box):
    """A target that fails as told: one entry of `faults` an attempt, then it takes all; `gate` holds sends back."""

    faults: list[DeliveryError | None] = field(default_factory=list)
    service: str = "fake"
    seconds_apart: float = 0.0
    seconds_more: float = 0.0
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__()
        self.gate.set()

    def send(self, letter: Letter) -> None:
        """Take a letter, or fail; every attempt is recorded."""
        self.entered.set()
        self.gate.wait()
        fault = self.faults.pop(0) if self.faults else None
        self.put({"id": letter.id, "ok": fault is None, "at": now().mono})
        if fault is not None:
            raise fault


class Ends(Box):
    """Hears of every end."""

    def report(self, delivery: Delivery) -> None:
        """Record it."""
        self.put({"delivery": delivery})

    def after(self, count: int) -> list[Delivery]:
        """Return the ends once there are `count`."""
        return [each["delivery"] for each in self.wait_for_count(count)]


@pytest.fixture
def ends() -> Ends:
    """Return an empty list of ends."""
    return Ends()


@pytest.fixture
def make(ends: Ends) -> Iterator[Callable[..., Lane]]:
    """Return a maker of lanes that are closed after the test."""
    lanes: list[Lane] = []

    def make_lane(
        target: Target, persistence: Persistence = QUICK, clock: Callable[[], Instant] = now, **wiring: Any
    ) -> Lane:
        pace = Pace.of(None, target.seconds_apart)
        courier = Courier(lambda: target, persistence.ends_within)
        lane = Lane("ops", "ops #1 fake", courier, pace, Wiring(clock, ends.report, persistence, **wiring))
        lane.follow(Lettering(Settings(), Templates()))
        lanes.append(lane)
        return lane

    yield make_lane
    for lane in lanes:
        lane.close()


def submit(lane: Lane, *ids: str) -> None:
    """Submit notifications decided just now."""
    for identifier in ids:
        lane.submit(notification(id=identifier, at=now()))


def test_what_was_submitted_arrives_once_and_is_reported(make: Callable[..., Lane], ends: Ends) -> None:
    """With the seconds since the decision."""
    target = Target()
    lane = make(target)
    submit(lane, "a", "b")
    first, second = ends.after(2)
    assert (first.notification, first.channel, first.target, first.ok) == ("a", "ops", "ops #1 fake", True)
    assert (second.notification, second.attempts, second.error) == ("b", 1, "")
    assert 0 <= first.seconds < 1
    assert [each["id"] for each in target.received] == ["a", "b"]
    assert (lane.status().sent, lane.status().queued, lane.status().stuck_since) == (2, 0, None)


def test_order_is_kept_across_retries(make: Callable[..., Lane], ends: Ends) -> None:
    """What comes after a failing one waits for it."""
    target = Target([DeliveryError("busy"), DeliveryError("busy")])
    submit(make(target), "a", "b", "c")
    assert [(each.notification, each.attempts) for each in ends.after(3)] == [("a", 3), ("b", 1), ("c", 1)]
    assert [each["id"] for each in target.received] == ["a", "a", "a", "b", "c"]


def test_pauses_double_up_to_the_longest_and_honour_what_is_asked(make: Callable[..., Lane], ends: Ends) -> None:
    """10, 20, 40, 40 ms here, and then the 150 ms that the target asked for."""
    faults = [DeliveryError("busy") for _ in range(4)]
    target = Target([*faults, DeliveryError("busy", retry_after=0.15)])
    submit(make(target), "a")
    ends.after(1)
    times = [each["at"] for each in target.received]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for gap, least in zip(gaps, [0.01, 0.02, 0.04, 0.04, 0.15], strict=True):
        assert least <= gap < least + 0.1


def test_a_message_refused_for_good_makes_way(make: Callable[..., Lane], ends: Ends) -> None:
    """One attempt, reported as failed; the next one passes."""
    target = Target([DeliveryError("HTTP 400", recoverable=False)])
    lane = make(target)
    submit(lane, "a", "b")
    first, second = ends.after(2)
    assert (first.notification, first.ok, first.attempts, first.error) == ("a", False, 1, "HTTP 400")
    assert second.ok
    assert (lane.status().failed, lane.status().sent) == (1, 1)


def test_what_is_too_old_is_given_up(make: Callable[..., Lane], ends: Ends) -> None:
    """After 24 h by default; the age runs from the decision, on the monotonic clock."""
    target = Target([DeliveryError("busy"), DeliveryError("busy")])
    lane = make(target)
    lane.submit(notification(id="old", at=now()._replace(mono=now().mono - 86_401)))
    submit(lane, "new")
    old, new = ends.after(2)
    assert (old.notification, old.ok, old.attempts) == ("old", False, 1)
    assert (new.notification, new.ok, new.attempts) == ("new", True, 2)


def test_for_how_long_it_is_tried_is_a_setting(make: Callable[..., Lane], ends: Ends) -> None:
    """It may be changed while the message waits."""
    lane = make(Target([DeliveryError("busy")]))
    lane.follow(Lettering(Settings.model_validate({"give_up_after": "10s"}), Templates()))
    lane.submit(notification(id="old", at=now()._replace(mono=now().mono - 11)))
    assert not ends.after(1)[0].ok


def test_nothing_is_ever_dropped(make: Callable[..., Lane], ends: Ends) -> None:
    """However long the queue of a target that hangs; the same one is queued once."""
    target = Target()
    target.gate.clear()
    lane = make(target)
    submit(lane, "sending")
    assert target.entered.wait(5.0)
    submit(lane, "sending", *(str(number) for number in range(3000)), "7", "sending")
    assert lane.status().queued == 3001
    target.gate.set()
    told = [each.notification for each in ends.after(3001)]
    assert told == ["sending", *(str(number) for number in range(3000))]


def test_a_stuck_target_says_since_when_and_why(make: Callable[..., Lane], ends: Ends) -> None:
    """From the first failure of what is at the head, until it is delivered."""
    target = Target([DeliveryError("HTTP 503", retry_after=60.0)])
    lane = make(target)
    before = now().wall
    submit(lane, "a")
    wait_until(lambda: lane.status().stuck_since is not None)
    status = lane.status()
    assert status.stuck_since is not None
    assert before <= status.stuck_since <= now().wall
    assert status.last_error == "HTTP 503"
    lane.hurry()
    ends.after(1)
    assert (lane.status().stuck_since, lane.status().last_error) == (None, "")


def test_a_hanging_send_counts_as_stuck(make: Callable[..., Lane]) -> None:
    """After 10 s, though nothing has failed yet."""
    target = Target()
    target.gate.clear()
    late = 0.0
    lane = make(target, QUICK, lambda: now()._replace(mono=now().mono + late))
    submit(lane, "a")
    assert target.entered.wait(5.0)
    assert lane.status().stuck_since is None
    late = 11.0
    assert lane.status().stuck_since is not None
    target.gate.set()


def test_a_hurrying_lane_tries_once_more_and_then_leaves_the_rest(make: Callable[..., Lane], ends: Ends) -> None:
    """At the daemon's end nobody waits for a dead target; what is left is counted."""
    target = Target([DeliveryError("busy", retry_after=60.0), DeliveryError("busy")])
    lane = make(target)
    submit(lane, "a", "b")
    target.wait_for_count(1)
    lane.hurry()
    assert lane.drain(5.0) is False
    assert len(target.received) == 2
    assert lane.close() == 2
    assert ends.received == []


def test_a_retired_lane_tries_each_once_and_ends(make: Callable[..., Lane], ends: Ends) -> None:
    """What a removed target does not take is reported, and its thread goes."""
    target = Target([DeliveryError("busy", retry_after=60.0), DeliveryError("busy")])
    lane = make(target)
    submit(lane, "a", "b")
    target.wait_for_count(1)
    lane.retire()
    assert [(each.notification, each.ok) for each in ends.after(2)] == [("a", False), ("b", True)]
    wait_until(lambda: lane.has_ended)
    submit(lane, "c")
    assert ends.after(3)[2].error == "its target is no longer in the rules"


def test_a_slow_pace_does_not_outlive_the_end(make: Callable[..., Lane], ends: Ends) -> None:
    """Apprise's pauses between messages are waited for, not slept: closing ends them."""
    target = Target(seconds_apart=60.0)
    lane = make(target, Persistence())
    submit(lane, *(str(number) for number in range(12)))
    ends.after(10)
    assert lane.close() == 2
    wait_until(lambda: lane.has_ended)


def test_a_listener_that_fails_stops_nothing(
    make: Callable[..., Lane], ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as an event loop that is closed already."""
    target = Target()

    def broken(_delivery: Delivery) -> None:
        raise RuntimeError("Event loop is closed")

    monkeypatch.setattr(ends, "report", broken)
    submit(make(target), "a", "b")
    target.wait_for_count(2)


def test_a_message_that_cannot_be_written_fails_alone(make: Callable[..., Lane], ends: Ends) -> None:
    """A bug in the wording is that message's failure, not the thread's end."""
    lane = make(Target())
    lane.submit(notification(id="broken", at=now(), entries=(None,)))
    submit(lane, "fine")
    broken, fine = ends.after(2)
    assert (broken.ok, broken.error) == (False, "cannot be written: AttributeError")
    assert fine.ok


def test_a_template_that_does_not_render_is_logged_once_a_message(
    make: Callable[..., Lane], ends: Ends, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the message is tried several times; it goes out with the built-in text."""
    lane = make(Target([DeliveryError("busy"), DeliveryError("busy")]))
    lane.follow(Lettering(Settings(), Templates(title="{{ nope }}")))
    submit(lane, "a")
    (end,) = ends.after(1)
    assert (end.ok, end.attempts) == (True, 3)
    logged = [line for line in capsys.readouterr().out.splitlines() if "built-in text" in line]
    assert len(logged) == 1
    assert "the title template of channel ops: template does not render: 'nope' is undefined" in logged[0]


# --- what the outbox asks for ----------------------------------------------------------------------------------------


class Hearing(Box):
    """Hears of attempts that are no ends."""

    def hear(self, attempt: Attempt) -> None:
        """Record it."""
        self.put({"attempt": attempt})

    def after(self, count: int) -> list[Attempt]:
        """Return the attempts once there are `count`."""
        return [each["attempt"] for each in self.wait_for_count(count)]


def test_attempts_that_are_no_ends_are_reported(make: Callable[..., Lane], ends: Ends) -> None:
    """The first as it begins, so that one that hangs is seen; then each that failed. Ends bear the lane's number."""
    hearing = Hearing()
    lane = make(Target([DeliveryError("HTTP 503"), DeliveryError("HTTP 502")]), attempted=hearing.hear)
    submit(lane, "a")
    (end,) = ends.after(1)
    begun, first, second = hearing.after(3)
    assert (begun.notification, begun.attempts, begun.error, begun.target) == ("a", 0, "", "ops #1 fake")
    assert [(each.attempts, each.error) for each in (first, second)] == [(1, "HTTP 503"), (2, "HTTP 502")]
    assert begun.begun == first.begun == second.begun
    assert {each.lane for each in (begun, first, second, end)} == {lane.number}
    assert make(Target()).number != lane.number


def test_what_waits_or_rests_between_attempts_can_be_withdrawn(make: Callable[..., Lane], ends: Ends) -> None:
    """Without a report; what comes after it has its turn."""
    hearing = Hearing()
    lane = make(Target([DeliveryError("busy", retry_after=60.0)]), attempted=hearing.hear)
    submit(lane, "a", "b", "c")
    hearing.after(2)
    assert lane.withdraw("b")
    assert lane.withdraw("a")
    assert not lane.withdraw("a")
    assert [each.notification for each in ends.after(1)] == ["c"]
    assert (lane.status().withdrawn, lane.status().queued) == (2, 0)


def test_what_is_being_attempted_cannot_be_withdrawn(
    make: Callable[..., Lane], ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what has just been taken and is not reported yet: it counts as in flight until it is."""
    seen: list[tuple[bool, bool]] = []
    report = ends.report

    def look(delivery: Delivery) -> None:
        seen.append((lane.withdraw("a"), lane.in_flight is not None))
        report(delivery)

    monkeypatch.setattr(ends, "report", look)
    target = Target()
    target.gate.clear()
    lane = make(target)
    submit(lane, "a")
    assert target.entered.wait(5.0)
    assert not lane.withdraw("a")
    assert lane.in_flight == Flight("a", lane.channel, lane.label, lane.number)
    target.gate.set()
    assert ends.after(1)[0].ok
    assert seen == [(False, True)]
    wait_until(lambda: not lane.in_flight)


def test_a_recall_drops_all_without_a_report(make: Callable[..., Lane], ends: Ends) -> None:
    """Of the one under way only an end is reported: if it fails, it is not tried again here."""
    target = Target([DeliveryError("busy")])
    target.gate.clear()
    lane = make(target)
    submit(lane, "a", "b", "c")
    assert target.entered.wait(5.0)
    lane.recall()
    target.gate.set()
    wait_until(lambda: not lane.in_flight)
    assert lane.status().queued == 0
    submit(lane, "d")
    assert [each.notification for each in ends.after(1)] == ["d"]
    assert [each["id"] for each in target.received] == ["a", "d"]


def test_what_is_recalled_under_way_and_queued_anew_is_not_sent_twice(make: Callable[..., Lane], ends: Ends) -> None:
    """Who loses leadership and wins it back goes on with it."""
    target = Target([DeliveryError("busy")])
    target.gate.clear()
    lane = make(target)
    submit(lane, "a")
    assert target.entered.wait(5.0)
    lane.recall()
    submit(lane, "a")
    target.gate.set()
    assert [(each.notification, each.attempts) for each in ends.after(1)] == [("a", 2)]


def test_while_it_may_not_send_all_is_left_alone(make: Callable[..., Lane], ends: Ends) -> None:
    """Asked before every attempt, also the second; nothing is reported, and it goes on when it may again."""
    asked: list[bool] = []
    answers = [True, False, False, True]

    def may_send() -> bool:
        asked.append(answers.pop(0) if answers else True)
        return asked[-1]

    target = Target([DeliveryError("busy")])
    lane = make(target, may_send=may_send)
    submit(lane, "a")
    assert [(each.notification, each.attempts) for each in ends.after(1)] == [("a", 2)]
    assert asked == [True, False, False, True]


def test_who_may_not_send_sends_nothing_at_its_end_either(make: Callable[..., Lane], ends: Ends) -> None:
    """And is not waited for: another daemon tells it."""
    target = Target()
    lane = make(target, may_send=lambda: False)
    submit(lane, "a", "b")
    lane.hurry()
    begun = now().mono
    assert lane.drain(5.0) is False
    assert now().mono - begun < 3.0
    assert lane.close() == 2
    assert (target.received, ends.received) == ([], [])


def test_a_paused_lane_finishes_what_is_under_way(make: Callable[..., Lane], ends: Ends) -> None:
    """Its end is reported, and nothing new is begun until it may go on."""
    target = Target()
    target.gate.clear()
    lane = make(target)
    submit(lane, "a", "b")
    assert target.entered.wait(5.0)
    lane.pause()
    target.gate.set()
    assert ends.after(1)[0].notification == "a"
    wait_until(lambda: not lane.in_flight)
    assert (lane.status().queued, len(target.received)) == (1, 1)
    lane.pause(is_paused=False)
    assert ends.after(2)[1].notification == "b"


def test_each_attempt_and_each_acceptance_is_observed(make: Callable[..., Lane], ends: Ends) -> None:
    """In the order in which they are made, so that a test can end the process in between."""
    steps: list[tuple[str, str]] = []
    lane = make(Target([DeliveryError("busy")]), observe=lambda step, identifier: steps.append((step, identifier)))
    submit(lane, "a")
    ends.after(1)
    assert steps == [("attempted", "a"), ("attempted", "a"), ("accepted", "a")]


def wait_until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Poll until `condition` holds; fail the test if it does not within `timeout` seconds."""
    deadline = now().mono + timeout
    tick = threading.Event()
    while not condition():
        assert now().mono < deadline, "condition not met in time"
        tick.wait(0.002)
