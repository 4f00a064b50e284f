"""One target's attempts end in time, whatever the target does."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from alertd.config.schema import Channel, Ruleset, Settings, Webhook
from alertd.delivery import render
from alertd.delivery.courier import MOST_LEFT, Courier
from alertd.delivery.dispatch import Dispatcher
from alertd.delivery.lane import Persistence, Wiring
from alertd.errors import DeliveryError
from tests.delivery.examples import at, hand, notification, now, ruleset
from tests.delivery.test_lane import Ends, Target, wait_until
from tests.sinks import Answer, HttpInbox, MailInbox, http_inbox, mail_inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT = 0.1
"""Seconds that an attempt has in these tests, at a target that never ends."""
LETTER = render.letter(notification(id="n1"), Settings(), delivered=at(0).wall)


class Works:
    """Makes targets, the next one of `gated` of which hang until their gate is opened."""

    def __init__(self, gated: int) -> None:
        self.made: list[Target] = []
        self.threads: list[str] = []
        self._gated = gated

    def build(self) -> Target:
        """Make one more."""
        target = Target()
        if len(self.made) < self._gated:
            target.gate.clear()
        self.made.append(target)
        return target

    def open_all(self) -> None:
        """Let all go that hang."""
        for target in self.made:
            target.gate.set()


@pytest.fixture
def works() -> Iterator[Callable[[int], Works]]:
    """Return what makes a works, all targets of which are let go after the test."""
    with ExitStack() as stack:

        def make(gated: int) -> Works:
            made = Works(gated)
            stack.callback(made.open_all)
            return made

        yield make


def runners() -> int:
    """Return how many threads of couriers to such targets there are."""
    return sum(thread.name == "alertd runner fake" for thread in threading.enumerate())


def test_one_thread_and_one_sender_serve_while_attempts_end(works: Callable[[int], Works]) -> None:
    """Beside the thread that waits; whatever the sender raises is raised there."""
    here = works(0)
    courier = Courier(here.build)
    here.made[0].faults = [None, DeliveryError("HTTP 503"), None]
    courier.send(LETTER)
    assert runners() == 1
    with pytest.raises(DeliveryError, match="HTTP 503"):
        courier.send(LETTER)
    courier.send(replace(LETTER, id="n2"))
    assert [each["id"] for each in here.made[0].received] == ["n1", "n1", "n2"]
    assert (len(here.made), runners()) == (1, 1)
    courier.close()
    wait_until(lambda: runners() == 0)


def test_what_has_no_end_in_time_is_left_behind_with_its_sender(works: Callable[[int], Works]) -> None:
    """The next attempt has a new one; a late success is nobody's, and the old thread goes when it can."""
    here = works(1)
    courier = Courier(here.build, SHORT)
    begun = now().mono
    with pytest.raises(DeliveryError, match=r"^no end within 0\.1 s$") as caught:
        courier.send(LETTER)
    assert SHORT <= now().mono - begun < SHORT + 1.0
    assert caught.value.recoverable
    courier.send(replace(LETTER, id="n2"))
    old, new = here.made
    assert ([each["id"] for each in new.received], old.received, runners()) == (["n2"], [], 2)
    here.open_all()
    wait_until(lambda: runners() == 1)
    assert [each["id"] for each in old.received] == ["n1"]
    courier.send(replace(LETTER, id="n3"))
    assert (len(old.received), len(new.received), len(here.made)) == (1, 2, 2)
    courier.close()
    wait_until(lambda: runners() == 0)


def test_only_so_many_are_left_behind_at_a_time(works: Callable[[int], Works]) -> None:
    """Then nothing is begun before one ends; that is said at once."""
    here = works(MOST_LEFT)
    courier = Courier(here.build, SHORT)
    for _ in range(MOST_LEFT):
        with pytest.raises(DeliveryError, match="no end within"):
            courier.send(LETTER)
    with pytest.raises(DeliveryError, match=rf"^{MOST_LEFT} attempts before have no end yet$"):
        courier.send(LETTER)
    assert (len(here.made), runners()) == (MOST_LEFT, MOST_LEFT)
    here.made[1].gate.set()
    wait_until(lambda: runners() == MOST_LEFT - 1)
    courier.send(LETTER)
    assert [each["id"] for each in here.made[-1].received] == ["n1"]
    courier.close()
    here.open_all()
    wait_until(lambda: runners() == 0)


