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
    from alertd.delivery.pending import Stop
    from alertd.model import Instant

_log = structlog.get_logger("alertd")

CLAIMS = "claims/"

Key = tuple[str, str, str]
"""Notification, channel, and the target's label."""


class Claims:
    """The claims there are, applied to an outbox that has restored what the last speaker left."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._held: dict[Key, Stop] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether any target is held."""
        return bool(self._held)

    def take(self, contents: Mapping[str, Mapping[str, Any]], now: Instant) -> list[str]:
        """Go by the claims as they are now; return the names of those that have said all they will."""
        held: dict[Key, Stop] = {}
        spent = []
        for name, content in contents.items():
            holding = _keys(content.get("held"))
            digests = {(channel, label): digest for channel, label, digest in _keys(content.get("targets"))}
            for key in _keys(content.get("taken")):
                self._note_taken(key, digests.get(key[1:], ""), now)
            stops = {key: self._outbox.stop_at(*key, digests.get(key[1:], "")) for key in holding}
            held |= {key: stop for key, stop in stops.items() if stop is not None}
            if not holding:
                spent.append(name)
        self._hold(held)
        return spent

    def clear(self) -> None:
        """Hold nothing any more."""
        self._hold({})

    def _hold(self, held: dict[Key, Stop]) -> None:
        """Hold these, and no others."""
        before, self._held = self._held, held
        for stop in before.values():
            stop.is_claimed = False
        for stop in held.values():
            stop.is_claimed = True
            stop.box.hold()
        boxes = {stop.box.number for stop in held.values()}
        for stop in before.values():
            if stop.box.number not in boxes:
                stop.box.hold(is_held=False)

    def _note_taken(self, key: Key, digest: str, now: Instant) -> None:
        notification, channel, target = key
        stop = self._outbox.stop_at(*key, digest)
        if stop is not None:
            stop.box.withdraw(notification)
            _log.info("delivered by the last speaker", id=notification, target=target)
            number = stop.box.number
            delivery = Delivery(notification, channel, target, ok=True, attempts=1, seconds=0.0, lane=number)
            self._outbox.note_end(delivery, now)


def _keys(value: object) -> list[Key]:
    """Return what is held, or was taken; what cannot be understood is left out."""
    rows = value if isinstance(value, list) else []
    return [
        (row[0], row[1], row[2])
        for row in rows
        if isinstance(row, list) and len(row) == 3 and all(isinstance(part, str) for part in row)
    ]
