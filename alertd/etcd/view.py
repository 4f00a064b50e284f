"""What the watch remembers of etcd, and what a listing or a response says against that memory.

The memory is small on purpose: the keys that exist and each one's lease. Values are the consumer's to remember; whether
a key changed during a gap follows from its revisions. Everything here is synchronous, without I/O and without a clock.

Invariant: after each revision that was taken, the keys here are those that etcd has at that revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from alertd.model import EventKind, KeyEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from alertd.etcd.client import KeyValue

_DELETED = 1
"""`mvccpb.Event.DELETE`."""


class View:
    """The keys that exist, each with its lease (0: none), and which keys each lease holds."""

    __slots__ = ("_holders", "leases")

    def __init__(self) -> None:
        self.leases: dict[bytes, int] = {}
        self._holders: dict[int, bytes | set[bytes]] = {}

    def __len__(self) -> int:
        return len(self.leases)

    def put(self, key: bytes, lease: int) -> None:
        """Remember that `key` exists under `lease`."""
        before = self.leases.get(key)
        if before is not None:
            self._release(key, before)
        self.leases[key] = lease
        if lease:
            self._hold(key, lease)

    def drop(self, key: bytes) -> int:
        """Forget a key and return the lease that it had, 0 if none."""
        lease = self.leases.pop(key, 0)
        self._release(key, lease)
        return lease

    def is_holding(self, lease: int) -> bool:
        """Whether a key is known that exists under this lease."""
        return lease in self._holders

    def _hold(self, key: bytes, lease: int) -> None:
        """Most leases hold one key, which then stands there without a set of its own (216 bytes)."""
        held = self._holders.get(lease)
        if held is None:
            self._holders[lease] = key
        elif isinstance(held, set):
            held.add(key)
        else:
            self._holders[lease] = {held, key}

    def _release(self, key: bytes, lease: int) -> None:
        held = self._holders.get(lease)
        if held == key:
            del self._holders[lease]
        elif isinstance(held, set):
            held.discard(key)
            if not held:
                del self._holders[lease]


class Batch(NamedTuple):
    """Events in their order, and those deletions that may be expiries: (index into `events`, lease)."""

    events: list[KeyEvent]
    doubtful: list[tuple[int, int]]


def take(view: View, events: Iterable[Any]) -> Batch:
    """Turn etcd's events, whole revisions, into ours, and remember what they did.

    A deletion counts as `DELETE` if the key had no lease, or if another key of its lease outlives that revision; all
    keys of a lease that ends die at one revision. The others are doubtful. This is the hot path: about 1 µs an event.
    """
    told: list[KeyEvent] = []
    doubtful: list[tuple[int, int]] = []
    dying: list[tuple[int, int]] = []
    dying_at = 0
    append, known, new = told.append, view.leases, tuple.__new__
    put, delete = EventKind.PUT, EventKind.DELETE
    for event in events:
        kv = event.kv
        key = kv.key
        revision = kv.mod_revision
        if dying and revision != dying_at:
            doubtful += [death for death in dying if not view.is_holding(death[1])]
            dying.clear()
        if event.type == _DELETED:
            lease = view.drop(key)
            if lease:
                dying.append((len(told), lease))
                dying_at = revision
            append(KeyEvent(delete, key, b"", 0, revision))
        else:
            lease = kv.lease
            if known.get(key) != lease:
                view.put(key, lease)
            append(new(KeyEvent, (put, key, kv.value, lease, revision)))
    doubtful += [death for death in dying if not view.is_holding(death[1])]
    return Batch(told, doubtful)


class Relisting:
    """A full listing compared with the view; it survives being broken off and begun again at a later revision.

    `cursor` is the revision at which the view was true; 0 if it cannot be compared (another cluster, an older
    history): then every listed key is told. So it is with `tells_all`, for a view that knows the keys of `cursor` but
    whose consumer has not been told of them.
    """

    def __init__(self, view: View, cursor: int, *, tells_all: bool = False) -> None:
        self._view = view
        self._cursor = cursor
        self._tells_all = tells_all
        self._true_at: dict[bytes, int] = {}
        self.revision = 0

    def begin(self, revision: int) -> None:
        """Start a listing at `revision`."""
        self.revision = revision

    def page(self, kvs: Iterable[KeyValue]) -> list[KeyEvent]:
        """Return what a page of the listing says that the view did not know, and remember it."""
        events: list[KeyEvent] = []
        for kv in kvs:
            key = kv.key
            if self._is_news(key, kv):
                if self._was_made_again(key, kv):
                    events.append(KeyEvent(EventKind.MISSED, key, b"", 0, kv.create_revision))
                self._view.put(key, kv.lease)
                events.append(KeyEvent(EventKind.FOUND, key, kv.value, kv.lease, kv.mod_revision))
            self._true_at[key] = self.revision
        return events

    def finish(self) -> list[KeyEvent]:
        """Return what the whole listing did not show any more, and forget it."""
        gone = [key for key in self._view.leases if self._true_at.get(key) != self.revision]
        for key in gone:
            self._view.drop(key)
        return [KeyEvent(EventKind.MISSED, key, b"", 0, self.revision) for key in gone]

    def _is_news(self, key: bytes, kv: KeyValue) -> bool:
        if self._tells_all and key not in self._true_at:
            return True
        true_at = self._true_at.get(key, self._cursor)
        return not true_at or kv.mod_revision > true_at or key not in self._view.leases

    def _was_made_again(self, key: bytes, kv: KeyValue) -> bool:
        """Whether a known key was deleted and made again since it was last seen."""
        true_at = self._true_at.get(key, self._cursor)
        return bool(true_at) and kv.create_revision > true_at and key in self._view.leases


class Comparison:
    """A keys-only listing compared with the view. What differs is only suspect: the stream may still bring it.

    `newest` is the revision of the last change to any key that was listed. If that is none that the view has not seen,
    and nothing is suspect, then etcd's state is the view's: a key that is there now and unchanged was there then.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._seen: set[bytes] = set()
        self._suspects: dict[bytes, int | None] = {}
        self.revision = 0
        self.newest = 0

    def page(self, kvs: Sequence[KeyValue]) -> None:
        """Take one page of the listing."""
        known = self._view.leases
        self.newest = max(self.newest, max((kv.mod_revision for kv in kvs), default=0))
        for kv in kvs:
            self._seen.add(kv.key)
            if known.get(kv.key) != kv.lease:
                self._suspects[kv.key] = kv.lease

    def finish(self, revision: int) -> None:
        """Take the end of the listing, which was made at `revision`."""
        self.revision = revision
        self._suspects.update(dict.fromkeys(self._view.leases.keys() - self._seen))
        self._seen = set()

    def suspects(self) -> list[bytes]:
        """Return the keys that differ still."""
        known = self._view.leases
        return [key for key, lease in self._suspects.items() if known.get(key) != lease]


