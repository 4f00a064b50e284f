"""The targets of every channel, kept as the rules say.

Knows which lanes there are; what happens in a lane is the lane's. Notifications go to the lanes by way of the outbox,
letters that are about no alert from here; neither waits for anything. Every end is told to the wiring's `report`, in a
lane's thread: an asyncio listener passes `call_soon_threadsafe`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from alertd.config.schema import Channel, Target, Webhook
from alertd.delivery import channel
from alertd.delivery.courier import Courier
from alertd.delivery.lane import Delivery, Flight, Lane, LaneStatus, Lettering, Wiring
from alertd.delivery.pace import Pace
from alertd.delivery.sender import LOG_CHANNEL, LogSender, Sender, UnusableSender
from alertd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from alertd.config.schema import Ruleset
    from alertd.delivery.letter import Letter

_log = structlog.get_logger("alertd.delivery")


class Dispatcher:
    """The targets of one ruleset. All methods may be called from any thread."""

    def __init__(self, ruleset: Ruleset, wiring: Wiring) -> None:
        """Start a lane for each target of `ruleset`; the first one of Apprise costs 75 ms."""
        self._wiring = wiring
        self._lanes: dict[Hashable, Lane] = {}
        self._retired: list[Lane] = []
        self._is_paused = False
        self._guard = threading.Lock()
        self.apply(ruleset)

    def apply(self, ruleset: Ruleset) -> None:
        """Follow a new ruleset: unchanged targets keep their queues, removed ones try what they have once more."""
        change = self.prepare(ruleset)
        self.switch(change)
        self.retire(change)

    def prepare(self, ruleset: Ruleset) -> Change:
        """Build the lanes that a new ruleset brings, which takes a while; nothing changes before `switch`."""
        wanted = dict(_targets(ruleset))
        with self._guard:
            before = dict(self._lanes)
        lanes = {
            identity: before.get(identity) or Lane(spec.name, spec.label, *_equip(spec, self._wiring), self._wiring)
            for identity, spec in wanted.items()
        }
        gone = tuple(lane for identity, lane in before.items() if identity not in wanted)
        return Change(ruleset, wanted, lanes, gone, _heirs(list(before.values()), list(lanes.values())))

    def switch(self, change: Change) -> None:
        """Go by a new ruleset from now on; the lanes that are gone go on until `retire`."""
        with self._guard:
            self._retired = [lane for lane in self._retired if not lane.has_ended] + list(change.gone)
            self._lanes = dict(change.lanes)
            for lane in self._lanes.values():
                lane.pause(is_paused=self._is_paused)
        for identity, spec in change.wanted.items():
            lane = change.lanes[identity]
            lane.label, lane.digest = spec.label, _digest(spec.name, identity)
            lane.keep_to(spec.channel.rate)
            lane.follow(Lettering(change.ruleset.settings, spec.channel.templates))

    def retire(self, change: Change) -> None:
        """Let the lanes that are gone try what they still have once more, and end."""
        for lane in change.gone:
            _log.info("a target is no longer in the rules", target=lane.label, queued=lane.status().queued)
            lane.retire()

    def send(self, channel_name: str, letter: Letter) -> int:
        """Queue a letter that is about no alert for each target of a channel, and return how many those are.

        A channel that is unknown or has no target ends it at once as failed.
        """
        lanes = self.lanes_of(channel_name)
        for lane in lanes:
            lane.send(letter)
        if not lanes:
            self._refuse(channel_name, letter.id)
        return len(lanes)

    def lanes_of(self, channel_name: str) -> list[Lane]:
        """Return the lanes of a channel's targets, in the order of the rules; none if there is no such channel."""
        with self._guard:
            return [lane for lane in self._lanes.values() if lane.channel == channel_name]

    # --- leadership --------------------------------------------------------------------------------------------------

    def in_flight(self) -> list[Flight]:
        """Return the notifications being attempted right now, or accepted and not yet reported."""
        return [flight for lane in self._all() if (flight := lane.in_flight) is not None]

    def pause(self, *, is_paused: bool = True) -> None:
        """Begin no new attempts to tell notifications, or go on; those under way are not touched, ends are reported."""
        with self._guard:
            self._is_paused = is_paused
            for lane in (*self._lanes.values(), *self._retired):
                lane.pause(is_paused=is_paused)

    def recall(self) -> None:
        """Drop all notifications that are queued without a report, since another daemon delivers them."""
        for lane in self._all():
            lane.recall()

    # --- the state of things -----------------------------------------------------------------------------------------

    def status(self) -> tuple[LaneStatus, ...]:
        """Return every target as it is now, in the order of the rules, then those being retired."""
        with self._guard:
            lanes = [*self._lanes.values(), *(lane for lane in self._retired if not lane.has_ended)]
        return tuple(lane.status() for lane in lanes)

    def drain(self, seconds: float) -> bool:
        """Let everything out that goes out within `seconds`, and say whether nothing is left.

        Returns as soon as each target has taken all or has failed once more.
        """
        deadline = self._wiring.clock().mono + seconds
        lanes = self._all()
        for lane in lanes:
            lane.hurry()
        drained = [lane.drain(deadline - self._wiring.clock().mono) for lane in lanes]
        return all(drained)

    def close(self) -> int:
        """Begin no more sends and return how many notifications are left at some target; waits for nothing."""
        left = sum(lane.close() for lane in self._all())
        if left:
            _log.warning("stopping with notifications that are not delivered", left=left)
        return left

    def _all(self) -> list[Lane]:
        with self._guard:
            return [*self._lanes.values(), *self._retired]

    def _refuse(self, channel_name: str, identifier: str) -> None:
        error = f"there is no channel {channel_name!r} with a target"
        self._wiring.report(Delivery(identifier, channel_name, "", ok=False, attempts=0, seconds=0.0, error=error))


