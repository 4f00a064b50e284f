"""What users of the peers complain of, told as stories in which it does not happen here.

Each is named after the report. Those of restarts and of replicas are not among them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alertd.config.schema import Channel, Settings, Storm
from alertd.delivery import render
from alertd.delivery.sample import notification_of
from alertd.model import Forecast, Kind, Match, Silence
from alertd.window import Window
from tests.engine.story import EPOCH, Story, inhibition, instant, route, rule, ruleset, seconds

LOST = rule("lost", "*")
FLAP = {"changes": 4, "within": "60s", "settle": "30s"}
CHANNELS = {name: Channel() for name in ("ops", "mail")}
TO_MAIL = (route(default=True, channels="mail"),)
TO_OPS = (route(match={"service": "apache"}, channels="ops"), *TO_MAIL)
THREE = ("apache/a", "apache/b", "apache/c")


def flip(story: Story, times: int, *, every: float) -> Story:
    """Take apache/a down and up in turn, beginning with down, from now on."""
    begin = seconds(story.now)
    for turn in range(times):
        story.at(begin + turn * every)
        story.up("apache/a") if turn % 2 else story.expire("apache/a")
    return story


# --- Alertmanager ----------------------------------------------------------------------------------------------------


def test_alertmanager_1195_one_resolve_does_not_send_the_rest_again() -> None:
    """It speaks of what resolved alone, and says how much still fires."""
    story = Story(LOST, up=THREE, group_wait="5s", group_interval="1m").at(10).expire(*THREE).at(20).up("apache/a")
    story.at(600)
    assert story.told[3:] == ["25 resolved lost apache/a"]
    assert story.notifications[1].still_firing == 2


def test_alertmanager_1510_a_resolve_does_not_wait_for_the_group_interval() -> None:
    """A firing does; a resolve waits no longer than what joins it may take."""
    story = Story(LOST, up=THREE, group_wait="5s", group_interval="1h").at(10).expire("apache/a").at(20)
    story.up("apache/a").at(30).expire("apache/b").at(9999)
    assert story.told == [
        "15 firing lost apache/a",
        "25 resolved lost apache/a",
        "3625 firing lost apache/b",
    ]


@pytest.mark.parametrize("after", [TO_MAIL, TO_OPS])
def test_alertmanager_2492_a_reload_sends_nothing_again(after: tuple[Any, ...]) -> None:
    """Whether or not the routes are the same; the end goes where the firing was told, the next firing by the new."""
    story = Story(LOST, up=THREE, channels=CHANNELS, routes=TO_MAIL).at(1).expire("apache/a").at(2)
    story.reload(LOST, channels=CHANNELS, routes=after).at(100)
    assert story.told == ["1 firing lost apache/a to mail"]
    story.up("apache/a").at(200).expire("apache/a")
    now_to = "mail" if after is TO_MAIL else "ops"
    assert story.told[1:] == ["100 resolved lost apache/a to mail", f"200 firing lost apache/a to {now_to}"]


def test_alertmanager_3407_a_reload_tells_no_part_of_a_group() -> None:
    """Twenty that fire are told once, and reminded of at their time as twenty."""
    names = tuple(f"apache/i{number:02}" for number in range(20))
    times: dict[str, Any] = {"group_wait": "5s", "group_interval": "1m", "repeat_interval": "1h"}
    story = Story(LOST, up=names, **times).at(10).expire(*names).at(100).reload(LOST, **times).at(4000)
    assert [(sent.kind, seconds(sent.at), len(sent.entries)) for sent in story.notifications] == [
        (Kind.FIRING, 15, 20),
        (Kind.REMINDER, 15 + 3600, 20),
    ]


def test_alertmanager_3407_a_reload_drops_nothing_that_waits() -> None:
    """What was about to be told is told, once, by the new routes."""
    slow = (route(default=True, channels="mail", group_wait="10s"),)
    story = Story(LOST, up=THREE, channels=CHANNELS, routes=slow).at(1).expire("apache/a").at(2)
    story.reload(LOST, channels=CHANNELS, routes=TO_OPS).at(100)
    assert story.told == ["2 firing lost apache/a to ops"]


@pytest.mark.parametrize("order", [("apache/a", "apache/b"), ("apache/b", "apache/a")])
def test_alertmanager_4064_what_is_inhibited_is_known_before_anything_is_sent(order: tuple[str, str]) -> None:
    """What a daemon finds when it starts is judged as one, in whichever order it is found."""
    by_service = (inhibition({"rule": "few"}, {"rule": "lost"}, "service"),)
    few = rule("few", when={"instances": {"below": 3}})
    story = Story(LOST, few, up=("apache/c",), inhibit=by_service)
    story.gap().put(*order, status="failing").synced().at(30)
    assert {sent.entries[0].alert.rule.name for sent in story.notifications} == {"few"}


def test_alertmanager_584_a_message_can_be_seen_before_it_is_needed() -> None:
    """By the channel's own templates, about a made-up loss."""
    mail = Channel.model_validate({"templates": {"title": "{{ kind | upper }}: {{ rule }} on {{ service }}"}})
    rules = ruleset(LOST, channels={"mail": mail})
    sample = notification_of(rule("lost"), rules, "mail", Kind.FIRING, now=instant(0), fields={})
    story = Story(LOST, up=THREE, channels={"mail": mail}).at(10).expire("apache/a")
    titles = [render.title(each, rules.settings, mail.templates) for each in (sample, *story.notifications)]
    assert titles == ["FIRING: lost on apache"] * 2


