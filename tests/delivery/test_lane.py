"""One target's queue: order, retries, and how it ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from alertd.config.schema import Settings, Templates
from alertd.delivery.lane import Delivery, Lane, Lettering, Persistence, Wiring
from alertd.delivery.pace import Pace
from alertd.errors import DeliveryError
from tests.delivery.examples import notification, now
from tests.sinks import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alertd.delivery.letter import Letter
    from alertd.model import Instant

QUICK = Persistence(capacity=5, first_pause=0.01, longest_pause=0.04, jitter=lambda: 1.0)


@dataclass
class Target(Box):
    """A target that fails as told: one entry of `faults` an attempt, then it takes all; `gate` holds sends back."""

    faults: list[DeliveryError | None] = field(default_factory=list)
    service: str = "fake"
    seconds_apart: float = 0.0
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

    def make_lane(target: Target, persistence: Persistence = QUICK, clock: Callable[[], Instant] = now) -> Lane:
        pace = Pace.of(None, target.seconds_apart)
        lane = Lane("ops", "ops #1 fake", target, pace, Wiring(clock, ends.report, persistence))
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


def test_a_full_queue_drops_the_oldest_and_says_so(make: Callable[..., Lane], ends: Ends) -> None:
    """Not the one being sent, nor silently."""
    target = Target()
    target.gate.clear()
    lane = make(target)
    submit(lane, "sending")
    assert target.entered.wait(5.0)
    submit(lane, *"abcdefg")
    dropped = ends.after(2)
    assert [each.notification for each in dropped] == ["a", "b"]
    assert all("5 are queued already" in each.error for each in dropped)
    assert (lane.status().dropped, lane.status().failed, lane.status().queued) == (2, 2, 6)
    target.gate.set()
    assert [each.notification for each in ends.after(8)[2:]] == ["sending", *"cdefg"]


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
    assert ends.after(3)[2].error == "its target is closed"


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


def wait_until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Poll until `condition` holds; fail the test if it does not within `timeout` seconds."""
    deadline = now().mono + timeout
    tick = threading.Event()
    while not condition():
        assert now().mono < deadline, "condition not met in time"
        tick.wait(0.002)
