"""Mass events: a few messages, then one digest that names everything."""

from __future__ import annotations

import pytest

from alertd.config.schema import Settings, Storm
from alertd.delivery import render
from alertd.model import Kind, Notification
from tests.engine.story import Story, rule, seconds

SERVICES = [f"s{number:02}" for number in range(20)]
NAMES = tuple(f"{service}/i{number}" for service in SERVICES for number in range(25))
SETTINGS = Settings(flap=False, storm=Storm())


def storm() -> Story:
    """Return a story in which 500 instances of 20 services die at once."""
    rules = (rule("lost", "*"), rule("few", "*", when={"instances": {"below": 1}}))
    return Story(*rules, up=NAMES, settings=SETTINGS, group_wait="5s", group_interval="1m").at(10).expire(*NAMES)


def test_a_mass_loss_is_a_few_messages_and_one_digest() -> None:
    """Together they name every service with its counts."""
    story = storm().at(600)
    kinds = [sent.kind for sent in story.notifications]
    assert kinds == [Kind.FIRING] * 5 + [Kind.DIGEST]
    named = {name for sent in story.notifications for name in sent.services}
    assert named == set(SERVICES)
    digest = story.notifications[-1]
    assert seconds(digest.at) == 15 + 30
    assert all((facts.up, facts.known) == (0, 25) for facts in digest.services.values())
    assert sum(len(sent.entries) for sent in story.notifications) == 500 + 20


@pytest.mark.parametrize("within", [0, 5, 10, 30])
def test_leases_that_end_one_after_the_other_are_no_more_messages(within: float) -> None:
    """Those of one dead switch end as each was last renewed; nor are there more when all come back one by one."""
    rules = (rule("lost", "*"), rule("few", "*", when={"instances": {"below": 1}}))
    story = Story(*rules, up=NAMES, settings=SETTINGS, group_wait="5s", group_interval="1m")
    in_turn = [NAMES[turn * 7 % len(NAMES)] for turn in range(len(NAMES))]
    for turn, name in enumerate(in_turn):
        story.at(10 + within * turn / len(NAMES)).expire(name)
    lost = story.at(900).notifications
    for turn, name in enumerate(in_turn):
        story.at(1000 + within * turn / len(NAMES)).up(name)
    back = story.at(2000).notifications[len(lost) :]
    assert len(lost) <= SETTINGS.storm.above + 2
    assert len(back) <= SETTINGS.storm.above + 2
    assert all(says(lost, f"{service}  0 of 25 up") or says(lost, f"{service} · 0 of 25 up") for service in SERVICES)
    assert all(says(back, f"{service}  25 of 25 up") or says(back, f"{service} · 25 of 25 up") for service in SERVICES)
    assert back[-1].still_firing == 0


def says(sent: list[Notification], text: str) -> bool:
    """Tell whether any message says something, in its title or its body."""
    return any(text in render.title(each, SETTINGS) + render.body(each, SETTINGS) for each in sent)


def test_as_few_when_they_come_back() -> None:
    """What was told in a digest is resolved in one, and all that was told is resolved once."""
    story = storm().at(600).up(*NAMES).at(1200)
    back = story.notifications[6:]
    assert len(back) <= SETTINGS.storm.above + 2
    assert back[-1].kind is Kind.DIGEST
    assert back[-1].still_firing == 0
    resolved = [line.split(" ", 2)[2] for line in story.told if " resolved " in line]
    fired = [line.split(" ", 2)[2] for line in story.told if " firing " in line]
    assert sorted(resolved) == sorted(fired)


def test_a_long_storm_is_a_digest_each_time() -> None:
    """Until a time passes in which nothing new came."""
    story = Story(rule("lost", "*"), up=(*NAMES, "late/a"), settings=SETTINGS)
    for number, service in enumerate(SERVICES):
        story.at(10 + 3 * number).expire(f"{service}/i0")
    story.at(1000).expire("late/a")
    told = [(sent.kind, seconds(sent.at)) for sent in story.notifications]
    direct = [(Kind.FIRING, at) for at in (10, 13, 16, 19, 22)]
    assert told == [*direct, (Kind.DIGEST, 40), (Kind.DIGEST, 70), (Kind.FIRING, 1000)]


def test_fewer_than_that_are_told_one_by_one() -> None:
    """And a group that was told before does not count."""
    names = tuple(f"s{number}/a" for number in range(5))
    story = Story(rule("lost", "*"), up=(*names, "s0/b"), settings=SETTINGS).at(1).expire(*names).at(2).expire("s0/b")
    assert [sent.kind for sent in story.notifications] == [Kind.FIRING] * 6


def test_what_a_group_has_to_say_while_a_digest_is_collected_joins_it() -> None:
    """Also if it spoke for itself before, and without its interval; afterwards it speaks for itself again."""
    names = tuple(f"s{number}/a" for number in range(7))
    story = Story(rule("lost", "*"), up=(*names, "s0/b", "s0/c"), settings=SETTINGS, group_interval="1h")
    story.at(1).expire(*names).at(5).expire("s0/b").at(6).up("s1/a").at(100)
    assert [(entry.alert.target, entry.kind) for entry in story.notifications[5].entries] == [
        ("s5/a", Kind.FIRING),
        ("s6/a", Kind.FIRING),
        ("s0/b", Kind.FIRING),
        ("s1/a", Kind.RESOLVED),
    ]
    story.up(*names, "s0/b").at(200).expire("s0/c").at(9999)
    assert (story.notifications[-1].kind, seconds(story.notifications[-1].at)) == (Kind.FIRING, 100 + 3600)


def test_so_does_what_was_over_before_and_comes_back() -> None:
    """A group that was told of a moment ago is not new, but it has to wait as all others."""
    names = tuple(f"s{number}/a" for number in range(7))
    story = Story(rule("lost", "*"), up=names, settings=SETTINGS).at(1).expire("s0/a").at(2).up("s0/a")
    story.at(3).expire(*names[1:]).at(4).expire("s0/a").at(100)
    assert [entry.alert.target for entry in story.notifications[-1].entries] == ["s5/a", "s6/a", "s0/a"]


def test_what_ends_before_the_digest_is_told_in_it_once() -> None:
    """As resolved."""
    names = tuple(f"s{number}/a" for number in range(7))
    story = Story(rule("lost", "*"), up=names, settings=SETTINGS).at(1).expire(*names).at(5).up("s6/a").at(100)
    digest = story.notifications[-1]
    assert [(entry.alert.target, entry.kind) for entry in digest.entries] == [
        ("s5/a", Kind.FIRING),
        ("s6/a", Kind.RESOLVED),
    ]
    assert story.at(200).notifications[-1] is digest
