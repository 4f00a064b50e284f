"""The life of an alert: `for`, `keep_firing_for`, flapping, gaps, reloads."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.config.schema import Channel, Flap, Settings
from alertd.model import Kind
from tests.engine.story import Story, instant, rule

FLAP = {"changes": 4, "within": "60s", "settle": "30s"}


def flip(story: Story, times: int, every: float, name: str = "apache/a") -> Story:
    """Take an instance down and up in turn, beginning with down, from now on."""
    start = story.now.mono - 1000
    for count in range(times):
        story.at(start + count * every)
        if count % 2:
            story.up(name)
        else:
            story.expire(name)
    return story


# --- for and keep_firing_for -----------------------------------------------------------------------------------------


def test_for_must_be_held_without_a_break() -> None:
    """A break starts it anew; nobody is told of what was too short."""
    story = Story(rule(for_="30s"), up=("apache/a",))
    story.at(10).expire("apache/a").at(39).up("apache/a").at(40).expire("apache/a").at(69).at(71)
    assert story.told == ["70 firing r apache/a"]
    assert "39 broke-before-for apache/a" in story.reasons


def test_an_event_at_the_deadline_comes_after_it() -> None:
    """Held for exactly as long as asked is held."""
    story = Story(rule(for_="30s"), up=("apache/a",), group_wait="5s").at(10).expire("apache/a").at(40).up("apache/a")
    story.at(60)
    assert story.told == ["45 resolved r apache/a"]


def test_keep_firing_for_outlives_the_condition() -> None:
    """A condition that returns meanwhile goes on; the resolve comes when it stayed away long enough."""
    story = Story(rule(keep_firing_for="20s"), up=("apache/a",))
    story.at(10).expire("apache/a").at(20).up("apache/a").at(30).expire("apache/a").at(31).up("apache/a").at(60)
    assert story.told == ["10 firing r apache/a", "51 resolved r apache/a"]
    assert [line for line in story.reasons if "kept" in line or "again" in line or "elapsed" in line] == [
        "20 kept-firing apache/a",
        "30 true-again apache/a",
        "31 kept-firing apache/a",
        "51 keep-elapsed apache/a",
    ]


def test_a_condition_that_returned_is_not_ended_by_the_old_deadline() -> None:
    """What returned while it was kept firing, and stays, goes on firing."""
    story = Story(rule(keep_firing_for="20s"), up=("apache/a",)).at(10).expire("apache/a").at(20).up("apache/a")
    story.at(30).expire("apache/a").at(100)
    assert story.told == ["10 firing r apache/a"]


def test_a_deadline_that_passed_before_an_event_goes_first() -> None:
    """However late the wake-up: what was due is decided before what came after it."""
    story = Story(rule(for_="30s"), up=("apache/a",)).at(10).expire("apache/a")
    story.now = instant(50)
    story.up("apache/a")
    assert story.told == ["40 firing r apache/a", "50 resolved r apache/a"]


def test_a_pending_alert_is_in_the_view() -> None:
    """`pending` is shown with the time the condition turned true."""
    story = Story(rule(for_="30s"), up=("apache/a",)).at(10).expire("apache/a")
    alert = story.alerts["apache/a"]
    assert (alert.state, alert.since) == ("pending", instant(10))


# --- flapping --------------------------------------------------------------------------------------------------------


def test_twenty_flips_are_two_messages_once_flapping_began() -> None:
    """Exactly one flapping and one settled, nothing else after it starts, and the end state is true."""
    story = flip(Story(rule(flap=FLAP), up=("apache/a",)).at(10), 20, 3).at(200)
    assert story.told == [
        "10 firing r apache/a",
        "13 resolved r apache/a",
        "16 firing r apache/a",
        "19 flapping r apache/a",
        "97 settled r apache/a",
    ]
    settled = story.notifications[-1].entries[0].alert
    assert (settled.state, settled.changes) == ("inactive", 20)


def test_a_flap_that_ends_down_settles_as_firing_and_resolves_once() -> None:
    """The settled message counts as the firing; its resolve follows."""
    story = flip(Story(rule(flap=FLAP), up=("apache/a",)).at(10), 5, 3).at(100)
    assert story.told[3:] == ["19 flapping r apache/a", "52 settled r apache/a"]
    assert story.notifications[-1].entries[0].alert.state == "firing"
    story.at(200).up("apache/a")
    assert story.told[5:] == ["200 resolved r apache/a"]


def test_what_is_too_quick_for_for_still_flaps() -> None:
    """Changes count before `for`; a settled one whose `for` still runs says not firing, and fires later."""
    story = flip(Story(rule(for_="40s", flap=FLAP), up=("apache/a",)).at(10), 5, 3).at(100)
    assert story.told == ["19 flapping r apache/a", "52 settled r apache/a", "62 firing r apache/a"]
    assert story.notifications[1].entries[0].alert.state == "pending"


def test_slow_changes_are_no_flapping() -> None:
    """Four changes, but never four within the window."""
    story = flip(Story(rule(flap=FLAP), up=("apache/a",)).at(10), 8, 25).at(500)
    assert {entry.kind for sent in story.notifications for entry in sent.entries} == {Kind.FIRING, Kind.RESOLVED}


def test_the_changes_of_one_flap_do_not_begin_the_next() -> None:
    """After it settled, counting begins anew."""
    flap = {"changes": 4, "within": "30m", "settle": "10s"}
    story = flip(Story(rule(flap=flap), up=("apache/a",)).at(10), 4, 1).at(100).expire("apache/a").at(200)
    assert story.told[-1] == "100 firing r apache/a"


def test_a_rolling_deploy_is_not_flapping() -> None:
    """Announced stops, and the returns after them, do not count."""
    story = Story(rule(when={"instances": {"below": 2}}, flap=FLAP), up=("apache/a", "apache/b"))
    for turn in range(6):
        story.at(10 + 4 * turn).stop("apache/a").at(12 + 4 * turn).up("apache/a")
    assert {entry.kind for sent in story.notifications for entry in sent.entries} == {Kind.FIRING, Kind.RESOLVED}


def test_flap_false_turns_it_off() -> None:
    """The rule's own word wins over the settings'."""
    settings = Settings(flap=Flap.model_validate(FLAP))
    story = flip(Story(rule(flap=False), rule("d"), up=("apache/a",), settings=settings).at(10), 6, 1)
    assert {sent.entries[0].alert.rule.name for sent in story.notifications if sent.kind is Kind.FLAPPING} == {"d"}


def test_what_a_rule_does_not_say_of_flapping_is_as_in_the_settings() -> None:
    """Three changes are its own; that they count for a minute only, and settle in half of one, is everybody's."""
    settings = Settings(flap=Flap.model_validate(FLAP))
    story = flip(Story(rule(flap={"changes": 3}), up=("apache/a",), settings=settings).at(10), 6, 31).at(1000)
    assert Kind.FLAPPING not in {sent.kind for sent in story.notifications}
    story = flip(Story(rule(flap={"changes": 3}), up=("apache/a",), settings=settings).at(10), 3, 1).at(45)
    assert [str(sent.kind) for sent in story.notifications] == ["firing", "resolved", "flapping", "settled"]


