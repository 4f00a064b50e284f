"""What waits to be told: until it is durable, until it is taken, or until it has become pointless."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from alertd.delivery.outbox import name_of
from alertd.delivery.pending import Item
from alertd.errors import NotUnderstood
from alertd.model import Entry, Instant, Kind
from tests.delivery.examples import lost_alert, notification
from tests.delivery.outbox_world import World, rules

LABELS = {"ops": ("ops #1", "ops #2"), "mail": ("mail #1",), "sms": ("sms #1",)}


@pytest.fixture
def world() -> World:
    """Return a world in which `ops` has two targets and a fallback, which has one too."""
    return World(rules({"ops": "mail", "mail": "sms", "sms": None}), LABELS)


def ids_of(contents: list[Any]) -> list[str]:
    """Return the ids of the letters that a document holds."""
    return [item["letter"]["id"] for item in contents if "letter" in item]


# --- durable first ---------------------------------------------------------------------------------------------------


def test_nothing_is_handed_over_before_it_is_durable(world: World) -> None:
    """Decided, it is in the content; released, it goes to each target of its channel and to no other."""
    world.turn("ops", "g", "a")
    assert ids_of(world.outbox.content("g")) == ["ops a+1"]
    assert [box.ids for box in world.boxes] == [[], [], [], []]
    world.write("g")
    assert [box.ids for box in world.boxes] == [["ops a+1"], ["ops a+1"], [], []]


def test_what_was_decided_since_the_content_was_taken_is_not_released(world: World) -> None:
    """The document that has been written does not hold it."""
    world.turn("ops", "g", "a")
    world.write("g", release=False)
    world.turn("ops", "g", "b")
    world.outbox.release("g")
    assert world.box("ops #1").ids == ["ops a+1"]


def test_content_shrinks_with_each_target_that_takes_it(world: World) -> None:
    """And says so each time; in the end nothing is left of it."""
    world.turn("ops", "g", "a")
    world.write("g")
    world.attempt("ops #1")
    assert "g" in world.dirty
    (item,) = world.outbox.content("g")
    assert item["to"] == [{"channel": "ops", "left": [["ops #2", 0, None, ""]], "settled": True}]
    world.attempt("ops #2")
    assert (world.outbox.content("g"), len(world.outbox)) == ([], 0)


def test_the_same_notification_is_taken_in_once(world: World) -> None:
    """Two replicas, or one that judges again, give it the same id."""
    told = world.turn("ops", "g", "a")
    world.outbox.decide(told)
    world.write("g")
    assert world.box("ops #1").ids == ["ops a+1"]


def digest(world: World, kind: Kind, alert: str) -> Any:
    """Return a digest about one alert."""
    return notification(world.entry(alert, kind, 1), id=f"digest {alert} {kind}", kind=Kind.DIGEST, at=world.now)


def test_what_comes_later_about_an_alert_waits_for_the_document_of_what_came_earlier(world: World) -> None:
    """A digest has a document of its own, which may be durable first."""
    world.turn("ops", "g", "a")
    other = world.outbox.decide(digest(world, Kind.FLAPPING, "a"))
    unrelated = digest(world, Kind.FIRING, "z")
    world.outbox.decide(unrelated)
    assert other.startswith("digest-")
    assert other == name_of(unrelated)
    world.store[other] = (json.dumps(world.outbox.content(other)), {})
    world.outbox.release(other)
    assert world.box("ops #1").ids == [unrelated.id]
    world.write("g")
    assert world.box("ops #1").ids == [unrelated.id, "ops a+1", "digest a flapping"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_documents_written_together_are_handed_over_in_the_order_of_decisions(
    world: World, order: tuple[int, ...]
) -> None:
    """In whichever order it is said that they are written: what waits is not overtaken by what is after it."""
    world.turn("ops", "h", "ce")
    world.digest("ops", "cb")
    world.turn("ops", "g", "bd")
    written = world.write_together()
    for place in order:
        world.release(written[place])
    assert world.box("ops #1").ids == ["ops c+1 e+1", "ops digest c-1 b+1", "ops b-1 d+1"]


# --- told together ---------------------------------------------------------------------------------------------------


def test_a_firing_whose_end_comes_first_is_told_with_it(world: World) -> None:
    """Where it is not taken yet, the resolve alone is told, with both times; where it was, both are."""
    world.turn("ops", "g", "a")
    world.write_all()
    world.attempt("ops #1")
    world.attempt("ops #2", "HTTP 503")
    world.turn("ops", "g", "a")
    world.write_all()
    assert world.box("ops #2").ids == ["ops a-1"]
    world.deliver_all()
    assert world.books.told("ops #1") == ["ops a+1", "ops a-1"]
    assert world.books.told("ops #2") == ["ops a-1"]


def test_what_is_being_attempted_stays_and_is_looked_at_again_when_that_fails(world: World) -> None:
    """It may be accepted at that very moment."""
    world.turn("ops", "g", "a")
    world.write_all()
    world.start("ops #1")
    world.turn("ops", "g", "a")
    world.write_all()
    assert world.box("ops #1").ids == ["ops a+1", "ops a-1"]
    world.finish("ops #1", "HTTP 503")
    world.hear()
    assert world.box("ops #1").ids == ["ops a-1"]


def test_what_another_daemon_is_still_sending_stays_too(world: World) -> None:
    """Though it only waits here, it may be accepted there."""
    world.turn("ops", "g", "a")
    world.write_all()
    stop = world.outbox.stop_at("ops a+1", "ops", "ops #1")
    assert stop is not None
    stop.is_claimed = True
    world.turn("ops", "g", "a")
    world.write_all()
    assert world.box("ops #1").ids == ["ops a+1", "ops a-1"]
    assert world.box("ops #2").ids == ["ops a-1"]


def test_nothing_gives_way_to_what_is_not_durable(world: World) -> None:
    """Whoever takes over would find it, not what made it pointless, and tell it after what was told meanwhile."""
    world.turn("ops", "g", "ab")
    world.write_all()
    world.turn("ops", "g", "a")
    world.write_all()
    world.turn("ops", "g", "ab")
    assert world.box("ops #1").ids == ["ops a+1 b+1", "ops a-1"]
    world.attempt("ops #1")
    world.attempt("ops #1")
    world.lose()
    world.deliver_all()
    assert world.books.told("ops #1") == ["ops a+1 b+1", "ops a-1"]


def test_nor_does_a_reminder(world: World) -> None:
    """The end of a part of what it reminds of may be told in between."""
    world.turn("ops", "g", "ab")
    world.write_all()
    world.deliver_all()
    world.remind("ops", "g", "ab")
    world.turn("ops", "g", "a")
    world.write_all()
    world.remind("ops", "g", "ab")
    assert world.box("ops #1").ids == ["ops reminder 1", "ops a-1"]
    world.write_all()
    assert world.box("ops #1").ids == ["ops a-1", "ops reminder 2"]


def test_a_firing_that_is_only_partly_over_is_told(world: World) -> None:
    """Also what ends something is always told; when the rest ends too, only the two ends are."""
    world.turn("ops", "g", "ab")
    world.turn("ops", "g", "a")
    world.write_all()
    assert ids_of(world.outbox.content("g")) == ["ops a+1 b+1", "ops a-1"]
    world.turn("ops", "g", "b")
    world.write_all()
    assert ids_of(world.outbox.content("g")) == ["ops a-1", "ops b-1"]


def test_an_end_is_never_left_out(world: World) -> None:
    """Though by a later one its alert is over as well: it is another firing's."""
    world.turn("ops", "g", "a")
    world.write_all()
    world.attempt("ops #1")
    for _ in range(3):
        world.turn("ops", "g", "a")
        world.write_all()
    assert world.box("ops #1").ids == ["ops a-1", "ops a-2"]
    assert world.box("ops #2").ids == ["ops a-1", "ops a-2"]


