"""What each `when:` means, one by one, with `where`."""

from __future__ import annotations

from typing import Any

import pytest

from alertd.config.schema import Settings
from alertd.model import EventKind
from tests.engine.story import Story, instant, rule, seconds

HOUR = 3600


def story_of(when: dict[str, Any], *up: str, **fields: Any) -> Story:
    """Return a story with the one rule `r` on `apache`."""
    return Story(rule(when=when, **fields), up=up)


# --- instances: number, where, per, per cent -------------------------------------------------------------------------


def test_below_a_number() -> None:
    """True while fewer than N are up, false from N on."""
    story = story_of({"instances": {"below": 2}}, "apache/a", "apache/b", "apache/c")
    story.at(1).expire("apache/a").at(2).expire("apache/b").at(3).up("apache/a").at(4).up("apache/b")
    assert story.told == ["2 firing r apache", "3 resolved r apache"]
    alert = story.notifications[0].entries[0].alert
    assert (alert.up, alert.known, alert.minimum, alert.cause) == (1, 3, 2, "expired")
    ended = story.notifications[1].entries[0].alert
    assert (ended.up, ended.known, ended.cause) == (2, 3, "recovered")


def test_above_a_number() -> None:
    """True while more than N are up."""
    story = story_of({"instances": {"above": 1}}, "apache/a").at(1).up("apache/b").at(2).delete("apache/a")
    assert story.told == ["1 firing r apache", "2 resolved r apache"]


def test_instances_of_one_revision_are_judged_together() -> None:
    """One transaction that moves an instance leaves no moment with too few."""
    story = story_of({"instances": {"below": 2}}, "apache/a", "apache/b")
    story.events(story.event(EventKind.DELETE, "apache/a"), story.event(EventKind.PUT, "apache/c"))
    assert (story.told, story.reasons) == ([], [])


def test_an_exact_name_is_judged_even_if_never_seen() -> None:
    """A service that never came up is missing, not unknown."""
    assert story_of({"instances": {"below": 1}}).told == ["0 firing r apache"]


def test_a_service_named_beforehand_is_judged_even_if_never_seen() -> None:
    """`services:` names it, so a rule for all services judges it."""
    story = Story(rule(service="*", when={"instances": {"below": 1}}), services={"pay": {"expected": 3}, "x*": {}})
    assert story.told == ["0 firing r pay"]


def test_a_glob_judges_only_what_was_seen() -> None:
    """Nothing is known of a service that only a glob would match."""
    assert story_of({"instances": {"below": 1}}, service="ap*").told == []


def test_where_counts_only_instances_whose_fields_match() -> None:
    """Others do not count; of a lost one its last value does; absent and malformed never match."""
    story = story_of({"instances": {"below": 1}}, where={"host": "core*", "tier": ["web", "1.10"]})
    story.up("apache/x", host="edge1", tier="web").up("apache/y").put("apache/z", raw=b"{oops")
    assert story.told == ["0 firing r apache"]
    story.at(1).put("apache/a", raw=b'{"host": "core01", "tier": 1.10}').at(2).expire("apache/a")
    assert story.told[1:] == ["1 resolved r apache", "2 firing r apache"]


def test_where_compares_as_written() -> None:
    """`1.10` is not `1.1`, and `true` is the word."""
    story = story_of({"instances": {"below": 1}}, where={"v": "1.1"})
    story.put("apache/a", raw=b'{"v": 1.10}').at(1).put("apache/b", raw=b'{"v": 1.1}')
    assert story.told == ["0 firing r apache", "1 resolved r apache"]


