"""How fast a target is sent to."""

from __future__ import annotations

import pytest

from alertd.config.schema import Rate
from alertd.delivery.pace import Pace


def test_some_go_at_once_and_then_one_at_a_time() -> None:
    """After the burst each waits for its token; waiting longer than needed fills the bucket no further than full."""
    pace = Pace(2, 5.0)
    assert [pace.take(100.0), pace.take(100.0)] == [0.0, 0.0]
    assert pace.take(100.0) == pytest.approx(5.0)
    assert pace.take(103.0) == pytest.approx(2.0)
    assert pace.take(105.0) == 0.0
    assert [pace.take(999.0), pace.take(999.0)] == [0.0, 0.0]
    assert pace.take(999.0) > 0


def test_no_limit_is_no_wait() -> None:
    """A webhook of one's own is sent to as fast as it answers."""
    pace = Pace.of(None, 0.0)
    assert {pace.take(1.0) for _ in range(1000)} == {0.0}


def test_a_channels_rate_wins_over_what_apprise_says() -> None:
    """`rate: 20/1m` is 20 at once and one every 3 s."""
    pace = Pace.of(Rate(count=20, seconds=60.0), 5.5)
    assert [pace.take(0.0) for _ in range(20)] == [0.0] * 20
    assert pace.take(0.0) == pytest.approx(3.0)


def test_what_was_sent_at_the_last_rate_counts_at_a_new_one() -> None:
    """A reload fills no bucket, and a full one makes nobody wait for more than one token."""
    pace = Pace.of(Rate(count=20, seconds=60.0), 0.0)
    assert [pace.take(0.0) for _ in range(20)] == [0.0] * 20
    pace.become(Pace.of(Rate(count=1, seconds=5.0), 0.0))
    assert pace.take(0.0) == pytest.approx(5.0)
    pace.become(Pace.of(Rate(count=2, seconds=5.0), 0.0))
    assert pace.take(0.0) == 0.0
    assert pace.take(0.0) == pytest.approx(2.5)
