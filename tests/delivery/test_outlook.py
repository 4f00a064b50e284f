"""What a message says around its instances, so that whoever is woken can act on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alertd.delivery import render
from alertd.model import Ack, AlertState, Cause, Entry, Escalation, Kind, Mute, Notification, Reason, Transition
from tests.delivery.examples import (
    APACHE,
    LOST,
    PROD,
    RULE,
    alert,
    at,
    lost,
    lost_alert,
    notification,
    over,
    resolved,
    up,
)

PAGED = PROD.model_copy(update={"url": "https://alertd.example"})


def lines(told: Notification, limit: int | None = None) -> list[str]:
    """Return the body's lines."""
    return render.body(told, PAGED, limit=limit).splitlines()


def change(instance: str, seconds: float, cause: Cause, *, is_up: bool = False) -> Transition:
    """Return a transition of apache so many seconds after the morning."""
    return Transition("apache", instance, is_up, cause, at(seconds), 7)


def apache(**changes: Any) -> Notification:
    """Return the firing notification of the contract, with other facts about apache."""
    return notification(services={"apache": replace(APACHE, **changes)})


def test_the_whole_body_of_the_contract() -> None:
    """Line by line, from since when to the id, in the order in which they are needed."""
    told = replace(
        apache(
            common={"rack": "r7"},
            recent=(
                change("core07", -880, Cause.STOPPED),
                change("core07", -700, Cause.REGISTERED, is_up=True),
                change("172.31.14.97", -30, Cause.EXPIRED),
            ),
        ),
        entries=(Entry(Kind.FIRING, alert(rule=replace(RULE, runbook="https://wiki/apache"))),),
        next=(Escalation(("boss",), at(900)),),
    )
    assert lines(told) == [
        "since 04:12:41 CEST",
        "cause expired: lost contact, its lease ended",
        "DOWN 172.31.14.97 core01  expired: lost contact, its lease ended 04:12:11",
        "DOWN 172.31.14.98 core02  failing: HTTP 503",
        "UP   172.31.14.99 core03",
        "Common to all lost: rack=r7",
        "Last hour: 04:01 core07 up (registered), 03:58 core07 down (stopped)",
        "Next: boss at 04:27",
        "Runbook https://wiki/apache   Open https://alertd.example/alerts/7f3a",
        "alertd ack 9abc · alertd silence add 9abc --for 1h",
        "rules/web.yaml:12 @4f2c9e1",
        "id 9abc",
    ]


def test_what_the_lost_share_is_cut_after_a_few_fields() -> None:
    """And names its service where the message speaks of several."""
    assert "Common to all lost: a=1, b=2, c=3, d=4, e=5 and 2 more" in lines(
        apache(common={name: str(number) for number, name in enumerate("abcdefg", 1)})
    )
    pay = replace(APACHE, name="pay", common={"zone": "eu"})
    entries = [Entry(Kind.FIRING, alert(service=name)) for name in ("apache", "pay")]
    told = notification(*entries, services={"apache": APACHE, "pay": pay}, still_firing=2)
    assert "Common to all lost of pay: zone=eu" in lines(told)


# --- the last hour ---------------------------------------------------------------------------------------------------


def last_hour(told: Notification) -> str:
    """Return what the body says of the last hour."""
    return next((line for line in lines(told) if line.startswith("Last hour")), "")


def test_what_the_message_itself_tells_is_no_news_of_the_last_hour() -> None:
    """Not the transitions that its lines show, nor its own instance's way down and back, nor what is older."""
    gone = change("172.31.14.97", -30, Cause.EXPIRED)
    old = change("core07", -3601, Cause.STOPPED)
    other = change("core08", -60, Cause.RECOVERED, is_up=True)
    assert last_hour(apache(recent=(old, gone))) == ""
    assert last_hour(apache(recent=(old, other, gone))) == "Last hour: 04:11 core08 up (recovered)"
    back = up("a", cause=Cause.RECOVERED, since=at(200))
    facts = replace(
        APACHE,
        instances=(back,),
        recent=(change("a", -20, Cause.EXPIRED), change("a", 200, Cause.RECOVERED, is_up=True)),
    )
    entry = Entry(Kind.RESOLVED, lost_alert("a", state=AlertState.INACTIVE, until=at(200), cause=Cause.RECOVERED))
    assert last_hour(notification(entry, services={"apache": facts}, at=at(200), still_firing=0)) == ""


