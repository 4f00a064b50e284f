"""Who is told in the place of a channel that fails, when, and that they are told the end as well."""

from __future__ import annotations

import pytest

from alertd.config.schema import Channel
from tests.delivery.outbox_world import World, rules

LABELS = {"ops": ("ops #1", "ops #2"), "mail": ("mail #1",), "sms": ("sms #1",)}


@pytest.fixture
def world() -> World:
    """Return a world in which `ops` has two targets and a fallback, which has one too."""
    return World(rules({"ops": "mail", "mail": "sms", "sms": None}), LABELS)


def fail(world: World, label: str, times: int = 3) -> None:
    """Let a target fail so many times in a row, and write what changed."""
    for _ in range(times):
        world.attempt(label, "HTTP 503")
    world.write_all()


def told(world: World, label: str) -> list[str]:
    """Let a target take all that waits there, and return what it has been told."""
    while world.box(label).queue:
        world.attempt(label)
        world.write_all()
    return world.books.told(label)


def begin(world: World, channel: str = "ops", group: str = "g", alerts: str = "a") -> None:
    """Decide and write a message."""
    world.turn(channel, group, alerts)
    world.write_all()


# --- when ------------------------------------------------------------------------------------------------------------


def test_the_third_failure_tells_the_fallback_and_the_original_is_still_tried(world: World) -> None:
    """Once, with the same id; it says for whom and why."""
    begin(world)
    fail(world, "ops #1", 2)
    assert world.box("mail #1").ids == []
    fail(world, "ops #1")
    assert world.box("mail #1").ids == ["ops a+1"]
    _, why = world.box("mail #1").queue[0]
    assert why is not None
    assert (why.channel, why.target, why.since, why.error) == ("ops", "ops #1", world.now.wall, "HTTP 503")
    assert world.box("ops #1").ids == ["ops a+1"]


def test_so_do_two_minutes_in_which_nothing_is_taken(world: World) -> None:
    """A target that hangs fails no attempt; the time runs from the first one."""
    begin(world)
    world.start("ops #1")
    world.hear()
    due = world.outbox.next_deadline()
    assert due == world.now.mono + 120
    world.pass_time(119)
    world.write_all()
    assert world.box("mail #1").ids == []
    world.pass_time(1)
    world.write_all()
    assert world.box("mail #1").ids == ["ops a+1"]
    due = world.outbox.next_deadline()
    assert due is not None
    assert due > world.now.mono + 3600


def test_all_that_waits_behind_a_target_that_takes_nothing_is_diverted_with_it(world: World) -> None:
    """And what is decided from then on at once, until it takes something again."""
    begin(world)
    begin(world, group="h", alerts="c")
    fail(world, "ops #1")
    assert world.box("mail #1").ids == ["ops a+1", "ops c+1"]
    begin(world, alerts="b")
    assert world.box("mail #1").ids == ["ops a+1", "ops c+1", "ops b+1"]
    told(world, "ops #1")
    begin(world, group="i", alerts="d")
    assert world.box("mail #1").ids == ["ops a+1", "ops c+1", "ops b+1"]


def test_a_diversion_is_durable_before_it_is_attempted(world: World) -> None:
    """A daemon that dies right after would tell the fallback again otherwise."""
    begin(world)
    for _ in range(3):
        world.attempt("ops #1", "HTTP 503")
    assert world.box("mail #1").ids == []
    assert "g" in world.dirty
    world.write_all()
    assert world.box("mail #1").ids == ["ops a+1"]


def test_failures_count_across_daemons(world: World) -> None:
    """So does the time; what was diverted is so once."""
    begin(world)
    fail(world, "ops #1", 2)
    world.begin()
    fail(world, "ops #1", 1)
    assert world.box("mail #1").ids == ["ops a+1"]
    assert told(world, "mail #1") == ["ops a+1"]
    world.begin()
    fail(world, "ops #1", 3)
    assert world.box("mail #1").ids == []


def test_a_channel_of_which_no_target_can_be_used_diverts_at_once(world: World) -> None:
    """Each refuses for good; as long as one may still take it, or has, nobody else is told."""
    begin(world)
    world.attempt("ops #1", "its secret is not set", is_final=True)
    world.write_all()
    assert world.box("mail #1").ids == []
    world.attempt("ops #2", "its URL is wrong", is_final=True)
    world.write_all()
    (_, why) = world.box("mail #1").queue[0]
    assert why is not None
    assert (why.target, why.since, why.error) == ("ops #2", None, "its URL is wrong")


