"""The outbox over real lanes and real HTTP: what people get when a target is down for a while."""

from __future__ import annotations

import json
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from alertd import document
from alertd.claims import Claims
from alertd.config.schema import Channel, Ruleset, Target, Webhook
from alertd.delivery.dispatch import Dispatcher
from alertd.delivery.lane import Attempt, Delivery, Persistence, Wiring
from alertd.delivery.outbox import Outbox
from tests.delivery.examples import PLACE, PROD, notification, now, resolved
from tests.delivery.test_lane import wait_until
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

    def follow(self, ruleset: Ruleset) -> None:
        """Go by other rules."""
        change = self.post.prepare(ruleset)
        self.post.switch(change)
        self.outbox.follow(ruleset, change.heirs)
        self.post.retire(change)
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


def ops_at(*urls: str) -> Ruleset:
    """Return rules in which `ops` has these targets and no fallback."""
    channel = Channel(targets=tuple(Target(url=SecretStr(url), place=PLACE) for url in urls))
    return Ruleset(settings=PROD, channels={"ops": channel})


def ids_at(box: HttpInbox) -> list[str]:
    """Return the last lines of what an inbox took, which bear the ids."""
    return [got["message"].splitlines()[-1] for got in box.received if got["status"] == 200]


@pytest.mark.parametrize("path", ["/corrected", "?format=text"])
def test_a_corrected_url_gets_what_waited_for_the_wrong_one(
    boxes: tuple[HttpInbox, HttpInbox], stack: ExitStack, path: str
) -> None:
    """A firing, and only then its end; at the wrong one nothing more is tried."""
    wrong, right = boxes
    wrong.default = Answer(401, (("Retry-After", "60"),))
    desk = open_desk(stack, ops_at(wrong.url), {})
    at = now()
    desk.tell(notification(id="n1", at=at))
    desk.work_until(wrong, 1, status=401)
    desk.tell(notification(id="n2", at=at))
    desk.follow(ops_at(right.url + path))
    desk.work_until(right, 2)
    desk.tell(resolved(id="n3", at=at))
    desk.work_until_empty()
    assert ids_at(right) == ["id n1", "id n2", "id n3"]
    assert len(wrong.received) == 1
    assert list(desk.outbox.dead_letters.last) == []


def test_a_target_of_another_schema_takes_the_place_and_one_that_goes_on_does_not(
    boxes: tuple[HttpInbox, HttpInbox], stack: ExitStack
) -> None:
    """The second target of two moves up to the first place: it was told itself, and the first is tried once more."""
    wrong, right = boxes
    desk = open_desk(stack, ops_at(wrong.url, right.url), {})
    desk.tell(notification(id="n1", at=now()))
    desk.work_until(right, 1)
    desk.follow(ops_at(right.url))
    desk.work_until_empty()
    assert ids_at(right) == ["id n1"]
    assert [letter.target for letter in desk.outbox.dead_letters.last] == ["ops #1 json"]
    right.default = DOWN
    desk.tell(notification(id="n2", at=now()))
    desk.work_until(right, 1, status=503)
    right.default = Answer()
    desk.follow(ops_at(f"gotify://127.0.0.1:{right.port}/token"))
    desk.work_until_empty()
    assert ids_at(right)[-1] == "id n2"


def test_what_is_taken_at_the_old_url_after_a_reload_counts(
    boxes: tuple[HttpInbox, HttpInbox], stack: ExitStack
) -> None:
    """Its end goes to the new one, behind it."""
    slow, right = boxes
    slow.default = Answer(hang=True)
    desk = open_desk(stack, ops_at(slow.url), {})
    at = now()
    desk.tell(notification(id="n1", at=at))
    slow.wait_for_count(1)
    desk.follow(ops_at(right.url))
    desk.tell(resolved(id="n2", at=at))
    for _ in range(5):
        desk.listen()
    assert right.received == []
    slow.ended.set()
    desk.work_until_empty()
    assert ids_at(right) == ["id n2"]
    assert list(desk.outbox.dead_letters.last) == []


