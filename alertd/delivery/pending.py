"""What is decided and not yet delivered everywhere: one notification, the ways it takes, and where it is left to tell.

A notification goes to its own channel, and where that fails, to the channel's fallback as well: each is a *leg*, and
each target of a leg that has not taken it is a *stop*. Pure: who moves it along is the `Outbox`. As stored, an item is
`{"letter": …, "to": [leg, …], "number": …}`, a leg `{"channel", "left": [[label, attempts, since, error], …]}`, for a
fallback with `"for": [channel, target, since, error]`, why it is told; times are RFC 3339. What needs no more telling
is left out. A leg's `"targets"` are digests of addresses: of those that are left, in their order, then of those that
are done with. A target is found by its digest, or by its label where none has that and the label's is no other of them;
an older alertd wrote no digests, and passes over them.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Protocol

from alertd import document
from alertd.delivery import codec
from alertd.delivery.letter import Diversion
from alertd.delivery.verdict import is_over
from alertd.errors import NotUnderstood
from alertd.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from alertd.model import Instant, Notification


class Box(Protocol):
    """What takes notifications for one target: a `Lane`."""

    @property
    def number(self) -> int:
        """Names the target as long as the process lives."""

    @property
    def label(self) -> str:
        """What people call the target now, and documents keep."""

    @property
    def digest(self) -> str:
        """What documents know the target by, wherever in its channel it is; empty if by its label alone."""

    def submit(self, notification: Notification, diversion: Diversion | None = None) -> None:
        """Queue a notification."""

    def withdraw(self, identifier: str) -> bool:
        """Take one out; False if it is being attempted at this moment, or not there."""

    def hold(self, *, is_held: bool = True) -> None:
        """Begin no new attempt while another daemon's is under way, or go on."""


class Post(Protocol):
    """What carries notifications: a `Dispatcher`."""

    def lanes_of(self, channel_name: str) -> Sequence[Box]:
        """Return the boxes of a channel's targets."""

    def recall(self) -> None:
        """Drop all that is queued without a report."""


class Stop:
    """A target that has not taken a notification. `since` is when it was first attempted there, by any daemon.

    `is_claimed` says that another daemon's attempt is under way there: it may yet be taken. Where the box is that of an
    address that is gone, `heir` is where what is not taken there goes on to.
    """

    __slots__ = ("attempts", "box", "digest", "error", "heir", "is_claimed", "is_handed", "since")

    def __init__(self, box: Box, attempts: int = 0, since: datetime | None = None, error: str = "") -> None:
        self.box = box
        self.attempts = attempts
        self.since = since
        self.error = error
        self.is_handed = self.is_claimed = False
        self.heir: Box | None = None
        self.digest = box.digest
        """What the daemon that decided it, or left it, knew the target by."""

    def content(self) -> list[Any]:
        """Return what a document holds of it."""
        box = self.heir or self.box
        return [box.label, self.attempts, _stamp(self.since), self.error]


class Leg:
    """One channel that a notification goes to, with those of its targets that are left, by their boxes' numbers.

    `is_settled` says that some target of it took the notification or is told the same by a later one, or that nobody
    did and what was to follow from that was done; `refusal` is why the last one that gave up did not. `targets` are
    digests of all that it had, be they left or not.
    """

    __slots__ = ("channel", "diversion", "is_drafted", "is_durable", "is_settled", "refusal", "stops", "targets")

    def __init__(self, channel: str, stops: Sequence[Stop], diversion: Diversion | None = None) -> None:
        self.channel = channel
        self.stops = {stop.box.number: stop for stop in stops}
        self.diversion = diversion
        self.is_drafted = self.is_durable = self.is_settled = False
        self.refusal: Diversion | None = None
        self.targets = {stop.box.digest for stop in stops}

    def stop_at(self, label: str, digest: str) -> Stop | None:
        """Return the stop at a target by its digest, or by its label where either daemon knew nothing else."""
        stops = self.stops.values()
        same = (stop for stop in stops if digest and digest in (stop.digest, stop.box.digest))
        called = (stop for stop in stops if stop.box.label == label and not (digest and stop.digest))
        return next(same, None) or next(called, None)

    def content(self) -> dict[str, Any]:
        """Return what a document holds of it."""
        content: dict[str, Any] = {"channel": self.channel, "left": [stop.content() for stop in self.stops.values()]}
        left = [(stop.heir or stop.box).digest for stop in self.stops.values()]
        self.targets.update(left)
        if any(self.targets):
            content["targets"] = [*left, *sorted(self.targets.difference(left))]
        if self.is_settled:
            content["settled"] = True
        if self.diversion is not None:
            because = self.diversion
            content["for"] = [because.channel, because.target, _stamp(because.since), because.error]
        return content


