"""What is said of patterns without an alert, held against all short texts that there are."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alertd.config.patterns import covers, is_everything, match_covers, may_meet, meets_any
from alertd.model import Match

TEXTS = ["".join(letters) for length in range(4) for letters in product("ab", repeat=length)]
PATTERNS = st.text("ab*?", max_size=4) | st.sampled_from(["[ab]", "[!a]*", "a[b]", "*[a]", "[*]", "[?]"])
LISTS = st.lists(PATTERNS, min_size=1, max_size=2).map(tuple)


@pytest.mark.parametrize(
    ("wide", "narrow", "is_covered"),
    [
        ("pay", "pay", True),
        ("pay*", "pay", True),
        ("pay*", "pay-eu", True),
        ("pay*", "pay-*", True),
        ("*-db", "pay-*-db", True),
        ("*", "[ab]?", True),
        ("pay?", "pay1", True),
        ("pay", "pay*", False),
        ("pay-*", "pay*", False),
        ("?", "*", False),
        ("*b]", "[ab]", False),
        ("pay*", "PAY", False),
    ],
)
def test_one_pattern_covers_another(wide: str, narrow: str, *, is_covered: bool) -> None:
    """Equal, a glob over an exact text, and stars over other wildcards; anything else is uncertain."""
    assert covers(wide, narrow) is is_covered


@settings(max_examples=1000, deadline=None)
@given(wide=PATTERNS, narrow=PATTERNS)
def test_what_is_said_of_two_patterns_is_certain(wide: str, narrow: str) -> None:
    """Covered is covered for every text, and where they cannot meet there is no text that both match."""
    both = [(meets_any(text, [wide]), meets_any(text, [narrow])) for text in TEXTS]
    if covers(wide, narrow):
        assert all(is_wide or not is_narrow for is_wide, is_narrow in both)
    if not may_meet(wide, narrow):
        assert (True, True) not in both


@pytest.mark.parametrize(
    ("one", "other", "is_possible"),
    [
        ("pay", "pay", True),
        ("pay", "p*", True),
        ("p*", "pay", True),
        ("pay-*", "pay*", True),
        ("*x", "pay*", True),
        ("pay", "apache", False),
        ("web*", "pay", False),
        ("web*", "pay*", False),
    ],
)
def test_two_patterns_may_meet(one: str, other: str, *, is_possible: bool) -> None:
    """Exact ones are compared, globs by how they begin."""
    assert may_meet(one, other) is is_possible


MATCHES = st.builds(
    Match,
    st.dictionaries(st.sampled_from(["rule", "team"]), LISTS, max_size=2),
    st.dictionaries(st.sampled_from(["rule", "team"]), LISTS, max_size=2),
)
ALERTS = [{"rule": rule} | team for rule in TEXTS for team in [{}, *({"team": text} for text in TEXTS[:7])]]
"""Every alert has a rule, and not every one a team."""


def means(match: Match, alert: dict[str, str]) -> bool:
    """Tell whether an alert is meant, word by word as `Match` says it."""
    return all(name in alert and meets_any(alert[name], patterns) for name, patterns in match.is_.items()) and not any(
        name in alert and meets_any(alert[name], patterns) for name, patterns in match.not_.items()
    )


@settings(max_examples=500, deadline=None)
@given(wide=MATCHES, narrow=MATCHES)
def test_a_match_that_covers_another_means_all_its_alerts(wide: Match, narrow: Match) -> None:
    """Also where an alert lacks a name, and where either excludes something."""
    if match_covers(wide, narrow):
        assert all(means(wide, alert) for alert in ALERTS if means(narrow, alert))
    if is_everything(wide):
        assert all(means(wide, alert) for alert in ALERTS)


@pytest.mark.parametrize(
    ("match", "is_all"),
    [
        (Match({"service": ("*",)}), True),
        (Match({"service": ("a", "**"), "rule": ("*",), "severity": ("*",)}), True),
        (Match({"service": ("?*",)}), False),
        (Match({"instance": ("*",)}), False),
        (Match({"team": ("*",)}), False),
        (Match({"service": ("*",)}, {"team": ("lab",)}), False),
    ],
)
def test_a_match_that_means_every_alert(match: Match, *, is_all: bool) -> None:
    """Only of names that every alert has."""
    assert is_everything(match) is is_all
