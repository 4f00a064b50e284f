"""What waits for a target whose address a reload has changed goes on to its *heir*, the target that took its place.

Pure book-keeping, but that it withdraws from the boxes. What is under way at the old address may be taken there, and is
not told again then; it goes on only once that has failed, and what comes later about the same alerts waits for it.
Invariant: at every moment a stop is in the queue of one box at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alertd.delivery.pending import Box, Item, Leg, Stop
    from alertd.delivery.shelf import Shelf


def follow(shelf: Shelf, heirs: Mapping[int, Box], changed: Callable[[str], None]) -> list[Item]:
    """Move all that waits at boxes that are gone, by their numbers; say which documents change.

    Returns what was in the queue of such a box, and is to be handed over anew.
    """
    again: dict[str, Item] = {}
    for item in shelf:
        for leg in item.legs:
            for stop in list(leg.stops.values()):
                gone = stop.box if stop.heir is None else stop.heir
                if gone.number not in heirs:
                    continue
                stop.heir = heirs[gone.number]
                changed(item.name)
                was_handed = stop.is_handed
                if is_free(item, stop):
                    move(shelf, item, leg, stop)
                    again |= {item.id: item} if was_handed else {}
    return list(again.values())


def is_free(item: Item, stop: Stop) -> bool:
    """Take an item out of its box; False if it is under way there, or how it ended is not heard of yet."""
    return not stop.is_handed or stop.box.withdraw(item.id)


def move(shelf: Shelf, item: Item, leg: Leg, stop: Stop) -> None:
    """Let a stop be at its heir, which knows nothing of it yet, and of which nothing is known."""
    if stop.heir is None:
        return
    shelf.drop_stop(item, leg, stop.box.number)
    stop.box, stop.heir = stop.heir, None
    stop.attempts, stop.since, stop.error, stop.is_handed = 0, None, "", False
    if stop.is_claimed:
        stop.box.hold()
    leg.stops[stop.box.number] = stop
    shelf.add_leg(item, leg)


def is_awaited(shelf: Shelf, item: Item, stop: Stop) -> bool:
    """Tell whether something earlier about the same alerts may yet come to a stop's box."""
    legs = (leg for other in shelf.earlier(item) for leg in other.legs)
    return any(each.heir is stop.box for leg in legs for each in leg.stops.values())
