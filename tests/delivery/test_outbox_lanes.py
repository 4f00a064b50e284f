"""The outbox over real lanes and real HTTP: what people get when a target is down for a while."""

from __future__ import annotations

import json
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from alertd import document
from alertd.config.schema import Channel, Ruleset, Target, Webhook
from alertd.delivery.dispatch import Dispatcher
from alertd.delivery.lane import Attempt, Delivery, Persistence, Wiring
from alertd.delivery.outbox import Outbox
from tests.delivery.examples import PLACE, PROD, notification, now, resolved
from tests.sinks import Answer, HttpInbox, http_inbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alertd.model import Notification

QUICK = Persistence(first_pause=0.01, longest_pause=0.02)
DOWN = Answer(503, body=b"down")


class Desk:
    """A daemon's part: writes each document as soon as it changes, and listens to the lanes."""

    def __init__(self, ruleset: Ruleset, store: dict[str, bytes]) -> None:
        self.told: SimpleQueue[Delivery | Attempt] = SimpleQueue()
        self.store = store
        wiring = Wiring(now, self.told.put, QUICK, attempted=self.told.put)
        self.post = Dispatcher(ruleset, wiring)
        self.dirty: dict[str, None] = {}
        self.outbox = Outbox(self.post, ruleset, lambda name: self.dirty.update({name: None}))
        for name, raw in store.items():
            read = document.read(raw).content
            assert read is not None
            self.outbox.restore(name, read["letters"], now())
        self.outbox.take_up(now())

    def tell(self, notification: Notification) -> None:
        """Decide and write."""
        self.dirty[self.outbox.decide(notification)] = None
        self.write()

    def write(self) -> None:
        """Write what is to be written."""
        for name in list(self.dirty):
            del self.dirty[name]
            self.store[name] = document.encode({"letters": self.outbox.content(name)})
            self.outbox.release(name)

    def work_until(self, box: HttpInbox, count: int, status: int = 200) -> list[dict[str, Any]]:
        """Listen until so many requests were answered so; return them."""
        deadline = now().mono + 10
        while len(found := [got for got in box.received if got["status"] == status]) < count:
            assert now().mono < deadline, f"not in time; received {box.received}"
            self.listen()
        return found

    def work_until_empty(self) -> None:
        """Listen until nothing is left to be told."""
        deadline = now().mono + 10
        while len(self.outbox):
            assert now().mono < deadline, "not in time"
            self.listen()

    def listen(self) -> None:
        """Hear of one thing, if there is one soon."""
        try:
            told = self.told.get(timeout=0.02)
        except Empty:
            return
        if isinstance(told, Attempt):
            self.outbox.note_attempt(told, now())
        else:
            self.outbox.note_end(told, now())
        self.write()


@pytest.fixture
def boxes() -> Iterator[tuple[HttpInbox, HttpInbox]]:
    """Run the inboxes of `ops` and of its fallback."""
    with http_inbox(DOWN) as ops, http_inbox() as hook:
        yield ops, hook


@pytest.fixture
def ruleset(boxes: tuple[HttpInbox, HttpInbox]) -> Ruleset:
    """Return rules in which a webhook is the fallback of `ops`, and `log` its own."""
    ops, hook = boxes
    target = Target(url=SecretStr(ops.url), place=PLACE)
    webhook = Webhook(url=SecretStr(f"http://127.0.0.1:{hook.port}/hook"))
    channels = {"ops": Channel(targets=(target,), fallback="hook"), "hook": Channel(webhook=webhook, fallback="mail")}
    mail = Channel(targets=(Target(url=SecretStr(f"{hook.url}/mail"), place=PLACE),))
    return Ruleset(settings=PROD, channels={**channels, "mail": mail})


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Close desks after the test, before the inboxes."""
    with ExitStack() as stack:
        yield stack


def open_desk(stack: ExitStack, ruleset: Ruleset, store: dict[str, bytes]) -> Desk:
    """Open a desk that is closed after the test."""
    desk = Desk(ruleset, store)
    stack.callback(desk.post.close)
    return desk


def test_a_channel_that_is_down_is_stood_in_for_and_catches_up(
    boxes: tuple[HttpInbox, HttpInbox], ruleset: Ruleset, stack: ExitStack
) -> None:
    """The fallback has the firing with the reason and the same id, then the end; so has the channel when it is back."""
    ops, hook = boxes
    desk = open_desk(stack, ruleset, {})
    begun = now()
    desk.tell(notification(id="n1", at=begun))
    (got,) = desk.work_until(hook, 1)
    assert got["headers"]["X-Alertd-Notification"] == "n1"
    why = json.loads(got["raw"])["commonAnnotations"]["diverted"]
    assert why.startswith("for ops: ops #1 json has taken nothing since ")
    assert why.endswith(" (HTTP 503 Service Unavailable: down)")
    assert json.loads(got["raw"])["receiver"] == "ops"
    ops.default = Answer()
    desk.work_until(ops, 1)
    desk.work_until_empty()
    desk.tell(resolved(id="n2", at=begun))
    (_, ended) = desk.work_until(hook, 2)
    assert ended["headers"]["X-Alertd-Notification"] == "n2"
    why = json.loads(ended["raw"])["commonAnnotations"]["diverted"]
    assert why == "for ops, in whose place this channel was told before"
    desk.work_until_empty()
    taken = [got["message"].splitlines()[-1] for got in ops.received if got["status"] == 200]
    assert taken == ["id n1", "id n2"]
    assert [document.read(raw).content for raw in desk.store.values()] == [{"letters": []}]


def test_the_next_daemon_tells_what_the_first_could_not(
    boxes: tuple[HttpInbox, HttpInbox], ruleset: Ruleset, stack: ExitStack
) -> None:
    """From nothing but the documents: the firing and its end as one message, with both times."""
    ops, _ = boxes
    store: dict[str, bytes] = {}
    alone = ruleset.model_copy(
        update={"channels": {"ops": ruleset.channels["ops"].model_copy(update={"fallback": None})}}
    )
    desk = open_desk(stack, alone, store)
    at = now()
    desk.tell(notification(id="n1", at=at))
    desk.work_until(ops, 1, status=503)
    desk.post.close()
    ended = resolved(id="n2", at=at)
    desk.tell(ended)
    ops.default = Answer()
    successor = open_desk(stack, alone, store)
    (got,) = successor.work_until(ops, 1)
    assert got["title"].startswith("[RESOLVED] apache-minimum apache")
    assert "from 2026-10-01 04:12:41 to 2026-10-01 04:16:01 CEST, 3m 20s" in got["message"]
    assert got["message"].endswith("id n2")
    successor.work_until_empty()


def test_a_message_in_anothers_place_says_so_first(
    boxes: tuple[HttpInbox, HttpInbox], ruleset: Ruleset, stack: ExitStack
) -> None:
    """In any channel's body; here a chat, after the webhook in between failed as well."""
    _, hook = boxes
    desk = open_desk(stack, ruleset, {})
    hook.answers.extend([Answer(400, body=b"no"), Answer(200)])
    desk.tell(notification(id="n1", at=now()))
    (got,) = desk.work_until(hook, 1)
    assert got["path"] == "/mail"
    lines = got["message"].splitlines()
    assert lines[0] == "for ops: hook #1 webhook did not take it (HTTP 400 Bad Request: no)"
    assert lines[-1] == "id n1"
    assert desk.outbox.dead_letters.last[0].why == "HTTP 400 Bad Request: no"