def test_a_day_of_flapping_without_a_pause_is_two_messages() -> None:
    """By the settings that hold where nothing is set, and a `for` that no loss outlasts."""
    story = flip(Story(rule(for_="45s"), up=("apache/a",), settings=Settings()).at(60), 24 * 120, 30).at(30 * 3600)
    assert story.told == ["210 flapping r apache/a", f"{60 + 24 * 3600 - 30 + 600} settled r apache/a"]


def test_a_day_of_bursts_is_two_messages_each() -> None:
    """A burst an hour; the few losses before it is clear that it flaps are told as such where there is no `for`."""
    told = {}
    for for_ in ("45s", "0s"):
        story = Story(rule(for_=for_), up=("apache/a",), settings=Settings())
        for hour in range(24):
            flip(story.at(60 + 3600 * hour), 40, 30)
        told[for_] = [line.split()[1] for line in story.at(30 * 3600).told]
    assert told["45s"] == ["flapping", "settled"] * 24
    assert told["0s"] == [*["firing", "resolved"] * 2, "firing", "flapping", "settled"] * 24


def test_a_flap_that_ends_before_it_was_told_is_told_as_what_is() -> None:
    """With a settle shorter than the group's wait there is only the difference left to tell."""
    flap = {"changes": 2, "within": "60s", "settle": "1s"}
    story = flip(Story(rule(flap=flap), up=("apache/a",), group_wait="10s").at(10), 3, 0.1).at(100)
    assert story.told == ["20 firing r apache/a"]


