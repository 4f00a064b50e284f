"""Many targets at once: nobody waits for another, and a reload loses nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

import pytest
import requests
from pydantic import SecretStr

from alertd.config.schema import Channel, Rate, Ruleset, Target, Templates, Webhook
from alertd.delivery.dispatch import Dispatcher
from alertd.delivery.lane import Delivery, Persistence, Wiring
from alertd.delivery.letter import Letter, Tone
from alertd.model import Entry, Kind
from tests.delivery.examples import PLACE, PROD, alert, hand, notification, now, ruleset, target
from tests.delivery.test_lane import Ends, wait_until
from tests.sinks import Answer, HttpInbox, http_inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = Persistence(first_pause=0.01, longest_pause=0.05)


@pytest.fixture
def listen() -> Iterator[Callable[..., HttpInbox]]:
    """Return what runs one more webhook inbox, until the dispatcher is closed."""
    with ExitStack() as stack:
        yield lambda *answer: stack.enter_context(http_inbox(*answer))


@pytest.fixture
def inbox(listen: Callable[..., HttpInbox]) -> HttpInbox:
    """Run a webhook inbox."""
    return listen()


@pytest.fixture
def ends() -> Ends:
    """Return an empty list of ends."""
    return Ends()


@pytest.fixture
def post(ends: Ends, listen: Callable[..., HttpInbox]) -> Iterator[Dispatcher]:
    """Run a dispatcher without channels; it is closed before the inboxes are."""
    dispatcher = Dispatcher(Ruleset(), Wiring(now, ends.report, QUICK))
    yield dispatcher
    dispatcher.close()


def submit(dispatcher: Dispatcher, identifier: str, channel: str = "ops") -> int:
    """Submit a notification decided just now, and return to how many targets."""
    return hand(dispatcher, notification(id=identifier, channel=channel, at=now()))


def dead_url() -> str:
    """Return a URL where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"json://127.0.0.1:{free.getsockname()[1]}"


def test_each_target_of_the_channel_gets_it_and_each_end_is_told(
    post: Dispatcher, inbox: HttpInbox, ends: Ends
) -> None:
    """The others' channels get nothing; a dead target has its own story."""
    post.apply(ruleset({"ops": (f"{inbox.url}/a", f"{inbox.url}/b"), "boss": f"{inbox.url}/c"}))
    assert submit(post, "n1") == 2
    assert {each["path"] for each in inbox.wait_for_count(2)} == {"/a", "/b"}
    told = sorted((each.target, each.ok) for each in ends.after(2))
    assert told == [("ops #1 json", True), ("ops #2 json", True)]


def test_six_trickling_targets_and_a_hanging_one_delay_nobody(
    post: Dispatcher, listen: Callable[..., HttpInbox], inbox: HttpInbox
) -> None:
    """A healthy target in the same channel has its message within half a second, and the next one too."""
    slow = [listen(Answer(trickle=True)) for _ in range(6)]
    slow.append(listen(Answer(hang=True)))
    post.apply(ruleset({"ops": (*(each.url for each in slow), dead_url(), inbox.url)}))
    for number, identifier in enumerate(("n1", "n2"), 1):
        begun = now().mono
        submit(post, identifier)
        arrived = inbox.wait_for_count(number, timeout=2.0)[-1]["at"]
        assert arrived - begun < 0.5
        for each in slow:
            each.wait_for_count(1)


def test_to_submit_never_waits(post: Dispatcher, listen: Callable[..., HttpInbox]) -> None:
    """Not even for a target that hangs, with a thousand in its queue; none of them is dropped."""
    hanging = listen(Answer(hang=True))
    post.apply(ruleset({"ops": hanging.url}))
    begun = now().mono
    for number in range(1500):
        submit(post, str(number))
    assert now().mono - begun < 5.0
    (status, _log) = post.status()
    assert status.queued == 1500


def test_500_then_200_is_delivered_in_order(post: Dispatcher, inbox: HttpInbox, ends: Ends) -> None:
    """Over real HTTP; a 429 with Retry-After is waited for."""
    inbox.answers.extend([Answer(500), Answer(429, (("Retry-After", "0.2"),)), Answer(200)])
    post.apply(ruleset({"ops": inbox.url}))
    submit(post, "n1")
    submit(post, "n2")
    first, second = ends.after(2)
    assert (first.notification, first.ok, first.attempts) == ("n1", True, 3)
    assert (second.notification, second.ok, second.attempts) == ("n2", True, 1)
    received = inbox.received
    assert [each["message"].splitlines()[-1] for each in received] == ["id n1", "id n1", "id n1", "id n2"]
    assert received[2]["at"] - received[1]["at"] >= 0.2


