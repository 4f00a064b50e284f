"""Key events to instances and transitions: causes, first causes, replacement, forgetting, odd keys and values."""

from __future__ import annotations

import pytest

from alertd.model import EventKind, Transition
from tests.engine.story import Story, instant, rule

DAY = 86_400


def test_causes_of_going_down() -> None:
    """Each way to go down has its own cause."""
    story = Story(up=("s/a", "s/b", "s/c", "s/d", "s/e"))
    story.at(1).expire("s/a").delete("s/b").miss("s/c").fail("s/d").stop("s/e")
    assert story.transitions[5:] == [
        "1 s/a down expired",
        "1 s/b down deleted",
        "1 s/c down missed",
        "1 s/d down failing",
        "1 s/e down stopped",
    ]


def test_causes_of_going_up() -> None:
    """An instance is found at start, registered when new, recovered when it was known."""
    story = Story(up=("s/a",)).at(1).up("s/b").delete("s/a").at(2).up("s/a")
    assert story.transitions == ["0 s/a up found", "1 s/b up registered", "1 s/a down deleted", "2 s/a up recovered"]


@pytest.mark.parametrize("second", ["expire", "delete", "fail"])
def test_a_down_instance_keeps_its_first_cause(second: str) -> None:
    """A probe failed; that its key goes later, in whatever way, is not another cause."""
    story = Story(up=("s/a",)).at(1).fail("s/a", "HTTP 503").at(2)
    getattr(story, second)("s/a")
    assert story.transitions[1:] == ["1 s/a down failing"]


def test_stopped_replaces_an_earlier_cause() -> None:
    """What turns out to be stopped on purpose is no longer failing."""
    story = Story(up=("s/a",)).at(1).fail("s/a").at(2).stop("s/a")
    assert story.transitions[1:] == ["1 s/a down failing", "2 s/a down stopped"]


def test_an_instance_can_be_first_seen_failing() -> None:
    """A new key whose value says failing is down from the start."""
    story = Story().at(1).fail("s/a")
    assert story.transitions == ["1 s/a down failing"]


def test_a_refresh_and_a_change_of_value_are_no_transitions() -> None:
    """The same bytes again, and other bytes, leave an instance up."""
    story = Story().up("s/a", port=1).up("s/a", port=1).up("s/a", port=2)
    assert story.transitions == ["0 s/a up registered"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"host": "core01", "ipv4_addr": 172.31.14.95, "port": 8081}',
        b"\xff\xfe\x00",
        b"NaN",
        b'{"load": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"x" * 1_048_576,
        b"[1, 2]",
        b'"up"',
    ],
)
def test_a_value_that_cannot_be_understood_is_up_and_malformed(raw: bytes) -> None:
    """An instance is up because its key is there, whatever its value."""
    story = Story().put("s/a", raw=raw)
    (service,) = story.engine.services()
    assert (service.up, service.instances[0].malformed) == (1, True)


@pytest.mark.parametrize("raw", [b"", b"  \n", b"10.0.0.1:80", b"[::1]:80", b"core01:65535", b'{"status": "fine"}'])
def test_a_value_in_any_usual_form_is_up(raw: bytes) -> None:
    """Empty, an address, or a JSON object: all are understood."""
    story = Story().put("s/a", raw=raw)
    (service,) = story.engine.services()
    assert (service.up, service.instances[0].malformed) == (1, False)


def test_keys_without_an_instance_are_ignored_and_counted() -> None:
    """`/services/x`, `/services/x/` and `/services//a` name no instance."""
    story = Story().put("x").put("x/").put("/a")
    assert (story.transitions, story.engine.counts["ignored"]) == ([], 3)


@pytest.mark.parametrize(
    ("key", "service", "instance"),
    [
        ("支付/节点 一", "支付", "节点 一"),
        ("a%20b/c d", "a%20b", "c d"),
        ("s/with/slashes", "s", "with/slashes"),
    ],
)
def test_names_are_unicode(key: str, service: str, instance: str) -> None:
    """Names may hold anything; the instance is all that follows the service."""
    story = Story().put(key)
    (facts,) = story.engine.services()
    assert (facts.name, facts.instances[0].name) == (service, instance)


def test_a_key_that_is_not_utf8_is_shown_escaped() -> None:
    """Bytes that are no text do not stop anything."""
    story = Story()
    story.events(story.event(EventKind.PUT, "s/a")._replace(key=b"/services/s\xff/a\xfe"))
    (facts,) = story.engine.services()
    assert (facts.name, facts.instances[0].name) == (r"s\xff", r"a\xfe")


