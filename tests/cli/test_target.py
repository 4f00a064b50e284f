"""What a TARGET means: the one grammar, and what is said of what means nothing, or several things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.cli.scene import AlertRow
from alertd.cli.target import Meaning, resolve, service_of
from alertd.errors import AlertdError, NotThere
from tests.cli.alerts import row

LOST_A = row("lost", "apache", "a", id="573c199ba2e5", told_by=("8f7e9bac01e4", "8f7e11111111"))
LOST_B = row("lost", "apache", "10.0.0.1/tcp", id="573caaaaaaaa", told_by=("8f7e9bac01e4",))
FEW = row("few", "支付", id="0123456789ab", told_by=("d5fca01f7e6c",))
PENDING = row("few", "apache", id="fedcba987654", is_firing=False)
ALERTS = [LOST_A, LOST_B, FEW, PENDING]


def mean(text: str, *present: str) -> Meaning:
    """Return what a TARGET means where these instances of the service are registered."""
    return resolve(text, ALERTS, present)


@pytest.mark.parametrize(
    ("text", "alerts"),
    [
        ("573c199ba2e5", [LOST_A]),
        ("573c1", [LOST_A]),
        ("d5fc", [FEW]),
        ("d5fca01f7e6c", [FEW]),
        ("8f7e9bac01e4", [LOST_A, LOST_B]),
        ("8f7e9b", [LOST_A, LOST_B]),
        ("8f7e1", [LOST_A]),
    ],
)
def test_an_id_or_its_beginning_means_its_alerts(text: str, alerts: list[AlertRow]) -> None:
    """Of an alert, or of a notification: then all that it spoke of."""
    assert mean(text) == Meaning(text, tuple(alerts))


@pytest.mark.parametrize(
    ("text", "service", "instance", "alerts"),
    [
        ("apache", "apache", None, [LOST_A, LOST_B, PENDING]),
        ("apache/a", "apache", "a", [LOST_A]),
        ("apache/10.0.0.1/tcp", "apache", "10.0.0.1/tcp", [LOST_B]),
        ("支付", "支付", None, [FEW]),
    ],
)
def test_a_service_or_an_instance_means_what_is_under_way_there(
    text: str, service: str, instance: str | None, alerts: list[AlertRow]
) -> None:
    """The instance is all that follows the first slash."""
    assert mean(text) == Meaning(text, tuple(alerts), service, instance)


def test_only_what_fires_can_be_acted_on() -> None:
    """What is pending is under way, too, but nobody was told."""
    assert mean("apache").firing == (LOST_A, LOST_B)


@pytest.mark.parametrize(
    ("text", "present", "is_known"),
    [("pay", ["a"], True), ("pay/a", ["a"], True), ("pay/b", ["a"], False), ("pay", [], False), ("db01", [], False)],
)
def test_a_service_without_alerts_is_known_by_its_keys(text: str, present: list[str], *, is_known: bool) -> None:
    """One that nobody has heard of may yet come."""
    meaning = mean(text, *present)
    assert (meaning.alerts, meaning.is_known, meaning.service) == ((), is_known, text.partition("/")[0])


def test_a_service_that_is_known_wins_over_the_beginning_of_an_id() -> None:
    """What is written out counts before what is abbreviated."""
    assert mean("573c1", "a") == Meaning("573c1", (), "573c1")
    named = row("lost", "d5fc", "x")
    assert resolve("d5fc", [*ALERTS, named], []).alerts == (named,)


def test_too_short_for_an_id_is_a_service() -> None:
    """`db` begins many an id."""
    assert mean("573").service == "573"


@pytest.mark.parametrize(("text", "says"), [("573c", "2 ids, such as 573c199ba2e5, 573caaaaaaaa"), ("8f7e", "2 ids")])
def test_what_begins_several_ids_means_none(text: str, says: str) -> None:
    """They are named, so that more can be given."""
    with pytest.raises(AlertdError, match=says):
        mean(text)


@pytest.mark.parametrize("text", ["ffffffffffff", "deadbeefdead", "9f7e9bac"])
def test_an_id_of_what_is_over_is_no_service(text: str) -> None:
    """A silence of a service by that name would keep nothing quiet."""
    with pytest.raises(NotThere, match=text):
        mean(text)


@pytest.mark.parametrize("text", ["", "/", "apache/", "/a"])
def test_what_names_nothing_is_no_target(text: str) -> None:
    """An empty name is a slip."""
    with pytest.raises(AlertdError, match="is no target"):
        service_of(text)


@given(st.text(st.sampled_from("0123456789abcdef/x"), min_size=1, max_size=14))
def test_whatever_is_named_is_meant_or_refused(text: str) -> None:
    """Alerts are meant only by their own ids, or by their own service."""
    try:
        meaning = mean(text)
    except AlertdError:
        return
    for alert in meaning.alerts:
        if meaning.service is None:
            assert any(each.startswith(text) for each in (alert.id, *alert.told_by))
        else:
            assert (alert.service, meaning.instance or alert.instance) == (meaning.service, alert.instance)
