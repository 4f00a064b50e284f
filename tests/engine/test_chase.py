"""Reminders, escalation, and the acknowledgement that stops both."""

from __future__ import annotations

from typing import Any

from alertd.config.schema import Channel
from tests.engine.story import Story, route, rule, seconds

CHANNELS = {name: Channel() for name in ("ops", "boss", "ceo")}
STEPS = ({"after": "15m", "channels": ["boss"]}, {"after": "1h", "channels": ["ceo", "boss"]})
MINUTE, HOUR = 60, 3600


def story_of(**fields: Any) -> Story:
    """Return a story of two instances, told to ops, repeated every 4 h, escalated after 15 min and 1 h."""
    times = {"repeat_interval": "4h", "escalate": STEPS, **fields}
    default = route(default=True, channels="ops", **times)
    return Story(rule(), up=("apache/a", "apache/b"), channels=CHANNELS, routes=(default,))


def test_what_fires_is_repeated() -> None:
    """To those who were told, counted from the group's last message."""
    story = story_of(escalate=()).at(10).expire("apache/a").at(9 * HOUR).up("apache/a").at(20 * HOUR)
    assert story.told == [
        "10 firing r apache/a to ops",
        f"{10 + 4 * HOUR} reminder r apache/a to ops",
        f"{10 + 8 * HOUR} reminder r apache/a to ops",
        f"{9 * HOUR} resolved r apache/a to ops",
    ]
    assert len({sent.id for sent in story.notifications}) == 4


def test_a_new_firing_in_the_group_puts_the_reminder_off() -> None:
    """And the reminder then speaks of all that fires."""
    story = story_of(escalate=()).at(10).expire("apache/a").at(HOUR).expire("apache/b").at(5 * HOUR)
    reminder = story.notifications[-1]
    assert (seconds(reminder.at), len(reminder.entries)) == (5 * HOUR, 2)


def test_others_are_told_if_nobody_acts_and_then_told_the_end() -> None:
    """Each once, counted from the first message; whoever was escalated to hears that it is over."""
    story = story_of().at(10).expire("apache/a").at(2 * HOUR).up("apache/a").at(9 * HOUR)
    assert story.told == [
        "10 firing r apache/a to ops",
        f"{10 + 15 * MINUTE} escalated r apache/a to boss",
        f"{10 + HOUR} escalated r apache/a to ceo",
        f"{2 * HOUR} resolved r apache/a to ops",
        f"{2 * HOUR} resolved r apache/a to boss",
        f"{2 * HOUR} resolved r apache/a to ceo",
    ]


def test_whoever_is_told_at_the_time_of_a_reminder_is_told_once() -> None:
    """As one that others have known of for an hour; the next reminder is for all."""
    story = story_of(repeat_interval="1h", escalate=STEPS[1:]).at(0).expire("apache/a").at(2 * HOUR)
    assert story.told == [
        "0 firing r apache/a to ops",
        f"{HOUR} escalated r apache/a to ceo",
        f"{HOUR} escalated r apache/a to boss",
        f"{HOUR} reminder r apache/a to ops",
        f"{2 * HOUR} reminder r apache/a to ops",
        f"{2 * HOUR} reminder r apache/a to ceo",
        f"{2 * HOUR} reminder r apache/a to boss",
    ]


def test_a_message_says_who_is_next() -> None:
    """And when."""
    (fired,) = story_of().at(10).expire("apache/a").notifications
    assert [(step.channels, seconds(step.at)) for step in fired.next] == [
        (("boss",), 10 + 15 * MINUTE),
        (("ceo", "boss"), 10 + HOUR),
    ]


def test_an_acknowledgement_stops_reminders_and_escalation() -> None:
    """The resolve is told; the next firing of the same alert is another matter."""
    story = story_of().at(10).expire("apache/a").at(MINUTE).ack("apache/a")
    assert story.alerts["apache/a"].acknowledged is not None
    story.at(5 * HOUR).up("apache/a").at(6 * HOUR).expire("apache/a").at(6 * HOUR + 20 * MINUTE)
    assert story.told == [
        "10 firing r apache/a to ops",
        f"{5 * HOUR} resolved r apache/a to ops",
        f"{6 * HOUR} firing r apache/a to ops",
        f"{6 * HOUR + 15 * MINUTE} escalated r apache/a to boss",
    ]


