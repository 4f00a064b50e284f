"""What daemons that stop are still sending, as whoever speaks after them sees it; `handover` says what a claim is.

While a claim holds a target, nothing is attempted there, for what comes next there must wait for its end as well. When
the claim says that the target took the notification, that is noted in the outbox, as if it had been taken here; when it
holds the target no more, or is gone, what is left there is told from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from alertd.delivery.lane import Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.delivery.outbox import Outbox
    from alertd.delivery.pending import Box
    from alertd.model import Instant

_log = structlog.get_logger("alertd")

CLAIMS = "claims/"

Key = tuple[str, str, str]
"""Notification, channel, and the target's label."""


class Claims:
    """The claims there are, applied to an outbox that has restored what the last speaker left."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._held: dict[int, Box] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether any target is held."""
        return bool(self._held)

    def take(self, contents: Mapping[str, Mapping[str, Any]], now: Instant) -> list[str]:
        """Go by the claims as they are now; return the names of those that have said all they will."""
        held: dict[int, Box] = {}
        spent = []
        for name, content in contents.items():
            holding = _keys(content.get("held"))
            for key in _keys(content.get("taken")):
                self._note_taken(key, now)
            boxes = [box for key in holding if (box := self._outbox.box_of(*key)) is not None]
            held |= {box.number: box for box in boxes}
            if not holding:
                spent.append(name)
        for number, box in held.items():
            if number not in self._held:
                box.pause()
        gone = {number: box for number, box in self._held.items() if number not in held}
        self._held = held
        for box in gone.values():
            box.pause(is_paused=False)
        return spent

    def clear(self) -> None:
        """Hold nothing any more."""
        for box in self._held.values():
            box.pause(is_paused=False)
        self._held = {}

    def _note_taken(self, key: Key, now: Instant) -> None:
        notification, channel, target = key
        box = self._outbox.box_of(*key)
        if box is not None:
            box.withdraw(notification)
            _log.info("delivered by the last speaker", id=notification, target=target)
            delivery = Delivery(notification, channel, target, ok=True, attempts=1, seconds=0.0, lane=box.number)
            self._outbox.note_end(delivery, now)


def _keys(value: object) -> list[Key]:
    """Return what is held, or was taken; what cannot be understood is left out."""
    rows = value if isinstance(value, list) else []
    return [
        (row[0], row[1], row[2])
        for row in rows
        if isinstance(row, list) and len(row) == 3 and all(isinstance(part, str) for part in row)
    ]