def test_what_came_up_since_is_told_once() -> None:
    """A replacement has its line; what happened to the others before is still told."""
    fresh = up("z", cause=Cause.REGISTERED, since=at(60))
    recent = (change("y", -90, Cause.FAILING), change("z", 60, Cause.REGISTERED, is_up=True))
    entry = Entry(Kind.RESOLVED, lost_alert("a", state=AlertState.INACTIVE, until=at(60)))
    facts = replace(APACHE, instances=(lost("a", replaced_by="z"), fresh), recent=recent)
    told = notification(entry, services={"apache": facts}, at=at(60), still_firing=0)
    assert last_hour(told) == "Last hour: 04:11 y down (failing)"


def test_a_busy_hour_is_cut() -> None:
    """The latest first, a few of them, and how many there were besides."""
    recent = tuple(change(f"i{number}", number - 500, Cause.DELETED) for number in range(20))
    line = last_hour(apache(recent=recent))
    assert line.startswith("Last hour: 04:04 i19 down (deleted), 04:04 i18 down (deleted)")
    assert line.endswith("and 15 more")


# --- told again ------------------------------------------------------------------------------------------------------


def test_a_reminder_says_for_how_long() -> None:
    """Of several, for how long the longest."""
    one = notification(Entry(Kind.REMINDER, alert()), at=at(14_580))
    assert render.title(one, PROD).startswith("[REMINDER] apache-minimum apache · 1 of 3 up")
    assert lines(one)[:2] == ["since 04:12:41 CEST", "still firing, for 4h 3m"]
    two = notification(
        Entry(Kind.REMINDER, lost_alert("a")), Entry(Kind.REMINDER, lost_alert("b", since=at(600))), at=at(14_580)
    )
    assert lines(two)[0] == "still firing, the longest for 4h 3m"
    assert render.title(two, PROD).startswith("[REMINDER:2] instance-lost apache")


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ([(("ops",), 0)], "nobody has acted for 15m; ops were told 04:12"),
        ([(("ops", "web team"), 0)], "nobody has acted for 15m; ops and web team were told 04:12"),
        ([(("ops",), 0), (("lead",), 600)], "nobody has acted for 15m; ops were told 04:12, lead 04:22"),
        ([], "nobody has acted for 15m"),
    ],
)
def test_an_escalation_says_who_was_told_and_when(before: list[tuple[tuple[str, ...], float]], line: str) -> None:
    """Whoever is called in knows who was there first."""
    steps = tuple(Escalation(channels, at(seconds)) for channels, seconds in before)
    told = notification(Entry(Kind.ESCALATED, alert()), at=at(900), before=steps)
    assert lines(told)[1] == line
    assert render.title(told, PROD).startswith("[ESCALATED] apache-minimum apache · 1 of 3 up")


def test_several_next_steps_are_joined() -> None:
    """In their order, with the date where it is another day."""
    told = notification(next=(Escalation(("boss", "lead"), at(900)), Escalation(("cto",), at(86_400))))
    assert "Next: boss and lead at 04:27, cto at 2026-10-02 04:12" in lines(told)


# --- who has it ------------------------------------------------------------------------------------------------------

ACK = Ack("7f3a", "ann", "on it", at(60).wall, at(60).wall + timedelta(hours=8))
SILENCE = Mute(Reason.SILENCED, "3f2a", "nightly vacuum")


def test_an_acknowledgement_is_shown_while_there_is_something_to_do() -> None:
    """A resolve needs nobody."""
    assert "acknowledged by ann until 12:13: on it" in lines(notification(Entry(Kind.SETTLED, alert(acknowledged=ACK))))
    assert not any("ann" in line for line in lines(notification(Entry(Kind.RESOLVED, over(acknowledged=ACK)))))