def test_where_knows_labels_and_built_ins() -> None:
    """The one namespace: built-ins, the rule's labels, the service's labels, then fields."""
    down = {"instance": "down"}
    story = Story(
        rule("by-name", when=down, where={"instance": "core*"}),
        rule("by-label", when=down, where={"team": "web"}, labels={"team": "web"}),
        rule("by-service-label", when=down, where={"tier": "2"}),
        rule("never", when=down, where={"service": "mail"}),
        rule("by-path", when=down, where={"at.rack": "r7"}),
        services={"apache": {"labels": {"tier": "2"}}},
    )
    story.up("apache/core1", "apache/edge", at={"rack": "r7"}).at(1).expire("apache/core1", "apache/edge")
    assert sorted(story.told) == [
        "1 firing by-label apache/core1",
        "1 firing by-label apache/edge",
        "1 firing by-name apache/core1",
        "1 firing by-path apache/core1",
        "1 firing by-path apache/edge",
        "1 firing by-service-label apache/core1",
        "1 firing by-service-label apache/edge",
    ]


def test_per_judges_each_value_apart_and_once_seen_at_zero() -> None:
    """A zone that lost its last instance fires; a zone never seen does not."""
    story = story_of({"instances": {"below": 1, "per": "zone"}})
    story.up("apache/a", zone="eu").up("apache/b", zone="us").up("apache/c").at(1).expire("apache/a")
    assert story.told == ["1 firing r apache (zone=eu)"]
    assert story.notifications[0].entries[0].alert.per == {"zone": "eu"}
    story.at(2).up("apache/d", zone="eu")
    assert story.told[1:] == ["2 resolved r apache (zone=eu)"]


def test_an_instance_that_changes_its_zone_is_counted_anew() -> None:
    """The old zone loses it, the new one gains it."""
    story = story_of({"instances": {"below": 1, "per": "zone"}})
    story.up("apache/a", zone="eu").at(1).up("apache/a", zone="us")
    assert story.told == ["1 firing r apache (zone=eu)"]


def test_per_cent_of_what_is_expected() -> None:
    """50% of 3 is 1.5: one up is too few, two are enough."""
    story = Story(
        rule(when={"instances": {"below": "50%"}}), services={"apache": {"expected": 3}}, up=("apache/a", "apache/b")
    )
    story.at(1).expire("apache/a").at(2).up("apache/a")
    assert story.told == ["1 firing r apache", "2 resolved r apache"]
    assert story.notifications[0].entries[0].alert.minimum == 2


def test_per_cent_of_the_peak() -> None:
    """Without `expected` it is the highest number up together for 5 min; a shorter peak does not count."""
    story = story_of({"instances": {"below": "50%"}}, "apache/a", "apache/b", "apache/c", "apache/d")
    story.at(299).up("apache/e", "apache/f", "apache/g", "apache/h").at(301).expire("apache/e", "apache/f")
    story.delete("apache/g", "apache/h", "apache/d", "apache/c")
    assert story.told == []
    story.at(302).expire("apache/b")
    assert story.told == ["302 firing r apache"]


def test_the_peak_is_less_those_stopped_since() -> None:
    """Scaled down on purpose from 4 to 2: half of 2 is 1, so one up is enough."""
    story = story_of({"instances": {"below": "50%"}}, "apache/a", "apache/b", "apache/c", "apache/d")
    story.at(400).stop("apache/c").at(401).stop("apache/d").at(402).expire("apache/a")
    assert story.told == []
    story.at(403).expire("apache/b")
    assert story.told == ["403 firing r apache"]


def test_the_peak_is_forgotten_after_a_day_but_not_during_an_alert() -> None:
    """An outage of two days does not become the new normal; a quiet shrinking does."""
    story = story_of({"instances": {"below": "100%"}}, "apache/a", "apache/b").at(400).expire("apache/b")
    story.at(48 * HOUR).up("apache/c").at(48 * HOUR + 1).expire("apache/c")
    assert story.told == [
        "400 firing r apache",
        f"{48 * HOUR} resolved r apache",
        f"{48 * HOUR + 1} firing r apache",
    ]


# --- instance: down and up -------------------------------------------------------------------------------------------


def test_instance_down_by_cause() -> None:
    """Only the causes listed count; `missed` counts wherever `expired` or `deleted` is."""
    story = story_of({"instance": "down", "cause": ["expired"]}, "apache/a", "apache/b", "apache/c", "apache/d")
    story.at(1).expire("apache/a").delete("apache/b").miss("apache/c").fail("apache/d")
    assert story.told == ["1 firing r apache/a", "1 firing r apache/c"]


