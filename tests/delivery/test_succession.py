"""A target's address changes while something waits for it: nothing is lost, told twice, or told out of order."""

from __future__ import annotations

import pytest

from tests.delivery.outbox_world import World, rules


@pytest.fixture
def world() -> World:
    """Return a world in which `ops` has two targets."""
    return World(rules({"ops": None}), {"ops": ("ops #1", "ops #2")})


def turn(world: World, alerts: str = "a") -> None:
    """Let alerts begin or end, and write that."""
    world.turn("ops", "g", alerts)
    world.write_all()


def test_what_waits_goes_on_to_the_new_address_in_order(world: World) -> None:
    """The other target's queue stays as it is."""
    turn(world)
    world.attempt("ops #1", "HTTP 401")
    turn(world, "b")
    world.change_address("ops #1")
    assert world.box("ops #1").ids == world.box("ops #2").ids == ["ops a+1", "ops b+1"]
    world.attempt("ops #1")
    turn(world)
    world.deliver_all()
    assert world.books.told("ops #1") == ["ops a+1", "ops b+1", "ops a-1"]
    assert list(world.outbox.dead_letters.last) == []


def test_what_is_not_durable_yet_goes_there_once_it_is(world: World) -> None:
    """It was in no queue."""
    world.turn("ops", "g", "a")
    world.change_address("ops #1")
    assert world.box("ops #1").ids == []
    world.write_all()
    assert world.box("ops #1").ids == ["ops a+1"]


def test_what_is_taken_at_the_old_address_meanwhile_is_not_told_again(world: World) -> None:
    """What comes later about the same alert waits for how that ends, at that target alone."""
    turn(world)
    world.start("ops #1")
    world.change_address("ops #1")
    turn(world)
    turn(world, "b")
    assert world.box("ops #1").ids == ["ops b+1"]
    assert world.box("ops #2").ids == ["ops a-1", "ops b+1"]
    world.end_retired()
    world.hear()
    assert world.box("ops #1").ids == ["ops b+1", "ops a-1"]
    world.deliver_all()
    assert world.books.told("ops #1") == ["ops a+1", "ops b+1", "ops a-1"]


def test_what_fails_at_the_old_address_goes_on_before_what_waits_for_it(world: World) -> None:
    """Or is told by that, as if it had waited at the new one."""
    turn(world, "ab")
    world.start("ops #1")
    world.change_address("ops #1")
    turn(world, "a")
    world.end_retired("HTTP 401")
    world.hear()
    assert world.box("ops #1").ids == ["ops a+1 b+1", "ops a-1"]
    world.start("ops #1")
    world.change_address("ops #1")
    turn(world, "b")
    world.end_retired("HTTP 401")
    world.hear()
    assert world.box("ops #1").ids == ["ops a-1", "ops b-1"]
    assert list(world.outbox.dead_letters.last) == []


def test_a_second_change_while_the_first_address_is_still_asked(world: World) -> None:
    """The newest one has it in the end."""
    turn(world)
    world.start("ops #1")
    world.change_address("ops #1")
    world.change_address("ops #1")
    world.end_retired("HTTP 401")
    world.hear()
    assert world.box("ops #1").ids == ["ops a+1"]


def test_what_is_taken_back_and_handed_over_again_goes_on_all_the_same(world: World) -> None:
    """Leadership is lost and won back, and the old address is not there any more."""
    turn(world)
    world.start("ops #1")
    world.change_address("ops #1")
    world.regain()
    world.end_retired("HTTP 401")
    world.write_all()
    world.deliver_all()
    assert world.books.told("ops #1") == ["ops a+1"]