def test_a_thread_that_cannot_be_had_is_tried_for_again(
    works: Callable[[int], Works], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system allows no more of them; that is no fault of the letter's, and the sender stays."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    here = works(0)
    courier = Courier(here.build)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(DeliveryError, match="can't start new thread") as caught:
            courier.send(LETTER)
    assert caught.value.recoverable
    courier.send(LETTER)
    assert [[each["id"] for each in target.received] for target in here.made] == [["n1"]]
    courier.close()
    wait_until(lambda: runners() == 0)


def test_what_consists_of_several_requests_has_longer(works: Callable[[int], Works]) -> None:
    """Such as a message to many numbers, between which the provider wants pauses."""
    here = works(1)

    def build() -> Target:
        made = here.build()
        made.seconds_more = 30.0
        return made

    courier = Courier(build, SHORT)
    threading.Timer(2 * SHORT, here.open_all).start()
    courier.send(LETTER)
    assert len(here.made) == 1
    courier.close()


# --- real targets ----------------------------------------------------------------------------------------------------


PATIENCE = Persistence(ends_within=0.5, first_pause=0.01, longest_pause=0.02)


@pytest.fixture
def ends() -> Ends:
    """Return an empty list of ends."""
    return Ends()


@pytest.fixture
def post(ends: Ends) -> Iterator[Callable[[Ruleset], Dispatcher]]:
    """Return what opens a dispatcher that is closed after the test."""
    with ExitStack() as stack:

        def open_post(rules: Ruleset) -> Dispatcher:
            dispatcher = Dispatcher(rules, Wiring(now, ends.report, PATIENCE))
            stack.callback(dispatcher.close)
            return dispatcher

        yield open_post


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    """Run a webhook inbox."""
    with http_inbox() as box:
        yield box


@pytest.fixture
def mail() -> Iterator[MailInbox]:
    """Run a mail server."""
    with mail_inbox() as box:
        yield box


SLOW_HEAD, SLOW_BODY, SLOW_REFUSAL = (
    Answer(trickle=True),
    Answer(trickle_body=True),
    Answer(status=503, trickle_body=True),
)


@pytest.mark.parametrize("answer", [SLOW_HEAD, SLOW_BODY], ids=["headers", "body"])
def test_a_target_that_trickles_and_recovers_has_its_messages(
    post: Callable[[Ruleset], Dispatcher], inbox: HttpInbox, ends: Ends, answer: Answer
) -> None:
    """By HTTP through Apprise: once, though the connection that trickles stays open; what waited comes at once."""
    inbox.answers.append(answer)
    dispatcher = post(ruleset({"ops": inbox.url}))
    for identifier in ("n1", "n2"):
        hand(dispatcher, notification(id=identifier, at=now()))
    first, second = ends.after(2)
    assert (first.notification, first.ok, first.attempts, first.error) == ("n1", True, 2, "no end within 0.5 s")
    assert (second.notification, second.ok, second.attempts) == ("n2", True, 1)
    assert [got["message"].splitlines()[-1] for got in inbox.received] == ["id n1", "id n1", "id n2"]


@pytest.mark.parametrize("answer", [SLOW_HEAD, SLOW_REFUSAL], ids=["headers", "refusal"])
def test_so_has_a_webhook(post: Callable[[Ruleset], Dispatcher], inbox: HttpInbox, ends: Ends, answer: Answer) -> None:
    """Also where it trickles why it refuses."""
    inbox.answers.append(answer)
    webhook = Webhook(url=SecretStr(f"http://127.0.0.1:{inbox.port}/hook"))
    hand(post(Ruleset(channels={"ops": Channel(webhook=webhook)})), notification(id="n1", at=now()))
    (end,) = ends.after(1)
    assert (end.ok, end.attempts, end.error) == (True, 2, "no end within 0.5 s")
    assert [got["headers"]["X-Alertd-Notification"] for got in inbox.received] == ["n1", "n1"]


def test_so_has_a_mail_server(post: Callable[[Ruleset], Dispatcher], mail: MailInbox, ends: Ends) -> None:
    """One that goes on and on in its answer to a mail."""
    mail.trickles = 1
    hand(post(ruleset({"ops": mail.url})), notification(id="n1", at=now()))
    (end,) = ends.after(1)
    assert (end.ok, end.attempts, end.error) == (True, 2, "no end within 0.5 s")
    assert [got["headers"]["X-Alertd-Notification"] for got in mail.received] == ["n1"]


def test_between_attempts_nothing_is_in_flight(
    post: Callable[[Ruleset], Dispatcher], inbox: HttpInbox, ends: Ends
) -> None:
    """What was left behind can be withdrawn, though it trickles still; of its end nobody hears."""
    inbox.default = SLOW_HEAD
    dispatcher = post(ruleset({"ops": inbox.url}))
    (lane,) = dispatcher.lanes_of("ops")
    hand(dispatcher, notification(id="n1", at=now()))
    inbox.wait_for_count(1)
    assert not lane.withdraw("n1")
    wait_until(lambda: lane.withdraw("n1"))
    assert lane.in_flight is None
    inbox.ended.set()
    assert dispatcher.drain(5.0)
    assert ends.received == []


def test_a_target_that_is_no_longer_in_the_rules_leaves_no_thread(
    post: Callable[[Ruleset], Dispatcher], inbox: HttpInbox, ends: Ends
) -> None:
    """Neither the lane's nor the one beside it."""
    before = set(threading.enumerate())
    dispatcher = post(ruleset({"ops": inbox.url}))
    hand(dispatcher, notification(id="n1", at=now()))
    ends.after(1)
    dispatcher.apply(ruleset({}))
    dispatcher.close()
    wait_until(lambda: not any(thread.name.startswith("alertd") for thread in set(threading.enumerate()) - before))