def test_delete_and_recreate_in_one_batch() -> None:
    """Both transitions are seen, in order."""
    story = Story(up=("s/a",))
    gone = story.event(EventKind.DELETE, "s/a")
    story.events(gone._replace(revision=200), story.event(EventKind.PUT, "s/a")._replace(revision=201))
    assert story.transitions[1:] == ["0 s/a down deleted", "0 s/a up recovered"]


def test_what_a_gap_hid_has_no_time_of_its_own() -> None:
    """A transition learnt from a listing says since when nobody watched."""
    story = Story(up=("s/a",)).at(60).gap().found("s/b").miss("s/a").synced()
    assert story.transitions[1:] == ["60 s/b up found", "60 s/a down missed"]
    assert [act.between for act in story.actions if isinstance(act, Transition)] == [None, instant(60), instant(60)]


# --- replaced --------------------------------------------------------------------------------------------------------


def test_a_newcomer_replaces_the_longest_lost() -> None:
    """One newly registered instance ends one loss, the oldest."""
    story = Story(rule(), up=("apache/a", "apache/b")).at(10).expire("apache/b").at(20).expire("apache/a")
    story.at(30).up("apache/c")
    assert story.told == [
        "10 firing r apache/b",
        "20 firing r apache/a",
        "30 resolved r apache/b",
    ]
    assert "30 replaced apache/b" in story.reasons


def test_one_that_came_shortly_before_replaces() -> None:
    """Started elsewhere up to 5 min before the loss: moved, not lost."""
    story = Story(rule(), up=("apache/a",)).at(60).up("apache/b").at(60 + 299).expire("apache/a")
    assert story.told == []


def test_one_that_came_long_before_does_not_replace() -> None:
    """What was registered more than 5 min before the loss is just another instance."""
    story = Story(rule(), up=("apache/a",)).at(60).up("apache/b").at(60 + 301).expire("apache/a")
    assert story.told == ["361 firing r apache/a"]


def test_one_newcomer_replaces_one_loss_only() -> None:
    """The second loss is told."""
    story = Story(rule(), up=("apache/a", "apache/b")).at(60).up("apache/c").at(70).expire("apache/a", "apache/b")
    assert story.told == ["70 firing r apache/b"]


def test_siblings_do_not_replace_one_another() -> None:
    """Two instances that start together are no successors of each other."""
    story = Story(rule()).up("apache/a").at(1).up("apache/b").at(60).expire("apache/a")
    assert story.told == ["60 firing r apache/a"]


def test_one_that_recovers_replaces_nobody() -> None:
    """A known instance that comes back is not a new one."""
    story = Story(rule(), up=("apache/a", "apache/b")).at(10).expire("apache/a").at(20).expire("apache/b")
    story.at(30).up("apache/a")
    assert story.told[2:] == ["30 resolved r apache/a"]


def test_a_stopped_instance_is_not_replaced() -> None:
    """A newcomer is kept for a real loss, not spent on a stop on purpose."""
    story = Story(rule(), up=("apache/a", "apache/b")).at(60).stop("apache/a").at(70).up("apache/c")
    story.at(80).expire("apache/b")
    assert story.told == []


# --- forgotten -------------------------------------------------------------------------------------------------------


def test_an_instance_gone_for_long_is_forgotten_and_told_so() -> None:
    """After `forget_after` it is told as forgotten, never as resolved, and is no longer known."""
    story = Story(rule(service="*"), up=("apache/a", "apache/b")).at(10).expire("apache/a").at(10 + 7 * DAY)
    assert story.told == ["10 firing r apache/a", f"{10 + 7 * DAY} forgotten r apache/a"]
    assert story.engine.counts["instances"] == 1


def test_a_service_with_none_left_is_forgotten() -> None:
    """With the last instance the service goes, unless the rules name it."""
    story = Story(rule(service="*"), rule("named", service="db"), up=("apache/a", "db/a")).at(10)
    story.expire("apache/a", "db/a").at(8 * DAY)
    assert [service.name for service in story.engine.services()] == ["db"]


def test_nothing_is_forgotten_while_a_service_alert_is_under_way() -> None:
    """An outage of a week is still an outage."""
    story = Story(rule(service="*", when={"instances": {"below": 1}}), up=("apache/a",)).at(10).expire("apache/a")
    story.at(30 * DAY)
    assert (story.told, story.engine.counts["instances"]) == (["10 firing r apache"], 1)
    story.up("apache/b")
    assert story.told[1:] == [f"{30 * DAY} resolved r apache"]
    story.at(30 * DAY + 60)
    assert story.engine.counts["instances"] == 1


def test_an_instance_that_returns_is_not_forgotten() -> None:
    """The time runs anew with each loss."""
    story = Story(up=("s/a",)).expire("s/a").at(6 * DAY).up("s/a").at(20 * DAY)
    assert story.engine.counts["instances"] == 1