def test_a_new_alert_in_an_acknowledged_group_is_told() -> None:
    """And reminded of alone."""
    story = story_of(escalate=()).at(10).expire("apache/a").at(20).ack("apache/a", seconds=24 * HOUR)
    story.at(30).expire("apache/b").at(5 * HOUR)
    assert story.told[1:] == ["30 firing r apache/b to ops", f"{30 + 4 * HOUR} reminder r apache/b to ops"]


def test_when_an_acknowledgement_ends_what_is_overdue_comes() -> None:
    """By its time, or taken back."""
    story = story_of().at(0).expire("apache/a").at(60).ack("apache/a", seconds=5 * HOUR).at(6 * HOUR)
    assert story.told == [
        "0 firing r apache/a to ops",
        f"{5 * HOUR + 60} escalated r apache/a to boss",
        f"{5 * HOUR + 60} escalated r apache/a to ceo",
        f"{5 * HOUR + 60} reminder r apache/a to ops",
    ]
    taken_back = story_of().at(0).expire("apache/a").at(60).ack("apache/a").at(HOUR).unack("apache/a")
    assert len(taken_back.told) == 3


def test_a_reminder_that_nobody_got_puts_nothing_off() -> None:
    """Neither the one that is due when the acknowledgement ends, nor what fires then in the same group."""
    story = story_of(escalate=(), group_interval="1h").at(0).expire("apache/a").at(60).ack("apache/a", seconds=5 * HOUR)
    story.at(4 * HOUR + 60).expire("apache/b").at(4 * HOUR + 120).up("apache/b").at(6 * HOUR)
    assert story.told[1:] == [
        f"{4 * HOUR + 60} firing r apache/b to ops",
        f"{4 * HOUR + 120} resolved r apache/b to ops",
    ]
    alone = story_of(escalate=()).at(0).expire("apache/a").at(60).ack("apache/a", seconds=5 * HOUR).at(8 * HOUR)
    assert alone.told[1:] == [f"{5 * HOUR + 60} reminder r apache/a to ops"]


def test_an_acknowledgement_that_is_prolonged_does_not_end_with_its_first_end() -> None:
    """The last that was said counts, also where that ends sooner."""
    story = story_of(escalate=()).at(0).expire("apache/a").at(60).ack("apache/a", seconds=5 * HOUR)
    story.ack("apache/a", seconds=9 * HOUR).at(10 * HOUR)
    assert story.told[1:] == [f"{9 * HOUR + 60} reminder r apache/a to ops"]
    sooner = story_of(escalate=()).at(0).expire("apache/a").at(60).ack("apache/a", seconds=9 * HOUR)
    sooner.ack("apache/a", seconds=5 * HOUR).at(6 * HOUR)
    assert sooner.told[1:] == [f"{5 * HOUR + 60} reminder r apache/a to ops"]


def test_what_is_muted_or_flapping_is_not_repeated() -> None:
    """Silenced: nothing until the silence ends, and then what is overdue."""
    story = story_of(escalate=()).at(0).expire("apache/a").at(HOUR).silence(match={"instance": "a"}, until=10 * HOUR)
    story.at(11 * HOUR)
    assert story.told == ["0 firing r apache/a to ops", f"{10 * HOUR} reminder r apache/a to ops"]


def test_a_reload_keeps_the_pace() -> None:
    """No reminder comes at once, and none is lost; escalation goes on where it was."""
    story = story_of().at(0).expire("apache/a").at(20 * MINUTE)
    routes = (
        route(match={"service": "apache"}, channels="ops", repeat_interval="4h", escalate=STEPS),
        route(default=True),
    )
    story.reload(rule(), channels=CHANNELS, routes=routes).at(5 * HOUR)
    assert [line.removesuffix(" to ops") for line in story.told if "to ops" in line] == [
        "0 firing r apache/a",
        f"{4 * HOUR} reminder r apache/a",
    ]
    assert [line for line in story.told if "escalated" in line] == [
        f"{15 * MINUTE} escalated r apache/a to boss",
        f"{HOUR} escalated r apache/a to ceo",
    ]


def test_forgetting_ends_the_alert_and_says_so() -> None:
    """Never as a success; an instance that is there stays."""
    story = story_of().at(0).expire("apache/a").at(10).forget("apache")
    assert story.told == ["0 firing r apache/a to ops", "10 forgotten r apache/a to ops"]
    assert [each.name for service in story.engine.services() for each in service.instances] == ["b"]
