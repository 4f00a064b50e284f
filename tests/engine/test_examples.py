"""The configuration that is shipped in rules/examples, loaded as it is: it behaves as its comments say.

A day of it begins at noon of a Thursday, 2026-01-01, when the nightly window is closed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alertd.config.load import survey
from alertd.engine.core import Engine
from alertd.model import Kind
from tests.config.folder import NOW
from tests.engine.story import Story, instant

EXAMPLES = survey(Path(__file__).parents[2] / "rules" / "examples", environ={}, now=NOW).draft
MINUTE, HOUR, DAY = 60, 3600, 86400
NOON = 12 * HOUR
SUNDAY = 3 * DAY
SHOP = ("shop-a/a", "shop-a/b", "shop-a/c")
REPLICA: dict[str, Any] = {"role": "replica", "version": "2.4"}


def begin(*up: str, at: float = NOON, **fields: Any) -> Story:
    """Return a story of the examples in which instances are up for 20 minutes; what was told by then is left out."""
    story = Story(make=lambda _, prefix: Engine(EXAMPLES, prefix))
    story.now = instant(at - 20 * MINUTE)
    story.put(*up, **fields).at(at).actions.clear()
    return story


def databases(at: float = NOON) -> Story:
    """Return a story of a primary and two replicas, each of a shard and on a host of its own."""
    story = begin("shop-a/a", "shop-a/b", "shop-a/c", at=at)
    for name, shard, role in (("p", "1", "primary"), ("q", "1", "replica"), ("r", "2", "replica")):
        story.put(f"db-a/{name}", host=f"core-{name}", shard=shard, role=role, version="2.4")
    story.at(at + 20 * MINUTE).actions.clear()
    return story


def told_by(story: Story, name: str) -> list[str]:
    """Return what was told of one rule, with seconds from noon."""
    lines = [line.split(" ", 1) for line in story.told]
    return [f"{float(at) - NOON:g} {what}" for at, what in lines if what.split()[1] == name]


# --- whom the routes tell --------------------------------------------------------------------------------------------


def test_too_few_of_the_shop_goes_to_its_people_and_the_dashboard_and_is_escalated() -> None:
    """After 30 s and the group's wait; mail after 15 min, the boss after an hour, who is not told of the end."""
    story = begin(*SHOP).expire("shop-a/a", "shop-a/b").at(NOON + 4000).up("shop-a/a", "shop-a/b").at(NOON + 9000)
    assert told_by(story, "shop-minimum") == [
        "35 firing shop-minimum shop-a to hook",
        "35 firing shop-minimum shop-a to shop",
        f"{35 + 15 * MINUTE} escalated shop-minimum shop-a to mail",
        f"{35 + HOUR} escalated shop-minimum shop-a to boss",
        f"{35 + HOUR} reminder shop-minimum shop-a to shop",
        f"{35 + HOUR} reminder shop-minimum shop-a to mail",
        "4065 resolved shop-minimum shop-a to hook",
        "4065 resolved shop-minimum shop-a to shop",
        "4065 resolved shop-minimum shop-a to mail",
    ]


def test_an_acknowledgement_keeps_the_boss_asleep() -> None:
    """Nobody is reminded either; the end is told."""
    story = begin(*SHOP).expire("shop-a/a", "shop-a/b").at(NOON + 60).ack("shop-a").at(NOON + 2 * HOUR)
    story.up("shop-a/a", "shop-a/b").at(NOON + 3 * HOUR)
    assert [line.split()[1] for line in story.told] == ["firing", "firing", "resolved", "resolved"]


def test_the_dashboard_does_not_hear_of_what_was_stopped_on_purpose() -> None:
    """The shop's people do: there are too few all the same."""
    story = begin(*SHOP).stop("shop-a/a").stop("shop-a/b").at(NOON + 200)
    assert told_by(story, "shop-minimum") == ["35 firing shop-minimum shop-a to shop"]


def test_the_shop_is_told_of_a_site_at_once() -> None:
    """Two services and two rules are one message."""
    names = tuple(f"shop-{service}/{instance}" for service in "ab" for instance in "abc")
    story = begin(*names).expire("shop-a/a", "shop-a/b", "shop-b/a", "shop-b/b").at(NOON + 45)
    (message,) = [sent for sent in story.notifications if sent.channel == "shop"]
    assert (message.group, [entry.alert.target for entry in message.entries]) == ("shop/fra", ["shop-a", "shop-b"])