def test_what_goes_on_in_between_keeps_its_beginning(world: World) -> None:
    """Else a target would be told how something goes on that it never heard of."""
    begun = world.turn("ops", "g", "ab")
    on = Entry(Kind.FLAPPING, lost_alert("a", id="a"))
    new = Entry(Kind.FIRING, lost_alert("c", id="c"))
    world.outbox.decide(notification(on, new, id="on", key="g", at=world.now))
    ended = world.turn("ops", "g", "ab")
    assert ids_of(world.outbox.content("g")) == [begun.id, "on", ended.id]


@pytest.mark.parametrize("kind", [Kind.RESOLVED, Kind.FORGOTTEN, Kind.SETTLED])
def test_every_kind_of_end_makes_its_beginning_pointless(world: World, kind: Kind) -> None:
    """A settled one counts as an end if it is over."""
    world.turn("ops", "g", "a")
    entry = world.entry("a", Kind.RESOLVED, 1)
    world.outbox.decide(notification(Entry(kind, entry.alert), id="end", key="g", at=world.now))
    assert ids_of(world.outbox.content("g")) == ["end"]


def test_settled_as_firing_is_no_end(world: World) -> None:
    """It begins anew."""
    world.turn("ops", "g", "a")
    world.outbox.decide(notification(Entry(Kind.SETTLED, lost_alert("a", id="a")), id="on", key="g", at=world.now))
    assert ids_of(world.outbox.content("g")) == ["ops a+1", "on"]


