"""Trouble with etcd is not trouble with the services: losses that come all at once are not believed at once."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.config.schema import Channel, Settings
from alertd.delivery import render
from alertd.model import AlertState, Cause, Kind
from tests.engine.relay import Relay
from tests.engine.story import Story, default_route, route, rule, seconds

SERVICES = ("apache", "mail", "pay", "web")
NAMES = tuple(f"{service}/{number}" for service in SERVICES for number in range(5))
QUIET = Settings.model_validate({"flap": False, "storm": {"above": 1000}})
LOST = rule("lost", "*")
FEW = rule("few", "*", when={"instances": {"below": 3}})
FIRED, ENDED = "firing alertd-registry alertd", "resolved alertd-registry alertd"


def settings(**registry: str) -> Settings:
    """Return settings with a `registry` and a storm that has no patience."""
    return Settings.model_validate({"flap": False, "registry": registry, "storm": {"above": 2, "within": "30s"}})


def story(
    *rules: Any, leases: int = 4, make: type[Story] = Story, names: tuple[str, ...] = NAMES, **fields: Any
) -> Any:
    """Return a story with 20 instances on some leases."""
    made = make(*(rules or (LOST,)), **{"settings": settings(), "group_wait": "5s", **fields})
    return made.put(*names, leases=leases).at(100)


def expire_one_by_one(tale: Any, *names: str) -> Any:
    """End a lease for each."""
    for name in names:
        tale.expire(name)
    return tale


def about_services(tale: Story) -> list[str]:
    """Return what was told of services."""
    return [line for line in tale.told if "alertd" not in line]


# --- suspicion -------------------------------------------------------------------------------------------------------


def test_what_its_interval_keeps_back_holds_up_nobody() -> None:
    """The digest of a doubt waits for what is told soon, not for a group that may speak in half an hour."""
    routes = (route(match={"service": "slow"}, group_wait="5s", group_interval="30m"), default_route(group_wait="5s"))
    tale = story(LOST, names=(*NAMES, "slow/a", "slow/b", "db/a"), routes=routes, settings=QUIET)
    tale.fail("slow/a").at(110).fail("slow/b").at(200)
    expire_one_by_one(tale, *NAMES[:13]).at(310).fail("db/a").at(340).up("db/a").at(2000)
    assert [seconds(sent.at) for sent in tale.notifications if sent.kind is Kind.DIGEST] == [265.1]
    assert [line for line in tale.told if "db/a" in line] == ["315 firing lost db/a", "345 resolved lost db/a"]
    assert [line for line in tale.told if "slow" in line] == ["105 firing lost slow/a", "1905 firing lost slow/b"]


def test_half_of_all_lost_at_once_is_one_message_about_the_registry() -> None:
    """What is really gone is told at the end of `settle`, as one digest; what came back is not told at all."""
    tale = expire_one_by_one(story(LOST, FEW), *NAMES[:12]).at(159)
    assert tale.told == [f"105 {FIRED}"]
    tale.up(*NAMES[:4]).at(400)
    assert [(sent.kind, seconds(sent.at)) for sent in tale.notifications[1:]] == [
        (Kind.RESOLVED, 165),
        (Kind.DIGEST, 165.1),
    ]
    gone = {line.split(" ", 1)[1] for line in about_services(tale)}
    assert gone == {*(f"firing lost {name}" for name in NAMES[4:12]), "firing few mail"}
    assert tale.up(*NAMES[4:12]).at(500).told[-1].startswith("435")


def test_the_message_says_how_much_and_how_long() -> None:
    """In the title, in figures."""
    tale = expire_one_by_one(story(), *NAMES[:11]).at(104).expire(NAMES[11]).at(400)
    titles = [render.title(sent, Settings()) for sent in tale.notifications if "alertd" in sent.group]
    assert titles == [
        "[FIRING] alertd-registry alertd · 12 of 20 instances expired within 4s: judging waits 1m · critical",
        "[RESOLVED] alertd-registry alertd · judging again: 12 of 12 stay lost · critical",
    ]


def test_the_view_shows_the_truth_meanwhile() -> None:
    """Only the judging waits."""
    tale = expire_one_by_one(story(), *NAMES[:12])
    apache = next(facts for facts in tale.engine.services() if facts.name == "apache")
    assert (apache.up, apache.known) == (0, 5)
    assert {each.cause for each in apache.instances} == {Cause.EXPIRED}
    assert set(tale.alerts) == {"alertd"}


@pytest.mark.parametrize(
    ("lost", "leases", "spread", "fields", "is_suspect"),
    [
        (10, 4, 0, {}, True),
        (9, 4, 0, {}, False),
        (10, 3, 0, {}, True),
        (10, 2, 0, {}, False),
        (10, 4, 29, {}, True),
        (10, 4, 90, {}, False),
        (6, 4, 0, {"suspect": "30%"}, True),
        (10, 4, 0, {"settle": "0s"}, False),
    ],
)
def test_what_is_suspect(lost: int, leases: int, spread: float, fields: dict[str, str], *, is_suspect: bool) -> None:
    """So many per cent, on so many leases, within the time of a lease."""
    tale = story(settings=settings(**fields), leases=leases)
    for turn, name in enumerate(NAMES[:lost]):
        tale.at(100 + spread * turn / (lost - 1)).expire(name)
    assert ("alertd" in tale.alerts) is is_suspect


def test_fewer_than_twenty_are_never_suspect() -> None:
    """Where there are few, one host is half of them."""
    assert "alertd" not in expire_one_by_one(story(names=NAMES[:19]), *NAMES[:19]).alerts


def test_what_comes_and_goes_is_not_lost_together() -> None:
    """Each of twenty restarts twice within half a minute, one after the other: never is more than one down."""
    tale = story()
    for turn, name in enumerate(NAMES * 2):
        tale.at(100 + turn / 2).expire(name).put(name, leases=3)
    assert "alertd" not in tale.alerts


@pytest.mark.parametrize("how", ["delete", "fail", "stop"])
def test_what_is_certain_is_judged_at_once(how: str) -> None:
    """However much it is; and no less while other losses are in doubt."""
    tale = story(
        rule("gone", "*", when={"instance": "down", "cause": ["failing", "stopped", "deleted"]}), group_wait="0s"
    )
    for name in NAMES[:15]:
        getattr(tale, how)(name)
    assert "alertd" not in tale.alerts
    assert len(tale.alerts) == 15
    doubtful = expire_one_by_one(story(LOST, settings=settings()), *NAMES[:12])
    getattr(doubtful, how)(NAMES[15])
    doubtful.at(106)
    assert about_services(doubtful) == ([] if how == "stop" else [f"105 firing lost {NAMES[15]}"])


def test_a_doubtful_instance_that_says_it_is_down_is_judged() -> None:
    """It is heard of again, and what it says is bad."""
    tale = expire_one_by_one(story(), *NAMES[:12]).at(110).fail(NAMES[0]).at(120)
    assert about_services(tale) == [f"115 firing lost {NAMES[0]}"]
    assert len([line for line in tale.at(400).told if line.endswith(NAMES[0])]) == 1


def test_a_loss_that_is_found_to_be_a_stop_is_no_loss() -> None:
    """Nor is one that another instance took the place of."""
    tale = expire_one_by_one(story(), *NAMES[:12]).at(110)
    tale.put(NAMES[0], status="stopped").put("apache/new").at(400)
    assert [line.rpartition(" ")[2] for line in about_services(tale)] == list(NAMES[2:12])


# --- what was judged before ------------------------------------------------------------------------------------------


def test_what_was_judged_and_not_told_before_the_suspicion_is_doubted_too() -> None:
    """Half is not reached with the first; people have not heard of those yet."""
    tale = story(rule("lost", "*", for_="20s"), FEW)
    for turn, name in enumerate(NAMES[:12]):
        tale.at(100 + turn / 4).expire(name)
    assert about_services(tale.at(150)) == []
    assert about_services(tale.up(*NAMES[:12]).at(400)) == []


def test_what_was_told_stays_told() -> None:
    """It is neither taken back nor told again, and resolves when it is back."""
    tale = story(LOST, FEW, group_wait="0s").expire(*NAMES[:3]).at(110)
    expire_one_by_one(tale, *NAMES[5:15]).at(150)
    assert about_services(tale) == [
        "100 firing lost apache/0",
        "100 firing lost apache/1",
        "100 firing lost apache/2",
        "100 firing few apache",
    ]
    tale.up(*NAMES[:3])
    assert [line.split(" ")[1] for line in about_services(tale)[4:]] == ["resolved"] * 4


@pytest.mark.parametrize("judged", [LOST, FEW])
def test_what_was_told_by_one_rule_alone_stays_told(judged: Any) -> None:
    """Also when something else is heard of the service."""
    tale = story(judged, group_wait="0s").expire(*NAMES[:3]).at(110)
    before = about_services(tale)
    assert before != []
    tale.expire(*NAMES[5:15]).put("apache/3", zone="eu").at(159)
    assert about_services(tale) == before
    assert all("resolved" not in line for line in about_services(tale.at(400)))


def test_what_was_judged_at_the_end_is_not_doubted_again() -> None:
    """Though it was lost a moment before the next suspicion."""
    names = (*NAMES, *(f"more/{number}" for number in range(40)))
    tale = expire_one_by_one(story(names=names), *names[:30]).at(155).expire(names[30]).at(162)
    expire_one_by_one(tale, *names[31:50]).at(166)
    assert [line for line in about_services(tale) if line.endswith(f" {names[30]}")] != []


def test_what_was_replaced_counts_no_more() -> None:
    """The newcomer does in its place."""
    tale = story(rule("few", "apach*", when={"instances": {"below": 5}}))
    expire_one_by_one(tale, "apache/0", *NAMES[5:15]).at(110).put("apache/new").delete("apache/1").at(120)
    assert about_services(tale) == ["115 firing few apache"]


def test_a_service_whose_losses_are_known_is_let_alone() -> None:
    """Of one service nothing is left to doubt; those of others are doubted."""
    tale = story(LOST, FEW, group_wait="0s").expire(*NAMES[:5]).at(110)
    expire_one_by_one(tale, *NAMES[5:15]).at(169)
    assert len(about_services(tale)) == 5 + 1
    assert len(about_services(tale.at(400))) == 15 + 3


def test_a_service_alert_does_not_fire_from_doubtful_losses() -> None:
    """But it does from certain ones, counted as if the doubtful were up; and says how many are up in truth."""
    tale = expire_one_by_one(story(FEW), "apache/0", "apache/1", "apache/2", *NAMES[5:13]).at(110)
    tale.delete("apache/3").at(120)
    assert about_services(tale) == []
    tale.delete("apache/4").delete("web/0", "web/1", "web/2").at(140)
    assert about_services(tale) == ["125 firing few web"]
    tale.at(400)
    assert about_services(tale)[1:] == ["165.1 firing few apache", "165.1 firing few mail", "165.1 firing few pay"]


@pytest.mark.parametrize(
    "when", [{"instances": {"below": 1, "per": "zone"}}, {"distinct": {"field": "zone", "below": 1}}]
)
def test_so_does_no_other_that_counts(when: dict[str, Any]) -> None:
    """Neither for the values of a field."""
    tale = story().put(*NAMES, leases=4, zone="eu").at(200)
    tale.reload(rule("zones", "*", when=when), settings=settings(), group_wait="5s")
    expire_one_by_one(tale, *NAMES[:12]).at(259)
    assert about_services(tale) == []
    assert len(about_services(tale.at(400))) == 2


def test_for_counts_from_the_loss() -> None:
    """What would have fired meanwhile fires at the end of `settle`; the rest in its time."""
    tale = expire_one_by_one(story(rule("lost", "apache", for_="90s"), rule("soon", "mail", for_="40s")), *NAMES[:12])
    tale.at(400)
    assert [line.split(" ")[0] for line in about_services(tale) if "soon" in line] == ["165.1"] * 5
    assert {line.split(" ")[0] for line in about_services(tale) if "lost" in line} <= {"195", "225.1", "195.1"}
    assert len(about_services(tale)) == 10


def test_a_second_suspicion_holds_again() -> None:
    """What was judged at the end of the first is judged for good."""
    names = (*NAMES, *(f"more/{number}" for number in range(30)))
    tale = expire_one_by_one(story(names=names), *names[:25]).at(170)
    expire_one_by_one(tale, *names[25:40]).at(999)
    assert [line.split(" ", 1)[1] for line in tale.told if "alertd" in line] == [FIRED, ENDED, FIRED, ENDED]
    assert sorted(line.rpartition(" ")[2] for line in about_services(tale)) == sorted(names[:40])


# --- an etcd that was away -------------------------------------------------------------------------------------------


def test_what_is_found_gone_when_etcd_is_back_is_held() -> None:
    """However little it is; `settle` counts from the end of the gap."""
    tale = story(LOST).gap().hold()
    tale.miss("apache/0", "apache/1").at(130).synced().at(140).up("apache/0").at(189)
    assert tale.told == [f"105 {FIRED}"]
    assert render.title(tale.notifications[0], Settings()) == (
        "[FIRING] alertd-registry alertd · etcd was away for 2m, 2 of 20 instances expired: judging waits 1m · critical"
    )
    assert sorted(tale.at(400).told[1:]) == [f"195 {ENDED}", "195.1 firing lost apache/1"]


def test_nothing_found_gone_is_nothing_to_tell() -> None:
    """A hold alone is no news."""
    tale = story(LOST).gap().hold()
    assert tale.synced().at(400).told == []


def test_a_hold_can_be_released() -> None:
    """At once, or with the end of the gap that is open."""
    tale = story(LOST).hold()
    tale.expire("apache/0").at(110)
    tale.actions += tale.engine.release(tale.now)
    assert about_services(tale.at(400)) == ["115.1 firing lost apache/0"]


def test_cold_start_is_never_delayed() -> None:
    """What is there at first is judged at once."""
    tale = Story(FEW, rule("named", "db"), up=("apache/0",), settings=settings())
    assert set(tale.told) == {"0 firing few db", "0 firing few apache"}


@pytest.mark.parametrize("lost_history", [False, True])
def test_a_restart_of_the_daemon_alone_is_not_delayed(lost_history: bool) -> None:  # noqa: FBT001
    """It was not etcd that was away."""
    tale = story(LOST, make=Relay).at(200).leave().at(205)
    expire_one_by_one(tale, *NAMES[:12]).at(210).come_back(lost_history=lost_history).at(250)
    assert len(about_services(tale)) == 12
    assert not any("alertd" in line for line in tale.told)


# --- what may happen meanwhile ---------------------------------------------------------------------------------------


def test_a_reload_in_the_middle_changes_nothing() -> None:
    """New rules judge as the old: what is doubted is up."""
    tale = expire_one_by_one(story(LOST, FEW), *NAMES[:12]).at(130)
    tale.reload(LOST, FEW, rule("other", "*"), settings=settings(), group_wait="5s").at(159)
    assert about_services(tale) == []
    assert len(about_services(tale.at(400))) == 12 * 2 + 2


def test_a_gap_in_the_middle_changes_nothing() -> None:
    """What it finds back is back; what it finds gone is doubted; the end comes after it."""
    tale = expire_one_by_one(story(LOST), *NAMES[:12]).at(150).gap()
    tale.found(NAMES[0]).miss(NAMES[13]).at(170).synced().at(400)
    assert sorted(line.rpartition(" ")[2] for line in about_services(tale)) == sorted([*NAMES[1:12], NAMES[13]])
    assert len(tale.notifications) == 3


def test_forgetting_in_the_middle() -> None:
    """What a person forgets is not told; what is forgotten by itself waits for the verdict."""
    forgetful = settings().model_copy(update={"forget_after": 10.0})
    tale = expire_one_by_one(story(LOST, settings=forgetful), *NAMES[:12]).at(130).forget("apache").at(159)
    assert about_services(tale) == []
    assert {line.rpartition(" ")[2] for line in about_services(tale.at(400))} == set(NAMES[5:12])


def test_a_flap_is_not_made_of_it() -> None:
    """An instance that is lost and back within the doubt has not changed as far as rules are concerned."""
    flapping = rule("lost", "*", flap={"changes": 2, "within": "10m", "settle": "1m"})
    often = rule("often", "*", when={"changes": {"above": 0, "within": "10m"}})
    tale = expire_one_by_one(story(flapping, often), *NAMES[:12]).at(130).up(*NAMES[:12]).at(400)
    assert [line.split(" ", 1)[1] for line in tale.told if "often" not in line] == [FIRED, ENDED]


@pytest.mark.parametrize("at", [101, 130, 159.9, 163])
def test_a_failover_in_the_middle(at: float) -> None:
    """Whoever speaks then has doubted the same; nothing is lost and nothing told twice."""
    two: dict[str, Any] = {"channels": {"ops": Channel(), "mail": Channel()}}
    tale = story(LOST, FEW, make=Relay, has_standby=True, **two)
    expire_one_by_one(tale, *NAMES[:12]).at(at).fail_over().at(600)
    for channel in ("ops", "mail"):
        told = [line.split(" ", 1)[1].partition(" to ")[0] for line in tale.told if line.endswith(f" to {channel}")]
        assert sorted(told) == sorted(
            [FIRED, ENDED, *(f"firing lost {name}" for name in NAMES[:12]), "firing few apache", "firing few mail"]
        )


def test_what_was_told_before_a_failover_in_the_middle_stays_told() -> None:
    """The next speaker, who does not know that it was, has doubted it as well: it is not told as over."""
    for rules in ((LOST,), (FEW,)):
        tale = expire_one_by_one(story(*rules, make=Relay, has_standby=True), *NAMES[:4]).at(110)
        before = about_services(tale)
        assert before, rules
        expire_one_by_one(tale, *NAMES[5:13]).at(120).fail_over().at(150)
        assert about_services(tale) == before, rules
        tale.at(300)
        assert all("firing" in line for line in about_services(tale)), rules


@pytest.mark.parametrize("away", [0, 20, 300])
def test_a_restart_in_the_middle_goes_on(away: float) -> None:
    """Until `settle` is over, which may be while nobody watches."""
    tale = expire_one_by_one(story(LOST, make=Relay), *NAMES[:12]).at(120).leave().at(120 + away)
    tale.up(NAMES[0]).come_back().at(155 if away < 30 else 450)
    if away < 30:
        assert about_services(tale) == []
    tale.at(999)
    assert sorted(line.split(" ", 1)[1] for line in tale.told) == sorted(
        [FIRED, ENDED, *(f"firing lost {name}" for name in NAMES[1:12])]
    )
    if away < 30:
        assert [sent.kind for sent in tale.notifications] == [Kind.FIRING, Kind.RESOLVED, Kind.DIGEST]


def test_each_alert_fires_once_in_the_end() -> None:
    """As if there had been no doubt."""
    tale = expire_one_by_one(story(LOST, FEW), *NAMES).at(400)
    assert {alert.state for alert in tale.alerts.values()} == {AlertState.FIRING}
    assert len(tale.alerts) == 20 + 4
    assert len([event for event in tale.transitions if "expired" in event]) == 20
