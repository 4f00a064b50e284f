"""On how many leases the keys are, as far as that matters: exactly while they are few.

A million keys may each have a lease of its own, and nobody asks whether that is 900,000 or 1,000,000. So each key keeps
a small number (a tag) in place of its lease, of which there are so few that they cost nothing; those beyond share one.
"""

from __future__ import annotations

from collections import deque

_TAGS = 256
"""Python makes each of so small numbers once; 0 is for keys without a lease, the last for leases beyond."""


class Leases:
    """The leases of the keys that are there, each by its tag."""

    __slots__ = ("_counts", "_free", "_leases", "_tags")

    def __init__(self) -> None:
        self._tags: dict[int, int] = {}
        self._leases = [0] * _TAGS
        self._counts = [0] * _TAGS
        self._free = deque(range(1, _TAGS - 1))

    def enter(self, lease: int) -> int:
        """Take note of one more key on a lease (0: on none); return the lease's tag."""
        if not lease:
            return 0
        tag = self._tags.get(lease)
        if tag is None:
            if self._free:
                tag = self._tags[lease] = self._free.popleft()
                self._leases[tag] = lease
            else:
                tag = _TAGS - 1
        self._counts[tag] += 1
        return tag

    def leave(self, tag: int) -> None:
        """Take note of one key less; a tag that nobody has any more is given away again, those longest free first."""
        if not tag:
            return
        self._counts[tag] -= 1
        if not self._counts[tag] and tag < _TAGS - 1:
            del self._tags[self._leases[tag]]
            self._free.append(tag)

    def tags(self) -> set[int]:
        """Return the tags in use: as many as there are leases, or more than any number that matters."""
        return {tag for tag in range(1, _TAGS) if self._counts[tag]}
