"""What is wrong with delivery, kept in etcd by whoever leads, so that `alertd status` shows it from any node.

The document `delivery` names each target that is stuck, or has given something up within the last day; where all is
well it is not there. It is looked at every second, and written only where it differs, so at rest nothing is. Who begins
to lead goes on with what was given up before; who is stuck it knows from the letters.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from alertd import document
from alertd.delivery.dead import DeadLetter
from alertd.errors import EtcdUnavailable
from alertd.etcd.election import NotLeading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alertd.delivery.dead import Grave
    from alertd.delivery.lane import LaneStatus
    from alertd.delivery.trouble import Trouble
    from alertd.etcd.election import Term
    from alertd.etcd.store import Documents, Store
    from alertd.model import Instant
    from alertd.post import Post

DELIVERY = "delivery"

_EVERY, _AGAIN = 1.0, 5.0
"""Seconds from one look to the next, and after etcd did not answer."""
_SHOWN_FOR = timedelta(days=1)
"""How long a target is shown after it has given something up."""
_SHOWN = 5
"""Dead letters of one target that are shown."""


class Bulletin:
    """The document of one daemon. To be used on the event loop that the outbox is used on."""

    def __init__(self, post: Post, store: Store, clock: Callable[[], Instant]) -> None:
        self._post = post
        self._store = store
        self._clock = clock

    async def keep(self, term: Term) -> None:
        """Keep the document until `term` is over; one that a newer alertd wrote is left alone."""
        is_read = False
        while not term.is_over:
            try:
                if not is_read:
                    found = await self._store.read(DELIVERY)
                    if DELIVERY in found.newer:
                        return
                    self._recall(found)
                    is_read = True
                await self._store.commit(term, {DELIVERY: self._content()})
            except NotLeading:
                return
            except EtcdUnavailable:  # told by those who watch it
                await term.rest(_AGAIN)
            await term.rest(_EVERY)

    def _recall(self, found: Documents) -> None:
        """Take over what was given up before; what cannot be understood of it is left out."""
        for each in _objects_in(found.contents.get(DELIVERY, {}).get("targets")):
            letters = [_read(each, letter) for letter in _objects_in(each.get("dead_letters"))]
            count = each.get("given_up")
            if isinstance(count, int):
                self._post.outbox.dead_letters.restore([one for one in letters if one is not None], count)

    def _content(self) -> dict[str, Any] | None:
        outbox = self._post.outbox
        outbox.dead_letters.forget(self._clock().wall - _SHOWN_FOR)
        graves = dict(outbox.dead_letters.graves)
        entries = []
        for lane in self._post.targets():
            trouble, grave = outbox.trouble_of(lane.number), graves.pop((lane.channel, lane.target), None)
            if trouble is not None or grave is not None:
                entries.append(_of_target(lane.channel, lane.target, grave, trouble, lane))
        entries += [_of_target(*key, grave) for key, grave in graves.items()]
        return {"targets": entries} if entries else None


def _of_target(
    channel: str, target: str, grave: Grave | None, trouble: Trouble | None = None, lane: LaneStatus | None = None
) -> dict[str, Any]:
    """Return one entry; `target` is empty where a channel has none."""
    letters = [] if grave is None else list(grave.last)[-_SHOWN:]
    return {
        "channel": channel,
        "target": target,
        "undelivered": 0 if lane is None else lane.queued,
        "stuck_since": None if trouble is None else document.stamp(trouble.since),
        "last_error": trouble.error if trouble is not None else letters[-1].why if letters else "",
        "given_up": 0 if grave is None else grave.count,
        "dead_letters": [
            {"id": each.id, "about": each.about, "why": each.why, "at": document.stamp_of(each.at)} for each in letters
        ],
    }


def _objects_in(shown: object) -> list[dict[str, Any]]:
    return [each for each in shown if isinstance(each, dict)] if isinstance(shown, list) else []


def _read(entry: Mapping[str, Any], letter: Mapping[str, Any]) -> DeadLetter | None:
    at = document.moment(letter.get("at"))
    texts = (entry.get("channel"), entry.get("target"), letter.get("id"), letter.get("about"), letter.get("why"))
    if at is None or not all(isinstance(text, str) for text in texts):
        return None
    channel, target, identifier, about, why = map(str, texts)
    return DeadLetter(channel, target, identifier, about, why, at)