def test_a_reminder_of_what_is_not_told_yet_is_not_told(world: World) -> None:
    """It would say nothing that the firing does not."""
    world.turn("ops", "g", "a")
    world.write_all()
    world.attempt("ops #1")
    world.remind("ops", "g", "a")
    world.write_all()
    assert world.box("ops #1").ids == ["ops reminder 1"]
    assert world.box("ops #2").ids == ["ops a+1"]


def test_a_newer_reminder_takes_the_place_of_an_older_one(world: World) -> None:
    """Once is enough, whatever waits."""
    world.turn("ops", "g", "a")
    world.write_all()
    world.deliver_all()
    for _ in range(3):
        world.remind("ops", "g", "a")
        world.write_all()
    assert world.box("ops #1").ids == ["ops reminder 3"]
    world.turn("ops", "g", "a")
    world.write_all()
    assert world.box("ops #1").ids == ["ops a-1"]


def test_other_channels_are_not_concerned(world: World) -> None:
    """What one channel is told makes nothing pointless at another."""
    world.turn("ops", "g", "a")
    world.turn("mail", "g", "a")
    world.turn("mail", "g", "a")
    assert ids_of(world.outbox.content("g")) == ["ops a+1", "mail a-1"]


# --- another daemon takes over ---------------------------------------------------------------------------------------


def test_what_is_left_is_delivered_by_whoever_takes_over_in_the_order_of_decisions(world: World) -> None:
    """Across documents, and only at the targets that have not taken it."""
    for group, alert in (("h", "c"), ("g", "a"), ("i", "b")):
        world.turn("ops", group, alert)
        world.pass_time(1)
    world.write_all()
    world.attempt("ops #1")
    world.write_all()
    world.store = dict(sorted(world.store.items()))
    world.begin()
    assert world.box("ops #1").ids == ["ops a+1", "ops b+1"]
    assert world.box("ops #2").ids == ["ops c+1", "ops a+1", "ops b+1"]


def test_a_document_keeps_its_order_though_the_wall_clock_was_set_back(world: World) -> None:
    """Decided an hour earlier, by the clock on the wall."""
    world.turn("ops", "g", "a")
    world.now = world.now._replace(wall=world.now.at_wall(world.now.wall).shifted_to(world.now.mono - 3600).wall)
    world.turn("ops", "g", "b")
    world.write_all()
    world.begin()
    assert world.box("ops #1").ids == ["ops a+1", "ops b+1"]


def test_documents_keep_the_order_of_decisions_among_them_at_one_moment(world: World) -> None:
    """A group's news and a digest may be decided at once; the clock on the wall says nothing of their order."""
    world.turn("ops", "g", "a")
    world.digest("ops", "ab")
    world.turn("ops", "g", "b")
    world.write_all()
    world.store = dict(reversed(world.store.items()))
    for _ in range(2):
        world.begin()
        assert world.box("ops #1").ids == ["ops digest a-1 b+1", "ops b-1"]
    world.deliver_all()


