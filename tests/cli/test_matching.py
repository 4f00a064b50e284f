"""What a silence from the command line matches: what is written, what a TARGET comes to, and what of it is there."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.cli.matching import covered_by, in_words, literal, matches_of, muted_by, narrow, read_matches
from alertd.cli.scene import AlertRow
from alertd.cli.target import Meaning
from alertd.errors import AlertdError
from alertd.model import Match
from tests.cli.alerts import row

ALERTS = [
    row("lost", "apache", "a", cause="expired", labels={"team": "web"}),
    row("lost", "apache", "b", cause="failing"),
    row("few", "apache", severity="critical"),
    row("few", "pay"),
    row("thin", "pay", per={"zone": "eu"}),
    row("lost", "pay", "b"),
]
INSTANCES = {"apache": {"b": b'{"rack": "r7", "load": {"one": 1.10}}', "c": b""}, "pay": {"p[1]": b""}}


def muted(*texts: str) -> list[str]:
    """Return the ids of the alerts that `--match` means."""
    return [alert.id for alert in muted_by(read_matches(texts), ALERTS, INSTANCES)]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_names_must_all_match_and_patterns_of_one_name_any() -> None:
    """As in the rules; with `!=` none may."""
    match = read_matches(["service=apache", "service=web-*", "team!=lab", "team!=old", "comment=a=b"])
    assert match == Match({"service": ("apache", "web-*"), "comment": ("a=b",)}, {"team": ("lab", "old")})
    assert read_matches(in_words(match).split()) == match


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("team", "give name=pattern"),
        ("=web", "give name=pattern"),
        ("team=~web.*", "patterns are globs"),
        ("team!~web.*", "patterns are globs"),
        ("team==web", "give name=pattern"),
        ("team=", "to match any value, give team=*"),
        ("during=nightly", "a word of the rules"),
        ("not=x", "a word of the rules"),
        ("severity=critcal", "there are info, warning, critical"),
        ("cause!=lost", "there are"),
        ("", "give name=pattern"),
    ],
)
def test_other_forms_are_refused_with_the_cure(text: str, says: str) -> None:
    """So that a slip never makes a silence that means something else."""
    with pytest.raises(AlertdError, match="--match") as caught:
        read_matches([text])
    assert says in str(caught.value)


# --- what a TARGET comes to ------------------------------------------------------------------------------------------


def test_a_service_and_an_instance_mean_all_that_befalls_them() -> None:
    """Names that are there are meant as they are, also where they look like patterns."""
    assert matches_of(Meaning("apache", (), "apache")) == [Match({"service": ("apache",)})]
    (match,) = matches_of(Meaning("pay/p[1]", (), "pay", "p[1]"))
    assert covered_by(match, INSTANCES) == ["pay/p[1]"]


def test_an_unknown_service_may_be_a_pattern() -> None:
    """`pay*` is no service."""
    (match,) = matches_of(Meaning("*a*", (), "*a*", is_known=False))
    assert covered_by(match, INSTANCES) == ["apache/b", "apache/c", "pay/p[1]"]


@pytest.mark.parametrize("meant", [[0], [2], [4], [0, 1], [0, 5], [2, 3], [0, 1, 2, 3, 4, 5]])
def test_alerts_are_meant_exactly(meant: list[int]) -> None:
    """As few silences as that takes; never one that would mute another alert as well."""
    alerts = [ALERTS[index] for index in meant]
    matches = matches_of(Meaning("7f3a", tuple(alerts)))
    found = [alert for alert in ALERTS if any(muted_by(match, [alert], {}) for match in matches)]
    assert found == alerts
    assert len(matches) <= len({(alert.rule, alert.service) for alert in alerts})


NAMES = st.text(st.sampled_from("ab*?[]"), min_size=1, max_size=4)


ROWS = st.one_of(st.builds(row, st.just("few"), NAMES), st.builds(row, st.sampled_from(["[a]", "a"]), NAMES, NAMES))


@given(st.lists(ROWS, max_size=6), st.data())
def test_no_other_alert_is_ever_meant(alerts: list[AlertRow], data: st.DataObject) -> None:
    """Whatever services and instances are called; a rule speaks of services or of instances, never of both."""
    meant = data.draw(st.lists(st.sampled_from(alerts), max_size=4) if alerts else st.just([]))
    matches = matches_of(Meaning("7f3a", tuple(meant)))
    found = {alert.id for match in matches for alert in muted_by(match, alerts, {})}
    assert found == {alert.id for alert in meant}


def test_a_target_can_be_narrowed_but_not_widened() -> None:
    """A second pattern for the service would add one."""
    target = Match({"service": ("apache",)})
    assert narrow(target, read_matches(["rule=lost", "team!=lab"])) == Match(
        {"service": ("apache",), "rule": ("lost",)}, {"team": ("lab",)}
    )
    with pytest.raises(AlertdError, match="which service is meant"):
        narrow(target, read_matches(["service=pay"]))


@given(NAMES, NAMES)
def test_a_literal_matches_itself_alone(text: str, other: str) -> None:
    """Whatever wildcards it has."""
    assert fnmatchcase(text, literal(text))
    assert text == other or not fnmatchcase(other, literal(text))


# --- what is matched now ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "ids"),
    [
        (["service=apache"], ["lost-apache-a", "lost-apache-b", "few-apache-None"]),
        (["rule=lost", "instance=b"], ["lost-apache-b", "lost-pay-b"]),
        (["severity=crit*"], ["few-apache-None"]),
        (["team=web"], ["lost-apache-a"]),
        (["cause=expired"], ["lost-apache-a"]),
        (["zone=eu"], ["thin-pay-None"]),
        (["rack=r7"], ["lost-apache-b"]),
        (["load.one=1.10"], ["lost-apache-b"]),
        (["load.one=1.1"], []),
        (["service=apache", "team!=web"], ["lost-apache-b", "few-apache-None"]),
        (["nothing=*"], []),
    ],
)
def test_alerts_are_matched_by_all_that_etcd_shows_of_them(texts: list[str], ids: list[str]) -> None:
    """Built-ins, labels, what a rule judges apart, then the fields of the instance's value."""
    assert muted(*texts) == ids


@pytest.mark.parametrize(
    ("texts", "covered"),
    [
        (["service=apache"], ["apache/b", "apache/c"]),
        (["instance=c", "rule=whatever"], ["apache/c"]),
        (["service=*", "instance!=c"], ["apache/b", "pay/p[1]"]),
        (["service=nosuch"], []),
        (["team=web"], []),
    ],
)
def test_instances_are_covered_by_name(texts: list[str], covered: list[str]) -> None:
    """Which rules and labels their alerts would have, etcd does not say."""
    assert covered_by(read_matches(texts), INSTANCES) == covered