class Item:
    """A notification, and its legs: its own channel's first.

    `ends` are its alerts that are over with it, `over` those of which later items tell that they are. `number` grows
    from one decision to the next, over all documents and daemons, as long as anything is left to be told; 0 is none.
    """

    __slots__ = ("alerts", "ends", "give_up_at", "is_reminder", "legs", "name", "notification", "number", "over")

    def __init__(self, name: str, notification: Notification, legs: list[Leg]) -> None:
        entries = notification.entries
        self.name = name
        self.notification = notification
        self.legs = legs
        self.alerts = dict.fromkeys(entry.alert.id for entry in entries)
        self.ends = frozenset(entry.alert.id for entry in entries if is_over(entry))
        self.is_reminder = bool(entries) and all(entry.kind is Kind.REMINDER for entry in entries)
        self.over: frozenset[str] = frozenset()
        self.give_up_at = 0.0
        self.number = 0

    @property
    def id(self) -> str:
        """The notification's."""
        return self.notification.id

    @property
    def fallbacks(self) -> list[str]:
        """The channels that are told in the place of its own, be it done or not."""
        return [leg.channel for leg in self.legs if leg.channel != self.notification.channel]

    @property
    def was_attempted(self) -> bool:
        """Whether any of those who are still to be told was attempted, by any daemon."""
        return any(stop.since is not None for leg in self.legs for stop in leg.stops.values())

    @property
    def is_left(self) -> bool:
        """Whether anybody is still to be told."""
        return any(leg.stops for leg in self.legs)

    def find(self, number: int) -> tuple[Leg, Stop] | None:
        """Return the stop at a box and its leg, if the notification is still to be told there."""
        return next(((leg, leg.stops[number]) for leg in self.legs if number in leg.stops), None)

    def leg_to(self, channel: str) -> Leg | None:
        """Return the leg to a channel, if there is one, whether anything of it is left or not."""
        return next((leg for leg in self.legs if leg.channel == channel), None)

    def content(self) -> dict[str, Any]:
        """Return what a document holds of it; legs of which nothing is left stay, so that they are not gone twice."""
        legs = [leg.content() for leg in self.legs]
        return {"letter": codec.encode(self.notification), "to": legs, "number": self.number}


def read_item(
    name: str, content: Mapping[str, Any], now: Instant, boxes_of: Callable[[str], Sequence[Box]]
) -> tuple[Item, list[tuple[str, str]]]:
    """Return an item as a document holds it, and channel and label of each target that is gone.

    Raises `NotUnderstood`.
    """
    notification = codec.decode(content.get("letter"), now)
    item = Item(name, notification, [])
    lost: list[tuple[str, str]] = []
    try:
        item.number = int(content.get("number", 0))
        for stored in content["to"]:
            leg, gone = _read_leg(stored, boxes_of)
            item.legs.append(leg)
            lost += [(leg.channel, label) for label in gone]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise NotUnderstood(f"where a stored notification goes is damaged: {type(error).__name__}") from None
    if not item.legs:
        raise NotUnderstood("a stored notification goes nowhere")
    return item, lost


def _read_leg(stored: Any, boxes_of: Callable[[str], Sequence[Box]]) -> tuple[Leg, list[str]]:
    channel = str(stored["channel"])
    boxes, targets = boxes_of(channel), [str(each) for each in stored.get("targets", ())]
    stops, gone = [], []
    for (label, attempts, since, error), digest in zip_longest(stored["left"], targets[: len(stored["left"])]):
        box = _find(boxes, label, digest, targets)
        if box is not None:
            stop = Stop(box, int(attempts), document.moment(since), str(error))
            stop.digest = digest or ""
            stops.append(stop)
        else:
            gone.append(str(label))
    diversion = None
    if "for" in stored:
        whose, target, since, error = stored["for"]
        diversion = Diversion(str(whose), str(target), document.moment(since), str(error))
    leg = Leg(channel, stops, diversion)
    leg.targets.update(targets)
    leg.is_settled = bool(stored.get("settled"))
    leg.is_drafted = leg.is_durable = True
    return leg, gone


def _find(boxes: Sequence[Box], label: str, digest: str | None, others: Sequence[str]) -> Box | None:
    """Return the target with a digest, else that with a label, unless it is one of the others that were there then."""
    same = (box for box in boxes if digest and box.digest == digest)
    called = (box for box in boxes if box.label == label and box.digest not in others)
    return next(same, None) or next(called, None)


def _stamp(wall: datetime | None) -> str | None:
    return None if wall is None else document.stamp_of(wall)
