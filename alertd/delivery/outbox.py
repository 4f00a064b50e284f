"""What is decided and not yet delivered: the truth of who is still to be told of what, and by which target.

A notification is decided, then written to etcd with its document, and only then handed over to the lanes; what is left
of it is written again whenever that changes, so that another daemon can take up from there. The outbox knows what is
in a document and when it has changed, and neither etcd nor the clock: the daemon calls it on the event loop, hands in
`now`, and is told by `changed` that a document is to be written.

Invariants, for each target of a channel, and for each target of a fallback in a channel's place:
- what is told of one alert is told in the order in which it was decided, also across documents;
- nothing is attempted that is not durable, and nothing is left out but what a later message tells too (`coalesce`);
- whoever was told of a firing is told of its end, once.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import structlog

from alertd.delivery import coalesce, succession
from alertd.delivery.dead import DeadLetter, DeadLetters
from alertd.delivery.letter import Diversion
from alertd.delivery.pending import Box, Item, Leg, Post, Stop, read_item
from alertd.delivery.sender import LOG_CHANNEL
from alertd.delivery.shelf import Shelf
from alertd.delivery.standin import Standins
from alertd.delivery.trouble import FAILURES, Trouble, Troubles
from alertd.delivery.wording import span
from alertd.errors import NotUnderstood
from alertd.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from alertd.config.schema import Ruleset
    from alertd.delivery.lane import Attempt, Delivery
    from alertd.model import Instant, Notification

_log = structlog.get_logger("alertd.delivery")

_LOOK_AGAIN = 60.0
"""Seconds after which what is too old, but being attempted, is looked at again."""

_FIRST_CHANCE = 600.0
"""Seconds that a notification has for its first attempt, however old it is: nobody was there to make one."""


def name_of(notification: Notification) -> str:
    """Return the document that a notification is kept in: one for each group, and one for each channel's digests."""
    if notification.kind is Kind.DIGEST:
        return f"digest-{sha256(notification.channel.encode()).hexdigest()[:12]}"
    return notification.key or sha256(notification.group.encode()).hexdigest()[:12]