def test_a_flap_that_returns_before_its_end_was_told_goes_on() -> None:
    """Settled, not yet said so, flapping again: still the one flapping."""
    flap = {"changes": 2, "within": "60s", "settle": "5s"}
    story = flip(Story(rule(flap=flap), up=("apache/a",), group_wait="4s").at(10), 2, 1)
    flip(story.at(17), 2, 1).at(100)
    assert [line.split()[1] for line in story.told] == ["flapping", "settled"]


def test_a_change_between_the_end_of_a_flap_and_its_telling_is_told_as_settled() -> None:
    """The settled message says what is true when it is sent."""
    flap = {"changes": 2, "within": "60s", "settle": "5s"}
    story = flip(Story(rule(flap=flap), up=("apache/a",), group_wait="4s").at(10), 2, 1).at(18).expire("apache/a")
    story.at(100)
    assert story.told == ["14 flapping r apache/a", "20 settled r apache/a"]
    assert story.notifications[-1].entries[0].alert.state == "firing"


def test_a_rule_that_goes_while_flapping_resolves_where_that_was_told() -> None:
    """Who was told that it flaps is told that it is over, and nobody else."""
    channels = {"ops": Channel(targets=()), "boss": Channel(targets=())}
    story = Story(rule(for_="40s", flap=FLAP, channels=["ops"]), up=("apache/a",), channels=channels)
    flip(story.at(10), 4, 3).reload(channels=channels)
    assert story.told[-2:] == ["19 flapping r apache/a to ops", "19 resolved r apache/a to ops"]


# --- gaps ------------------------------------------------------------------------------------------------------------


def test_the_first_listing_is_judged_at_its_end() -> None:
    """Ten instances found one after another are never too few on the way."""
    story = Story(rule(when={"instances": {"below": 2}}), up=tuple(f"apache/{n}" for n in range(10)))
    assert (story.told, story.reasons) == ([], [])


def test_a_gap_is_judged_by_the_state_at_its_end() -> None:
    """What went and returned in a gap is in the history, but no alert, and no flapping."""
    story = Story(rule(flap={"changes": 2, "within": "60s", "settle": "30s"}), up=("apache/a", "apache/b")).at(10).gap()
    story.miss("apache/a").found("apache/a").miss("apache/b").synced().at(20)
    assert story.transitions[2:] == ["10 apache/a down missed", "10 apache/a up found", "10 apache/b down missed"]
    assert story.told == ["10 firing r apache/b"]
    assert story.notifications[0].entries[0].alert.between == instant(10)


def test_what_fired_and_ended_in_a_replay_is_told_as_over() -> None:
    """A replay is judged as it happened: one message with both ends, whose times are not known; it makes no flap."""
    story = Story(
        rule(flap={"changes": 2, "within": "60s", "settle": "30s"}), up=("apache/a", "apache/b"), group_wait="5s"
    )
    story.at(10).gap().expire("apache/a").up("apache/a").expire("apache/a").up("apache/a").synced().at(40)
    assert story.told == ["15 resolved r apache/a"]
    alert = story.notifications[0].entries[0].alert
    assert (alert.since, alert.until, alert.between) == (instant(10), instant(10), instant(10))


def test_what_is_replayed_fulfils_no_for() -> None:
    """A loss in a replay is held from the replay's end, and one that was undone is not told."""
    story = Story(rule(for_="30s"), up=("apache/a", "apache/b")).at(10).gap().at(100)
    story.expire("apache/a").expire("apache/b").up("apache/b").synced().at(200)
    assert story.told == ["130 firing r apache/a"]


def test_what_is_listed_is_judged_before_what_is_replayed_after_it() -> None:
    """A listing and the replay that follows it in one gap are judged in their order."""
    story = Story(rule(when={"instances": {"below": 2}}), up=("apache/a",)).at(10).gap()
    story.found("apache/a", "apache/b").up("apache/c").synced()
    assert story.told == ["0 firing r apache", "10 resolved r apache"]