def test_an_idle_target_begins_to_send_at_once(
    post: Dispatcher, listen: Callable[..., HttpInbox], inbox: HttpInbox
) -> None:
    """From submit to the request's arrival: the HTTP client's own time and little more."""
    post.apply(ruleset({"ops": inbox.url}))
    other = listen(Answer())
    taken, bare = [], []
    for number in range(1, 51):
        begun = now().mono
        submit(post, str(number))
        taken.append(inbox.wait_for_count(number)[-1]["at"] - begun)
        begun = now().mono
        requests.post(other.url.replace("json", "http"), json={}, timeout=5)
        bare.append(other.received[-1]["at"] - begun)
    assert median(taken) < 0.015 + 3 * median(bare)


def test_an_unknown_channel_is_a_failure_that_is_told(post: Dispatcher, ends: Ends) -> None:
    """And the built-in one is always there."""
    assert post.send("nix", letter("n1")) == 0
    assert submit(post, "n2", "log") == 1
    bad, good = ends.after(2)
    assert (bad.ok, bad.error) == (False, "there is no channel 'nix' with a target")
    assert (good.ok, good.target) == (True, "log")


def test_a_target_that_cannot_be_built_fails_visibly(post: Dispatcher, ends: Ends) -> None:
    """A URL that Apprise refuses, or a secret that is not set, spoils only its own target."""
    post.apply(Ruleset(channels={"ops": Channel(targets=(target("slack://short"), Target(place=PLACE)))}))
    assert submit(post, "n1") == 2
    errors = sorted(each.error for each in ends.after(2))
    assert "Apprise cannot use it" in errors[0]
    assert "its secret is not set" in errors[1]
    assert [status.failed for status in post.status()] == [1, 1, 0]


# --- webhooks, and letters that are ready ----------------------------------------------------------------------------


def hook(inbox: HttpInbox, secret: str) -> Ruleset:
    """Return a ruleset with a webhook channel `ops`."""
    webhook = Webhook(url=SecretStr(f"http://127.0.0.1:{inbox.port}/hook"), secret=SecretStr(secret))
    return Ruleset(settings=PROD, channels={"ops": Channel(webhook=webhook)})


def test_a_webhook_channel_has_a_lane_like_others(post: Dispatcher, inbox: HttpInbox, ends: Ends) -> None:
    """Its order, its retries, its name."""
    inbox.answers.extend([Answer(503), Answer(200)])
    post.apply(hook(inbox, "k3y"))
    assert submit(post, "n1") == 1
    submit(post, "n2")
    first, second = ends.after(2)
    assert (first.notification, first.target, first.ok, first.attempts) == ("n1", "ops #1 webhook", True, 2)
    assert second.notification == "n2"
    received = inbox.received
    assert [got["headers"]["X-Alertd-Notification"] for got in received] == ["n1", "n1", "n2"]
    assert received[0]["raw"] == received[1]["raw"]


def test_another_secret_or_header_is_another_webhook(post: Dispatcher, inbox: HttpInbox) -> None:
    """What is signed with an old key is of no use."""
    post.apply(hook(inbox, "k3y"))
    submit(post, "n1")
    wait_until(lambda: post.status()[0].sent == 1)
    post.apply(hook(inbox, "k3y"))
    assert post.status()[0].sent == 1
    post.apply(hook(inbox, "other"))
    assert post.status()[0].sent == 0


@pytest.mark.parametrize("kind", [Kind.REMINDER, Kind.ESCALATED, Kind.DIGEST])
def test_messages_of_every_kind_take_the_same_way(post: Dispatcher, inbox: HttpInbox, ends: Ends, kind: Kind) -> None:
    """With the channel's own templates."""
    post.apply(ruleset({"ops": inbox.url}, templates=Templates(title="own {{ kind }}")))
    hand(post, notification(Entry(Kind.FIRING if kind is Kind.DIGEST else kind, alert()), kind=kind, at=now()))
    assert ends.after(1)[0].ok
    assert inbox.received[0]["title"] == f"own {kind}"


def letter(identifier: str, attachment: Path | None = None) -> Letter:
    """Return a letter about no alert."""
    return Letter(identifier, "Weekly report", Tone.INFO, lambda _: "All was well.", attachment=attachment)


def test_a_ready_letter_goes_to_each_target_in_its_turn(post: Dispatcher, inbox: HttpInbox, ends: Ends) -> None:
    """Behind what is queued, tried again like it, and reported."""
    post.apply(ruleset({"ops": inbox.url}))
    inbox.answers.append(Answer(503))
    submit(post, "n1")
    assert post.send("ops", letter("report-1")) == 1
    first, second = ends.after(2)
    assert (first.notification, second.notification, second.ok) == ("n1", "report-1", True)
    assert [got["title"].split()[0] for got in inbox.received] == ["[FIRING]", "[FIRING]", "Weekly"]
    assert inbox.received[2]["message"] == "All was well."


