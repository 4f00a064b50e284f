"""What of an outbox need not be told any more, since something later tells it as well.

Pure, but that it withdraws from the boxes. Judged for each target by itself: one may have taken what another has not.
Invariant: what ends something is never left out. A message that only begins is, where each of its alerts is next told
of by an end: a resolve bears both times. A reminder is left out where what it reminds of is not told yet, and gives way
to the next of its group. What is being attempted at that moment stays; it is looked at again when that fails. What a
document may hold gives way only to what is durable as well: else whoever takes over finds it, not what made it
pointless, and tells it after what was told meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from alertd.delivery.pending import Item, Leg
    from alertd.delivery.shelf import Shelf


def supersede(shelf: Shelf, item: Item, leg: Leg, changed: Callable[[str], None]) -> None:
    """Withdraw what has become pointless by a leg of `item`, which may be that leg itself; say which documents change.

    An item with nothing left is taken off the shelf.
    """
    if not leg.stops or not (item.ends or item.is_reminder):
        return
    earlier = list(reversed(shelf.earlier(item)))
    for number in list(leg.stops):
        if item.is_reminder and _is_untold(shelf, item, number):
            withdraw(shelf, item, number, changed)
            continue
        for other in earlier:
            if _gives_way(shelf, other, item, number):
                withdraw(shelf, other, number, changed)


def is_told_later(shelf: Shelf, item: Item, number: int) -> bool:
    """Tell whether a target, by its number, learns of all alerts of an item by later messages that end them."""
    if item.ends or not item.alerts or item.find(number) is None:
        return False
    following = ((alert, shelf.next_about(item, alert, number)) for alert in item.alerts)
    return all(
        other is not None and alert in other.ends and _may_replace(other, item, number) for alert, other in following
    )


def withdraw(shelf: Shelf, item: Item, number: int, changed: Callable[[str], None]) -> bool:
    """Take an item back from a target; False if it is being attempted there at this moment, or not left there."""
    found = item.find(number)
    if found is None:
        return False
    leg, stop = found
    if stop.is_claimed or (stop.is_handed and not stop.box.withdraw(item.id)):
        return False
    leg.is_settled = True
    shelf.drop_stop(item, leg, number)
    shelf.tidy(item)
    changed(item.name)
    return True


def _gives_way(shelf: Shelf, other: Item, item: Item, number: int) -> bool:
    """Tell whether an earlier item need not be told at a target any more, if it is not attempted there already."""
    if item.is_reminder:
        return other.is_reminder and other.name == item.name and _may_replace(item, other, number)
    return is_told_later(shelf, other, number)


def _may_replace(item: Item, other: Item, number: int) -> bool:
    """Tell whether an item may be told at a target in the place of another: if the store has it, or has neither."""
    found, replaced = item.find(number), other.find(number)
    return found is not None and replaced is not None and (found[0].is_durable or not replaced[0].is_drafted)


def _is_untold(shelf: Shelf, item: Item, number: int) -> bool:
    """Tell whether a target has yet to be told of all that a reminder reminds of."""
    before = ((alert, shelf.last_about(item, alert, number)) for alert in item.alerts)
    return all(other is not None and alert not in other.ends for alert, other in before)