def mend(view: View, key: bytes, kv: KeyValue | None, revision: int) -> KeyEvent | None:
    """Make the view agree with what etcd holds under `key` at `revision`; return the event if it did not."""
    known = view.leases.get(key)
    if kv is None:
        if known is None:
            return None
        view.drop(key)
        return KeyEvent(EventKind.MISSED, key, b"", 0, revision)
    if known == kv.lease:
        return None
    view.put(key, kv.lease)
    return KeyEvent(EventKind.FOUND, key, kv.value, kv.lease, kv.mod_revision)


def revision_of(event: Any) -> int:
    """Return the revision at which one of etcd's events happened."""
    return int(event.kv.mod_revision)


def split_after(events: Sequence[Any], revision: int) -> int:
    """Return how many of `events` happened up to and including `revision`."""
    low, high = 0, len(events)
    while low < high:
        middle = (low + high) // 2
        if revision_of(events[middle]) <= revision:
            low = middle + 1
        else:
            high = middle
    return low


def slices(events: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Cut `events` into parts of at least `size`, the last but one perhaps longer; never within a revision."""
    start = 0
    while len(events) - start > 2 * size:
        end = split_after(events, revision_of(events[start + size - 1]))
        yield events[start:end]
        start = end
    if start < len(events):
        yield events[start:] if start else events