def test_the_time_of_a_gap_does_not_fulfil_for() -> None:
    """A loss found after a gap is held from the gap's end."""
    story = Story(rule(for_="30s"), up=("apache/a",)).at(10).gap().at(100).miss("apache/a").synced().at(200)
    assert story.told == ["130 firing r apache/a"]


def test_deadlines_wait_for_the_end_of_a_listing() -> None:
    """Half a listing proves nothing: an alert that the rest of it ends does not fire."""
    story = Story(rule(for_="30s"), up=("apache/a",)).at(10).expire("apache/a").at(39).gap().at(41).found("apache/a")
    story.synced().at(100)
    assert story.told == []


# --- reload ----------------------------------------------------------------------------------------------------------


def test_a_rule_that_stays_keeps_its_alert() -> None:
    """What was told is not told again, and resolves once."""
    story = Story(rule(), up=("apache/a",)).at(10).expire("apache/a").at(20).reload(rule(severity="critical"))
    story.at(30).up("apache/a")
    assert story.told == ["10 firing r apache/a", "30 resolved r apache/a"]


def test_a_rule_that_goes_resolves_what_it_told() -> None:
    """Nobody is left with a firing that can never end."""
    story = Story(rule(), up=("apache/a",)).at(10).expire("apache/a").at(20).reload(rule("other", service="pay"))
    assert story.told == ["10 firing r apache/a", "20 resolved r apache/a"]
    assert "20 rule-gone apache/a" in story.reasons


def test_a_new_rule_judges_what_is_there() -> None:
    """At the reload, not at the next event."""
    story = Story(up=("apache/a",)).at(10).reload(rule(when={"instances": {"below": 2}}), rule("n", service="pay"))
    assert story.told == ["10 firing r apache"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"instances": {"below": 2}}, {"instances": {"below": 1}}),
        ({"instances": {"below": 2}}, {"instance": "down"}),
        ({"changes": {"above": 0, "within": "1h"}}, {"changes": {"above": 9, "within": "1h"}}),
        ({"distinct": {"field": "v", "below": 1}}, {"distinct": {"field": "v", "above": 1}}),
        ({"malformed": True}, {"value": {"field": "v", "above": 1}}),
    ],
)
def test_a_changed_condition_ends_what_no_longer_holds(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The alert does not outlive what it stood for."""
    story = Story(rule(when=before), up=("apache/a", "apache/b")).at(5).put("apache/a", raw=b"{oops")
    story.at(10).delete("apache/b").at(20)
    firing = story.told[-1].removeprefix("10 firing ").removeprefix("5 firing ").removeprefix("0 firing ")
    assert firing in ("r apache", "r apache/a")
    story.reload(rule(when=after))
    assert f"20 resolved {firing}" in story.told


def test_the_peak_and_recent_changes_outlive_a_reload() -> None:
    """Editing one rule does not make the daemon forget what it learnt for another."""
    share = rule(when={"instances": {"below": "100%"}})
    often = rule("often", when={"changes": {"above": 1, "within": "1h"}})
    story = Story(share, often, up=("apache/a", "apache/b")).at(401).delete("apache/b").up("apache/b")
    assert story.told == ["401 firing r apache", "401 resolved r apache", "401 firing often apache"]
    story.reload(share, often).at(410).expire("apache/b").at(4100)
    assert story.told[3:] == ["410 firing r apache", "4001 resolved often apache"]


def test_a_service_that_is_no_longer_named_and_was_never_seen_is_dropped() -> None:
    """A glob instead of the name: nothing is known of it any more, and what was told ends."""
    few: dict[str, Any] = {"when": {"instances": {"below": 1}}}
    story = Story(rule(**few)).at(10).reload(rule(service="ap*", **few))
    assert story.told == ["0 firing r apache", "10 resolved r apache"]
    assert list(story.engine.services()) == []


def test_a_for_that_runs_is_measured_anew_on_reload() -> None:
    """From when the condition turned true."""
    story = Story(rule(for_="10m"), up=("apache/a",)).at(10).expire("apache/a").at(20).reload(rule(for_="30s")).at(60)
    assert story.told == ["40 firing r apache/a"]


def test_turning_flap_off_ends_the_silence() -> None:
    """The state is told as it is."""
    story = flip(Story(rule(flap=FLAP), up=("apache/a",)).at(10), 5, 3).reload(rule(flap=False)).at(30)
    assert story.told[-1] == "22 settled r apache/a"
