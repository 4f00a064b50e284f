"""The items of an outbox, found by what they are asked for: their document, the alerts they tell of, a target.

Pure book-keeping. Items lie in the order of their decisions, under each key as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alertd.delivery.pending import Item, Leg


class Shelf:
    """Items by id, in order. `gone` is called with each that is taken off since nothing is left of it.

    Numbers go on from `latest`.
    """

    def __init__(self, gone: Callable[[Item], None], latest: int = 0) -> None:
        self._gone = gone
        self._latest = latest
        self._items: dict[str, Item] = {}
        self._by_name: dict[str, dict[str, Item]] = {}
        self._by_alert: dict[str, list[Item]] = {}
        self._by_box: dict[int, dict[str, Item]] = {}

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._items

    def get(self, identifier: str) -> Item | None:
        """Return the item of a notification."""
        return self._items.get(identifier)

    def named(self, name: str) -> list[Item]:
        """Return the items of a document."""
        return list(self._by_name.get(name, {}).values())

    def names(self) -> list[str]:
        """Return the documents that have items."""
        return list(self._by_name)

    def at_box(self, number: int) -> list[Item]:
        """Return the items that a target is still to be told of."""
        return list(self._by_box.get(number, {}).values())

    def is_box_idle(self, number: int) -> bool:
        """Tell whether a target has nothing left to be told."""
        return not self._by_box.get(number)

    @property
    def next_number(self) -> int:
        """The number of what is decided next."""
        return self._latest + 1

    def add(self, item: Item) -> None:
        """Put an item behind all others."""
        self._latest = max(self._latest, item.number)
        self._items[item.id] = item
        self._by_name.setdefault(item.name, {})[item.id] = item
        for alert in item.alerts:
            self._by_alert.setdefault(alert, []).append(item)
        for leg in item.legs:
            self.add_leg(item, leg)

    def add_leg(self, item: Item, leg: Leg) -> None:
        """Take note that an item on the shelf has a leg more."""
        for number in leg.stops:
            self._by_box.setdefault(number, {})[item.id] = item

    def drop_stop(self, item: Item, leg: Leg, number: int) -> None:
        """Take note that a target needs to be told no more."""
        leg.stops.pop(number, None)
        waiting = self._by_box.get(number, {})
        waiting.pop(item.id, None)
        if not waiting:
            self._by_box.pop(number, None)

    def tidy(self, item: Item) -> None:
        """Take an item off the shelf if it has no stops left."""
        if item.is_left or self._items.pop(item.id, None) is None:
            return
        named = self._by_name[item.name]
        del named[item.id]
        if not named:
            del self._by_name[item.name]
        for alert in item.alerts:
            about = self._by_alert[alert]
            about.remove(item)
            if not about:
                del self._by_alert[alert]
        self._gone(item)

    # --- before and after --------------------------------------------------------------------------------------------

    def sharing(self, item: Item) -> list[Item]:
        """Return the other items for the same channel that share an alert with `item`, in order."""
        channel = item.notification.channel
        found: dict[str, Item] = {}
        for alert in item.alerts:
            about = self._by_alert.get(alert, ())
            if len(about) > 1 or item not in about:
                found |= {other.id: other for other in about if other.notification.channel == channel}
        found.pop(item.id, None)
        return sorted(found.values(), key=lambda other: other.number)

    def earlier(self, item: Item) -> list[Item]:
        """Return those of them that were decided before it."""
        return [other for other in self.sharing(item) if other.number < item.number]

    def kin(self, item: Item, counts: Callable[[Item], bool]) -> list[Item]:
        """Return an item, and all that shares an alert with it, or with what does so, and `counts`; in order."""
        found, waiting = {item.id: item}, [item]
        while waiting:
            fresh = [other for other in self.sharing(waiting.pop()) if other.id not in found and counts(other)]
            found |= {other.id: other for other in fresh}
            waiting += fresh
        return sorted(found.values(), key=lambda each: each.number)

    def before(self, item: Item, alert: str) -> list[Item]:
        """Return those that were decided before it, for the same channel, and tell of an alert, in order."""
        about = self._by_alert.get(alert, ())
        channel = item.notification.channel
        return [other for other in about if other.number < item.number and other.notification.channel == channel]

    def next_about(self, item: Item, alert: str, number: int) -> Item | None:
        """Return the first item after `item` that tells a target of the same alert, for the same channel."""
        about = self._by_alert.get(alert, ())
        return next((each for each in about if each.number > item.number and _tells(each, item, number)), None)

    def last_about(self, item: Item, alert: str, number: int) -> Item | None:
        """Return the last item before `item` that tells a target of the same alert, reminders left out."""
        before = [each for each in self._by_alert.get(alert, ()) if each.number < item.number and not each.is_reminder]
        return next((each for each in reversed(before) if _tells(each, item, number)), None)


def _tells(other: Item, item: Item, number: int) -> bool:
    return other.notification.channel == item.notification.channel and other.find(number) is not None
