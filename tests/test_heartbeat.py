"""Signs of life: how often, to whom, when none is given, and what is said of that."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from alertd import heartbeat as module
from alertd.config.schema import Heartbeat, Ruleset, Settings
from alertd.delivery.lane import Delivery, LaneStatus
from alertd.delivery.letter import Letter, Tone
from alertd.heartbeat import Heartbeats, get, why_withheld
from alertd.model import Instant
from tests.delivery.examples import at, now
from tests.sinks import Answer, HttpInbox, http_inbox

EVERY = 0.03


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    """Run a receiver of requests."""
    with http_inbox() as box:
        yield box


def lane(minutes: float | None, channel: str = "ops") -> LaneStatus:
    """Return a target that has been stuck for so many minutes at the morning's beginning, or is well."""
    since = None if minutes is None else at(0).wall - timedelta(minutes=minutes)
    return LaneStatus(channel, f"{channel} #1 json", "json", 3, 0, 0, 0, "", since)


def to_url(url: str, name: str = "watchdog", every: float = EVERY) -> Heartbeat:
    """Return a heartbeat to a URL."""
    return Heartbeat.model_construct(name=name, every=every, channel=None, url=SecretStr(url))


def to_channel(channel: str = "ops", name: str = "watchdog", every: float = EVERY) -> Heartbeat:
    """Return a heartbeat to a channel."""
    return Heartbeat.model_construct(name=name, every=every, channel=channel, url=None)


@dataclass
class Scene:
    """The daemon as the heartbeats see it, and what they sent; a channel's targets take what they are sent at once."""

    heartbeats: tuple[Heartbeat, ...]
    unready_reason: str = ""
    is_leading: bool = True
    watched: str = "34 instances of 12 services below /services/"
    watching_since: Instant | None = field(default_factory=lambda: at(0))
    lanes: tuple[LaneStatus, ...] = ()
    sent: list[tuple[str, Letter]] = field(default_factory=list)
    targets_of_each: int = 1
    is_taking: bool = True
    offset: timedelta = timedelta()
    """By how much the wall clock goes wrong."""
    looks: int = 0
    """How often a beat was due."""

    def __post_init__(self) -> None:
        self.beating = Heartbeats(self, self.clock, self.send)

    @property
    def may_speak(self) -> bool:
        """Whether this replica leads; the first that is asked when a beat is due."""
        self.looks += 1
        return self.is_leading

    def clock(self) -> Instant:
        """Return the time."""
        return Instant(now().mono, now().wall + self.offset)

    async def let_pass(self, beats: int) -> None:
        """Wait until so many more beats have been due."""
        before = self.looks
        await until(lambda: self.looks >= before + beats)

    @property
    def ruleset(self) -> Ruleset:
        """The ruleset in force."""
        settings = Settings(name="prod-fra", timezone="Europe/Berlin")
        return Ruleset.model_construct(settings=settings, heartbeats=self.heartbeats)

    def targets(self) -> tuple[LaneStatus, ...]:
        """Return how the targets are."""
        return self.lanes

    def send(self, channel: str, letter: Letter) -> int:
        """Take a letter for a channel."""
        self.sent.append((channel, letter))
        if self.is_taking:
            for _ in range(self.targets_of_each):
                asyncio.get_running_loop().call_soon(self.take, letter)
        return self.targets_of_each

    def take(self, letter: Letter, error: str = "") -> bool:
        """Let one target end with a letter."""
        return self.beating.note(Delivery(letter.id, "ops", "ops #1 json", not error, 1, 0.1, error))

    def reload(self, *heartbeats: Heartbeat) -> None:
        """Let other heartbeats be in force."""
        self.heartbeats = heartbeats
        self.beating.follow(self.ruleset)


def play(scene: Scene, act: Callable[[], Awaitable[None]], *, is_judged: bool = True) -> list[dict[str, Any]]:
    """Let hearts beat while `act` lasts, and return what was logged."""

    async def run() -> None:
        scene.beating.follow(scene.ruleset)
        if is_judged:
            scene.beating.begin()
        try:
            await act()
        finally:
            scene.beating.close()

    with capture_logs() as logs:
        asyncio.run(run())
    return [dict(line) for line in logs]


