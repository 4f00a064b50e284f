"""Which channels do not deliver, and which do again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from alertd.channels import ChannelWatch, Finding
from alertd.delivery.lane import LaneStatus
from tests.delivery.examples import at

NOW = at(0)
WELL = LaneStatus("ops", "ops #1 json", "json", 0, 3, 0, 0, "", None)


def stuck(minutes: float, lane: LaneStatus = WELL) -> LaneStatus:
    """Return a lane whose first message has not been taken for so long."""
    return replace(lane, queued=1, stuck_since=NOW.wall - timedelta(minutes=minutes), last_error="HTTP 503")


def look(watch: ChannelWatch, *lanes: LaneStatus, known: tuple[str, ...] = ()) -> list[Finding]:
    """Return what is found."""
    return watch.look(lanes, known, NOW)


def test_a_target_that_is_stuck_for_long_is_trouble() -> None:
    """The words say which, since when and why; once something is taken, it is over."""
    watch = ChannelWatch()
    assert look(watch, stuck(4)) == []
    [found] = look(watch, stuck(6))
    assert (found.channel, found.fails) == ("ops", True)
    assert found.words.startswith("ops #1 json stuck since 20")
    assert found.words.endswith("Z: HTTP 503")
    assert look(watch, WELL) == [Finding("ops", fails=False, words="delivering again")]


def test_what_has_just_begun_to_try_is_not_known() -> None:
    """Who has just taken over cannot tell; what was told of it stands until it can."""
    assert look(ChannelWatch(), stuck(1)) == []
    assert look(ChannelWatch(), replace(WELL, queued=2, sent=0)) == []


def test_one_of_several_targets_is_enough() -> None:
    """And the channel is well only when all are."""
    other = replace(WELL, target="ops #2 json")
    watch = ChannelWatch()
    assert [found.fails for found in look(watch, WELL, stuck(6, other))] == [True]
    assert look(watch, WELL, stuck(1, other)) == []
    assert [found.fails for found in look(watch, WELL, other)] == [False]


def test_a_message_given_up_is_trouble_until_the_next_is_taken() -> None:
    """Though nothing is queued."""
    watch = ChannelWatch()
    look(watch, WELL)
    refused = replace(WELL, failed=1, last_error="HTTP 400")
    for _ in range(2):
        assert look(watch, refused) == [
            Finding("ops", fails=True, words="ops #1 json gave up on a message: HTTP 400"),
        ]
    assert look(watch, replace(refused, sent=4, last_error="")) == [
        Finding("ops", fails=False, words="delivering again")
    ]
    assert [found.fails for found in look(watch, replace(refused, sent=5, failed=2, last_error=""))] == [False]


def test_a_channel_that_is_gone_is_no_trouble() -> None:
    """A reload took it away; and a lane that begins anew counts anew."""
    watch = ChannelWatch()
    look(watch, replace(WELL, failed=5, last_error="HTTP 400"))
    assert look(watch, known=("ops",)) == [Finding("ops", fails=False, words="gone from the rules")]
    assert [found.fails for found in look(watch, replace(WELL, failed=1, last_error="HTTP 400"))] == [True]