def test_by_night_a_database_that_still_answers_is_only_mailed() -> None:
    """By day its people and the log are told."""
    night = databases(22 * HOUR).expire("db-a/q").at(22 * HOUR + 30 * MINUTE)
    assert {line.split(" to ")[1] for line in night.told if "shop-lost db-a/q" in line} == {"mail"}
    day = databases().expire("db-a/q").at(NOON + 30 * MINUTE)
    assert told_by(day, "shop-lost") == [
        "1247 firing shop-lost db-a/q to ops",
        "1247 firing shop-lost db-a/q",
    ]


# --- what keeps quiet ------------------------------------------------------------------------------------------------


def test_too_few_of_a_shop_says_all_there_is_to_say() -> None:
    """Which ones are lost, that it is half of them, and that they come and go, is in that message."""
    story = begin(*SHOP).expire("shop-a/a", "shop-a/b").at(NOON + 600)
    assert {line.split()[2] for line in story.told} == {"shop-minimum"}
    muted = {alert.rule.name: str(alert.muted) for alert in story.engine.alerts() if alert.muted}
    assert muted == {"shop-lost": "inhibited:shop-minimum", "shop-half": "inhibited:shop-minimum"}


def test_without_its_database_a_shop_is_only_told_of_where_that_ends_first() -> None:
    """A minute later, if it still fires."""
    story = databases().expire("db-a/q").at(NOON + 1230).expire("shop-a/a").at(NOON + 1500)
    assert told_by(story, "shop-lost") == ["1247 firing shop-lost db-a/q to ops", "1247 firing shop-lost db-a/q"]
    story.put("db-a/q", host="core-q", shard="1", **REPLICA).at(NOON + 2000)
    assert told_by(story, "shop-lost")[-1] == "1560 firing shop-lost shop-a/a to shop"


def test_replicas_may_lag_while_the_tables_are_vacuumed() -> None:
    """On Sundays from three to five; what lags still is told then, by mail, since in Berlin it was night."""
    told = []
    for day in (SUNDAY, SUNDAY + DAY):
        story = databases(day + 3 * HOUR - 1500).at(day + 3 * HOUR + 60)
        story.put("db-a/q", host="core-q", shard="1", replication={"lag": 60}, **REPLICA).at(day + 6 * HOUR)
        told += [line for line in story.told if " db-lag " in line]
    assert told == [
        f"{SUNDAY + 5 * HOUR + 5} firing db-lag db-a/q to mail",
        f"{SUNDAY + DAY + 3 * HOUR + 125} firing db-lag db-a/q to mail",
    ]


def test_of_what_is_being_taken_down_only_the_loss_of_all_matters() -> None:
    """Critical it is; the loss of one is silenced."""
    story = begin("shop-old-1/a", "shop-old-1/b", "shop-old-1/c").expire("shop-old-1/a").at(NOON + 600)
    assert story.told == []
    story.expire("shop-old-1/b").at(NOON + 900)
    assert {line.split()[2] for line in story.told} == {"shop-minimum"}


# --- what the rules find ---------------------------------------------------------------------------------------------


def test_a_loss_is_told_after_45_seconds_and_only_if_nobody_stopped_it() -> None:
    """A lease that ended or a failed probe."""
    story = begin(*SHOP).expire("shop-a/a").at(NOON + 100).up("shop-a/a").at(NOON + 200).fail("shop-a/b")
    story.at(NOON + 400).up("shop-a/b").at(NOON + 900).stop("shop-a/c").at(NOON + 1800).up("shop-a/c").at(NOON + 2800)
    story.delete("shop-a/c").at(NOON + 3600)
    assert told_by(story, "shop-lost") == [
        "50 firing shop-lost shop-a/a to shop",
        "105 resolved shop-lost shop-a/a to shop",
        "250 firing shop-lost shop-a/b to shop",
        "405 resolved shop-lost shop-a/b to shop",
    ]


def test_what_comes_and_goes_is_flapping_and_restless() -> None:
    """Each time too quick for 45 s: four changes within ten minutes flap, six are restless; then it has settled."""
    story = begin(*SHOP)
    for turn in range(8):
        story.at(NOON + 20 * turn)
        story.up("shop-a/a") if turn % 2 else story.expire("shop-a/a")
    story.at(NOON + 1000)
    assert told_by(story, "shop-lost") == [
        "65 flapping shop-lost shop-a/a to shop",
        "445 settled shop-lost shop-a/a to shop",
    ]
    assert [line.split()[1] for line in told_by(story, "shop-restless")] == ["firing", "resolved"]


def test_a_new_instance_is_a_line_on_the_log() -> None:
    """Told once."""
    story = begin(*SHOP).up("shop-a/d").at(NOON + 600)
    assert told_by(story, "shop-new") == ["2 firing shop-new shop-a/d"]


