"""What alertd keeps in etcd for others to read: its shape, its versions, and that no content can break it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd import document
from alertd.model import Alert, AlertState
from tests.engine.story import Story, inhibition, instant, rule

MEMBERS = ["id", "rule", "service", "instance", "per", "state", "flapping", "muted", "acknowledged", "severity"]
MEMBERS += ["labels", "since", "summary"]


def alert_of(story: Story) -> Alert:
    """Return the only alert of a story."""
    (alert,) = story.alerts.values()
    return alert


def test_an_alert_in_the_contract_s_shape() -> None:
    """Every member, in its order; the time is RFC 3339 and UTC."""
    story = Story(rule(severity="critical", labels={"team": "web"}), up=("支付/a", "apache/a")).at(2.5)
    alert = alert_of(story.expire("apache/a"))
    content = document.of_alert(alert, "apache/a is lost", ["7f3a"])
    assert document.as_alert(content) == {key: content[key] for key in MEMBERS}
    assert list(content) == [*MEMBERS, "cause", "notifications"]
    assert content == {
        "id": alert.id,
        "rule": "r",
        "service": "apache",
        "instance": "a",
        "per": None,
        "state": "firing",
        "flapping": False,
        "muted": None,
        "acknowledged": None,
        "severity": "critical",
        "labels": {"team": "web"},
        "since": "2026-01-01T00:00:02.500Z",
        "summary": "apache/a is lost",
        "cause": "expired",
        "notifications": ["7f3a"],
    }


def test_what_keeps_an_alert_quiet_and_who_has_taken_it_on() -> None:
    """In the contract's words."""
    story = Story(rule(), up=("apache/a",)).expire("apache/a").ack("apache/a", seconds=60)
    story.silence(id="s1", until=100, match={"service": "apache"})
    content = document.of_alert(alert_of(story), "")
    assert content["muted"] == "silence:s1"
    times = {"at": "2026-01-01T00:00:00.000Z", "until": "2026-01-01T00:01:00.000Z"}
    assert content["acknowledged"] == {"by": "ann", "comment": "on it", **times}


def test_an_inhibited_alert_names_the_rule_that_inhibits_it() -> None:
    """Not the one that is muted."""
    rules = rule("few", when={"instances": {"below": 1}}), rule("lost")
    inhibit = (inhibition({"rule": "few"}, {"rule": "lost"}, "service"),)
    story = Story(*rules, up=("apache/a",), inhibit=inhibit).expire("apache/a")
    content = document.of_alert(story.alerts["apache/a"], "")
    assert content["muted"] == "inhibited:few"


def test_a_service_alert_that_is_pending_names_its_part() -> None:
    """No instance, but the value of the field by which the rule judges."""
    per = rule(when={"instances": {"below": 1, "per": "zone"}}, for_="1m")
    story = Story(per).put("apache/a", zone="eu").expire("apache/a")
    content = document.of_alert(alert_of(story), "")
    assert (content["instance"], content["per"], content["state"]) == (None, {"zone": "eu"}, "pending")


@pytest.mark.parametrize("flips", [3, 4])
def test_what_flaps_counts_as_firing(flips: int) -> None:
    """Whichever way it points at the moment."""
    story = Story(rule(flap={"changes": 3, "within": "1m", "settle": "30s"}, for_="10s"), up=("apache/a",))
    for flip in range(flips):
        (story.up if flip % 2 else story.expire)("apache/a")
    alert = alert_of(story)
    assert alert.flapping
    assert alert.state is not AlertState.FIRING
    assert document.of_alert(alert, "")["state"] == "firing"


def test_what_was_written_is_read() -> None:
    """The version and the time of writing are the document's own."""
    content = document.of_leader("r1", instant(1))
    raw = document.encode(content, "2026-01-01T00:00:05Z")
    assert json.loads(raw) == {"format": 1, "written": "2026-01-01T00:00:05Z", **content}
    assert document.read(raw) == document.Stored(content, "2026-01-01T00:00:05Z")
    assert document.replica_of(raw) == "r1"


def test_older_is_read_and_newer_is_only_known_to_be_newer() -> None:
    """A document of tomorrow may mean something else by the same names."""
    assert document.read(b'{"format": 0, "id": "7f"}').content == {"id": "7f"}
    assert document.read(b'{"format": 2, "id": "7f", "written": "x"}') == document.Stored(None, "x", is_newer=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"{",
        b"{}",
        b'{"format": "1"}',
        b'{"format": true}',
        b"a:80",
        b"[" * 9999,
        b'{"format":NaN}',
    ],
)
def test_what_is_no_document_says_nothing(raw: bytes) -> None:
    """It is neither read nor taken for a newer one."""
    assert document.read(raw)[::2] == (None, False)


def test_a_leader_that_cannot_be_understood_is_shown_raw() -> None:
    """Somebody leads, whatever the key holds."""
    assert document.replica_of(b"r1\xff") == r"r1\xff"
    assert document.replica_of(b'{"format": 1, "replica": 5}') == '{"format": 1, "replica": 5}'


def test_what_a_document_lacks_is_shown_as_unknown() -> None:
    """The members of `--json` are always the same; what an alert of another version has besides is not shown."""
    shown = document.as_alert({"id": "7f", "state": "firing", "colour": "red"})
    assert list(shown) == MEMBERS
    assert (shown["id"], shown["labels"], shown["since"]) == ("7f", {}, None)


@given(st.dictionaries(st.text(), st.text(st.characters(codec=None)) | st.none() | st.booleans()))
def test_any_text_can_be_written_and_read(content: dict[str, Any]) -> None:
    """Also half of a surrogate pair, which JSON can spell and UTF-8 cannot; what is read is written the same."""
    content = {name: value for name, value in content.items() if name not in {"format", "written"}}
    raw = document.encode(content, "now")
    assert document.read(raw).content == content
    assert document.encode(document.read(raw).content or {}, "now") == raw


@pytest.mark.parametrize(
    "text", [None, 5, "", "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"]
)
def test_a_time_that_is_none(text: object) -> None:
    """Is not shown as one."""
    assert document.moment(text) is None


def test_a_time_without_a_zone_is_utc() -> None:
    """So that it can be compared."""
    assert document.moment("2026-01-01T00:00:00") == document.moment("2026-01-01T01:00:00+01:00")