class Outbox:
    """What is decided and not delivered. To be used on one event loop; no call waits.

    `changed` is called with the name of each document that is to be written again, be it for the first time or empty.
    """

    def __init__(self, post: Post, ruleset: Ruleset, changed: Callable[[str], None]) -> None:
        self._post = post
        self._changed = changed
        self._channels = ruleset.channels
        self._give_up_after = ruleset.settings.give_up_after
        self._shelf = Shelf(self._note_gone)
        self._troubles = Troubles()
        self._standins = Standins()
        self._held_up: dict[str, Item] = {}
        """Items of which something durable waits for what was decided before them to be handed over."""
        self.dead_letters = DeadLetters()

    def __len__(self) -> int:
        return len(self._shelf)

    def undelivered(self) -> list[Notification]:
        """Return what is still to be told, the first first."""
        return [item.notification for item in self._in_order()]

    def follow(self, ruleset: Ruleset, heirs: Mapping[int, Box]) -> None:
        """Follow new rules with the dispatcher, before it retires lanes: what waits where one is gone goes to its heir.

        `heirs` are by the numbers of those that are gone.
        """
        self._channels = ruleset.channels
        self._give_up_after = ruleset.settings.give_up_after
        self._forget_unwanted()
        self._held_up |= {item.id: item for item in succession.follow(self._shelf, heirs, self._changed)}
        for number in filter(self._shelf.is_box_idle, heirs):
            self._troubles.forget(number)
        self._hand_over_held()

    # --- on the way out ----------------------------------------------------------------------------------------------

    def decide(self, notification: Notification) -> str:
        """Take in a notification, not to be sent before it is durable; return the document that it belongs into.

        One that is there already is not taken in again. Earlier ones may become pointless by it, and be withdrawn.
        """
        name = name_of(notification)
        if notification.id not in self._shelf:
            item = Item(name, notification, [self._leg(notification.channel)])
            item.number = self._shelf.next_number
            self._take_in(item)
            for other in self._shelf.earlier(item):
                other.over |= item.ends
            self._tell_standins(item)
            self._work_out(item, notification.at)
            self._hand_over_held()
        return name

    def content(self, name: str) -> list[dict[str, Any]]:
        """Return what the document is to hold now, of what JSON knows; an empty list if nothing.

        One write of a document at a time: what this returned last is what `release` says of that it is durable.
        """
        items = self._shelf.named(name)
        for item in items:
            for leg in item.legs:
                leg.is_drafted = True
        told = self._standins.content(name)
        return [*(item.content() for item in items), *([{"told": told}] if told is not None else [])]

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        """Return what all documents are to hold now that hold anything."""
        names = dict.fromkeys((*self._shelf.names(), *self._standins.names()))
        return {name: self.content(name) for name in names}

    def release(self, name: str) -> None:
        """Hand over what the last `content` of the document held, which is durable now, as far as it was not yet."""
        fresh = [
            (item, leg)
            for item in self._shelf.named(name)
            for leg in item.legs
            if leg.is_drafted and not leg.is_durable
        ]
        for _, leg in fresh:
            leg.is_durable = True
        for item, leg in fresh:
            coalesce.supersede(self._shelf, item, leg, self._changed)
        for item in self._shelf.named(name):
            self._hand_over(item)
        self._hand_over_held()

    def _leg(self, channel: str, why: Diversion | None = None) -> Leg:
        return Leg(channel, [Stop(box) for box in self._post.lanes_of(channel)], why)

    def _take_in(self, item: Item) -> None:
        item.give_up_at = item.notification.at.mono + self._give_up_after
        self._shelf.add(item)

    def _work_out(self, item: Item, now: Instant) -> None:
        """Work out who else is to be told of an item, and what it makes pointless."""
        for leg in list(item.legs):
            coalesce.supersede(self._shelf, item, leg, self._changed)
        self._look_for_trouble(item)
        self._settle(item, now)

    def _hand_over(self, item: Item) -> None:
        for leg in item.legs:
            fresh = [stop for stop in leg.stops.values() if not stop.is_handed]
            if not fresh or not leg.is_durable:
                continue
            if self._is_held_up(item, leg):
                self._held_up[item.id] = item
                continue
            for stop in fresh:
                if succession.is_awaited(self._shelf, item, stop):
                    self._held_up[item.id] = item
                    continue
                stop.is_handed = True
                stop.box.submit(item.notification, leg.diversion)

    def _hand_over_held(self) -> None:
        """Try again what had to wait for something earlier."""
        held, self._held_up = self._held_up, {}
        for item in sorted(held.values(), key=lambda each: each.number):
            self._hand_over(item)

    def _is_held_up(self, item: Item, leg: Leg) -> bool:
        """Tell whether something earlier about the same alerts goes the same way, and is not handed over."""
        others = (other.leg_to(leg.channel) for other in self._shelf.earlier(item))
        return any(not stop.is_handed for other in others if other is not None for stop in other.stops.values())

    # --- taking over -------------------------------------------------------------------------------------------------

    def restore(self, name: str, content: object, now: Instant) -> None:
        """Take in a document as another daemon left it; nothing of it is handed over before `take_up`.

        Raises `NotUnderstood`, and has taken in nothing then.
        """
        if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
            raise NotUnderstood(f"the outbox document {name} is no list of notifications")
        read = [read_item(name, each, now, self._post.lanes_of) for each in content if "told" not in each]
        for each in content:
            if "told" in each:
                self._standins.restore(name, each["told"])
        for item, lost in read:
            if item.id not in self._shelf:
                self._take_in(item)
                if not item.was_attempted:
                    item.give_up_at = max(item.give_up_at, now.mono + _FIRST_CHANCE)
                for channel, label in lost:
                    self._bury(item, channel, label, "its target is no longer in the rules", now)
                    self._changed(name)

    def take_up(self, now: Instant) -> None:
        """Hand over all that was restored, in the order in which it was decided."""
        self._forget_unwanted()
        in_order, is_numbered = self._in_order(), self._is_numbered
        self._shelf = Shelf(self._note_gone, self._standins.latest)
        for item in in_order:
            if not is_numbered:
                item.number = self._shelf.next_number
                self._changed(item.name)
            self._shelf.add(item)
            for leg in item.legs:
                self._seed_troubles(leg, now)
        for item in in_order:
            for other in self._shelf.earlier(item):
                other.over |= item.ends
        for item in in_order:
            self._work_out(item, now)
        for item in list(self._shelf):
            self._hand_over(item)

    @property
    def _is_numbered(self) -> bool:
        return all(item.number for item in self._shelf)

    def _in_order(self) -> list[Item]:
        """Return all items as they were decided.

        Where an older alertd left some without a number, by time; a document's own order holds even so, for the wall
        clock may have been set back.
        """
        if self._is_numbered:
            return sorted(self._shelf, key=lambda item: item.number)
        latest: dict[str, datetime] = {}
        keyed = []
        for place, item in enumerate(self._shelf):
            wall = item.notification.at.wall
            latest[item.name] = max(wall, latest.get(item.name, wall))
            keyed.append((latest[item.name], place, item))
        return [item for _, _, item in sorted(keyed, key=lambda each: each[:2])]

    def _seed_troubles(self, leg: Leg, now: Instant) -> None:
        for stop in leg.stops.values():
            if stop.since is not None:
                trouble = Trouble(stop.box.label, now.at_wall(stop.since))
                trouble.failures, trouble.error = stop.attempts, stop.error
                self._troubles.seed(stop.box.number, trouble, now)

    def recall(self) -> None:
        """Withdraw all from the lanes without a report; it is to be written again before it is handed over again.

        What is under way there may still end, which counts: another daemon may tell it again, this one does not.
        """
        for item in self._shelf:
            for leg in item.legs:
                leg.is_drafted = leg.is_durable = False
                for stop in leg.stops.values():
                    stop.is_handed = False
        self._held_up.clear()
        self._post.recall()

    def clear(self) -> None:
        """Forget all: another daemon has spoken since it was recalled, and what that left is to be restored."""
        self._shelf = Shelf(self._note_gone)
        self._troubles.clear()
        self._standins.clear()
        self._held_up.clear()

    # --- what another daemon is still sending ------------------------------------------------------------------------

    def stop_at(self, notification: str, channel: str, target: str, digest: str = "") -> Stop | None:
        """Return the stop at a target that is still to be told, by what claims call it, and by its digest if known."""
        item = self._shelf.get(notification)
        leg = item.leg_to(channel) if item is not None else None
        return leg.stop_at(target, digest) if leg is not None else None

    # --- what comes back ---------------------------------------------------------------------------------------------

    def note_end(self, delivery: Delivery, now: Instant) -> None:
        """Take note of how it ended with a notification at a target; also what is not the outbox's own counts there."""
        item = self._shelf.get(delivery.notification)
        found = item.find(delivery.lane) if item is not None else None
        if item is not None and found is not None and found[1].heir is not None and not delivery.ok:
            self._go_on(item, *found)
        elif item is not None and found is not None:
            leg, _ = found
            leg.is_settled = leg.is_settled or delivery.ok
            if not delivery.ok:
                self._mourn(item, leg, delivery.target, delivery.error, now)
            self._shelf.drop_stop(item, leg, delivery.lane)
            self._changed(item.name)
            self._settle(item, now)
        self._troubles.note_end(delivery, is_idle=self._shelf.is_box_idle(delivery.lane))
        self._hand_over_held()

    def note_attempt(self, attempt: Attempt, now: Instant) -> None:
        """Take note of an attempt that is no end; after enough that failed, the fallback is told."""
        is_newly_stuck = self._troubles.note_attempt(attempt)
        item = self._shelf.get(attempt.notification)
        found = item.find(attempt.lane) if item is not None else None
        if item is not None and found is not None:
            leg, stop = found
            stop.since = stop.since or attempt.begun.wall
            if attempt.error:
                self._note_failure(item, leg, stop, attempt.error)
        if is_newly_stuck:
            self._divert_all_at(attempt.lane, now)
        self._hand_over_held()

    def _note_failure(self, item: Item, leg: Leg, stop: Stop, error: str) -> None:
        """Count a failed attempt, and look again whether something later says it all."""
        stop.attempts += 1
        stop.error = error
        if stop.heir is not None and succession.is_free(item, stop):
            self._go_on(item, leg, stop)
        elif coalesce.is_told_later(self._shelf, item, stop.box.number):
            coalesce.withdraw(self._shelf, item, stop.box.number, self._changed)
        elif stop.attempts <= FAILURES and self._fallback_of(leg.channel) is not None:
            self._changed(item.name)

    def _go_on(self, item: Item, leg: Leg, stop: Stop) -> None:
        """Let a stop go on to its heir, since it was not taken at the address that is gone."""
        succession.move(self._shelf, item, leg, stop)
        self._changed(item.name)
        self._held_up[item.id] = item
        if coalesce.is_told_later(self._shelf, item, stop.box.number):
            coalesce.withdraw(self._shelf, item, stop.box.number, self._changed)

    def trouble_of(self, number: int) -> Trouble | None:
        """Return what is wrong with a target that is stuck."""
        return self._troubles.of(number)

    def next_deadline(self) -> float | None:
        """Return when `advance` is to be called, in monotonic seconds."""
        oldest = next(iter(self._shelf), None)
        moments = (self._troubles.next_deadline(), None if oldest is None else oldest.give_up_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def advance(self, now: Instant) -> None:
        """Tell the fallbacks of targets that hang for too long, and give up what is too old."""
        for number in self._troubles.due(now):
            self._divert_all_at(number, now)
        for item in list(self._shelf):
            if item.give_up_at > now.mono:
                break
            self._give_up(item, now)
        self._hand_over_held()

    # --- fallbacks ---------------------------------------------------------------------------------------------------

    def _fallback_of(self, channel: str) -> str | None:
        settings = self._channels.get(channel)
        return settings.fallback if settings is not None else None

    def _divert_all_at(self, number: int, now: Instant) -> None:
        for item in self._shelf.at_box(number):
            self._look_for_trouble(item)
            self._settle(item, now)

    def _look_for_trouble(self, item: Item) -> None:
        """Tell the fallback of each leg with a target that is stuck; the fallback's own leg comes last."""
        for leg in item.legs:
            for stop in leg.stops.values():
                trouble = self._troubles.of(stop.box.number)
                if trouble is not None:
                    channel, label = item.notification.channel, stop.box.label
                    self._divert(item, leg, Diversion(channel, label, trouble.since.wall, trouble.error))
                    break

    def _divert(self, item: Item, leg: Leg, why: Diversion) -> None:
        """Tell a leg's fallback as well, once; and of all else about the same alerts that is left there, in order.

        What only begins what is over by now is not worth telling somebody else.
        """
        fallback = self._fallback_of(leg.channel)
        if fallback is not None and item.leg_to(fallback) is None:
            kin = self._shelf.kin(item, lambda other: _is_left_at(other, leg.channel))
            self._tell_as_well(kin, fallback, why)

    def _tell_as_well(self, items: Iterable[Item], fallback: str, why: Diversion) -> None:
        for each in items:
            if each.leg_to(fallback) is None and not self._is_past(each) and self._wants(fallback, each):
                self._add_leg(each, fallback, why)

    def _wants(self, channel: str, item: Item) -> bool:
        """Tell whether a channel wants an item, that is, if it only ends something, whether it wants ends."""
        return len(item.ends) < len(item.alerts) or self._sends_ends(channel)

    def _sends_ends(self, channel: str) -> bool:
        settings = self._channels.get(channel)
        return channel == LOG_CHANNEL or (settings is not None and settings.send_resolved)

    def _is_past(self, item: Item) -> bool:
        return not item.ends and bool(item.alerts) and item.over.issuperset(item.alerts)

    def _tell_standins(self, item: Item) -> None:
        """Tell the end to each fallback that was told of the beginning in the channel's place."""
        believing = [fallback for alert in item.ends for fallback in self._standins.believing(self._shelf, item, alert)]
        for fallback in self._owing(item, believing):
            if item.leg_to(fallback) is None:
                self._stand_in(item, fallback)

    def _stand_in(self, item: Item, fallback: str) -> None:
        """Tell a fallback of an item, and first of what was decided before and may have to go there too.

        An item may tell of more alerts than those of which the fallback was told, and nothing is told after its end.
        """
        kin = self._shelf.kin(item, lambda other: other.number < item.number and self._may_come(other, fallback))
        self._tell_as_well(kin, fallback, Diversion(item.notification.channel))

    def _may_come(self, item: Item, fallback: str) -> bool:
        """Tell whether what is left of an item may yet have to go on to a fallback."""
        for leg in item.legs:
            channel = self._fallback_of(leg.channel) if leg.stops else None
            while channel is not None and item.leg_to(channel) is None:
                if channel == fallback:
                    return True
                channel = self._fallback_of(channel)
        return False

    def _note_gone(self, item: Item) -> None:
        """Remember what fallbacks were told of an item that is taken off the shelf."""
        for name in self._standins.note_gone(item, self._owing(item, item.fallbacks)):
            self._changed(name)

    def _owing(self, item: Item, fallbacks: Iterable[str]) -> list[str]:
        """Return which of these want to be told the ends of what an item is about, each once."""
        is_ended = self._sends_ends(item.notification.channel)
        return [each for each in dict.fromkeys(fallbacks) if is_ended and self._sends_ends(each)]

    def _forget_unwanted(self) -> None:
        """Forget what was told to those, or for those, that want no ends, or are no longer in the rules."""
        for name in self._standins.keep({each for each in (LOG_CHANNEL, *self._channels) if self._sends_ends(each)}):
            self._changed(name)

    def _add_leg(self, item: Item, fallback: str, why: Diversion) -> None:
        leg = self._leg(fallback, why)
        item.legs.append(leg)
        self._shelf.add_leg(item, leg)
        self._changed(item.name)
        coalesce.supersede(self._shelf, item, leg, self._changed)

    # --- the end of the way ------------------------------------------------------------------------------------------

    def _settle(self, item: Item, now: Instant) -> None:
        """See to legs that ended with nobody told: the fallback is, at once; and let go of what has nothing left."""
        for leg in item.legs:
            if leg.stops or leg.is_settled:
                continue
            leg.is_settled = True
            refusal = leg.refusal or Diversion(item.notification.channel, error="it has no target")
            self._divert(item, leg, refusal)
            if leg.refusal is None:
                self._bury(item, leg.channel, "", f"there is no channel {leg.channel!r} with a target", now)
        self._shelf.tidy(item)

    def _give_up(self, item: Item, now: Instant) -> None:
        """Give up what is too old, but for what is being attempted at this moment."""
        for leg in list(item.legs):
            for number, stop in list(leg.stops.items()):
                if stop.is_claimed or (stop.is_handed and not stop.box.withdraw(item.id)):
                    item.give_up_at = now.mono + _LOOK_AGAIN
                    continue
                why = f"not taken within {span(self._give_up_after)}" + (f": {stop.error}" if stop.error else "")
                self._bury(item, leg.channel, stop.box.label, why, now)
                self._shelf.drop_stop(item, leg, number)
                self._changed(item.name)
        self._settle(item, now)

    def _bury(self, item: Item, channel: str, target: str, why: str, now: Instant) -> None:
        """Give up at a target that no lane speaks for."""
        _log.error("not delivered", id=item.id, channel=channel, target=target, error=why)
        leg = item.leg_to(channel)
        if leg is not None:
            self._mourn(item, leg, target, why, now)

    def _mourn(self, item: Item, leg: Leg, target: str, why: str, now: Instant) -> None:
        if target:
            leg.refusal = Diversion(item.notification.channel, target, None, why)
        about = item.notification.group
        self.dead_letters.add(DeadLetter(leg.channel, target, item.id, about, why, now.wall))


def _is_left_at(item: Item, channel: str) -> bool:
    leg = item.leg_to(channel)
    return leg is not None and bool(leg.stops)
