"""What the log says of what the engine answers: all of a little, and of much no more than can be read."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from alertd.chronicle import MOMENT, ONE_BY_ONE, Chronicle
from alertd.model import Cause, Decision, Reason, Transition
from tests.engine.story import instant

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from alertd.model import Action


def lost(number: int) -> list[Action]:
    """Return what follows when so many instances are lost."""
    at = instant(0)
    actions: list[Action] = []
    for each in range(number):
        actions.append(Transition("a", str(each), up=False, cause=Cause.DELETED, at=at, revision=1))
        actions.append(Decision(at, "7f3a", "lost", "r.yaml:1", f"a/{each}", Reason.HELD_FOR))
    return actions


def test_what_is_little_is_logged_in_its_order() -> None:
    """Each transition is followed by the decision that it led to."""
    with capture_logs() as logs:
        Chronicle(lambda _seconds, _end: None).log(lost(2))
    assert [line["event"] for line in logs] == ["down", "decided", "down", "decided"]


def test_of_a_moment_with_much_the_rest_is_a_number() -> None:
    """However many batches it comes in; and the next moment is logged one by one again."""
    ends: list[tuple[float, Callable[[], None]]] = []
    chronicle = Chronicle(lambda seconds, end: ends.append((seconds, end)))
    with capture_logs() as logs:
        for _ in range(10):
            chronicle.log(lost(ONE_BY_ONE))
        ((seconds, end),) = ends
        end()
    more = [line for line in logs if line["event"] == "and more of the same moment"]
    assert seconds == MOMENT
    assert Counter(line["event"] for line in logs) == {"down": ONE_BY_ONE, "decided": ONE_BY_ONE, more[0]["event"]: 2}
    assert [(line["what"], line["number"]) for line in more] == [
        ("transition", 9 * ONE_BY_ONE),
        ("decision", 9 * ONE_BY_ONE),
    ]
    with capture_logs() as logs:
        chronicle.log(lost(1))
    assert [line["event"] for line in logs] == ["down", "decided"]
    assert len(ends) == 2


def test_for_debugging_all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks for every decision gets every one."""
    caplog.set_level(logging.DEBUG, "alertd")
    with capture_logs() as logs:
        Chronicle(lambda _seconds, _end: None).log(lost(2 * ONE_BY_ONE))
    assert Counter(line["event"] for line in logs) == {"down": 2 * ONE_BY_ONE, "decided": 2 * ONE_BY_ONE}
