"""Several daemons on one etcd: one speaks, and whatever becomes of it, everything is told, and once."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.end_to_end.process import ROUTES, DaemonProcess
from tests.etcd_server import EtcdServer, wait_until
from tests.sinks import Answer, Arrivals, HttpInbox, http_inbox

LEASE = 5.0

RULES = "rules: [{name: lost, service: '*', when: {instance: down}, flap: false}]\n" + ROUTES

Start = Callable[..., DaemonProcess]


@pytest.fixture
def start(tmp_path: Path, etcd: EtcdServer) -> Iterator[Start]:
    """Give what starts a daemon, by name, on rules; the same name again starts another life of it."""
    with ExitStack() as stack:

        def begin(name: str, rules: str, inbox: HttpInbox | None = None) -> DaemonProcess:
            process = DaemonProcess(tmp_path / name, etcd, "--replica", name)
            return stack.enter_context(process).write_rules(rules, inbox).start()

        yield begin


def titles(received: Arrivals) -> list[str]:
    """Return what was told, such as `[FIRING] lost pay/a`."""
    return [re.split(r":| ·", message["title"])[0] for message in received]


def ids(received: Arrivals) -> list[str]:
    """Return the notifications' ids: the last word of each message."""
    return [message["message"].split()[-1] for message in received]


def claims(etcd: EtcdServer) -> list[dict[str, Any]]:
    """Return the claims that there are."""
    return [json.loads(line) for line in etcd.ctl("get", "--prefix", "/alertd/claims/").splitlines()[1::2]]


def letters(etcd: EtcdServer) -> list[str]:
    """Return what is decided and not delivered."""
    return etcd.ctl("get", "--prefix", "/alertd/outbox/letters/", "--keys-only").split()


def test_one_of_three_tells(etcd: EtcdServer, inbox: HttpInbox, start: Start) -> None:
    """What happens is told once; also after whoever told was killed, and the next, within the lease's time."""
    daemons = {name: start(name, RULES, inbox) for name in ("one", "two", "three")}
    etcd.ctl("put", "/services/pay/a", "")
    expected: list[str] = []
    for _ in range(3):
        for what, command in (("FIRING", ("del", "/services/pay/a")), ("RESOLVED", ("put", "/services/pay/a", ""))):
            etcd.ctl(*command)
            expected.append(f"[{what}] lost pay/a")
            inbox.wait_for_count(len(expected), LEASE + 2)
            assert titles(inbox.received) == expected
        wait_until(lambda: not letters(etcd), "that is recorded")
        leader = json.loads(etcd.ctl("get", "--print-value-only", "/alertd/leader"))["replica"]
        daemons.pop(leader).signal(signal.SIGKILL)
    assert len(set(ids(inbox.received))) == len(expected)


# --- handing over ----------------------------------------------------------------------------------------------------


def stand_by(start: Start, name: str, rules: str, inbox: HttpInbox | None = None) -> DaemonProcess:
    """Start a daemon beside one that leads, and wait until it could take over."""
    daemon = start(name, rules, inbox)
    wait_until(lambda: any("stands by" in each for each in daemon.events()), f"{name} stands by")
    return daemon


def test_hand_overs_with_news_at_the_moment_of_the_stop(etcd: EtcdServer, inbox: HttpInbox, start: Start) -> None:
    """Each end is told once, and each beginning at most once, before it; whatever was being sent at that moment."""
    inbox.default = Answer(seconds=0.1)
    etcd.ctl("put", "/services/pay/a", "")
    speaking = start("zero", RULES, inbox)
    speaking.wait_for_log("speaks now")
    rounds = 4
    for number in range(rounds):
        waiting = stand_by(start, f"n{number}", RULES, inbox)
        etcd.ctl("put", f"/services/s{number}/a", "")
        etcd.ctl("del", f"/services/s{number}/a")
        speaking.signal(signal.SIGTERM)
        etcd.ctl("put", f"/services/s{number}/a", "")
        etcd.ctl("del", "/services/pay/a")
        etcd.ctl("put", "/services/pay/a", "")
        assert speaking.process is not None
        assert speaking.process.wait(5) == 0
        speaking = waiting
    over = {f"[RESOLVED] lost s{number}/a": 1 for number in range(rounds)} | {"[RESOLVED] lost pay/a": rounds}
    inbox.wait_for(lambda received: not Counter(over) - Counter(titles(received)), 10)
    wait_until(lambda: not letters(etcd) and not claims(etcd), "all is recorded")
    told = Counter(titles(inbox.received))
    assert {title: number for title, number in told.items() if "RESOLVED" in title} == over
    assert all(number <= told[title.replace("FIRING", "RESOLVED")] for title, number in told.items())
    assert len(set(ids(inbox.received))) == len(inbox.received)


