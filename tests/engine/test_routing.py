"""Which channels are told, by the routes."""

from __future__ import annotations

from typing import Any

from alertd.config.schema import Channel
from alertd.window import Window
from tests.engine.story import Story, route, rule

CHANNELS = {name: Channel() for name in ("ops", "dba", "boss", "mail")}


def story_of(*routes: Any, **fields: Any) -> Story:
    """Return a story with two instances, four channels and these routes; the default one tells mail."""
    rules = fields.pop("rules", (rule(),))
    default = fields.pop("default", route(default=True, channels="mail"))
    return Story(*rules, up=("apache/a", "apache/b"), channels=CHANNELS, routes=(*routes, default), **fields)


def test_the_first_route_that_matches_is_taken() -> None:
    """And no other."""
    routes = (route(match={"service": "db*"}, channels="dba"), route(match={"service": "apache"}, channels="ops"))
    story = story_of(*routes, route(match={"service": "*"}, channels="boss")).at(1).expire("apache/a")
    assert story.told == ["1 firing r apache/a to ops"]


def test_with_continue_the_next_is_asked_too_and_a_channel_is_told_once() -> None:
    """By the first route that reaches it."""
    first = route(match={"service": "apache"}, channels="ops", continue_=True)
    second = route(match={"severity": "warning"}, channels=("ops", "dba"))
    story = story_of(first, second).at(1).expire("apache/a").at(2).up("apache/a")
    assert story.told == [
        "1 firing r apache/a to ops",
        "1 firing r apache/a to dba",
        "2 resolved r apache/a to ops",
        "2 resolved r apache/a to dba",
    ]


def test_what_matches_no_route_takes_the_default_one() -> None:
    """Which names channels, or means all."""
    story = story_of(route(match={"rule": "other"}, channels="ops")).at(1).expire("apache/a")
    assert story.told == ["1 firing r apache/a to mail"]
    everyone = story_of(default=route(default=True)).at(1).expire("apache/a")
    assert len(everyone.told) == len(CHANNELS)


def test_a_route_without_channels_means_those_of_the_default_one() -> None:
    """So that times alone can differ."""
    story = story_of(route(match={"service": "apache"}, group_wait="5s")).at(1).expire("apache/a").at(10)
    assert story.told == ["6 firing r apache/a to mail"]


def test_matchers_see_labels_and_fields() -> None:
    """Those of the rule, then of the service, then the last value of the instance, also of nested fields."""
    routes = (
        route(match={"team": "web", "load.kind": "hea*"}, channels="ops"),
        route(match={"team": "web"}, channels="dba"),
    )
    story = Story(
        rule(labels={"team": "web"}), channels=CHANNELS, routes=(*routes, route(default=True, channels="mail"))
    )
    story.up("apache/a", load={"kind": "heavy"}).up("apache/b", load={"kind": "light"})
    story.at(1).expire("apache/a").at(2).expire("apache/b")
    assert story.told == ["1 firing r apache/a to ops", "2 firing r apache/b to dba"]


def test_not_excludes_and_what_is_absent_is_not_excluded() -> None:
    """Each name of `not` by itself."""
    story = story_of(route(not_={"team": "lab", "instance": "a"}, channels="ops"))
    story.at(1).expire("apache/a").at(2).expire("apache/b")
    assert story.told == ["1 firing r apache/a to mail", "2 firing r apache/b to ops"]


def test_a_route_with_a_window_holds_while_that_is_open() -> None:
    """What is told at one time is resolved there at another."""
    windows = {"noon": Window("0 12 * * *", 3600)}
    noon = 12 * 3600
    story = story_of(route(during=("noon",), channels="dba"), windows=windows)
    story.at(noon - 1).expire("apache/a").at(noon + 1).expire("apache/b").at(noon + 3600).up("apache/a", "apache/b")
    assert story.told == [
        f"{noon - 1} firing r apache/a to mail",
        f"{noon + 1} firing r apache/b to dba",
        f"{noon + 3600} resolved r apache/a to mail",
        f"{noon + 3600} resolved r apache/b to dba",
    ]


def test_a_rule_s_own_channels_take_their_times_from_the_first_matching_route() -> None:
    """But not its channels, nor whom it escalates to."""
    step = {"after": "1m", "channels": ["boss"]}
    slow = route(match={"service": "apache"}, channels="ops", group_wait="5s", escalate=(step,))
    story = story_of(slow, rules=(rule(channels="dba"),)).at(1).expire("apache/a").at(600)
    assert story.told == ["6 firing r apache/a to dba"]


def test_groups_are_what_the_route_groups_by() -> None:
    """Rules and services together, if it says so; the alerts that lack the label are one group."""
    both = (rule("one"), rule("two", when={"instances": {"below": 2}}))
    story = story_of(default=route(default=True, channels="mail", group_by="service"), rules=both)
    story.at(1).expire("apache/a")
    assert [(sent.group, len(sent.entries)) for sent in story.notifications] == [("apache", 2)]
    by_zone = Story(rule(), channels=CHANNELS, routes=(route(default=True, group_by=("zone",)),))
    by_zone.up("apache/a", zone="eu").up("apache/b", zone="eu").up("apache/c")
    by_zone.at(1).expire("apache/a", "apache/b", "apache/c")
    assert sorted({(sent.group, len(sent.entries)) for sent in by_zone.notifications}) == [("all", 1), ("eu", 2)]


def test_whole_groups_go_to_those_that_want_them() -> None:
    """A webhook is given what else fires, beside what is news."""
    hook = {"hook": Channel.model_validate({"webhook": {"url": "https://example.com"}}), "ops": Channel()}
    story = Story(rule(), up=("apache/a", "apache/b"), channels=hook)
    story.at(1).expire("apache/a").at(2).expire("apache/b")
    standing = {sent.channel: [alert.target for alert in sent.standing] for sent in story.notifications[2:]}
    assert standing == {"hook": ["apache/a"], "ops": []}