async def until(holds: Callable[[], object]) -> None:
    """Let the loop run until a condition holds, for at most 5 s."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what it waits for is a list of the test's
            await asyncio.sleep(0.002)


# --- the decision ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unready", "lanes", "expected"),
    [
        ("", (), ""),
        ("", (lane(None), lane(4.9)), ""),
        ("", (lane(5.0),), ""),
        ("", (lane(5.1),), "ops #1 json has been stuck since 2026-10-01T02:07:35Z"),
        ("", (lane(None), lane(6, "mail"), lane(60, "boss")), "boss #1 json has been stuck since 2026-10-01T01:12:41Z"),
        ("the watch on etcd is stale", (lane(60),), "the watch on etcd is stale"),
    ],
    ids=["no channels", "stuck for a while", "for five minutes", "for longer", "the longest", "the watch"],
)
def test_why_none_may_be_sent(unready: str, lanes: tuple[LaneStatus, ...], expected: str) -> None:
    """The watch makes no progress, or a channel is stuck for over five minutes."""
    assert why_withheld(unready, lanes, at(0)) == expected


# --- beating ---------------------------------------------------------------------------------------------------------


def test_the_first_beat_is_at_once_and_the_next_ones_follow() -> None:
    """A letter that says what is watched and since when, with an id of its own each."""
    scene = Scene((to_channel(),))
    begun = time.monotonic()

    async def act() -> None:
        await until(lambda: len(scene.sent) >= 4)

    play(scene, act)
    assert time.monotonic() - begun >= 3 * EVERY
    assert {channel for channel, _ in scene.sent} == {"ops"}
    letters = [letter for _, letter in scene.sent]
    assert len({letter.id for letter in letters}) == len(letters)
    first = letters[0]
    assert (first.title, first.tone) == ("[HEARTBEAT] watchdog · prod-fra", Tone.INFO)
    body = first.body(None)
    assert body.startswith("watching 34 instances of 12 services below /services/ since ")
    assert body.endswith("04:12:41 CEST")
    assert "\n" not in body
    assert len(first.body(20)) == 20


def test_a_url_is_asked_for(inbox: HttpInbox) -> None:
    """By a plain GET, as often."""
    scene = Scene((to_url(f"http://127.0.0.1:{inbox.port}/ping/secret-word"),))

    async def act() -> None:
        await until(lambda: len(inbox.received) >= 3)

    logs = play(scene, act)
    assert {(each["method"], each["path"]) for each in inbox.received} == {("GET", "/ping/secret-word")}
    assert logs == []


def test_withheld_is_logged_once_with_its_reason_and_so_is_its_end() -> None:
    """While it lasts nothing is sent."""
    scene = Scene((to_channel(), to_channel(name="second")), unready_reason="the watch on etcd is stale")

    async def act() -> None:
        await scene.let_pass(beats=6)
        assert scene.sent == []
        scene.unready_reason = ""
        await until(lambda: len(scene.sent) >= 4)
        scene.lanes = (lane(60),)
        told = len(scene.sent)
        await scene.let_pass(beats=6)
        assert len(scene.sent) == told

    logs = play(scene, act)
    assert [line["event"] for line in logs] == [
        "heartbeats are withheld",
        "heartbeats go on",
        "heartbeats are withheld",
    ]
    assert logs[0]["reason"] == "the watch on etcd is stale"
    assert "boss" not in logs[2]["reason"]
    assert "ops #1 json has been stuck since" in logs[2]["reason"]


def test_before_the_first_snapshot_they_are_withheld_when_due_and_begin_with_it() -> None:
    """An etcd that is not there at the start is no reason to be silent about the silence."""
    scene = Scene((to_channel(every=0.4),), unready_reason="the first snapshot is not judged yet")

    async def act() -> None:
        await scene.let_pass(beats=1)
        scene.unready_reason = ""
        begun = time.monotonic()
        scene.beating.begin()
        await until(lambda: len(scene.sent) >= 2)
        assert time.monotonic() - begun < 0.75, "the second follows the first, not the one that was withheld"

    logs = play(scene, act, is_judged=False)
    assert [line["event"] for line in logs] == ["heartbeats are withheld", "heartbeats go on"]


def test_a_start_says_nothing_of_what_was_withheld() -> None:
    """The first is sent when the first snapshot is judged, however soon others would be due."""
    scene = Scene((to_channel(every=3600.0),), unready_reason="the first snapshot is not judged yet")

    async def act() -> None:
        assert scene.looks == 0
        scene.unready_reason = ""
        scene.beating.begin()
        await until(lambda: scene.sent)

    assert play(scene, act, is_judged=False) == []


def test_a_replica_that_may_not_speak_is_silent() -> None:
    """And says nothing of it, for that is how it should be."""
    scene = Scene((to_channel(),), is_leading=False, unready_reason="the watch on etcd is stale")

    async def act() -> None:
        await scene.let_pass(beats=4)

    assert play(scene, act) == []
    assert scene.sent == []


def test_a_step_of_the_wall_clock_neither_stops_nor_hastens_them() -> None:
    """An hour back, an hour ahead."""
    scene = Scene((to_channel(),))

    async def act() -> None:
        for step in (-1, 1):
            scene.offset = timedelta(hours=step)
            told, begun = len(scene.sent), time.monotonic()
            await until(lambda: len(scene.sent) >= told + 4)  # noqa: B023 - awaited at once
            assert time.monotonic() - begun >= 2.5 * EVERY

    play(scene, act)


# --- one on its way --------------------------------------------------------------------------------------------------


def test_of_each_heartbeat_one_is_on_its_way() -> None:
    """A channel that takes nothing has one in its queue, and the others go on."""
    scene = Scene((to_channel(), to_channel("mail", "second")), is_taking=False, targets_of_each=2)

    async def act() -> None:
        await scene.let_pass(beats=8)
        assert [channel for channel, _ in scene.sent] == ["ops", "mail"]
        letter = scene.sent[0][1]
        assert scene.take(letter)
        await scene.let_pass(beats=6)
        assert len(scene.sent) == 2, "one of its two targets is still at it"
        assert scene.take(letter)
        await until(lambda: len(scene.sent) >= 3)
        assert scene.sent[2][0] == "ops"
        assert not scene.take(letter), "it has ended"

    play(scene, act)


def test_a_failure_is_logged_once_until_it_is_well_again(inbox: HttpInbox) -> None:
    """And retried with the next beat; what is secret in the URL is not shown."""
    inbox.default = Answer(status=503)
    scene = Scene((to_url(f"http://user:passw0rd@127.0.0.1:{inbox.port}/ping/secret-word?key=hidden"),))

    async def act() -> None:
        await until(lambda: len(inbox.received) >= 3)
        inbox.default = Answer()
        told = len(inbox.received)
        await until(lambda: len(inbox.received) >= told + 3)
        inbox.default = Answer(status=500)
        told = len(inbox.received)
        await until(lambda: len(inbox.received) >= told + 3)

    logs = play(scene, act)
    failed, well = "a heartbeat failed, the next is tried as usual", "a heartbeat is well again"
    assert [line["event"] for line in logs] == [failed, well, failed]
    assert [line["heartbeat"] for line in logs] == ["watchdog"] * 3
    assert "HTTP 503" in logs[0]["error"]
    assert not any(secret in str(logs) for secret in ("passw0rd", "secret-word", "hidden"))


def test_a_channel_that_refuses_is_logged_once_too() -> None:
    """Each beat ends there, and the next is sent as usual."""
    scene = Scene((to_channel(),), is_taking=False)

    async def act() -> None:
        for number in range(3):
            await until(lambda: len(scene.sent) > number)  # noqa: B023 - awaited at once
            assert scene.take(scene.sent[number][1], "HTTP 400")

    logs = play(scene, act)
    assert [line["error"] for line in logs] == ["ops #1 json: HTTP 400"]


def test_a_url_that_hangs_counts_as_failed_in_time_and_is_asked_once(
    inbox: HttpInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beats do not pile up behind it, and the process does not wait for it."""
    monkeypatch.setattr(module, "PATIENCE", 3 * EVERY)
    inbox.default = Answer(trickle=True)
    scene = Scene((to_url(f"http://127.0.0.1:{inbox.port}/"),))

    async def act() -> None:
        await scene.let_pass(beats=10)

    begun = time.monotonic()
    logs = play(scene, act)
    assert time.monotonic() - begun < 2
    assert [line["error"] for line in logs] == ["no answer in time"]
    assert len(inbox.received) == 1