def test_instance_down_by_default_is_all_but_stopped() -> None:
    """What is stopped on purpose needs nobody."""
    story = story_of({"instance": "down"}, "apache/a", "apache/b").at(1).stop("apache/a").at(2).delete("apache/b")
    assert story.told == ["2 firing r apache/b"]


def test_instance_down_ends_when_found_to_be_stopped() -> None:
    """A failing instance that is then stopped on purpose resolves, with that reason."""
    story = story_of({"instance": "down"}, "apache/a").at(1).fail("apache/a").at(2).stop("apache/a")
    assert story.told == ["1 firing r apache/a", "2 resolved r apache/a"]
    assert "2 found-stopped apache/a" in story.reasons


def test_instance_up_tells_once_of_a_new_instance() -> None:
    """Found at the start is not new, recovered is not new, and nothing resolves."""
    story = story_of({"instance": "up"}, "apache/a").at(1).up("apache/b").at(2).expire("apache/a", "apache/b")
    story.at(3).up("apache/a", "apache/b")
    assert story.told == ["1 firing r apache/b"]


def test_instance_up_tells_of_what_a_gap_proves_new() -> None:
    """Not there before the gap and there after it: new."""
    story = story_of({"instance": "up"}, "apache/a").at(60).gap().found("apache/a", "apache/b").synced()
    assert story.told == ["60 firing r apache/b"]


# --- distinct, changes, value, malformed -----------------------------------------------------------------------------


def test_distinct_below() -> None:
    """All on one host; none at all is fewer than two as well."""
    story = story_of({"distinct": {"field": "host", "below": 2}})
    story.up("apache/a", host="h1").up("apache/b", host="h2").at(1).expire("apache/b").at(2).up("apache/c", host="h1")
    story.at(3).up("apache/c", host="h3")
    assert story.told == [
        "0 firing r apache",
        "0 resolved r apache",
        "1 firing r apache",
        "3 resolved r apache",
    ]
    assert story.notifications[2].entries[0].alert.values == ("h1",)


def test_distinct_above() -> None:
    """Mixed versions, while those instances are up."""
    story = story_of({"distinct": {"field": "version", "above": 1}})
    story.put("apache/a", raw=b'{"version": 1.1}').at(1).put("apache/b", raw=b'{"version": 1.10}')
    story.at(2).delete("apache/a")
    assert story.told == ["1 firing r apache", "2 resolved r apache"]


def test_changes_of_a_service() -> None:
    """More than N ups and downs within the window; it ends as they leave the window, without an event."""
    story = story_of({"changes": {"above": 2, "within": "1m"}}, "apache/a", "apache/b")
    story.at(10).expire("apache/a").at(20).up("apache/a").at(30).expire("apache/b").at(100)
    assert story.told == ["30 firing r apache", "70 resolved r apache"]


def test_changes_per_instance() -> None:
    """Each instance by itself."""
    story = story_of({"changes": {"above": 1, "within": "1m", "per": "instance"}}, "apache/a", "apache/b")
    story.at(10).expire("apache/a").at(20).expire("apache/b").at(30).up("apache/b")
    assert story.told == ["30 firing r apache/b"]


def test_a_first_registration_is_no_change() -> None:
    """Scaling out is not restlessness."""
    story = story_of({"changes": {"above": 1, "within": "1m"}}).up("apache/a", "apache/b", "apache/c")
    assert story.told == []


def test_changes_in_a_gap_do_not_count() -> None:
    """They have no times, so nobody can say how often."""
    story = story_of({"changes": {"above": 0, "within": "1m"}}, "apache/a").at(5).gap().miss("apache/a").synced()
    assert story.told == []