def test_a_refusal_beside_an_acceptance_is_not_diverted(world: World) -> None:
    """The channel was told."""
    begin(world)
    world.attempt("ops #1")
    world.attempt("ops #2", "HTTP 400", is_final=True)
    world.write_all()
    assert world.box("mail #1").ids == []


def test_a_fallback_that_fails_too_has_its_own(world: World) -> None:
    """And the last one has none."""
    begin(world)
    fail(world, "ops #1")
    fail(world, "mail #1")
    fail(world, "sms #1")
    assert world.box("sms #1").ids == ["ops a+1"]
    _, why = world.box("sms #1").queue[0]
    assert why is not None
    assert (why.channel, why.target) == ("ops", "mail #1")


def test_without_a_fallback_nobody_else_is_told_and_nothing_is_written(world: World) -> None:
    """Retrying costs etcd nothing."""
    begin(world, "sms")
    for _ in range(5):
        world.attempt("sms #1", "HTTP 503")
    assert world.dirty == {}


# --- the end is told, too --------------------------------------------------------------------------------------------


def test_who_was_told_in_its_place_is_told_the_end_though_the_channel_works_again(world: World) -> None:
    """Exactly once; the next firing is the channel's own affair."""
    begin(world)
    fail(world, "ops #1")
    assert told(world, "mail #1") == ["ops a+1"]
    world.deliver_all()
    assert world.outbox.content("g") == [{"told": {"ops": {"mail": {"a": 1}}}}]
    begin(world)
    _, why = world.box("mail #1").queue[0]
    assert why is not None
    assert (why.channel, why.target, why.error) == ("ops", "", "")
    world.deliver_all()
    assert world.outbox.content("g") == []
    begin(world)
    begin(world)
    world.deliver_all()
    assert world.books.told("mail #1") == ["ops a+1", "ops a-1"]


def test_also_by_whoever_takes_over(world: World) -> None:
    """What a fallback was told is in the document, long after all of it was delivered."""
    begin(world)
    fail(world, "ops #1")
    world.deliver_all()
    world.begin()
    begin(world)
    world.deliver_all()
    assert world.books.told("mail #1") == ["ops a+1", "ops a-1"]


def test_an_end_that_cannot_be_told_goes_to_the_fallback_alone(world: World) -> None:
    """It was not told of the beginning: one message with both times."""
    begin(world)
    told(world, "ops #1")
    begin(world)
    fail(world, "ops #1")
    assert told(world, "mail #1") == ["ops a-1"]


def test_a_firing_that_ended_before_the_fallback_took_it_is_told_with_its_end(world: World) -> None:
    """As at any target."""
    begin(world)
    fail(world, "ops #1")
    fail(world, "mail #1", 1)
    begin(world)
    assert told(world, "mail #1") == ["ops a-1"]


def test_what_is_over_is_not_told_to_somebody_else_any_more(world: World) -> None:
    """The firing hangs, being attempted, when its end is decided: the fallback is told the end, with both times."""
    begin(world)
    world.start("ops #1")
    world.hear()
    begin(world)
    assert world.box("ops #1").ids == ["ops a+1", "ops a-1"]
    world.pass_time(121)
    world.write_all()
    assert world.box("mail #1").ids == ["ops a-1"]


def test_who_wants_no_end_is_not_told_one(world: World) -> None:
    """Nor is it remembered that it was told of the beginning."""
    ruleset = rules({"ops": "mail", "mail": "sms", "sms": None})
    quiet = Channel(fallback="sms", send_resolved=False)
    world.outbox.follow(ruleset.model_copy(update={"channels": {**ruleset.channels, "mail": quiet}}), {})
    begin(world)
    fail(world, "ops #1")
    assert told(world, "mail #1") == ["ops a+1"]
    begin(world)
    fail(world, "ops #1")
    assert told(world, "mail #1") == ["ops a+1"]
    world.deliver_all()
    assert world.outbox.content("g") == []


def test_what_a_channel_was_told_that_is_gone_is_forgotten(world: World) -> None:
    """Nobody can tell it the end; the document is written without it."""
    begin(world)
    fail(world, "ops #1")
    world.deliver_all()
    world.outbox.follow(rules({"ops": None}), {})
    assert world.dirty == {"g": None}
    assert world.outbox.content("g") == []


def test_of_the_same_alerts_nothing_overtakes_at_the_fallback(world: World) -> None:
    """What waits at another target of the channel goes there first."""
    begin(world, alerts="ab")
    told(world, "ops #2")
    world.turn("ops", "g", "a")
    world.write_all()
    assert world.box("ops #1").ids == ["ops a+1 b+1", "ops a-1"]
    fail(world, "ops #2")
    assert world.box("mail #1").ids == ["ops a+1 b+1", "ops a-1"]