# --- reloads ---------------------------------------------------------------------------------------------------------


def test_a_reload_replaces_what_changed() -> None:
    """What is gone beats no more, what is new begins at once, what is the same keeps its rhythm."""
    scene = Scene((to_channel("old", "a"), to_channel("kept", "b", every=30.0), to_channel("moved", "c", every=30.0)))

    async def act() -> None:
        await until(lambda: {channel for channel, _ in scene.sent} == {"old", "kept", "moved"})
        scene.reload(to_channel("kept", "b", every=30.0), to_channel("to", "c", every=30.0), to_channel("new", "d"))
        told = len(scene.sent)
        await until(lambda: {"to", "new"} <= {channel for channel, _ in scene.sent[told:]})
        await scene.let_pass(beats=6)
        assert {channel for channel, _ in scene.sent[told:]} == {"to", "new"}

    play(scene, act)


def test_a_beat_on_its_way_when_a_reload_drops_its_heartbeat_is_still_known_as_one() -> None:
    """By each of its targets, and by no other delivery."""
    scene = Scene((to_channel(),), is_taking=False, targets_of_each=2)

    async def act() -> None:
        await until(lambda: scene.sent)
        letter = scene.sent[0][1]
        scene.reload()
        assert [scene.take(letter) for _ in range(3)] == [True, True, False]

    play(scene, act)


