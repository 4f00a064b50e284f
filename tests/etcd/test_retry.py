"""How often it is tried again, and how often that is said."""

from __future__ import annotations

import logging

import pytest

from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.etcd.retry import Backoff, Trouble


def test_delays_double_up_to_the_cap_with_jitter() -> None:
    """Each delay lies between half and all of the doubled one."""
    backoff = Backoff(first=0.1, cap=5.0)
    for number in range(2000):
        full = min(5.0, 0.1 * 2 ** min(number, 60))
        assert full / 2 <= backoff.next_delay() <= full


def test_success_starts_anew() -> None:
    """After it worked, the first retry is quick again."""
    backoff = Backoff(first=0.1, cap=5.0)
    for _ in range(10):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() <= 0.1


def test_trouble_is_told_once_and_then_rarely(caplog: pytest.LogCaptureFixture) -> None:
    """A day of failures every second: at once, after 1, 10 and 60 minutes, then every hour."""
    trouble, told = Trouble("the watch does not work"), []
    for second in range(86_400):
        before = len(caplog.records)
        trouble.note(ConnectionError("refused"), 1000.0 + second)
        if len(caplog.records) > before:
            told.append(second)
    assert told == [0, 60, 600, *range(3600, 86_400, 3600)]
    assert caplog.messages[0] == "the watch does not work: refused; trying on"
    assert caplog.messages[2] == "the watch does not work, for 10 min now: refused; trying on"


def test_a_refusal_after_an_outage_is_told_at_once_but_once(caplog: pytest.LogCaptureFixture) -> None:
    """Only an operator can end it; two endpoints that take turns make no more lines."""
    trouble = Trouble("the watch does not work")
    for second in range(0, 50, 2):
        trouble.note(EtcdUnavailable("silent"), 1000.0 + second)
        trouble.note(EtcdRefused("not permitted"), 1001.0 + second)
    trouble.end(1051.0)
    trouble.note(EtcdUnavailable("silent"), 1052.0)
    trouble.note(EtcdRefused("not permitted"), 1053.0)
    assert [message.split()[-3] for message in caplog.messages] == ["silent;", "permitted;"] * 2


def test_the_end_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """It says how long it lasted; without trouble it says nothing."""
    caplog.set_level(logging.INFO)
    trouble = Trouble("the watch does not work")
    trouble.end(5.0)
    trouble.note(ConnectionError("refused"), 10.0)
    trouble.end(22.0)
    trouble.end(23.0)
    assert caplog.messages[1:] == ["the watch does not work no more, after 12.0 s"]
