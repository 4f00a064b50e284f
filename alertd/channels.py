"""Which channels do not deliver: one with a target that is stuck, or that gave up on a message.

Decides by comparing what lanes say of themselves with what they said before; tells nobody. What cannot be known (a lane
that has just begun to try, a process that has just taken over) is left open, so that what was told of it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from alertd.heartbeat import STUCK_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.delivery.lane import LaneStatus
    from alertd.model import Instant

LOOK_EVERY = 30.0
"""Seconds from one look at the lanes to the next."""


class Finding(NamedTuple):
    """How a channel stands: whether it fails, and the words for it, which may follow `now`."""

    channel: str
    fails: bool
    words: str


class ChannelWatch:
    """Remembers of each lane what it has sent and given up, and what it gave up since it last delivered."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], LaneStatus] = {}
        self._given_up: dict[tuple[str, str], str] = {}

    def look(self, lanes: Iterable[LaneStatus], known: Iterable[str], now: Instant) -> list[Finding]:
        """Return what is certain now; `known` are channels of which something was found before."""
        by_channel: dict[str, list[str | None]] = {}
        seen = {}
        for lane in lanes:
            seen[lane.channel, lane.target] = lane
            by_channel.setdefault(lane.channel, []).append(self._trouble_of(lane, now))
        self._before = seen
        self._given_up = {key: words for key, words in self._given_up.items() if key in seen}
        found = [Finding(name, fails=False, words="gone from the rules") for name in known if name not in by_channel]
        for name, troubles in by_channel.items():
            worst = next(filter(None, troubles), None)
            if worst is not None:
                found.append(Finding(name, fails=True, words=worst))
            elif None not in troubles:
                found.append(Finding(name, fails=False, words="delivering again"))
        return found

    def _trouble_of(self, lane: LaneStatus, now: Instant) -> str | None:
        """Return what is wrong with a lane, empty if nothing is, None if that is not known yet."""
        self._count(lane)
        why = f": {lane.last_error}" if lane.last_error else ""
        if lane.stuck_since is not None and now.wall - lane.stuck_since > STUCK_AFTER:
            return f"{lane.target} stuck since {lane.stuck_since:%Y-%m-%dT%H:%M:%SZ}{why}"
        given_up = self._given_up.get((lane.channel, lane.target))
        if given_up is not None:
            return given_up
        return None if lane.stuck_since is not None or lane.queued else ""

    def _count(self, lane: LaneStatus) -> None:
        """See whether a lane gave up on anything since it last delivered."""
        key = (lane.channel, lane.target)
        before = self._before.get(key)
        failed, sent = (0, 0) if before is None or before.failed > lane.failed else (before.failed, before.sent)
        if lane.failed > failed and lane.last_error:
            self._given_up[key] = f"{lane.target} gave up on a message: {lane.last_error}"
        elif lane.sent > sent:
            self._given_up.pop(key, None)