# --- one request -----------------------------------------------------------------------------------------------------


def test_any_2xx_is_good_and_redirects_are_followed(inbox: HttpInbox) -> None:
    """As of a plain GET."""
    inbox.answers.extend(
        [Answer(status=204, body=b""), Answer(status=302, headers=(("Location", "/there"),)), Answer()]
    )
    url = f"http://127.0.0.1:{inbox.port}/ping"
    assert get(url) == ""
    assert get(url) == ""
    assert [each["path"] for each in inbox.received] == ["/ping", "/ping", "/there"]


def test_why_a_request_failed_is_said_without_its_secrets(inbox: HttpInbox) -> None:
    """No connection, no such name, a refusal that quotes what it was asked for, an address that is none."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert get(f"http://127.0.0.1:{free.getsockname()[1]}/secret-word") == "connection refused"
    url = f"http://127.0.0.1:{inbox.port}/secret-word"
    inbox.answers.extend([Answer(status=304, body=b""), Answer(status=404, reason="No secret-word here")])
    assert get(url) == "HTTP 304 Not Modified"
    assert get(url) == "HTTP 404 No *** here"
    for url in ("http://[secret-word/", "http://secret-word:99999/x", "ftp://host/secret-word"):
        error = get(url)
        assert error
        assert "secret-word" not in error


def test_only_the_account_of_the_url_is_shown_to_its_host(
    inbox: HttpInbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not one that lies about on the machine."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert get(f"http://127.0.0.1:{inbox.port}/") == ""
    assert get(f"http://kim:p%40ss@127.0.0.1:{inbox.port}/") == ""
    without, own = inbox.received
    assert "Authorization" not in without["headers"]
    assert own["headers"]["Authorization"] == "Basic a2ltOnBAc3M="