def test_what_an_older_alertd_left_has_no_numbers_and_is_given_some(world: World) -> None:
    """By the time of decision; all of it is written with them at once."""
    for group, alert in (("g", "a"), ("h", "c")):
        world.turn("ops", group, alert)
        world.pass_time(1)
    world.write_all()
    for name, (raw, memory) in world.store.items():
        items = [{key: each for key, each in item.items() if key != "number"} for item in json.loads(raw)]
        world.store[name] = (json.dumps(items), memory)
    world.store = dict(reversed(world.store.items()))
    world.begin()
    assert world.box("ops #1").ids == ["ops a+1", "ops c+1"]
    assert set(world.dirty) == {"g", "h"}
    world.write_all()
    assert [item["number"] for item in world.contents()] == [2, 1]


def test_nothing_is_handed_over_before_all_is_restored(world: World) -> None:
    """Else what is in the next document might have been decided before it."""
    world.turn("ops", "g", "a")
    world.write_all()
    store, world.store = world.store, {}
    world.begin()
    world.store = store
    world.outbox.restore("g", json.loads(store["g"][0]), world.now)
    assert world.box("ops #1").ids == []
    world.outbox.take_up(world.now)
    assert world.box("ops #1").ids == ["ops a+1"]


def test_a_target_that_is_no_longer_in_the_rules_ends_as_a_dead_letter(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said once, loudly; a new target is not told the old news, and what is dead is not kept."""
    world.turn("ops", "g", "a")
    world.turn("sms", "h", "c")
    world.write_all()
    world.labels = {"ops": ("ops #2", "ops #3"), "mail": ("mail #1",)}
    world.ruleset = rules({"ops": "mail", "mail": None})
    world.begin()
    assert [box.ids for box in world.boxes] == [["ops a+1"], [], []]
    why = "its target is no longer in the rules"
    dead = [(each.channel, each.target, each.id, each.about, each.why) for each in world.outbox.dead_letters.last]
    assert dead == [("ops", "ops #1", "ops a+1", "g", why), ("sms", "sms #1", "sms c+1", "h", why)]
    assert capsys.readouterr().out.count(why) == 2
    world.write_all()
    assert ids_of(world.contents()) == ["ops a+1"]


def test_what_is_recalled_is_written_before_it_goes_out_again(world: World) -> None:
    """Whoever leads again does not know that etcd still has it."""
    world.turn("ops", "g", "a")
    world.write_all()
    world.regain()
    assert world.box("ops #1").ids == []
    world.write_all()
    assert world.box("ops #1").ids == ["ops a+1"]


def test_lost_leadership_takes_all_back(world: World) -> None:
    """Of an attempt under way the end still counts, if the leadership is won back meanwhile."""
    world.turn("ops", "g", "a")
    world.write_all()
    world.start("ops #1")
    world.outbox.recall()
    world.outbox.clear()
    assert len(world.outbox) == 0
    assert world.box("ops #2").ids == []
    world.take_over()
    world.finish("ops #1")
    world.hear()
    (item,) = world.outbox.content("g")
    assert [label for label, *_ in item["to"][0]["left"]] == ["ops #2"]


@pytest.mark.parametrize(
    "content",
    [None, {}, ["x"], [{"letter": {}}], [{"letter": {"format": 9}}], [{"told": 3}], [{"told": {"ops": {"mail": 3}}}]],
)
def test_what_is_not_understood_is_one_error_and_nothing_is_taken_in(world: World, content: object) -> None:
    """Such as what a newer alertd wrote."""
    with pytest.raises(NotUnderstood):
        world.outbox.restore("g", content, world.now)
    assert len(world.outbox) == 0


@pytest.mark.parametrize(
    "to", [None, [], [{}], [{"channel": "ops", "left": [["ops #1"]]}], [{"channel": "ops", "left": 1}]]
)
def test_where_it_goes_may_be_damaged_too(world: World, to: object) -> None:
    """The same error."""
    world.turn("ops", "g", "a")
    (item,) = world.outbox.content("g")
    world.outbox.clear()
    with pytest.raises(NotUnderstood):
        world.outbox.restore("g", [item | {"to": to}], world.now)
    assert len(world.outbox) == 0


# --- given up --------------------------------------------------------------------------------------------------------


def test_what_is_refused_is_a_dead_letter(world: World) -> None:
    """With channel, target, id, group, why and when; the document no longer holds that target."""
    world.turn("ops", "g", "a")
    world.write_all()
    world.attempt("ops #2")
    world.attempt("ops #1", "HTTP 400", is_final=True)
    (dead,) = world.outbox.dead_letters.last
    assert dead == ("ops", "ops #1", "ops a+1", "g", "HTTP 400", world.now.wall)
    assert world.outbox.content("g") == []


def test_the_last_hundred_are_remembered(world: World) -> None:
    """And all counted."""
    for number in range(130):
        world.turn("sms", "g", [f"alert-{number}"])
        world.write_all()
        world.attempt("sms #1", "HTTP 400", is_final=True)
    assert world.outbox.dead_letters.graves["sms", "sms #1"].count == 130
    assert [each.id for each in world.outbox.dead_letters.last][::99] == ["sms alert-30+1", "sms alert-129+1"]


def test_what_nobody_was_there_to_attempt_has_its_first_chance() -> None:
    """However old it is by then; what has been attempted before is given up as ever."""
    world = World(rules({"ops": "mail", "mail": None, "sms": None}, give_up_after=3600.0), LABELS)
    world.turn("ops", "h", "b")
    world.turn("sms", "g", "a")
    world.write_all()
    world.attempt("ops #1", "HTTP 503")
    world.hear()
    world.write_all()
    world.now = Instant(world.now.mono + 7200, world.now.wall + timedelta(hours=2))
    world.begin()
    world.pass_time(1)
    assert {dead.id for dead in world.outbox.dead_letters.last} == {"ops b+1"}
    world.attempt("sms #1")
    assert world.books.told("sms #1") == ["sms a+1"]


def test_what_is_too_old_is_given_up_also_behind_a_target_that_hangs(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is being attempted at that moment is left to its lane."""
    world = World(rules({"sms": None}, give_up_after=3600.0), {"sms": ("sms #1",)})
    world.turn("sms", "g", "a")
    world.turn("sms", "g", "b")
    world.write_all()
    world.start("sms #1")
    world.hear()
    due = world.outbox.next_deadline()
    assert due == world.now.mono + 120
    world.pass_time(3599)
    assert not world.outbox.dead_letters.last
    world.pass_time(2)
    world.pass_time(61)
    (dead,) = world.outbox.dead_letters.last
    assert (dead.id, dead.why) == ("sms b+1", "not taken within 1h")
    assert "not taken within 1h" in capsys.readouterr().out
    due = world.outbox.next_deadline()
    assert due is not None
    assert due > world.now.mono


def test_a_channel_without_targets_is_a_dead_letter(world: World) -> None:
    """Such as one that nobody knows."""
    world.turn("nix", "g", "a")
    (dead,) = world.outbox.dead_letters.last
    assert (dead.target, dead.why) == ("", "there is no channel 'nix' with a target")
    assert world.outbox.content("g") == []


def test_one_document_for_each_group_and_one_for_each_channels_digests() -> None:
    """Named so that any channel's name fits into a key."""
    assert name_of(notification(key="abc", group="g")) == "abc"
    assert len(name_of(notification(group="a group / of old"))) == 12
    one, two = (name_of(notification(kind=Kind.DIGEST, channel=channel)) for channel in ("a/b", "c"))
    assert one != two
    assert "/" not in one


def test_only_reminders_are_reminders() -> None:
    """A message that tells something else as well is none."""
    reminder, firing = Entry(Kind.REMINDER, lost_alert("a")), Entry(Kind.FIRING, lost_alert("b"))
    assert Item("g", notification(reminder), []).is_reminder
    assert not Item("g", notification(reminder, firing), []).is_reminder