def test_of_several_alerts_each_line_says_who_has_it() -> None:
    """One of the group may be taken on, and the others not."""
    taken = lost_alert("172.31.14.97", acknowledged=ACK)
    told = notification(Entry(Kind.REMINDER, taken), Entry(Kind.REMINDER, lost_alert("172.31.14.98")))
    (line,) = (line for line in lines(told) if "ann" in line)
    assert line.startswith("DOWN 172.31.14.97 core01  expired: lost contact")
    assert line.endswith(", acknowledged by ann until 12:13: on it")


def test_a_message_that_is_told_though_muted_says_so() -> None:
    """Such as a resolve within a silence."""
    assert "silenced by 3f2a: nightly vacuum" in lines(notification(Entry(Kind.RESOLVED, over(muted=SILENCE))))
    mute = Mute(Reason.INHIBITED, "apache-minimum", "apache")
    assert "inhibited by apache-minimum on apache" in lines(notification(Entry(Kind.RESOLVED, over(muted=mute))))


def test_a_resolve_among_others_that_fire_says_how_many() -> None:
    """So that the yellow of a resolve has its reason in the text."""
    assert "2 other alerts of this group still fire" in lines(resolved(still_firing=2))
    assert "1 other alert of this group still fires" in lines(resolved(still_firing=1))
    assert not any("other alert" in line for line in lines(notification()))


@pytest.mark.parametrize(
    ("entry", "has_commands"),
    [
        (Entry(Kind.FIRING, alert()), True),
        (Entry(Kind.REMINDER, alert()), True),
        (Entry(Kind.FLAPPING, alert(state=AlertState.INACTIVE, flapping=True)), True),
        (Entry(Kind.SETTLED, alert()), True),
        (Entry(Kind.SETTLED, over()), False),
        (Entry(Kind.RESOLVED, over()), False),
        (Entry(Kind.FORGOTTEN, over()), False),
        (Entry(Kind.FIRING, alert(state=AlertState.INACTIVE, reason=Reason.TOLD_ONCE)), False),
    ],
)
def test_commands_are_given_where_something_fires(entry: Entry, *, has_commands: bool) -> None:
    """Of what is over, or is told but once, there is nothing to take on."""
    told = notification(entry, still_firing=0)
    assert ("alertd ack 9abc · alertd silence add 9abc --for 1h" in lines(told)) is has_commands


# --- little room, and much to say ------------------------------------------------------------------------------------


def test_in_a_short_message_the_instances_come_before_the_hints() -> None:
    """250 characters: since when, what is down, what to type, the id; what they share and who is next go first."""
    told = replace(apache(common={"rack": "r7"}), next=(Escalation(("boss",), at(900)),))
    assert lines(told, limit=250) == [
        "since 04:12:41 CEST",
        "cause expired: lost contact, its lease ended",
        "DOWN 172.31.14.97 core01  expired: lost contact, its lease ended 04:12:11",
        "and 2 more",
        "alertd ack 9abc · alertd silence add 9abc --for 1h",
        "rules/web.yaml:12 @4f2c9e1",
        "id 9abc",
    ]
    assert lines(told, limit=160)[-2:] == ["rules/web.yaml:12 @4f2c9e1", "id 9abc"]


def test_many_rules_and_services_leave_room_for_their_instances() -> None:
    """A group of everything: the places of a few rules, the lost of each service and not those that are up."""
    rules = [replace(LOST, name=f"r{number}", source=f"rules/web.yaml:{number}") for number in range(9)]
    entries = [Entry(Kind.FIRING, lost_alert("172.31.14.97", rule=rule)) for rule in rules]
    entries += [Entry(Kind.FIRING, lost_alert("172.31.14.97", service="pay"))]
    told = notification(*entries, services={"apache": APACHE, "pay": replace(APACHE, name="pay")}, still_firing=10)
    found = lines(told)
    assert [line for line in found if line.startswith("rules/")] == [f"rules/web.yaml:{number}" for number in range(5)]
    assert "and 5 more rules" in found
    assert "pay: 1 of 3 up" in found
    assert "UP   172.31.14.99 core03" not in found