def left_at(stack: ExitStack, ruleset: Ruleset, taken: HttpInbox) -> dict[str, bytes]:
    """Return what a daemon leaves that told one of the targets of `ops` and died."""
    desk = open_desk(stack, ruleset, {})
    desk.tell(notification(id="n1", at=now()))
    desk.work_until(taken, 1)
    while b'"settled"' not in b"".join(desk.store.values()):
        desk.listen()
    desk.post.close()
    wait_until(lambda: not desk.post.in_flight())
    return desk.store


@pytest.mark.parametrize("has_digest", [True, False])
def test_a_target_that_moves_between_daemons_gets_what_is_its_own(
    boxes: tuple[HttpInbox, HttpInbox], stack: ExitStack, *, has_digest: bool
) -> None:
    """The first of two is removed, and so the second is the first; a document without digests goes by the label."""
    down, fine = boxes
    store = left_at(stack, ops_at(fine.url, down.url), fine)
    if not has_digest:
        store = {name: raw.replace(b'"targets"', b'"unknown"') for name, raw in store.items()}
    down.default = Answer()
    successor = open_desk(stack, ops_at(down.url), store)
    successor.work_until_empty()
    assert (ids_at(down), len(successor.outbox.dead_letters.last)) == ((["id n1"], 0) if has_digest else ([], 1))


def test_what_was_meant_for_one_target_goes_to_no_other_that_is_in_its_place(
    boxes: tuple[HttpInbox, HttpInbox], stack: ExitStack
) -> None:
    """One is put before it, or it is removed and one that was told already moves up."""
    down, fine = boxes
    store = left_at(stack, ops_at(down.url, fine.url), fine)
    gone = open_desk(stack, ops_at(fine.url), dict(store))
    assert [letter.target for letter in gone.outbox.dead_letters.last] == ["ops #1 json"]
    gone.post.close()
    down.default = Answer()
    open_desk(stack, ops_at(f"{fine.url}/new", down.url, fine.url), store).work_until_empty()
    assert (ids_at(down), ids_at(fine)) == (["id n1"], ["id n1"])


def test_a_target_that_was_corrected_between_daemons_is_known_by_its_label(
    boxes: tuple[HttpInbox, HttpInbox], stack: ExitStack
) -> None:
    """No target has the digest; the document tells nobody the address."""
    down, fine = boxes
    store = left_at(stack, ops_at(f"{down.url}/wr0ng", fine.url), fine)
    assert b"wr0ng" not in b"".join(store.values())
    down.default = Answer()
    open_desk(stack, ops_at(f"{down.url}/right", fine.url), store).work_until_empty()
    assert [got["path"] for got in down.received if got["status"] == 200] == ["/right"]


def test_a_claim_is_to_the_target_itself_wherever_it_is_now(
    boxes: tuple[HttpInbox, HttpInbox], stack: ExitStack
) -> None:
    """Not to the one that has its label; a claim of an older daemon has nothing but that."""
    down, fine = boxes
    store = left_at(stack, ops_at(down.url, fine.url), fine)
    desk = open_desk(stack, ops_at(f"{fine.url}/new", down.url), store)
    (kept,) = (lane for lane in desk.post.lanes_of("ops") if lane.label == "ops #2 json")
    stop = desk.outbox.stop_at("n1", "ops", "ops #1 json", kept.digest)
    assert stop is not None
    assert stop.box is kept
    assert desk.outbox.stop_at("n1", "ops", "ops #2 json") is stop
    assert desk.outbox.stop_at("n1", "ops", "ops #2 json", "another") is None
    claims = Claims(desk.outbox)
    key, target = ["n1", "ops", "ops #1 json"], ["ops", "ops #1 json", kept.digest]
    claims.take({"c": {"held": [key], "taken": [], "targets": [target]}}, now())
    assert stop.is_claimed
    claims.take({"c": {"held": [], "taken": [key], "targets": [target]}}, now())
    assert len(desk.outbox) == 0