@dataclass(frozen=True, slots=True)
class _Spec:
    """One target of a ruleset; `target` is None for the built-in channel `log`."""

    name: str
    label: str
    channel: Channel
    target: Target | Webhook | None


@dataclass(frozen=True, slots=True)
class Change:
    """A reload: the lanes from now on, those that are gone, and by their numbers which new ones have their places."""

    ruleset: Ruleset
    wanted: Mapping[Hashable, _Spec]
    lanes: Mapping[Hashable, Lane]
    gone: tuple[Lane, ...]
    heirs: Mapping[int, Lane]


def _heirs(before: list[Lane], after: list[Lane]) -> dict[int, Lane]:
    """Return the new lane in the place of each that is gone, by its number: in the same channel, at the same position.

    So it has the same label too, but for the schema. A lane that goes on is nobody's heir: it was told itself.
    """
    fresh = {place: lane for place, lane in _placed(after) if lane not in before}
    return {lane.number: fresh[place] for place, lane in _placed(before) if lane not in after and place in fresh}


def _placed(lanes: list[Lane]) -> Iterator[tuple[tuple[str, int], Lane]]:
    """Yield lanes with channel and position there, counted from 1."""
    seen: Counter[str] = Counter()
    for lane in lanes:
        seen[lane.channel] += 1
        yield (lane.channel, seen[lane.channel]), lane


def _targets(ruleset: Ruleset) -> Iterator[tuple[Hashable, _Spec]]:
    """Yield all targets, each with what makes it the same one after a reload: its channel and address."""
    seen: Counter[Hashable] = Counter()
    for name, each in ruleset.channels.items():
        for position, target in enumerate(channel.targets_of(each), 1):
            identity = (name, _address(target))
            seen[identity] += 1
            yield (identity, seen[identity]), _Spec(name, channel.label_of(name, position, target), each, target)
    if LOG_CHANNEL not in ruleset.channels:
        yield LOG_CHANNEL, _Spec(LOG_CHANNEL, LOG_CHANNEL, Channel(targets=()), None)


def _digest(name: str, identity: Hashable) -> str:
    """Return what documents know a target by, from daemon to daemon: 12 hex digits, which name no address.

    Who reads them can try out whether a guess is right, so they lie beside letters only, and are not to be logged.
    """
    told = json.dumps(["alertd target", name, identity])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _address(target: Target | Webhook) -> Hashable:
    """Return all that makes a target what it is, its secrets included."""
    if isinstance(target, Webhook):
        headers = sorted((name, value.get_secret_value()) for name, value in target.headers.items())
        return (target.url.get_secret_value(), *headers, target.secret and target.secret.get_secret_value())
    if target.url is not None:
        return target.url.get_secret_value()
    if target.options is not None:
        return tuple(sorted((name, value.get_secret_value()) for name, value in target.options.items()))
    return None


def _equip(spec: _Spec, wiring: Wiring) -> tuple[Courier, Pace]:
    """Return the way to a target, and its pace."""
    courier = Courier(partial(_sender_of, spec, wiring), wiring.persistence.ends_within)
    return courier, Pace.of(spec.channel.rate, courier.seconds_apart)


def _sender_of(spec: _Spec, wiring: Wiring) -> Sender:
    """Return a target's sender; one that cannot be built gets one that says so each time."""
    if spec.target is None:
        return LogSender()
    try:
        return channel.sender_of(spec.name, spec.label, spec.target, wiring.clock)
    except ConfigError as error:
        why = "; ".join(problem.message for problem in error.problems)
        _log.error("a target cannot be used", target=spec.label, error=why)
        return UnusableSender(why)
