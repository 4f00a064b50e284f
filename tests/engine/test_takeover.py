"""Who takes over, restarted or not, goes on as if nobody had: at the same times, to the same people, by one name."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.config.schema import Channel, Settings
from tests.engine.relay import Relay
from tests.engine.story import default_route, route, rule

TWO: dict[str, Any] = {"channels": {"ops": Channel(), "mail": Channel()}}


def ids(story: Relay) -> list[str]:
    """Return the ids of what was told."""
    return [each.id for each in story.notifications]


def take_over(story: Relay, how: str) -> Relay:
    """Let another speak from now on, in one of three ways, or nobody else."""
    if how == "restart":
        return story.restart(**story.fields)
    if how == "restarted standby":
        story.restart_standby()
    return story.fail_over() if how else story


@pytest.mark.parametrize("how", ["standby", "restarted standby", "restart"])
def test_an_end_that_waits_is_told_in_its_time_and_by_its_name(how: str) -> None:
    """Not at once: what fires again by then has told nobody of an end."""
    both = []
    for way in ("", how):
        story = Relay(rule(), up=("apache/a",), has_standby=how != "restart", group_wait="30s").at(10)
        over = take_over(story.expire("apache/a").at(50).up("apache/a").at(55), way)
        assert over.at(200).told == ["40 firing r apache/a", "80 resolved r apache/a"]
        both.append(ids(over))
    assert both[0] == both[1]
    story = Relay(rule(), up=("apache/a",), has_standby=how != "restart", group_wait="30s").at(10)
    again = take_over(story.expire("apache/a").at(50).up("apache/a").at(55), how).at(60).expire("apache/a")
    assert again.at(200).told == ["40 firing r apache/a"]


def test_a_message_is_named_alike_in_whatever_order_it_was_put_together() -> None:
    """One replica had news of the one alert first, the other of the other."""
    by_rule = {"routes": (default_route(group_by=("rule",), group_wait="20s"),)}
    both = []
    for way in ("", "standby"):
        story = Relay(rule(service="*"), up=("a/1", "b/1"), has_standby=True, **by_rule).at(10).expire("b/1").at(60)
        both.append(ids(take_over(story.expire("a/1").at(61).up("b/1").at(62), way).at(100)))
    assert len(both[0]) == 2
    assert both[0] == both[1]


def test_a_digest_that_was_held_is_not_told_by_who_has_lost_the_lead() -> None:
    """And has it again: it is told once, and nothing is reminded of for ever."""
    storm = Settings.model_validate({"flap": False, "storm": {"above": 1, "within": "20s"}})
    fields: dict[str, Any] = {"group_wait": "5s", "repeat_interval": "70s", "settings": storm, "has_standby": True}
    story = Relay(rule(service="*"), up=("a/1", "b/1", "b/2"), **fields).at(100).expire("a/1").at(106).expire("b/1")
    story.at(150).at(190).fail_over().fail_over().at(420)
    assert len(ids(story)) == len(set(ids(story)))


def test_what_is_pending_again_has_ended_once() -> None:
    """Its end was told before the condition turned true again."""
    story = Relay(rule(for_="7s"), up=("apache/a",), has_standby=True).at(10).expire("apache/a").at(30).up("apache/a")
    story.at(40).expire("apache/a").at(41).fail_over().at(42).up("apache/a").at(100)
    assert story.told == ["17 firing r apache/a", "30 resolved r apache/a"]


def test_what_is_over_is_told_to_those_alone_who_were_not() -> None:
    """One of two groups has told its end; the other still waits when the process ends."""
    first = route(match={"zone": "us"}, channels=("mail",), continue_=True)
    slow = default_route(channels=("mail", "ops"), group_wait="20s")
    story = Relay(rule(), routes=(first, slow), **TWO).put("apache/a", zone="us").at(110).expire("apache/a").at(111)
    told = story.put("apache/a", zone="us").at(112).restart().at(400).told
    assert told == [
        "110 firing r apache/a to mail",
        "111 resolved r apache/a to mail",
        "131 resolved r apache/a to ops",
    ]


def test_what_one_group_told_is_owed_by_no_other() -> None:
    """Though that has left it in etcd; a channel that an escalation reached, another route had still to tell."""
    slow = route(channels=("mail",), continue_=True, group_wait="20s", group_by=("service",))
    quick = default_route(channels=("ops",), group_interval="30s")
    story = Relay(rule(), up=("apache/a",), has_standby=True, routes=(slow, quick), **TWO).at(10).expire("apache/a")
    story.at(35).up("apache/a").at(36).expire("apache/a").at(40).up("apache/a").at(41).fail_over().fail_over().at(200)
    assert [line for line in story.told if line.endswith("ops") and int(line.split()[0]) > 40] == []
    step = {"after": "15s", "channels": ("mail",)}
    first = route(match={"severity": "critical"}, channels=("ops",), continue_=True, escalate=(step,))
    last = default_route(channels=("mail",), group_wait="20s", group_by=("service",))
    other = Relay(rule(severity="critical"), up=("apache/a",), has_standby=True, routes=(first, last), **TWO).at(10)
    other.expire("apache/a").at(27).up("apache/a").at(30).fail_over().at(100)
    assert other.told[1:] == [
        "25 escalated r apache/a to mail",
        *(f"27 resolved r apache/a to {name}" for name in ("ops", "mail")),
    ]


def test_what_only_owes_its_end_stays_in_its_group_over_a_restart() -> None:
    """A reload leaves it there as well."""
    to_ops, to_mail = (default_route(channels=(name,), group_wait="20s") for name in ("ops", "mail"))
    story = Relay(rule(), up=("apache/a",), routes=(to_ops,), **TWO).at(10).expire("apache/a").at(11).up("apache/a")
    story.at(12).reload(rule(), routes=(to_mail,), **TWO).at(13).restart(rule(), routes=(to_mail,), **TWO)
    assert [line.split(" ", 1)[1] for line in story.at(100).told] == ["resolved r apache/a to ops"]


def test_a_restart_with_other_routes_is_as_a_reload() -> None:
    """What stands takes them: here one that escalates, though its old route is there still."""
    old = (default_route(channels=("mail",), group_by=("service", "rack")),)
    step = {"after": "60s", "channels": ("boss",)}
    new = (route(match={"severity": "critical"}, channels=("ops",), escalate=(step,)), *old)
    channels: dict[str, Any] = {"channels": {name: Channel() for name in ("ops", "mail", "boss")}}
    critical = rule(severity="critical")
    for begin in (Relay.reload, Relay.restart):
        story = Relay(critical, up=("apache/a",), routes=old, **channels).at(10).expire("apache/a").at(20)
        begin(story, critical, routes=new, **channels)
        assert story.at(200).told == ["10 firing r apache/a to mail", "70 escalated r apache/a to boss"]


def test_fields_that_new_rules_name_are_remembered_after_a_restart() -> None:
    """They were of no interest when the service was remembered last."""
    to_mail = default_route(channels=("mail",))
    story = Relay(rule(), up=("apache/b",), routes=(to_mail,), **TWO).put("apache/a", rack="r7").at(10).leave()
    story.fields["routes"] = (route(match={"rack": "r7"}, channels=("ops",)), to_mail)
    assert story.come_back().at(20).engine.take_touched() == ["apache"]
    assert story.restart().at(30).engine.take_touched() == []


def test_a_rule_that_is_gone_owes_nobody_what_it_had_still_to_tell() -> None:
    """Its end goes to those who know; nothing of it is kept for the others."""
    fast, slow = route(channels=("ops",), continue_=True), default_route(channels=("mail",), group_wait="30s")
    story = Relay(rule(), up=("apache/a",), routes=(fast, slow), **TWO).at(10).expire("apache/a").at(15)
    story.restart(rule("other", service="pay")).at(5000)
    assert story.told == ["10 firing r apache/a to ops", "15 resolved r apache/a to ops"]
    assert story.books == {}


def test_what_has_returned_and_is_in_doubt_again_is_not_believed_lost() -> None:
    """What was told of it is older than its return, whose telling waits."""
    names = tuple(f"apache/{number}" for number in range(24))
    both = []
    for way in ("", "standby"):
        story = Relay(rule(), up=names, has_standby=True, group_wait="30s").put(*names, leases=8).at(10)
        story.expire("apache/0").at(50).up("apache/0").at(60).hold().at(61).expire(*names).at(62)
        both.append(take_over(story, way).at(65).up(*names).at(100).told)
    assert both[0] == both[1]
    assert both[0][:2] == ["40 firing r apache/0", "80 resolved r apache/0"]
