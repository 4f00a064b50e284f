"""Who is told, together with what else, and when."""

from __future__ import annotations

from alertd.config.schema import Channel, Settings
from tests.engine.story import Story, rule

TWO = {"ops": Channel(targets=()), "boss": Channel(targets=(), send_resolved=False)}


def test_a_change_is_told_after_group_wait_and_changes_meanwhile_join() -> None:
    """One message about all that happened within the wait."""
    story = Story(rule(), up=("apache/a", "apache/b", "apache/c"), group_wait="5s", group_interval="1m")
    story.at(10).expire("apache/a").at(12).expire("apache/b").at(14).expire("apache/c").at(60)
    assert story.told == ["15 firing r apache/a", "15 firing r apache/b", "15 firing r apache/c"]
    assert len(story.notifications) == 1


def test_a_firing_waits_for_group_interval() -> None:
    """A second firing is told no sooner than the interval after the group's last message."""
    story = Story(rule(), up=("apache/a", "apache/b"), group_wait="5s", group_interval="1m")
    story.at(10).expire("apache/a").at(20).expire("apache/b").at(200)
    assert story.told == ["15 firing r apache/a", "75 firing r apache/b"]


def test_a_resolve_that_is_told_puts_off_a_waiting_firing() -> None:
    """A firing waits the interval after the last message, whatever that was."""
    story = Story(rule(), up=("apache/a", "apache/b"), group_wait="5s", group_interval="1m")
    story.at(10).expire("apache/a").at(50).expire("apache/b").at(60).up("apache/a").at(300)
    assert story.told == ["15 firing r apache/a", "65 resolved r apache/a", "125 firing r apache/b"]


def test_a_resolve_joins_a_firing_that_is_due() -> None:
    """Both sorts at once are one message."""
    story = Story(rule(), up=("apache/a", "apache/b"), group_wait="5s", group_interval="1m")
    story.at(10).expire("apache/a").at(72).expire("apache/b").at(74).up("apache/a").at(300)
    assert story.told == ["15 firing r apache/a", "77 firing r apache/b", "77 resolved r apache/a"]
    assert (len(story.notifications), story.notifications[1].kind) == (2, "firing")


def test_fired_and_ended_before_it_could_be_told_is_one_resolved() -> None:
    """With both times."""
    story = Story(rule(), up=("apache/a",), group_wait="5s").at(10).expire("apache/a").at(12).up("apache/a").at(60)
    assert story.told == ["15 resolved r apache/a"]
    alert = story.notifications[0].entries[0].alert
    assert alert.since is not None
    assert alert.until is not None
    assert (alert.until.mono - alert.since.mono) == 2


def test_back_to_what_was_told_is_nothing_to_tell() -> None:
    """Up for a moment between two messages."""
    story = Story(rule(), up=("apache/a",), group_wait="5s").at(10).expire("apache/a").at(20).up("apache/a")
    story.at(22).expire("apache/a").at(60)
    assert story.told == ["15 firing r apache/a"]
    assert "22 ended-untold apache/a" in story.reasons


def test_all_at_one_revision_is_one_message_without_any_wait() -> None:
    """A lease that held a hundred keys ends at one revision."""
    names = tuple(f"apache/{number:03}" for number in range(128))
    story = Story(rule(), up=names).at(10).expire(*names)
    assert (len(story.notifications), len(story.told)) == (1, 128)


def test_groups_are_of_one_rule_and_one_service() -> None:
    """Two services are two messages."""
    story = Story(rule(service="*"), up=("apache/a", "pay/a")).at(10).expire("apache/a", "pay/a")
    assert [sent.group for sent in story.notifications] == ["r/apache", "r/pay"]


def test_every_channel_is_told_and_those_that_want_no_resolve_are_spared() -> None:
    """The route without channels means all; `send_resolved: false` is honoured with a reason."""
    story = Story(rule(), up=("apache/a",), channels=TWO).at(10).expire("apache/a").at(20).up("apache/a")
    assert story.told == [
        "10 firing r apache/a to ops",
        "10 firing r apache/a to boss",
        "20 resolved r apache/a to ops",
    ]
    assert "20 resolve-not-wanted apache/a" in story.reasons


def test_a_rule_with_channels_is_told_there_instead() -> None:
    """Instead of what the route would choose."""
    story = Story(rule(channels=["log", "boss"]), up=("apache/a",), channels=TWO).at(10).expire("apache/a")
    assert story.told == ["10 firing r apache/a", "10 firing r apache/a to boss"]


def test_a_resolve_goes_where_the_firing_was_told() -> None:
    """Whatever the rules say now."""
    story = Story(rule(channels=["ops"]), up=("apache/a",), channels=TWO).at(10).expire("apache/a").at(20)
    story.reload(rule(channels=["log"]), channels=TWO).at(30).up("apache/a")
    assert story.told == ["10 firing r apache/a to ops", "30 resolved r apache/a to ops"]


def test_a_channel_that_is_gone_is_not_told_and_that_is_said() -> None:
    """Nothing is sent into the void in silence; where nobody who is left knows, those are told who are."""
    story = Story(rule(), up=("apache/a",), channels=TWO).at(10).expire("apache/a").reload(rule()).at(20).up("apache/a")
    assert story.told[2:] == ["10 firing r apache/a", "20 resolved r apache/a"]
    assert "20 channel-gone apache/a" in story.reasons
    one = Story(rule(), up=("apache/a",), channels=TWO).at(10).expire("apache/a")
    one.reload(rule(), channels={"ops": TWO["ops"], "new": TWO["ops"]}).at(20).up("apache/a")
    assert one.told[2:] == ["20 resolved r apache/a to ops"]


def test_ids_are_a_function_of_what_is_told() -> None:
    """Two engines that see the same give the same ids; every message of one has its own."""

    def run() -> list[str]:
        story = Story(rule(), up=("apache/a",), channels=TWO).at(10).expire("apache/a").at(20).up("apache/a")
        return [sent.id for sent in story.at(30).expire("apache/a").notifications]

    assert run() == run()
    assert len(set(run())) == len(run()) == 5


def test_what_is_forgotten_is_told_before_the_same_target_fires_anew() -> None:
    """Though both are due at once."""
    settings = Settings.model_validate({"flap": False, "forget_after": "300s"})
    story = Story(rule(), up=("apache/a",), settings=settings, group_wait="5s").at(1).expire("apache/a").at(300)
    story.at(301).put("apache/a").expire("apache/a").at(400)
    assert story.told == ["6 firing r apache/a", "306 forgotten r apache/a", "306 firing r apache/a"]
