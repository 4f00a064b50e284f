"""Whole messages as people get them at night: a real engine lives through a story, and each word counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alertd.config.schema import Settings
from alertd.delivery import render
from alertd.delivery.letter import Tone
from alertd.model import Notification
from tests.engine.story import Story, rule

BERLIN = Settings(timezone="Europe/Berlin")
UP = ("apache/a", "apache/b", "apache/c")
LOST = rule("lost")
MINIMUM = rule("apache-minimum", when={"instances": {"below": 2}}, severity="critical")
FLAPPY: dict[str, Any] = {"flap": {"changes": 4, "within": "10m", "settle": "5m"}}


def message(sent: Notification, limit: int | None = None) -> str:
    """Return title and body as people read them, without the lines that every message ends with."""
    *lines, _, identifier = render.body(sent, BERLIN, limit=limit).splitlines()
    assert identifier == f"id {sent.id}"
    if lines and lines[-1] == f"alertd ack {sent.id} · alertd silence add {sent.id} --for 1h":
        lines.pop()
    return "\n".join([render.title(sent, BERLIN), *lines])


def last(story: Story) -> str:
    """Return the last message of a story."""
    return message(story.notifications[-1])


def flap(story: Story, *, ends_up: bool) -> Story:
    """Let `apache/a` go and come back three times within two minutes, then wait until it has settled."""
    for time in (100, 140, 180):
        story.at(time).expire("apache/a").at(time + 20).up("apache/a")
    return (story if ends_up else story.at(220).expire("apache/a")).at(900)


def test_too_few_are_up_and_then_enough_again() -> None:
    """The count in the title, the cause that tipped it, and what is down and why."""
    story = Story(MINIMUM, up=UP).at(100).expire("apache/a").at(130).fail("apache/b")
    assert last(story) == (
        "[FIRING] apache-minimum apache · 1 of 3 up, needs 2 · critical\n"
        "since 01:02:10 CET\n"
        "cause failing: its probe failed\n"
        "DOWN a  expired: lost contact, its lease ended 01:01:40\n"
        "DOWN b  failing: HTTP 503\n"
        "UP   c"
    )
    story.at(330).up("apache/b", host="core02")
    assert last(story) == (
        "[RESOLVED] apache-minimum apache · 2 of 3 up, needs 2 · critical\n"
        "from 01:02:10 to 01:05:30 CET, 3m 20s\n"
        "cause recovered: back\n"
        "DOWN a  expired: lost contact, its lease ended 01:01:40\n"
        "UP   b core02  recovered: back 01:05:30\n"
        "UP   c"
    )


def test_one_lost_and_back() -> None:
    """The resolve says that it is back, not why it was lost."""
    story = Story(LOST, up=UP).at(100).expire("apache/a")
    assert last(story) == (
        "[FIRING] lost apache/a · expired: lost contact, its lease ended · warning\n"
        "since 01:01:40 CET\n"
        "DOWN a  expired: lost contact, its lease ended 01:01:40\n"
        "UP   b\n"
        "UP   c"
    )
    assert last(story.at(160).up("apache/a")) == (
        "[RESOLVED] lost apache/a · back · warning\n"
        "from 01:01:40 to 01:02:40 CET, 1m\n"
        "UP   a  recovered: back 01:02:40\n"
        "UP   b\n"
        "UP   c"
    )


def test_several_lost_then_mixed() -> None:
    """A line each, what fires first; the others of the service below."""
    story = Story(LOST, up=(*UP, "apache/d"), group_wait="5s").put("apache/a", host="core01")
    story.at(100).expire("apache/a", "apache/b").fail("apache/c").at(150)
    assert last(story) == (
        "[FIRING:3] lost apache · 1 of 4 up · warning\n"
        "DOWN a core01  expired: lost contact, its lease ended 01:01:40\n"
        "DOWN b  expired: lost contact, its lease ended 01:01:40\n"
        "DOWN c  failing: HTTP 503\n"
        "UP   d"
    )
    story.at(200).up("apache/b").expire("apache/d").at(300)
    assert last(story) == (
        "[FIRING:1 RESOLVED:1] lost apache · 1 of 4 up · warning\n"
        "2 other alerts of this group still fire\n"
        "DOWN d  expired: lost contact, its lease ended 01:03:20\n"
        "UP   b  recovered: back 01:03:20, fired from 01:01:40 for 1m 40s\n"
        "DOWN a core01  expired: lost contact, its lease ended 01:01:40\n"
        "DOWN c  failing: HTTP 503"
    )


def test_each_way_to_end_is_told() -> None:
    """Replaced, stopped on purpose after all, and the rule taken out of the rules."""
    replaced = last(Story(LOST, up=UP).at(100).expire("apache/a").at(160).up("apache/z"))
    assert replaced == (
        "[RESOLVED] lost apache/a · replaced by z · warning\n"
        "from 01:01:40 to 01:02:40 CET, 1m\n"
        "DOWN a  expired: lost contact, its lease ended 01:01:40, replaced by z\n"
        "UP   b\n"
        "UP   c\n"
        "UP   z  registered: new 01:02:40"
    )
    stopped = last(Story(LOST, up=UP).at(100).fail("apache/a").at(160).stop("apache/a"))
    assert stopped == (
        "[RESOLVED] lost apache/a · found to be stopped on purpose · warning\n"
        "from 01:01:40 to 01:02:40 CET, 1m\n"
        "DOWN a  stopped: stopped on purpose 01:02:40\n"
        "UP   b\n"
        "UP   c"
    )
    gone = last(Story(LOST, up=UP).at(100).expire("apache/a").at(160).reload(rule("other", service="x")))
    assert gone == (
        "[RESOLVED] lost apache/a · the rule is gone · warning\n"
        "from 01:01:40 to 01:02:40 CET, 1m\n"
        "the rule is gone\n"
        "DOWN a  expired: lost contact, its lease ended 01:01:40\n"
        "UP   b\n"
        "UP   c"
    )
    counted = Story(MINIMUM, up=UP).at(100).expire("apache/a", "apache/b").at(160).reload(rule("other", service="x"))
    assert last(counted).splitlines()[:3] == [
        "[RESOLVED] apache-minimum apache · the rule is gone · critical",
        "from 01:01:40 to 01:02:40 CET, 1m",
        "the rule is gone",
    ]


def test_over_before_it_could_be_told() -> None:
    """One message with both times."""
    story = Story(LOST, up=UP, group_wait="5s").at(10).expire("apache/a").at(12).up("apache/a").at(60)
    assert len(story.notifications) == 1
    assert last(story) == (
        "[RESOLVED] lost apache/a · back · warning\n"
        "from 01:00:10 to 01:00:12 CET, 2s\n"
        "UP   a  recovered: back 01:00:12\n"
        "UP   b\n"
        "UP   c"
    )


def test_flapping_and_settled_as_firing() -> None:
    """How often, that silence follows, and how it stands at the end."""
    *_, flapping, settled = flap(Story(rule("lost", **FLAPPY), up=UP), ends_up=False).notifications
    assert message(flapping) == (
        "[FLAPPING] lost apache/a · 4 changes, now up · warning\n"
        "flapping after 4 changes: nothing more is told until it settles\n"
        "UP   a  recovered: back 01:02:40\n"
        "UP   b\n"
        "UP   c"
    )
    assert message(settled) == (
        "[SETTLED] lost apache/a · now firing, expired: lost contact, its lease ended · warning\n"
        "since 01:03:40 CET\n"
        "settled: now firing, after 7 changes\n"
        "DOWN a  expired: lost contact, its lease ended 01:03:40\n"
        "UP   b\n"
        "UP   c"
    )


def test_settled_as_resolved() -> None:
    """It counts as that resolve."""
    sent = flap(Story(rule("lost", **FLAPPY), up=UP), ends_up=True).notifications[-1]
    assert render.tone(sent) is Tone.SUCCESS
    assert message(sent) == (
        "[SETTLED] lost apache/a · now resolved, back · warning\n"
        "since 01:03:20 CET\n"
        "settled: now resolved, after 6 changes\n"
        "UP   a  recovered: back 01:03:20\n"
        "UP   b\n"
        "UP   c"
    )


def test_settled_while_for_still_runs() -> None:
    """Not firing, and why that may yet come."""
    story = flap(Story(rule("lost", for_="20m", **FLAPPY), up=UP), ends_up=False)
    assert last(story) == (
        "[SETTLED] lost apache/a · not firing, expired: lost contact, its lease ended · warning\n"
        "settled: not firing, after 7 changes; its condition holds, but not yet for long enough\n"
        "DOWN a  expired: lost contact, its lease ended 01:03:40\n"
        "UP   b\n"
        "UP   c"
    )


def test_forgotten_is_no_success() -> None:
    """It is gone from the list, and nothing is green."""
    story = (
        Story(LOST, up=UP, settings=Settings.model_validate({"flap": False, "forget_after": "1h"}))
        .at(100)
        .expire("apache/a")
        .at(5000)
    )
    assert render.tone(story.notifications[-1]) is Tone.INFO
    assert last(story) == (
        "[FORGOTTEN] lost apache/a · expired: lost contact, its lease ended · warning\n"
        "from 01:01:40 to 02:01:40 CET, 1h\n"
        "forgotten: it counts no more, unless it returns\n"
        "UP   b\n"
        "UP   c"
    )


def test_what_happened_in_a_gap_of_the_watch() -> None:
    """Nobody saw it, so its time is a stretch."""
    story = Story(LOST, up=UP).at(100).gap().at(160).miss("apache/a").synced()
    assert last(story) == (
        "[FIRING] lost apache/a · missed: found gone after a gap in the watch · warning\n"
        "since between 01:01:40 and 01:02:40 CET\n"
        "DOWN a  missed: found gone after a gap in the watch, between 01:01:40 and 01:02:40\n"
        "UP   b\n"
        "UP   c"
    )
    assert last(story.at(200).gap().at(230).found(*UP).synced()) == (
        "[RESOLVED] lost apache/a · back · warning\n"
        "from 01:02:40 until between 01:03:20 and 01:03:50 CET, about 1m 10s\n"
        "UP   a  found: found up, between 01:03:20 and 01:03:50\n"
        "UP   b\n"
        "UP   c"
    )


def test_a_value_that_cannot_be_understood_is_shown_raw() -> None:
    """Up, and flagged; also where the rule asks for something else."""
    story = Story(rule("bad", when={"malformed": True}), LOST, up=UP).at(100)
    story.put("apache/a", raw=b'{"host": 172.31.14.95\n')
    assert last(story) == (
        "[FIRING] bad apache/a · its value cannot be understood · warning\n"
        "since 01:01:40 CET\n"
        'UP   a  malformed value: {"host": 172.31.14.95\\n\n'
        "UP   b\n"
        "UP   c"
    )
    lines = last(story.at(130).expire("apache/a")).splitlines()
    assert lines[2] == (
        'DOWN a  expired: lost contact, its lease ended 01:02:10  malformed value: {"host": 172.31.14.95\\n'
    )


def test_a_value_beyond_its_bound() -> None:
    """The value that was judged; of several, which fire and which ended."""
    story = Story(rule("load", when={"value": {"field": "load", "above": 4}}), up=UP, group_wait="5s").at(100)
    assert last(story.put("apache/a", load=5.5).at(120)).splitlines()[0] == "[FIRING] load apache/a · 5.5 · warning"
    story.at(150).put("apache/a", load=2).put("apache/b", load=7).at(300)
    assert last(story).splitlines()[:3] == [
        "[FIRING:1 RESOLVED:1] load apache · 3 of 3 up · warning",
        "UP   b  7, firing",
        "UP   a  2, resolved, fired from 01:01:40 for 50s",
    ]


def test_zones_keep_a_line_of_their_own() -> None:
    """Among several alerts of a service, those about a part of it."""
    story = Story(rule("zone", when={"instances": {"below": 2, "per": "zone"}}), group_wait="5s")
    story.put("apache/a", "apache/b", zone="eu").put("apache/c", "apache/d", zone="us").at(50)
    story.expire("apache/a").expire("apache/c").at(100)
    assert last(story) == (
        "[FIRING:2] zone apache · 2 of 4 up · warning\n"
        "FIRING zone apache (zone=eu)  1 of 2 up, needs 2  since 01:00:50 CET\n"
        "FIRING zone apache (zone=us)  1 of 2 up, needs 2  since 01:00:50 CET\n"
        "DOWN a  expired: lost contact, its lease ended 01:00:50\n"
        "DOWN c  expired: lost contact, its lease ended 01:00:50\n"
        "UP   b\n"
        "UP   d\n"
        "Last hour: 01:00 d up (registered), 01:00 c up (registered), 01:00 b up (registered), 01:00 a up (registered)"
    )


def test_a_new_instance_is_told_once() -> None:
    """What is new says so; the others are there."""
    story = Story(rule("new", when={"instance": "up"}), up=UP).at(100).up("apache/z")
    assert last(story).splitlines()[:3] == [
        "[FIRING] new apache/z · registered: new · warning",
        "since 01:01:40 CET",
        "UP   z  registered: new 01:01:40",
    ]


def test_and_n_more_counts_from_the_whole() -> None:
    """The facts list 50 instances at most, and a small target shows fewer: what is missing is counted from all."""
    names = tuple(f"apache/{number:03}" for number in range(128))
    whole = last(Story(MINIMUM, up=names).at(10).expire(*names)).splitlines()
    assert (whole[-1], len([line for line in whole if line.startswith("DOWN")])) == ("and 78 more", 50)
    story = Story(LOST, up=names).at(10).expire(*names)
    small = message(story.notifications[0], limit=600).splitlines()
    shown = len([line for line in small if line.startswith("DOWN")])
    assert (small[-1], shown > 5) == (f"and {128 - shown} more", True)
    assert "more" not in last(story)
    assert len(last(story).splitlines()) == 1 + 128


def test_the_rule_is_named_where_a_message_speaks_of_several() -> None:
    """Groups of other shapes are to come: what differs is said on each line."""
    first, second = Story(LOST, rule("gone"), up=UP).at(100).expire("apache/a").notifications
    both = replace(first, entries=first.entries + second.entries)
    assert message(both).splitlines()[1:3] == [
        "DOWN a  lost  expired: lost contact, its lease ended 01:01:40",
        "DOWN a  gone  expired: lost contact, its lease ended 01:01:40",
    ]
