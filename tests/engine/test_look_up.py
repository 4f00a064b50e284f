"""The view of single alerts: the same as that of all, and what a message about each would show."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.model import InstanceFacts, Notification, ServiceFacts
from tests.engine.story import Story, rule

CONDITIONS: tuple[dict[str, Any], ...] = (
    {"instance": "down"},
    {"instances": {"below": 2}},
    {"instances": {"below": 1, "per": "zone"}},
)


def told(story: Story) -> list[Notification]:
    """Return what was sent at the last moment."""
    return [sent for sent in story.notifications if sent.at == story.now]


def by_name(service: ServiceFacts) -> dict[str, InstanceFacts]:
    """Return the instances that are listed."""
    return {instance.name: instance for instance in service.instances}


@pytest.mark.parametrize("when", CONDITIONS, ids=str)
def test_it_is_what_a_message_shows(when: dict[str, Any]) -> None:
    """The alert, and its service with the alert's own instance first, for a rule's summary may speak of all of it."""
    story = (
        Story(rule(when=when, summary="{{ up }} up"))
        .put("apache/a", "apache/b", "apache/c", zone="eu")
        .at(5)
        .expire("apache/b")
    )
    story.at(9).expire("apache/c", "apache/a")
    ids = list(story.engine.alert_ids())
    assert ids == [alert.id for alert in story.engine.alerts()]
    found = {alert.id: (alert, service) for alert, service in story.engine.look_up(ids)}
    assert list(found) == ids
    assert told(story)
    for sent in told(story):
        for entry in sent.entries:
            alert, service = found[entry.alert.id]
            assert alert == entry.alert
            assert by_name(service) == by_name(sent.services["apache"])
            assert alert.instance is None or service.instances[0].name == alert.instance


def test_in_a_large_service_the_alert_s_own_instance_is_among_those_listed() -> None:
    """However many are lost, no more are listed than in a message."""
    names = [f"apache/{number}" for number in range(200)]
    story = Story(rule(summary="{{ up }} up"), up=tuple(names)).at(5).expire(*names)
    for alert, service in story.engine.look_up(story.engine.alert_ids()):
        assert len(service.instances) == 50
        assert service.instances[0].name == alert.instance


def test_where_there_is_no_summary_only_the_alert_s_own_instance_is_described() -> None:
    """Our own words speak of nothing else, and a crowd of alerts is described in one go."""
    story = Story(rule(), up=("apache/a", "apache/b")).at(5).expire("apache/a")
    ((alert, service),) = story.engine.look_up(story.engine.alert_ids())
    assert [instance.name for instance in service.instances] == ["a"] == [alert.instance]
    assert (service.up, service.known) == (1, 2)


def test_what_is_over_or_never_was_is_not_there() -> None:
    """An id alone says nothing; asking changes nothing."""
    story = Story(rule(), up=("apache/a",)).expire("apache/a")
    (alert_id,) = story.engine.alert_ids()
    assert len(list(story.engine.look_up([alert_id, "nonsense"]))) == 1
    story.up("apache/a")
    assert list(story.engine.look_up([alert_id, "nonsense"])) == []