def test_alertmanager_2845_who_would_be_told_is_known_beforehand() -> None:
    """What is foreseen is what then happens: the channels, when, and who comes next."""
    step = {"after": "15m", "channels": ["mail"]}
    routes = (route(default=True, channels="ops", group_wait="5s", repeat_interval="4h", escalate=(step,)),)
    story = Story(LOST, up=THREE, channels=CHANNELS, routes=routes).at(10)
    found = story.engine.forecast("lost", "apache", "a", story.now)
    assert isinstance(found, Forecast)
    (way,) = found.ways
    assert story.told == []
    story.expire("apache/a").at(5000)
    assert story.told == [
        f"{10 + way.after:g} firing lost apache/a to {way.channels[0]}",
        f"{10 + way.after + way.steps[0].after:g} escalated lost apache/a to {way.steps[0].channels[0]}",
    ]


def test_alertmanager_3457_silences_are_kept_as_code_and_end() -> None:
    """By a moment, or with a window; what still fires is told then, and one that is dropped from the code is lifted."""
    nightly = Silence("n", Match({"instance": ("a",)}), during=("night",), source="rules/x.yaml:1")
    moving = Silence("m", Match({"instance": ("b",)}), EPOCH + timedelta(hours=3), source="rules/x.yaml:2")
    fields: dict[str, Any] = {"windows": {"night": Window("0 1 * * *", 3600)}, "silences": (nightly, moving)}
    story = Story(LOST, up=THREE, **fields).at(3600 + 10).expire("apache/a", "apache/b").at(4 * 3600)
    assert story.told == ["7200 firing lost apache/a", "10800 firing lost apache/b"]
    dropped = Story(LOST, up=THREE, **fields).at(1).expire("apache/b").at(2).reload(LOST).at(3)
    assert dropped.told == ["2 firing lost apache/b"]


def test_prometheus_operator_2398_a_silence_that_has_ended_does_not_come_back() -> None:
    """Not by a reload of the code that still has it, nor as a new one of its name, nor by a clock that is set back."""
    over = Silence("m", Match({"service": ("apache",)}), EPOCH + timedelta(hours=1), source="rules/x.yaml:2")
    story = Story(LOST, up=THREE, silences=(over,)).silence(id="s", match={"service": "apache"}, until=3600)
    story.at(4000).reload(LOST, silences=(over,)).at(4010).expire("apache/a")
    assert story.told == ["4010 firing lost apache/a"]
    story.silence(id="s", match={"service": "apache"}, until=3600).at(4020).expire("apache/b")
    assert story.told[1:] == ["4020 firing lost apache/b"]
    story.step_wall(-2000).at(4100).expire("apache/c")
    assert story.told[2:] == ["4100 firing lost apache/c"]
    assert not [reason for reason in story.reasons if "silenced" in reason]