def test_less_than_half_of_the_expected_is_told() -> None:
    """Where it is not also too few: of a shop of which one instance of three is up, both hold."""
    story = begin(*SHOP).stop("shop-a/a").stop("shop-a/b").at(NOON + 200)
    (half,) = [alert for alert in story.engine.alerts() if alert.rule.name == "shop-half"]
    assert (half.state, half.minimum, str(half.muted)) == ("firing", 2, "inhibited:shop-minimum")


def test_a_shop_that_is_scaled_in_a_circle_is_crowded() -> None:
    """After five minutes with more than fifty."""
    story = begin(*(f"shop-a/i{number:02}" for number in range(51)), at=NOON)
    assert [alert.rule.name for alert in story.engine.alerts()] == ["shop-crowded"]
    story.stop("shop-a/i00").at(NOON + 60)
    assert told_by(story, "shop-crowded") == ["2 resolved shop-crowded shop-a to ops", "2 resolved shop-crowded shop-a"]


def test_each_shard_needs_a_replica_of_its_own() -> None:
    """A primary does not count."""
    story = databases().expire("db-a/q").at(NOON + 1230).fail("db-a/p").at(NOON + 1500)
    assert told_by(story, "db-replicas") == [
        "1217 firing db-replicas db-a (shard=1) to ops",
        "1217 firing db-replicas db-a (shard=1)",
        "1220 firing db-replicas db-a (shard=1) to hook",
    ]


@pytest.mark.parametrize(
    ("name", "fields", "after"),
    [
        ("db-one-host", {"host": "core-r"}, None),
        ("db-versions", {"version": "2.5"}, HOUR),
        ("db-lag", {"replication": {"lag": 31}}, MINUTE),
        ("db-space", {"disk": {"free": 9}}, 0),
        ("db-readonly", {"mode": "readonly"}, MINUTE),
        ("db-beta", {"version": "2.5-rc1"}, 0),
        ("db-no-role", {"role": None}, 0),
        ("db-malformed", None, 5 * MINUTE),
    ],
)
def test_what_a_database_says_of_itself_is_judged(
    name: str, fields: dict[str, Any] | None, after: float | None
) -> None:
    """After as long as the rule says, and it ends once it says so no more."""
    well: dict[str, Any] = {"host": "core-q", "shard": "1", **REPLICA}
    story = databases()
    if fields is None:
        story.put("db-a/q", raw=b"172.31.14.97:")
    else:
        story.put("db-a/q", **{key: text for key, text in {**well, **fields}.items() if text is not None})
    story.at(NOON + 3 * HOUR).put("db-a/q", **well).at(NOON + 4 * HOUR)
    kinds = [(line.split()[0], line.split()[1]) for line in told_by(story, name) if line.endswith(" to ops")]
    assert kinds == ([] if after is None else [(f"{1202 + after:g}", "firing"), (f"{3 * HOUR + 2:g}", "resolved")])


def test_databases_on_one_host_are_told_of() -> None:
    """All of them; one that shares a host with another is no reason."""
    story = databases()
    for name, shard, role in (("p", "1", "primary"), ("q", "1", "replica"), ("r", "2", "replica")):
        story.put(f"db-a/{name}", host="core-r", shard=shard, role=role, version="2.4")
    story.at(NOON + HOUR)
    assert told_by(story, "db-one-host")[0] == "1502 firing db-one-host db-a to ops"


def test_a_level_that_was_passed_is_left_at_another() -> None:
    """30 s of lag is told, and over at 10; what lies between changes nothing."""
    story = databases()
    for turn, lag in enumerate((40, 20, 29, 11, 10)):
        story.at(NOON + 1200 + 300 * turn).put("db-a/q", host="core-q", shard="1", replication={"lag": lag}, **REPLICA)
    story.at(NOON + HOUR)
    assert [line.split()[:2] for line in told_by(story, "db-lag") if line.endswith(" to ops")] == [
        ["1262", "firing"],
        ["2402", "resolved"],
    ]


def test_when_a_whole_site_is_lost_each_channel_gets_a_few_messages() -> None:
    """Of twenty shops: one to the shop's people, who are told of a site at once, and few to the dashboard."""
    names = tuple(f"shop-{number:02}/{instance}" for number in range(20) for instance in "abc")
    story = begin(*names).expire(*names).at(NOON + 600)
    by_channel = {name: [s for s in story.notifications if s.channel == name] for name in ("shop", "hook")}
    assert [(sent.kind, len(sent.entries)) for sent in by_channel["shop"]] == [(Kind.FIRING, 20)]
    assert len(by_channel["hook"]) <= EXAMPLES.settings.storm.above + 2
    assert {name for sent in by_channel["hook"] for name in sent.services} == {f"shop-{n:02}" for n in range(20)}