def test_the_next_one_speaks_at_once(etcd: EtcdServer, inbox: HttpInbox, start: Start) -> None:
    """What waits for its turn at a target (here for the target's rate) is told by the next one in no time."""
    rules = RULES + f'channels: {{ops: {{urls: ["{inbox.url}/"], rate: 1/10m}}}}\n'
    etcd.ctl("put", "/services/pay/a", "")
    speaking = start("zero", rules)
    etcd.ctl("del", "/services/pay/a")
    inbox.wait_for_count(1)
    took = []
    for number in range(1, 5):
        waiting = stand_by(start, f"n{number}", rules)
        etcd.ctl(*(("put", "/services/pay/a", "") if number % 2 else ("del", "/services/pay/a")))
        wait_until(lambda: letters(etcd), "it waits in the outbox")
        stopped_at = time.monotonic()
        speaking.signal(signal.SIGTERM)
        took.append(inbox.wait_for_count(number + 1)[-1]["at"] - stopped_at)
        assert speaking.process is not None
        assert speaking.process.wait(5) == 0
        wait_until(lambda: not letters(etcd), f"it is recorded {letters(etcd)}")
        speaking = waiting
    assert len(set(ids(inbox.received))) == 5
    assert median(took) < 0.1, f"{took} s from SIGTERM to the message"


def both(slow: HttpInbox, quick: HttpInbox) -> str:
    """Return rules that tell two channels of everything."""
    return RULES + f'channels: {{slow: {{urls: ["{slow.url}/"]}}, quick: {{urls: ["{quick.url}/"]}}}}\n'


@pytest.fixture
def quick() -> Iterator[HttpInbox]:
    """Give a second receiver."""
    with http_inbox() as box:
        yield box


def stop_while_sending(etcd: EtcdServer, daemon: DaemonProcess, slow: HttpInbox, answer: Answer) -> None:
    """Have a daemon that leads send to a receiver that is slow, and stop it meanwhile."""
    etcd.ctl("put", "/services/pay/a", "")
    slow.answers.append(answer)
    daemon.wait_for_log("speaks now")
    etcd.ctl("del", "/services/pay/a")
    slow.wait_for_count(1)
    daemon.signal(signal.SIGTERM)


def test_what_is_being_sent_is_not_sent_by_the_next(
    etcd: EtcdServer, inbox: HttpInbox, quick: HttpInbox, start: Start
) -> None:
    """It waits there for the end, and goes on in order; everybody else is told meanwhile."""
    rules = both(inbox, quick)
    one, two = start("one", rules), start("two", rules)
    stop_while_sending(etcd, one, inbox, Answer(seconds=2.0))
    two.wait_for_log("speaks now", 1.5)
    assert [claim["held"][0][1] for claim in claims(etcd)] == ["slow"]
    etcd.ctl("put", "/services/pay/a", "")
    quick.wait_for_count(2)
    assert len(inbox.received) == 1
    assert one.process is not None
    assert one.process.wait(5) == 0
    for box in (inbox, quick):
        assert titles(box.wait_for_count(2)) == ["[FIRING] lost pay/a", "[RESOLVED] lost pay/a"]
    wait_until(lambda: not letters(etcd) and not claims(etcd), "all is recorded")
    assert "delivered by the last speaker" in two.events()
    assert [len(box.received) for box in (inbox, quick)] == [2, 2]


def test_what_was_refused_is_told_by_the_next(etcd: EtcdServer, inbox: HttpInbox, start: Start) -> None:
    """As soon as that is known, and not only at the end of the claim's time."""
    start_at = [start(name, RULES, inbox) for name in ("one", "two")]
    stop_while_sending(etcd, start_at[0], inbox, Answer(503, seconds=1.0))
    received = inbox.wait_for_count(2)
    assert received[1]["at"] - received[0]["at"] < 1.7
    assert len(set(ids(received))) == 1
    assert start_at[0].process is not None
    assert start_at[0].process.wait(5) == 0
    wait_until(lambda: not letters(etcd) and not claims(etcd), "all is recorded")
    assert len(inbox.received) == 2


