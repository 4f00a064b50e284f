"""Durations as they are written."""

from __future__ import annotations

import pytest

from alertd import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("7d", 604800), ("1m500ms", 60.5), ("0s", 0)],
)
def test_what_the_contract_writes_is_read(text: str, seconds: float) -> None:
    """Each unit, and several of them from the largest down."""
    assert duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "1.5s", "-1s", "30 s", "5m1h", "1w", "٣s", "30S"])
def test_anything_else_is_refused(text: str) -> None:
    """A bare number too: nobody shall have to guess its unit."""
    with pytest.raises(ValueError, match="must be a duration with its unit"):
        duration.parse(text)


def test_ten_years_are_the_most() -> None:
    """Beyond that a date could not be computed."""
    with pytest.raises(ValueError, match="at most 3650d"):
        duration.parse("3651d")
