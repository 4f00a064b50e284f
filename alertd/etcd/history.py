"""Whether etcd still shows the history that it showed before: what is remembered of another cannot be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from alertd.etcd.client import Page


class History(NamedTuple):
    """How far the history is known: whoever shows less, or another cluster, shows another history."""

    cluster_id: int = 0
    raft_term: int = 0
    revision: int = 0

    @classmethod
    def of(cls, page: Page) -> Self:
        """Return the history that a linearizable answer shows."""
        return cls(page.cluster_id, page.raft_term, page.revision)

    def is_continued_by(self, page: Page) -> bool:
        """Tell whether a linearizable answer may be of the same history."""
        same = self.cluster_id in {0, page.cluster_id}
        return same and page.raft_term >= self.raft_term and page.revision >= self.revision