def test_a_target_that_hangs_holds_up_its_own_messages_only(
    etcd: EtcdServer, inbox: HttpInbox, quick: HttpInbox, start: Start
) -> None:
    """The one that stops ends within 5 s all the same; then the next tries, with the same id."""
    rules = both(inbox, quick)
    one, two = start("one", rules), start("two", rules)
    stopped_at = time.monotonic()
    stop_while_sending(etcd, one, inbox, Answer(hang=True))
    two.wait_for_log("speaks now", 1.5)
    etcd.ctl("put", "/services/pay/a", "")
    quick.wait_for_count(2)
    assert one.process is not None
    assert one.process.wait(5) == 0
    received = inbox.wait_for_count(3)
    assert received[1]["at"] - stopped_at > 3.5
    assert titles(received) == ["[FIRING] lost pay/a", "[FIRING] lost pay/a", "[RESOLVED] lost pay/a"]
    assert len(set(ids(received))) == 2


def test_one_that_is_killed_while_it_ends_holds_nobody_up_for_long(
    etcd: EtcdServer, inbox: HttpInbox, start: Start
) -> None:
    """Its claim ends with its lease: nobody knows whether the message was taken, so it is told again, by its id."""
    one, two = start("one", RULES, inbox), start("two", RULES, inbox)
    stop_while_sending(etcd, one, inbox, Answer(seconds=3.0))
    two.wait_for_log("speaks now", 1.5)
    one.signal(signal.SIGKILL)
    first, second = inbox.wait_for_count(2, LEASE + 2.5)
    assert second["at"] - first["at"] > LEASE - 1.5
    assert len(set(ids([first, second]))) == 1
    wait_until(lambda: not letters(etcd) and not claims(etcd), "it is recorded")


def test_a_daemon_alone_leaves_word_to_its_next_life(
    etcd: EtcdServer, inbox: HttpInbox, quick: HttpInbox, start: Start
) -> None:
    """What was taken at its end is not told again, however much later; what had to wait is told then."""
    rules = both(inbox, quick)
    one = start("one", rules)
    stop_while_sending(etcd, one, inbox, Answer(seconds=1.0))
    etcd.ctl("put", "/services/pay/a", "")
    assert one.process is not None
    assert one.process.wait(5) == 0
    quick.wait_for_count(1)
    (claim,) = claims(etcd)
    assert claim["held"] == []
    assert "slow" in [channel for _, channel, _ in claim["taken"]]
    assert '"Lease" : 0' in etcd.ctl("get", "--prefix", "/alertd/claims/", "-w", "fields")
    one.start(is_waiting=False)
    for box in (inbox, quick):
        assert titles(box.wait_for_count(2, 10)) == ["[FIRING] lost pay/a", "[RESOLVED] lost pay/a"]
    wait_until(lambda: not letters(etcd) and not claims(etcd), "all is recorded")
    assert [len(box.received) for box in (inbox, quick)] == [2, 2]


# --- standing by -----------------------------------------------------------------------------------------------------


def test_one_that_is_too_old_does_not_lead(etcd: EtcdServer, inbox: HttpInbox, start: Start) -> None:
    """Though nobody else does: it would lose what it does not know. It watches, and says why it does not tell."""
    etcd.ctl("put", "/alertd/outbox/letters/5f", '{"format": 2, "letters": {}}')
    etcd.ctl("put", "/services/pay/a", "")
    one = start("one", RULES, inbox)
    wait_until(lambda: any(each.startswith("this replica stands by: ") for each in one.events()), "it says so")
    assert any("has written outbox/letters/5f; update this one" in each for each in one.events())
    assert one.get("/-/ready")[0] == 200
    etcd.ctl("del", "/services/pay/a")
    wait_until(lambda: any(line.get("instance") == "pay/a" for line in one.log()), "it is seen")
    assert etcd.ctl("get", "--prefix", "/alertd/", "--keys-only").split() == ["/alertd/outbox/letters/5f"]
    assert one.stop() == 0
    assert inbox.received == []
