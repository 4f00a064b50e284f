"""The rules about alertd itself: told as any other, though no key is behind them."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.config.schema import Channel, Settings, Storm
from alertd.delivery import render
from alertd.model import BuiltIn, Kind
from tests.engine.relay import Relay
from tests.engine.story import Story, default_route, inhibition, route, rule

RULESET, CHANNEL, REGISTRY = BuiltIn.RULESET, BuiltIn.CHANNEL, BuiltIn.REGISTRY
TWO: dict[str, Any] = {"channels": {"ops": Channel(), "mail": Channel()}}
BROKEN = "the rules do not load: rules/a.yaml:6:3: unknown channel"


def titles(story: Story) -> list[str]:
    """Return the titles of all that was told."""
    return [render.title(sent, Settings()) for sent in story.notifications]


def test_what_is_noted_is_told_and_resolved() -> None:
    """Once each, in the words that were given."""
    story = (
        Story(rule()).at(10).note(RULESET, BROKEN).at(20).note(RULESET, BROKEN).at(30).clear(RULESET, "abc in force")
    )
    assert story.told == ["10 firing alertd-ruleset alertd", "30 resolved alertd-ruleset alertd"]
    assert titles(story) == [
        f"[FIRING] alertd-ruleset alertd · {BROKEN} · warning",
        "[RESOLVED] alertd-ruleset alertd · abc in force · warning",
    ]


def test_a_target_of_its_own_is_an_instance() -> None:
    """One channel may fail while another delivers; several in one message are told apart, and none is an instance."""
    story = Story(rule(), group_wait="5s").at(10).note(CHANNEL, "mail stuck since 9", "mail")
    story.clear(CHANNEL, "delivering again", "ops").at(20).clear(CHANNEL, "delivering again", "mail").at(30)
    assert titles(story) == [
        "[FIRING] alertd-channel alertd/mail · mail stuck since 9 · critical",
        "[RESOLVED] alertd-channel alertd/mail · now delivering again · critical",
    ]
    story.note(CHANNEL, "mail stuck since 9", "mail").note(CHANNEL, "ops gave up", "ops").at(200)
    body = render.body(story.notifications[-1], Settings())
    assert "FIRING alertd-channel alertd/mail  mail stuck since 9" in body
    assert "DOWN" not in body


def test_what_was_never_wrong_is_not_told_as_well() -> None:
    """That all is well is no news."""
    assert Story(rule()).clear(RULESET, "abc in force").clear(CHANNEL, "delivering", "ops").at(99).told == []


@pytest.mark.parametrize(
    "match", [{"rule": "alertd-*"}, {"service": "alertd"}, {"severity": "critical"}, {"instance": "mail"}]
)
def test_it_is_routed_by_its_names(match: dict[str, str]) -> None:
    """As any other alert."""
    routes = (route(match=match, channels="ops"), default_route(channels="mail"))
    assert Story(rule(), routes=routes, **TWO).note(CHANNEL, "stuck", "mail").told == [
        "0 firing alertd-channel alertd/mail to ops"
    ]


def test_labels_of_the_service_alertd_are_its_labels() -> None:
    """What `services:` says of alertd is for matchers to see."""
    routes = (route(match={"team": "infra"}, channels="ops"), default_route(channels="mail"))
    story = Story(rule(), routes=routes, services={"alertd": {"labels": {"team": "infra"}}}, **TWO).note(
        RULESET, BROKEN
    )
    assert story.told == ["0 firing alertd-ruleset alertd to ops"]


def test_people_act_on_it_as_on_any_other() -> None:
    """It is silenced, inhibits, is reminded of, and is taken on."""
    story = Story(rule(), repeat_interval="1h").silence(match={"service": "alertd"}, until=60).note(RULESET, BROKEN)
    assert story.alerts["alertd"].muted is not None
    assert story.at(59).told == []
    story.at(61).at(60 + 3700)
    assert [each.split(" ", 1)[1] for each in story.told] == [
        "firing alertd-ruleset alertd",
        "reminder alertd-ruleset alertd",
    ]
    assert len(story.ack("alertd").at(60 + 3 * 3700).told) == 2
    quiet = Story(rule(), up=("apache/a",), inhibit=(inhibition({"rule": "alertd-registry"}, {"rule": "r"}),))
    assert quiet.note(REGISTRY, "suspect").at(1).expire("apache/a").at(99).told == ["0 firing alertd-registry alertd"]


def test_it_is_in_no_view_of_what_is_watched() -> None:
    """It is an alert, not a service; a service of that name is another thing."""
    story = Story(rule(service="*"), up=("apache/a",)).note(RULESET, BROKEN)
    assert [facts.name for facts in story.engine.services()] == ["apache"]
    assert story.engine.counts == {"instances": 1, "services": 1, "alerts": 1, "ignored": 0}
    assert "alertd" not in story.engine.take_touched()
    assert story.notifications[-1].services == {}
    story.up("alertd/r1").at(1).expire("alertd/r1")
    assert story.told[1:] == ["1 firing r alertd/r1"]
    assert "alertd" in story.engine.take_touched()


def test_a_reload_does_not_end_it() -> None:
    """Nor is it told again."""
    story = Story(rule()).note(CHANNEL, "stuck", "ops").at(10).reload(rule("other")).at(20)
    assert story.clear(CHANNEL, "delivering again", "ops").told == [
        "0 firing alertd-channel alertd/ops",
        "20 resolved alertd-channel alertd/ops",
    ]


def test_it_is_never_held_up_by_a_storm() -> None:
    """It may say why there is one."""
    names = tuple(f"s{number}/a" for number in range(9))
    story = Story(rule("lost", "*"), up=names, settings=Settings(flap=False, storm=Storm(above=2)))
    story.at(1).expire(*names).at(2).note(REGISTRY, "suspect").at(3).clear(REGISTRY, "judging").at(99)
    assert [sent.kind for sent in story.notifications] == [
        *[Kind.FIRING] * 3,
        Kind.RESOLVED,
        Kind.DIGEST,
    ]


# --- from one process to the next ------------------------------------------------------------------------------------


def test_what_nobody_knows_after_a_restart_stands_as_it_was_told() -> None:
    """Until something is said of it; its times and words are those of before."""
    story = Relay(rule(), up=("apache/a",), repeat_interval="100s").at(10).note(CHANNEL, "mail stuck", "mail").at(20)
    story.restart().at(105)
    assert story.alerts["alertd/mail"].values == ("mail stuck",)
    story.at(115).clear(CHANNEL, "delivering again", "mail").at(999)
    assert story.told == [
        "10 firing alertd-channel alertd/mail",
        "110 reminder alertd-channel alertd/mail",
        "115 resolved alertd-channel alertd/mail",
    ]
    alert = story.notifications[-1].entries[0].alert
    assert alert.since is not None
    assert alert.since.mono == 1010


def test_what_is_known_to_be_over_is_told_as_over() -> None:
    """A daemon that starts knows that its rules load."""
    story = Relay(rule(), up=("apache/a",)).at(10).note(RULESET, BROKEN).at(20).leave().at(30)
    begin = story._begin

    def begin_well(rules: Any) -> Any:
        engine = begin(rules)
        engine.note(RULESET, "abc in force", story.now, holds=False)
        return engine

    story._begin = begin_well  # type: ignore[method-assign]
    story.come_back().at(40)
    assert story.told == ["10 firing alertd-ruleset alertd", "30 resolved alertd-ruleset alertd"]
    assert titles(story)[-1] == "[RESOLVED] alertd-ruleset alertd · abc in force · warning"


def test_who_takes_over_tells_what_it_knows_itself() -> None:
    """Each replica has rules of its own on disk."""
    story = Relay(rule(), up=("apache/a",), has_standby=True).at(10)
    assert story.standby is not None
    story.standby.note(RULESET, BROKEN, story.now, holds=True)
    story.at(20).fail_over().at(30).fail_over().at(40)
    assert story.told == ["20 firing alertd-ruleset alertd"]
    assert story.clear(RULESET, "abc in force").told[1:] == ["40 resolved alertd-ruleset alertd"]


def test_what_a_former_speaker_knew_of_channels_is_old() -> None:
    """Another has told meanwhile that the channel delivers."""
    story = Relay(rule(), up=("apache/a",), has_standby=True).at(10).note(CHANNEL, "stuck", "mail").at(20)
    story.fail_over().at(30).clear(CHANNEL, "delivering again", "mail").at(40).fail_over().at(999)
    assert story.told == ["10 firing alertd-channel alertd/mail", "30 resolved alertd-channel alertd/mail"]


def test_no_two_firings_bear_the_same_id() -> None:
    """Though nothing happens in etcd between them, and the process is another."""
    story = Relay(rule(), up=("apache/a",))
    for turn in range(3):
        story.at(10 + 100 * turn).note(RULESET, BROKEN).at(20 + 100 * turn).clear(RULESET, "in force").restart()
    assert len({sent.id for sent in story.notifications}) == 6