def test_an_attachment_goes_where_files_are_taken(
    post: Dispatcher, inbox: HttpInbox, listen: Callable[..., HttpInbox], ends: Ends, tmp_path: Path
) -> None:
    """A mail or JSON has it; a service that takes none gets the text; a file that is gone holds nobody up."""
    report = tmp_path / "report?week=47.html"
    report.write_text("<p>all was well</p>")
    plain = listen()
    post.apply(ruleset({"ops": (inbox.url, f"gotify://127.0.0.1:{plain.port}/token")}))
    post.send("ops", letter("report-1", report))
    assert {end.ok for end in ends.after(2)} == {True}
    (attached,) = inbox.received[0]["attachments"]
    assert attached["filename"] == "report?week=47.html"
    assert plain.received[0]["message"] == "All was well."
    report.unlink()
    post.send("ops", letter("report-2", report))
    assert {end.ok for end in ends.after(4)} == {True}
    assert inbox.received[1]["attachments"] == []


# --- reload ----------------------------------------------------------------------------------------------------------


def test_a_reload_keeps_the_queue_of_an_unchanged_target(
    post: Dispatcher, listen: Callable[..., HttpInbox], ends: Ends
) -> None:
    """Even if it moves to another position and is worded otherwise from now on."""
    first = listen(Answer(hang=True))
    second = listen()
    post.apply(ruleset({"ops": first.url}))
    submit(post, "n1")
    submit(post, "n2")
    first.wait_for_count(1)
    post.apply(ruleset({"ops": (second.url, first.url)}))
    new, kept, _log = post.status()
    assert (new.target, new.queued) == ("ops #1 json", 0)
    assert (kept.target, kept.queued) == ("ops #2 json", 2)
    submit(post, "n3")
    assert second.wait_for_count(1)[0]["message"].endswith("id n3")


def test_a_removed_target_delivers_what_it_can(post: Dispatcher, listen: Callable[..., HttpInbox], ends: Ends) -> None:
    """What it had when it was removed still goes out; then its lane is gone."""
    box = listen()
    box.answers.append(Answer(503, (("Retry-After", "60"),)))
    post.apply(ruleset({"ops": box.url}))
    submit(post, "n1")
    box.wait_for_count(1)
    wait_until(lambda: post.status()[0].stuck_since is not None)
    post.apply(ruleset({}))
    (end,) = ends.after(1)
    assert (end.notification, end.ok) == ("n1", True)
    wait_until(lambda: [each.target for each in post.status()] == ["log"])


def test_a_changed_address_is_another_target(post: Dispatcher, inbox: HttpInbox) -> None:
    """While other wording or another rate is not."""
    post.apply(ruleset({"ops": inbox.url}))
    submit(post, "n1")
    wait_until(lambda: post.status()[0].sent == 1)
    post.apply(ruleset({"ops": inbox.url}, send_resolved=False))
    post.apply(ruleset({"ops": inbox.url}, rate=Rate(count=1, seconds=3600.0)))
    assert post.status()[0].sent == 1
    post.apply(ruleset({"ops": f"{inbox.url}/other"}))
    assert post.status()[0].sent == 0


def test_another_rate_holds_at_once_and_order_with_it(post: Dispatcher, inbox: HttpInbox, ends: Ends) -> None:
    """What waits for the slow rate goes out with the quick one, and what comes after the reload behind it."""
    post.apply(ruleset({"ops": inbox.url}, rate=Rate(count=1, seconds=3600.0)))
    for identifier in ("n1", "n2", "n3"):
        submit(post, identifier)
    wait_until(lambda: post.status()[0].sent == 1)
    post.apply(ruleset({"ops": inbox.url}, rate=Rate(count=20, seconds=60.0)))
    submit(post, "n4")
    assert [end.notification for end in ends.after(4)] == ["n1", "n2", "n3", "n4"]
    assert [got["message"].splitlines()[-1] for got in inbox.received] == ["id n1", "id n2", "id n3", "id n4"]
    post.apply(ruleset({"ops": inbox.url}, rate=Rate(count=1, seconds=3600.0)))
    submit(post, "n5")
    assert post.status()[0].queued == 1


# --- leadership ------------------------------------------------------------------------------------------------------


