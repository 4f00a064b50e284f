"""What keeps alerts quiet: silences, windows and inhibition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from alertd.config.schema import Settings
from alertd.model import Lifted, Match, Silence
from alertd.window import Window
from tests.engine.story import EPOCH, Story, inhibition, rule

MINIMUM = rule("few", when={"instances": {"below": 2}})
LOST = rule("lost")
BY_SERVICE = (inhibition({"rule": "few"}, {"rule": "lost"}, "service"),)


def story_of(*rules: Any, **fields: Any) -> Story:
    """Return a story with three instances."""
    return Story(*(rules or (LOST,)), up=("apache/a", "apache/b", "apache/c"), **fields)


# --- silences --------------------------------------------------------------------------------------------------------


def test_what_is_silenced_is_not_told_and_says_why() -> None:
    """The state goes on."""
    story = story_of().silence(match={"service": "apache"}, until=100).at(1).expire("apache/a").at(2)
    assert story.told == []
    assert "1 silenced apache/a" in story.reasons
    assert str(story.alerts["apache/a"].muted) == "silence:s"


def test_what_still_fires_when_a_silence_ends_is_told_then() -> None:
    """What ended meanwhile, never told, is not."""
    story = story_of().silence(match={"service": "apache"}, until=100)
    story.at(1).expire("apache/a").at(2).expire("apache/b").at(50).up("apache/b").at(200).up("apache/a")
    assert story.told == ["100 firing lost apache/a", "200 resolved lost apache/a"]


def test_what_was_told_and_resolves_while_silenced_is_told_as_resolved() -> None:
    """At once."""
    story = story_of().at(1).expire("apache/a").at(2).silence(match={"service": "apache"}, until=100)
    story.at(50).up("apache/a").at(200)
    assert story.told == ["1 firing lost apache/a", "50 resolved lost apache/a"]


def test_or_when_the_mute_ends_if_the_settings_want_that() -> None:
    """One resolved, and none if it fires again by then."""
    settings = Settings(flap=False, resolve_muted=False)
    story = story_of(settings=settings).at(1).expire("apache/a", "apache/b").at(2)
    story.silence(match={"service": "apache"}, until=100).at(50).up("apache/a", "apache/b").at(60).expire("apache/b")
    story.at(200)
    assert story.told == [
        "1 firing lost apache/a",
        "1 firing lost apache/b",
        "100 resolved lost apache/a",
    ]


def test_a_silence_that_comes_while_the_message_waits_holds() -> None:
    """Whether or not the alert ends meanwhile: nothing was told."""
    story = story_of(group_wait="10s").at(1).expire("apache/a", "apache/b").at(2)
    story.silence(match={"service": "apache"}, until=100).at(3).up("apache/b").at(50).up("apache/a").at(200)
    assert story.told == []


def test_a_silence_can_be_lifted_and_replaced() -> None:
    """What still fires is told then; another of the same id takes the place of the first."""
    story = story_of().silence(match={"service": "apache"}, until=100).at(1).expire("apache/a")
    story.silence(match={"instance": "a"}, until=50).at(60).expire("apache/b").at(70)
    assert story.told == ["50 firing lost apache/a", "60 firing lost apache/b"]
    story.silence(match={"instance": "c"}, until=900).at(80).expire("apache/c").at(90).lift()
    assert story.told[2:] == ["90 firing lost apache/c"]


def test_two_silences_end_with_the_later_one() -> None:
    """Whichever was noted."""
    story = story_of().silence(id="s", match={"service": "apache"}, until=100)
    story.silence(id="t", match={"instance": "a"}, until=200).at(1).expire("apache/a").at(300)
    assert story.told == ["200 firing lost apache/a"]


def test_a_silence_that_is_prolonged_does_not_end_with_its_first_end() -> None:
    """Nor is it over twice."""
    story = story_of().silence(match={"service": "apache"}, until=100).at(1).expire("apache/a")
    story.silence(match={"service": "apache"}, until=300).at(200)
    assert story.told == []
    assert story.at(1000).told == ["300 firing lost apache/a"]


def test_a_silence_of_a_service_is_found_to_concern_what_stands_already() -> None:
    """Also if it names several, or not only the service; and it leaves the others alone."""
    story = Story(rule("lost", "*"), up=("apache/a", "pay/a", "mail/a"), group_wait="5s").at(1)
    story.expire("apache/a", "pay/a", "mail/a").at(2)
    story.actions += story.engine.silence(Silence("s", Match({"service": ("apache", "pay")}), EPOCH), story.now)
    until = EPOCH + timedelta(seconds=100)
    story.actions += story.engine.silence(Silence("t", Match({"service": ("apache", "pay")}), until), story.now)
    story.silence(id="u", match={"service": "mail", "instance": "b"}, until=100)
    story.silence(id="v", match={"service": "p*"}, until=200).at(150)
    assert story.told == ["6 firing lost mail/a", "105 firing lost apache/a"]
    assert {live.id: muting for live, _, muting in story.engine.silences()} == {"v": 1}


def test_what_is_over_is_not_looked_at_by_any_silence() -> None:
    """Nothing is kept of it."""
    story = story_of().at(1).expire("apache/a", "apache/b").at(2).up("apache/a", "apache/b").at(100)
    assert not story.engine._desk.alerts()


def test_a_silence_mutes_by_labels_and_fields_as_they_are() -> None:
    """Also with `not`, and of an alert that fires already: no word of it any more, but its end."""
    story = Story(LOST, group_wait="5s").up("apache/a", rack="r7").up("apache/b", rack="r8")
    story.at(1).expire("apache/a", "apache/b").at(2).silence(match={"rack": "r7"}, until=100).at(50)
    assert story.told == ["6 firing lost apache/b"]


def test_until_resolved_ends_with_the_last_alert_it_mutes() -> None:
    """The next firing is told; that it ended is an action, so that its key can go."""
    story = story_of().at(1).expire("apache/a", "apache/b")
    story.at(2).silence(match={"service": "apache"}, until=9999, until_resolved=True)
    story.at(3).up("apache/a").at(4).expire("apache/a").at(5).up("apache/a").at(6).up("apache/b").at(7)
    assert [act.silence for act in story.actions if isinstance(act, Lifted)] == ["s"]
    story.at(8).expire("apache/a")
    assert story.told[2:] == ["3 resolved lost apache/a", "6 resolved lost apache/b", "8 firing lost apache/a"]


def test_a_new_instance_is_silenced_too() -> None:
    """What is told once is not told later instead."""
    story = Story(rule("new", when={"instance": "up"})).silence(match={"service": "apache"}, until=100)
    story.at(1).up("apache/a").at(200)
    assert story.told == []


def test_a_stepped_wall_clock_ends_a_silence_by_the_calendar() -> None:
    """Within a minute of the step."""
    story = story_of().silence(match={"service": "apache"}, until=3600).at(1).expire("apache/a")
    stepped = story.now._replace(wall=story.now.wall + timedelta(hours=2))
    story.actions += story.engine.advance(stepped._replace(mono=stepped.mono + 61))
    assert [sent.entries[0].alert.target for sent in story.notifications] == ["apache/a"]


def test_that_is_seen_however_much_people_say_meanwhile() -> None:
    """Each new silence and acknowledgement may bring the next look at the calendar forward, none puts it off."""
    nightly = Silence("n", Match({"instance": ("a",)}), during=("night",), source="rules/x.yaml:1")
    story = story_of(windows={"night": Window("0 1 * * *", 3600)}, silences=(nightly,))
    story.at(3600).expire("apache/a", "apache/b").at(3601).step_wall(-3000)
    for second in range(3610, 3700, 10):
        story.at(second).ack("apache/b").silence(id=str(second), match={"service": "pay"}, until=99999)
    assert story.told == ["3600 firing lost apache/b", "3660 firing lost apache/a"]


# --- inhibition ------------------------------------------------------------------------------------------------------


def test_an_inhibited_alert_is_not_told_while_the_other_fires() -> None:
    """Both of one moment: the order in which they fire does not matter."""
    story = story_of(LOST, MINIMUM, inhibit=BY_SERVICE).at(1).expire("apache/a", "apache/b").at(100)
    assert story.told == ["1 firing few apache"]
    assert str(story.alerts["apache/a"].muted) == "inhibited:few"


def test_an_inhibiting_alert_that_fires_later_mutes_from_then_on() -> None:
    """What was told before is resolved; what comes after is not told."""
    story = story_of(LOST, MINIMUM, inhibit=BY_SERVICE, group_wait="5s").at(1).expire("apache/a")
    story.at(10).expire("apache/b").at(20).up("apache/a").at(100)
    assert story.told == [
        "6 firing lost apache/a",
        "15 firing few apache",
        "25 resolved lost apache/a",
        "25 resolved few apache",
        "80 firing lost apache/b",
    ]


def test_what_was_inhibited_is_told_only_if_it_still_fires_a_minute_later() -> None:
    """The cure of the one may take the other a moment more."""
    story = story_of(LOST, MINIMUM, inhibit=BY_SERVICE).at(1).expire("apache/a", "apache/b")
    story.at(100).up("apache/a").at(130).up("apache/b").at(300)
    assert story.told == ["1 firing few apache", "100 resolved few apache"]


def test_equal_must_be_equal_on_both() -> None:
    """And there: what one of the two lacks is not the same."""
    by_zone = (inhibition({"rule": "few"}, {"rule": "lost"}, "zone"),)
    rules = (rule("few", when={"instances": {"below": 1, "per": "zone"}}), LOST)
    story = Story(*rules, inhibit=by_zone).up("apache/a", zone="x").up("apache/b", zone="y").up("apache/c")
    story.up("apache/d", zone="y").at(1).expire("apache/a", "apache/b", "apache/c")
    assert sorted(story.told) == [
        "1 firing few apache (zone=x)",
        "1 firing lost apache/b",
        "1 firing lost apache/c",
    ]


def test_an_alert_never_inhibits_itself_nor_two_each_other() -> None:
    """One that is on both sides is muted only by one that is not."""
    each_other = (inhibition({"severity": "*"}, {"severity": "*"}, "service"),)
    story = story_of(LOST, MINIMUM, inhibit=each_other).at(1).expire("apache/a", "apache/b")
    assert len(story.told) == 3


def test_a_flapping_alert_still_inhibits() -> None:
    """Whatever its state is at the moment."""
    few = rule("few", when={"instances": {"below": 2}}, flap={"changes": 4, "within": "10m", "settle": "5m"})
    story = Story(few, LOST, up=("apache/a", "apache/b"), inhibit=BY_SERVICE)
    for second in range(1, 7):
        story.at(second).put("apache/a") if second % 2 == 0 else story.at(second).expire("apache/a")
    assert story.alerts["apache"].flapping
    story.at(50).expire("apache/b").at(60)
    assert [line for line in story.told if "lost apache/b" in line] == []


def test_a_silenced_alert_still_inhibits() -> None:
    """Inhibition is judged on state, not on what was told."""
    story = story_of(LOST, MINIMUM, inhibit=BY_SERVICE).silence(match={"rule": "few"}, until=900)
    story.at(1).expire("apache/a", "apache/b").at(100)
    assert story.told == []


def test_a_reload_that_drops_the_inhibition_lets_it_be_told() -> None:
    """After the minute that it may take to end by itself."""
    story = story_of(LOST, MINIMUM, inhibit=BY_SERVICE).at(1).expire("apache/a", "apache/b").at(5)
    story.reload(LOST, MINIMUM).at(100)
    assert story.told == ["1 firing few apache", "65 firing lost apache/a", "65 firing lost apache/b"]


def test_when_the_inhibiting_rule_goes_it_mutes_no_longer() -> None:
    """Its alert ends with it."""
    story = story_of(LOST, MINIMUM, inhibit=BY_SERVICE).at(1).expire("apache/a", "apache/b").at(5)
    story.reload(LOST, inhibit=BY_SERVICE).at(100)
    assert story.told == [
        "1 firing few apache",
        "5 resolved few apache",
        "65 firing lost apache/a",
        "65 firing lost apache/b",
    ]
