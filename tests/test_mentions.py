"""Ids of messages by the alerts that they spoke of: found while the alert fires, gone with it, few."""

from __future__ import annotations

from alertd.mentions import MOST, Mentions
from tests.engine.story import Story, rule


def heard(story: Story) -> Mentions:
    """Return what is known once all messages of a story were heard."""
    mentions = Mentions()
    for notification in story.notifications:
        mentions.note(notification)
    return mentions


def test_the_first_message_and_the_reminders_name_the_alert() -> None:
    """In their order."""
    story = Story(rule(), up=("apache/a",), repeat_interval="10s").expire("apache/a").at(25)
    (alert,) = story.alerts.values()
    ids = [notification.id for notification in story.notifications]
    assert len(ids) == 3
    assert heard(story).of(alert.id) == tuple(ids)


def test_the_end_of_an_alert_takes_its_ids_away() -> None:
    """A message about what is over names nothing to act on."""
    story = Story(rule(), up=("apache/a",)).expire("apache/a")
    (alert,) = story.alerts.values()
    assert heard(story).of(alert.id)
    assert heard(story.up("apache/a")).of(alert.id) == ()


def test_what_flaps_is_named_until_it_settles_well() -> None:
    """A flapping message can be acted on; one that settled firing as well."""
    flap = rule(flap={"changes": 2, "within": "1m", "settle": "30s"})
    story = Story(flap, up=("apache/a",)).expire("apache/a").up("apache/a")
    alert = story.notifications[-1].entries[0].alert
    assert heard(story).of(alert.id)
    assert heard(story.at(40)).of(alert.id) == ()


def test_only_the_latest_are_kept() -> None:
    """However long it fires."""
    story = Story(rule(), up=("apache/a",), repeat_interval="1s").expire("apache/a").at(2 * MOST)
    (alert,) = story.alerts.values()
    assert heard(story).of(alert.id) == tuple(sent.id for sent in story.notifications[-MOST:])


def test_alerts_that_ended_untold_can_be_dropped() -> None:
    """Those that are under way stay."""
    story = Story(rule(), up=("apache/a", "apache/b")).expire("apache/a").expire("apache/b")
    mentions = heard(story)
    keeping = story.alerts["apache/a"].id
    mentions.keep([keeping, "another"])
    assert len(mentions) == 1
    assert mentions.of(keeping)


# --- from one leader to the next -------------------------------------------------------------------------------------


def test_the_next_leader_goes_on_with_what_documents_show() -> None:
    """What was shown comes first, once, whether it is read before or after the first new message; junk is left out."""
    story = Story(rule(), up=("apache/a",), repeat_interval="10s").expire("apache/a").at(25)
    (alert,) = story.alerts.values()
    first, second, third = (notification.id for notification in story.notifications)
    mentions = Mentions()
    mentions.recall(alert.id, [first, 7, None, second])
    mentions.note(story.notifications[1])
    mentions.note(story.notifications[2])
    assert mentions.of(alert.id) == (first, second, third)
    late = Mentions()
    late.note(story.notifications[2])
    for _ in range(2):
        late.recall(alert.id, [first, second])
    assert late.of(alert.id) == (first, second, third)
    late.recall(alert.id, "junk")
    late.recall(alert.id, [str(number) for number in range(MOST)])
    assert late.of(alert.id)[-1] == third
    assert len(late.of(alert.id)) == MOST


def test_what_ended_meanwhile_is_not_named_by_old_messages() -> None:
    """It was told as over, and perhaps as firing anew, before the document could be read."""
    story = Story(rule(), up=("apache/a",)).expire("apache/a").at(10).up("apache/a").at(100).expire("apache/a").at(200)
    (alert,) = story.alerts.values()
    before, _, after = story.notifications
    mentions = Mentions()
    for notification in story.notifications[1:]:
        mentions.note(notification)
    mentions.recall(alert.id, [before.id])
    assert mentions.of(alert.id) == (after.id,)


def test_a_term_begins_with_nothing() -> None:
    """Another may have told what is not known here, or the end of what is."""
    story = Story(rule(), up=("apache/a",)).expire("apache/a")
    (alert,) = story.alerts.values()
    mentions = heard(story.up("apache/a"))
    mentions.begin()
    mentions.recall(alert.id, ["7f3a"])
    assert mentions.of(alert.id) == ("7f3a",)
    mentions.begin()
    assert mentions.of(alert.id) == ()