def test_a_hand_over_finishes_what_is_in_flight_and_begins_nothing(
    post: Dispatcher, listen: Callable[..., HttpInbox], ends: Ends
) -> None:
    """Paused, the daemon waits until nothing is in flight; also a target that a reload brings begins nothing."""
    slow, quick = listen(Answer(hang=True)), listen()
    post.apply(ruleset({"ops": slow.url, "boss": quick.url}))
    submit(post, "n1")
    slow.wait_for_count(1)
    post.pause()
    submit(post, "n2", "boss")
    assert [(each.notification, each.channel) for each in post.in_flight()] == [("n1", "ops")]
    slow.ended.set()
    wait_until(lambda: post.in_flight() == [])
    late = listen()
    post.apply(ruleset({"ops": slow.url, "boss": quick.url, "late": late.url}))
    submit(post, "n3", "late")
    assert [status.queued for status in post.status()] == [1, 1, 1, 0]
    post.pause(is_paused=False)
    assert {each.notification for each in ends.after(2)} >= {"n2", "n3"}


def test_lost_leadership_takes_all_back(post: Dispatcher, listen: Callable[..., HttpInbox], ends: Ends) -> None:
    """What waits is not sent by this daemon, and nobody hears of it."""
    dead = listen(Answer(503, (("Retry-After", "60"),)))
    post.apply(ruleset({"ops": dead.url}))
    submit(post, "n1")
    submit(post, "n2")
    dead.wait_for_count(1)
    wait_until(lambda: post.status()[0].stuck_since is not None)
    post.recall()
    assert post.drain(5.0) is True
    assert (ends.received, len(dead.received)) == ([], 1)


# --- the end ---------------------------------------------------------------------------------------------------------


def test_drain_lets_out_what_goes_out_and_ends_in_time(post: Dispatcher, inbox: HttpInbox) -> None:
    """A dead target does not hold it up; what is left there is counted by `close`."""
    post.apply(ruleset({"ops": (inbox.url, dead_url())}))
    for number in range(20):
        submit(post, str(number))
    begun = now().mono
    assert post.drain(9.0) is False
    assert now().mono - begun < 5.0
    assert len(inbox.received) == 20
    assert post.close() == 20


def test_drain_does_not_outlast_its_time_for_a_target_that_hangs(
    post: Dispatcher, listen: Callable[..., HttpInbox]
) -> None:
    """Threads that are stuck are left behind."""
    slow = listen(Answer(trickle=True))
    post.apply(ruleset({"ops": slow.url}))
    submit(post, "n1")
    begun = now().mono
    assert post.drain(0.3) is False
    assert 0.25 < now().mono - begun < 1.0
    assert post.close() == 1


def test_with_nothing_to_do_drain_is_immediate(post: Dispatcher, inbox: HttpInbox) -> None:
    """And says that nothing is left."""
    post.apply(ruleset({"ops": inbox.url}))
    submit(post, "n1")
    assert post.drain(5.0) is True
    assert post.close() == 0


def test_no_secret_is_in_the_status_or_the_log(
    post: Dispatcher, listen: Callable[..., HttpInbox], ends: Ends, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a target that fails for good, retires and could not be built."""
    box = listen(Answer(400, body=b"hunter22 and hook-secret are wrong"))
    where = f"json://bob:hunter22@127.0.0.1:{box.port}/hook-secret"
    post.apply(ruleset({"ops": (where, "slack://hunter22/hook-secret")}))
    submit(post, "n1")
    told: list[Delivery] = ends.after(2)
    shown = f"{told} {post.status()} {post!r} {capsys.readouterr()}"
    post.apply(ruleset({}))
    shown += f"{post.status()} {capsys.readouterr()}"
    assert "ops #1 json" in shown
    assert "hunter22" not in shown
    assert "hook-secret" not in shown


LEAVES = """
import sys
from alertd.delivery.dispatch import Dispatcher
from alertd.delivery.lane import Wiring
from tests.delivery.examples import hand, notification, now, ruleset

post = Dispatcher(ruleset({"ops": tuple(sys.argv[1:])}), Wiring(now, print))
hand(post, notification(at=now()))
sys.stdin.readline()
post.drain(0.2)
print("left", post.close(), flush=True)
"""


def test_targets_that_never_end_do_not_keep_the_process_alive(listen: Callable[..., HttpInbox]) -> None:
    """A process with a trickling and a hanging send under way exits by itself, cleanly."""
    slow = [listen(Answer(trickle=True)), listen(Answer(hang=True))]
    with subprocess.Popen(
        [sys.executable, "-c", LEAVES, *(each.url for each in slow)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for each in slow:
            each.wait_for_count(1, timeout=20.0)
        shown, _ = process.communicate("go\n", timeout=3.0)
    assert (process.returncode, shown.splitlines()[-1]) == (0, "left 2")
