"""What is owed to fallbacks that spoke in a channel's place, whatever happens between the beginning and the end."""

from __future__ import annotations

import json

import pytest

from alertd.delivery.pending import Item, Leg
from alertd.delivery.shelf import Shelf
from alertd.delivery.standin import Standins
from alertd.model import Entry, Kind
from tests.delivery.examples import lost_alert, notification
from tests.delivery.outbox_world import World, rules

LABELS = {"ops": ("ops #1", "ops #2"), "mail": ("mail #1",), "sms": ("sms #1",)}


@pytest.fixture
def world() -> World:
    """Return a world in which `ops` has two targets and a fallback, which has one too."""
    return World(rules({"ops": "mail", "mail": "sms", "sms": None}), LABELS)


def turn(world: World, alerts: str) -> None:
    """Let alerts of one group begin or end, and write it."""
    world.turn("ops", "g", alerts)
    world.write_all()


def break_down(world: World, label: str) -> None:
    """Let a target fail for so often that the fallback is told."""
    for _ in range(3):
        world.attempt(label, "HTTP 503")
    world.write_all()


def item(number: int, kind: Kind) -> Item:
    """Return what tells of an alert, to `mail` in the place of `ops`."""
    told = notification(Entry(kind, lost_alert("a")), id=f"{number}")
    made = Item("g", told, [Leg("ops", []), Leg("mail", [])])
    made.number = number + 1
    return made


def test_an_older_end_takes_no_newer_beginning_back_when_another_takes_over(world: World) -> None:
    """The end of the first firing is still to be told when the second is: who takes over owes the second's end."""
    turn(world, "a")
    break_down(world, "ops #1")
    turn(world, "a")
    turn(world, "a")
    assert world.box("mail #1").ids == ["ops a-1", "ops a+2"]
    world.begin()
    world.deliver_all()
    turn(world, "a")
    world.deliver_all()
    assert world.books.told("mail #1") == ["ops a-1", "ops a+2", "ops a-2"]


def test_what_is_kept_says_itself_who_was_told_and_what_is_gone_is_recorded(world: World) -> None:
    """Never both, and each in the same document, so that nothing can come between."""
    turn(world, "a")
    break_down(world, "ops #1")
    world.attempt("mail #1")
    world.attempt("ops #1")
    world.write_all()
    (item,) = world.outbox.content("g")
    assert [leg["channel"] for leg in item["to"]] == ["ops", "mail"]
    world.attempt("ops #2")
    assert world.outbox.content("g") == [{"told": {"ops": {"mail": {"a": 1}}}}]


def test_a_document_that_records_what_is_kept_too_is_read(world: World) -> None:
    """As older ones do: the end is told once, and then forgotten."""
    turn(world, "a")
    break_down(world, "ops #1")
    raw, memory = world.store["g"]
    world.store["g"] = (json.dumps([*json.loads(raw), {"told": {"ops": {"mail": ["a"]}}}]), memory)
    world.begin()
    world.deliver_all()
    for _ in range(3):
        turn(world, "a")
        world.deliver_all()
    assert world.books.told("mail #1") == ["ops a+1", "ops a-1"]
    assert world.outbox.content("g") == []


def test_what_is_recorded_of_a_later_firing_does_not_count_for_an_earlier_end(world: World) -> None:
    """The second firing is left out everywhere before the first end is told: who takes over tells `sms` no old end."""
    turn(world, "a")
    break_down(world, "ops #1")
    turn(world, "a")
    world.attempt("mail #1")
    turn(world, "a")
    break_down(world, "mail #1")
    turn(world, "a")
    assert world.box("sms #1").ids == ["ops a-2"]
    world.begin()
    world.deliver_all()
    assert world.books.told("sms #1") == ["ops a-2"]


def test_numbers_go_on_from_what_is_recorded(world: World) -> None:
    """Who takes over finds nothing undelivered: the end is later than the beginning even so, and is told once."""
    for _ in range(4):
        turn(world, "b")
        world.deliver_all()
    turn(world, "a")
    break_down(world, "ops #1")
    world.deliver_all()
    assert world.outbox.content("g") == [{"told": {"ops": {"mail": {"a": 5}}}}]
    world.begin()
    turn(world, "a")
    world.deliver_all()
    assert world.books.told("mail #1") == ["ops a+1", "ops a-1"]
    assert world.outbox.content("g") == []


def test_what_the_rules_know_no_more_is_forgotten_by_who_takes_over(world: World) -> None:
    """As by who was there when they changed."""
    turn(world, "a")
    break_down(world, "ops #1")
    world.deliver_all()
    world.ruleset = rules({"ops": None, "sms": None})
    world.begin()
    assert world.dirty == {"g": None}
    assert world.outbox.content("g") == []


def test_what_goes_first_is_not_what_was_decided_first() -> None:
    """As where a target that is no longer in the rules takes its time: the later word counts, be it gone or kept."""
    shelf, standins = Shelf(lambda _item: None), Standins()
    ended, begun, end = (item(number, kind) for number, kind in enumerate((Kind.RESOLVED, Kind.FIRING, Kind.RESOLVED)))
    for each in (ended, begun, end):
        shelf.add(each)
    shelf.tidy(begun)
    assert standins.note_gone(begun, begun.fallbacks) == {"g"}
    assert standins.believing(shelf, end, "id-a") == ["mail"]
    shelf.tidy(ended)
    assert standins.note_gone(ended, ended.fallbacks) == set()
    assert standins.believing(shelf, end, "id-a") == ["mail"]
    assert standins.note_gone(end, end.fallbacks) == {"g"}
    assert standins.content("g") is None


# --- in order --------------------------------------------------------------------------------------------------------


def test_an_end_takes_along_what_might_have_to_go_there_later(world: World) -> None:
    """`ops` works again, but for what waits there: should it break down, that would come after its own end."""
    turn(world, "a")
    break_down(world, "ops #1")
    world.attempt("ops #1")
    turn(world, "ab")
    turn(world, "a")
    turn(world, "a")
    assert world.box("mail #1").ids == ["ops a-1 b+1"]
    turn(world, "ab")
    assert world.box("mail #1").ids == ["ops a-1 b+1", "ops a-2", "ops a+3 b-1"]
    break_down(world, "ops #2")
    world.deliver_all()
    assert world.books.told("mail #1") == ["ops a-1 b+1", "ops a-2", "ops a+3 b-1"]


def test_it_takes_along_nothing_that_a_fallback_in_between_has_taken(world: World) -> None:
    """`mail` took the first end, so `sms` is told nothing of it, though another target still waits for it."""
    turn(world, "a")
    break_down(world, "ops #1")
    turn(world, "a")
    world.attempt("mail #1")
    turn(world, "a")
    turn(world, "a")
    break_down(world, "mail #1")
    assert world.box("sms #1").ids == ["ops a-2"]
    turn(world, "a")
    turn(world, "a")
    world.deliver_all()
    assert world.books.told("sms #1") == ["ops a-2", "ops a-3"]
