"""Where messages go: one receiver of `json://` and one of `webhook:`, which record, and misbehave when told to."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from tests.etcd_server import Cut
from tests.faults.reading import CHANNELS, FIRING, JSON, RESOLVED, Message, Unreadable, read
from tests.sinks import Answer, HttpInbox, http_inbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.truth import Alert, Truth

GOOD = Answer()
REFUSES = Answer(status=503)
HANGS = Answer(hang=True)
TRICKLES = Answer(trickle=True)
BREAKS_OFF = Answer(break_off=True)


class Receivers:
    """Both receivers, and what they have accepted. `has_groups`: messages are about several alerts."""

    def __init__(self, truth: Truth, *, has_groups: bool = False, has_proxy: bool = False) -> None:
        self._truth = truth
        self._has_groups = has_groups
        self._has_proxy = has_proxy
        self._stack = ExitStack()
        self.inboxes: dict[str, HttpInbox] = {}
        self.cuts: dict[str, Cut] = {}
        """A proxy before each receiver, if there are to be some."""
        self._read = dict.fromkeys(CHANNELS, 0)
        self._messages: list[Message] = []
        self._seen: set[tuple[str, str]] = set()
        self._told: dict[str, dict[Alert, str]] = {channel: {} for channel in CHANNELS}
        self.unreadable: list[str] = []
        self.refused = 0

    def __enter__(self) -> Self:
        for channel in CHANNELS:
            inbox = self.inboxes[channel] = self._stack.enter_context(http_inbox())
            if self._has_proxy:
                self.cuts[channel] = self._stack.enter_context(Cut(f"{inbox.address}:{inbox.port}"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def url(self, channel: str) -> str:
        """Return where a channel sends to."""
        inbox = self.inboxes[channel]
        place = self.cuts[channel].endpoint if self._has_proxy else f"{inbox.address}:{inbox.port}"
        return f"json://{place}/" if channel == JSON else f"http://{place}/hook"

    @contextmanager
    def misbehaving(self, channel: str, answer: Answer) -> Iterator[None]:
        """Answer so during the block."""
        self.inboxes[channel].default = answer
        try:
            yield
        finally:
            self.inboxes[channel].default = GOOD

    def break_off(self, channel: str, times: int = 1) -> None:
        """Take the next message, or so many, and hang up instead of saying so."""
        self.inboxes[channel].answers.extend([BREAKS_OFF] * times)

    # --- what came ---------------------------------------------------------------------------------------------------

    def messages(self) -> list[Message]:
        """Return what was accepted so far, in the order of arrival within each channel."""
        for channel, inbox in self.inboxes.items():
            received = inbox.received
            for number in range(self._read[channel], len(received)):
                self._take(channel, received[number])
                self._read[channel] = number + 1
        return self._messages

    def _take(self, channel: str, arrival: dict[str, Any]) -> None:
        answer: Answer = arrival["answer"]
        is_whole = len(arrival["raw"]) == int(arrival["headers"].get("Content-Length") or 0)
        if answer.hang or answer.trickle or answer.status >= 300 or not is_whole:
            self.refused += 1
            return
        if answer.break_off:
            self._truth.breaks.append(arrival["at"])
        try:
            message = read(channel, arrival, has_groups=self._has_groups)
        except Unreadable as error:
            self.unreadable.append(str(error))
            return
        self._messages.append(message)
        if (channel, message.id) not in self._seen:
            self._seen.add((channel, message.id))
            self._told[channel].update((news.alert, news.kind) for news in message.news)

    def firing(self, channel: str) -> set[Alert]:
        """Return which alerts a receiver believes to fire; its picture, but for what alertd says of itself."""
        self.messages()
        told = self._told[channel]
        return {alert for alert, kind in told.items() if kind == FIRING and not alert.rule.startswith("alertd-")}

    def differences(self, channels: tuple[str, ...]) -> list[str]:
        """Return in words where the pictures of receivers differ from the truth."""
        due = self._truth.firing()
        found: list[str] = []
        for channel in channels:
            firing = self.firing(channel)
            found += [f"{channel}: {alert} is not told as firing" for alert in sorted(due - firing)]
            found += [f"{channel}: {alert} is not told as {RESOLVED}" for alert in sorted(firing - due)]
        return found

    def settle(self, seconds: float, channels: tuple[str, ...] = CHANNELS) -> bool:
        """Wait until the pictures equal the truth, and say whether they do within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.differences(channels):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
