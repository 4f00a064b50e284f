"""What would happen, were a rule to fire now: who would be told, how and when, or why nobody."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.config.schema import Channel, Settings, Storm
from alertd.model import Cause, Forecast, NoForecast, Place, Reason
from tests.engine.story import Story, inhibition, route, rule

FEW = rule("few", when={"instances": {"below": 2}})
LOST = rule("lost", labels={"team": "web"})
CHANNELS = {"ops": Channel(), "dba": Channel(), "boss": Channel(send_resolved=False)}
STEPS = ({"after": "15m", "channels": ["boss"]},)


def story_of(*routes: Any, **fields: Any) -> Story:
    """Return a story of two instances and two rules; the default route tells ops after 5 s, at most every minute."""
    default = route(default=True, channels="ops", group_wait="5s", group_interval="1m", place=Place("x.yaml", 9))
    rules = fields.pop("rules", (LOST, FEW))
    return Story(*rules, up=("apache/a", "apache/b"), routes=(*routes, default), **{"channels": CHANNELS, **fields})


def foresee(story: Story, *target: str | None, cause: Cause | None = None) -> Forecast:
    """Return the forecast for a rule, service and instance."""
    rule_name, service, instance = target
    found = story.engine.forecast(rule_name or "", service or "", instance, story.now, cause)
    assert isinstance(found, Forecast)
    return found


def test_it_names_the_route_and_its_channels_and_times() -> None:
    """The place of the route in the rules, the group, the wait, the reminders."""
    found = foresee(story_of(), "lost", "apache", "a")
    (way,) = found.ways
    assert (found.target, found.mute, way.place, way.is_default) == ("apache/a", None, Place("x.yaml", 9), True)
    assert (way.channels, way.group, way.labels) == (("ops",), "lost/apache", {"rule": "lost", "service": "apache"})
    assert (way.after, way.repeat_every, way.steps) == (5, 999 * 86400, ())


def test_it_follows_every_route_that_would_be_taken() -> None:
    """With the steps of escalation, and the channels that would not be told the end."""
    first = route(match={"team": "web"}, channels="dba", continue_=True, escalate=STEPS, group_by=())
    ways = foresee(story_of(first), "lost", "apache", "a").ways
    assert [way.channels for way in ways] == [("dba",), ("ops",)]
    assert [(step.after, step.channels) for step in ways[0].steps] == [(900, ("boss",))]
    assert (ways[0].unresolved, ways[1].unresolved, ways[0].group) == (("boss",), (), "all")


def test_what_the_group_told_lately_puts_it_off() -> None:
    """No sooner than the interval after the group's last message."""
    story = story_of().at(10).expire("apache/b").at(20)
    assert foresee(story, "lost", "apache", "a").ways[0].after == 15 + 60 - 20
    assert foresee(story.at(200), "lost", "apache", "a").ways[0].after == 5


def test_a_silence_and_an_inhibition_are_foreseen() -> None:
    """By what holds now."""
    story = story_of(inhibit=(inhibition({"rule": "few"}, {"rule": "lost"}, "service"),)).at(10).expire("apache/b")
    mute = foresee(story, "lost", "apache", "a").mute
    assert mute is not None
    assert (mute.reason, mute.by) == (Reason.INHIBITED, "few")
    story.up("apache/b").silence(match={"instance": "a"}, until=100)
    assert str(foresee(story, "lost", "apache", "a").mute) == "silence:s"
    assert foresee(story, "lost", "apache", "b").mute is None


def test_a_storm_is_foreseen() -> None:
    """The channel would be told in its next digest."""
    names = ("x/a", "y/a", "z/a")
    rules = (rule("lost", "*"),)
    settings = Settings(flap=False, storm=Storm(above=2))
    story = story_of(rules=rules, settings=settings, channels={"ops": Channel()}).up(*names).at(10)
    assert foresee(story, "lost", "x", "a").ways[0].digested == ()
    story.expire(*names).at(20)
    assert foresee(story, "lost", "apache", "a").ways[0].digested == ("ops",)
    assert foresee(story.at(200), "lost", "apache", "a").ways[0].digested == ()


def test_the_cause_may_be_given_or_is_the_known_one() -> None:
    """Routes may ask for it."""
    story = story_of(route(match={"cause": "failing"}, channels="dba"))
    assert foresee(story, "lost", "apache", "a").ways[0].channels == ("ops",)
    assert foresee(story, "lost", "apache", "a", cause=Cause.FAILING).ways[0].channels == ("dba",)
    assert foresee(story.fail("apache/a"), "lost", "apache", "a").ways[0].channels == ("dba",)


def test_what_was_never_seen_is_foreseen_too() -> None:
    """A service that the rule would match, an instance by its name."""
    story = story_of(rules=(rule("lost", "*"),), services={"pay": {"labels": {"team": "web"}}})
    story.reload(
        rule("lost", "*"),
        routes=(route(match={"team": "web", "instance": "z"}, channels="dba"), route(default=True)),
        services={"pay": {"labels": {"team": "web"}}, "shop*": {"labels": {"team": "web"}}},
        channels=CHANNELS,
    )
    assert foresee(story, "lost", "shop1", "z").ways[0].channels == ("dba",)
    assert foresee(story, "lost", "shop1", "y").ways[0].channels == tuple(CHANNELS)
    assert [service.name for service in story.engine.services()] == ["apache", "pay"]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (("nope", "apache", "a"), NoForecast.UNKNOWN_RULE),
        (("lost", "pay", "a"), NoForecast.OTHER_SERVICE),
        (("lost", "apache", None), NoForecast.WANTS_INSTANCE),
        (("few", "apache", "a"), NoForecast.WANTS_SERVICE),
        (("often", "apache", "a"), NoForecast.WANTS_SERVICE),
        (("core", "apache", "a"), NoForecast.OTHER_INSTANCE),
    ],
)
def test_it_says_why_a_rule_never_fires_on_a_target(target: tuple[str, str, str | None], why: NoForecast) -> None:
    """Each in a word."""
    often = rule("often", when={"changes": {"above": 2, "within": "1m"}})
    story = story_of(rules=(LOST, FEW, often, rule("core", where={"host": "core*"})))
    assert story.engine.forecast(*target, story.now) is why


def test_asking_changes_nothing() -> None:
    """An engine that was asked at every step answers events as one that was not."""

    def run(*, asks: bool) -> list[object]:
        story = story_of(inhibit=(inhibition({"rule": "few"}, {"rule": "lost"}, "service"),))
        for second, name in enumerate(("a", "b", "a", "b")):
            story.at(10 + 40 * second)
            if asks:
                for rule_name, instance in (("lost", "a"), ("lost", "new"), ("few", None), ("lost", "b")):
                    foresee(story, rule_name, "apache", instance)
            story.expire(f"apache/{name}") if second < 2 else story.up(f"apache/{name}")
        return [*story.at(1000).actions, story.engine.counts, story.engine.next_deadline()]

    assert run(asks=True) == run(asks=False)