# --- Icinga and Nagios -----------------------------------------------------------------------------------------------


def test_icinga2_10845_a_problem_that_is_left_when_flapping_ends_is_told() -> None:
    """Though nobody was told of a firing before; it counts as one, so that its end is told as well."""
    story = flip(Story(rule("lost", for_="10s", flap=FLAP), up=THREE).at(10), 5, every=3).at(200).up("apache/a")
    assert story.told == ["19 flapping lost apache/a", "52 settled lost apache/a", "200 resolved lost apache/a"]
    assert story.notifications[1].entries[0].alert.state == "firing"


def test_icinga2_9449_a_recovery_that_falls_into_flapping_is_told() -> None:
    """What was told before it flapped is taken back when it settles, and no second time."""
    story = flip(Story(rule("lost", flap=FLAP), up=THREE).at(10), 6, every=3).at(1000)
    assert story.told[-2:] == ["19 flapping lost apache/a", "55 settled lost apache/a"]
    settled = story.notifications[-1]
    assert settled.entries[0].alert.state == "inactive"
    assert "resolved" in render.title(settled, Settings())


def test_nagioscore_91_every_recovery_is_told_also_the_second() -> None:
    """Flapping that is over leaves nothing behind: the next loss and its end are told as the first."""
    story = flip(Story(rule("lost", flap=FLAP), up=THREE).at(10), 6, every=3).at(1000)
    story.expire("apache/a").at(1500).up("apache/a").at(3000)
    assert story.told[-2:] == ["1000 firing lost apache/a", "1500 resolved lost apache/a"]


# --- Uptime Kuma and consul-alerts -----------------------------------------------------------------------------------


def test_uptime_kuma_1089_fifty_instances_are_one_message() -> None:
    """Of one service, as they are lost within the group's wait; and one when they are back."""
    names = tuple(f"apache/i{number:02}" for number in range(50))
    story = Story(LOST, up=names, group_wait="5s", group_interval="1m").at(10)
    for number, name in enumerate(names):
        story.at(10 + number / 20).expire(name)
    story.at(100).up(*names).at(200)
    assert [(sent.kind, len(sent.entries)) for sent in story.notifications] == [(Kind.FIRING, 50), (Kind.RESOLVED, 50)]


def test_uptime_kuma_2724_fifty_services_are_a_few_messages() -> None:
    """Five that can be read, then one that names all the others; and as few when they are back."""
    names = tuple(f"s{number:02}/a" for number in range(50))
    story = Story(LOST, up=names, settings=Settings(flap=False, storm=Storm())).at(10).expire(*names).at(600)
    assert [sent.kind for sent in story.notifications] == [Kind.FIRING] * 5 + [Kind.DIGEST]
    story.up(*names).at(1200)
    assert [sent.kind for sent in story.notifications[6:]] == [Kind.RESOLVED] * 5 + [Kind.DIGEST]


def test_consul_alerts_26_what_is_told_says_which_node() -> None:
    """The title of a loss, and a digest too; and what is lost by now, not only what has just changed."""
    names = tuple(f"s{number}/172.31.14.{number}" for number in range(7))
    story = Story(LOST, up=names, settings=Settings(flap=False, storm=Storm())).at(10).expire(*names).at(600)
    *told, digest = story.notifications
    assert all(f" {name} " in render.title(sent, Settings()) for name, sent in zip(names, told, strict=False))
    lines = render.body(digest, Settings()).splitlines()
    assert [f"s{number}  0 of 1 up, 1 firing: 172.31.14.{number}" for number in (5, 6)] == lines[1:3]