def test_value_above_with_clear() -> None:
    """Fires above 4, ends at 3, and stays as it is between."""
    story = story_of({"value": {"field": "load.one", "above": 4, "clear": 3}})
    for at, load in enumerate([4, 4.5, 3.5, 3.1, 3, 3.5, 5], start=1):
        story.at(at).up("apache/a", load={"one": load})
    assert story.told == ["2 firing r apache/a", "5 resolved r apache/a", "7 firing r apache/a"]
    assert story.notifications[0].entries[0].alert.values == ("4.5",)


def test_value_below_with_clear() -> None:
    """The same, downwards."""
    story = story_of({"value": {"field": "free", "below": 10, "clear": 20}})
    for at, free in enumerate([10, 9, 15, 20], start=1):
        story.at(at).up("apache/a", free=free)
    assert story.told == ["2 firing r apache/a", "4 resolved r apache/a"]


@pytest.mark.parametrize(
    ("condition", "bad", "good"),
    [
        ({"equals": "1.10"}, b'{"v": 1.10}', b'{"v": 1.1}'),
        ({"equals": "true"}, b'{"v": true}', b'{"v": false}'),
        ({"matches": "5*"}, b'{"v": "503"}', b'{"v": "403"}'),
        ({"missing": True}, b"{}", b'{"v": 0}'),
        ({"missing": True}, b"", b'{"v": ""}'),
        ({"above": 4}, b'{"v": "5"}', b'{"v": "many"}'),
    ],
)
def test_value_by_text(condition: dict[str, Any], bad: bytes, good: bytes) -> None:
    """Equal as written, matching a glob, missing; numbers in quotes are numbers."""
    story = story_of({"value": {"field": "v", **condition}})
    story.at(1).put("apache/a", raw=bad).at(2).put("apache/a", raw=good)
    assert story.told == ["1 firing r apache/a", "2 resolved r apache/a"]


def test_value_is_kept_while_the_instance_is_gone() -> None:
    """No data is not good data; nor is a value that cannot be understood."""
    story = story_of({"value": {"field": "v", "above": 4}}).at(1).up("apache/a", v=5).at(2).expire("apache/a")
    story.at(3).put("apache/a", raw=b"{oops").at(4).up("apache/a", v=5).at(5).up("apache/a", v=1)
    assert story.told == ["1 firing r apache/a", "5 resolved r apache/a"]


def test_malformed() -> None:
    """It fires while the key is there with such a value."""
    story = story_of({"malformed": True}).at(1).put("apache/a", raw=b"{oops").at(2).put("apache/a", raw=b"{}")
    assert story.told == ["1 firing r apache/a", "2 resolved r apache/a"]
    assert story.notifications[0].entries[0].alert.values == ("{oops",)


# --- rules and services ----------------------------------------------------------------------------------------------


def test_a_rule_speaks_of_exact_names_lists_and_globs() -> None:
    """Each service once, however many of its patterns match."""
    story = Story(rule(service=["apache", "ap*", "pay"]), up=("apache/a", "pay/a", "mail/a"))
    story.at(1).expire("apache/a", "pay/a", "mail/a")
    assert story.told == ["1 firing r apache/a", "1 firing r pay/a"]


def test_labels_of_the_rule_win_over_those_of_the_service() -> None:
    """Both are on the alert; an exact service entry wins over a glob."""
    story = Story(
        rule(labels={"team": "web"}),
        services={"*": {"labels": {"tier": "9", "dc": "fra"}}, "apache": {"labels": {"team": "x", "tier": "1"}}},
        up=("apache/a",),
    )
    story.at(1).expire("apache/a")
    assert story.notifications[0].entries[0].alert.labels == {"team": "web", "tier": "1", "dc": "fra"}


def test_the_alert_says_since_when_by_its_deadline() -> None:
    """What happens because a deadline passed bears the deadline's time, however late the wake-up."""
    story = Story(rule(for_="30s"), up=("apache/a",), settings=Settings(flap=False))
    story.at(10).expire("apache/a")
    story.actions += story.engine.advance(instant(99))
    (sent,) = story.notifications
    since = sent.entries[0].alert.since
    assert since is not None
    assert (seconds(since), seconds(sent.at)) == (40, 40)
