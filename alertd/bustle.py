"""Whether people are about to be told of much, so that what is only shown or remembered can wait."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alertd.post import Post

_LASTS = 0.3
"""Seconds after the last answer of the engine for which more may be expected."""


class Bustle:
    """Knows when the engine last answered anything, and what is on its way to people."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._acted_at = -inf

    def note(self) -> None:
        """Take note that the engine has answered something."""
        self._acted_at = time.monotonic()

    def is_on(self) -> bool:
        """Tell whether to wait; what a target that is stuck leaves undelivered is nothing to wait for."""
        if time.monotonic() - self._acted_at < _LASTS:
            return True
        return len(self._post.outbox) > 0 and not any(lane.stuck_since for lane in self._post.targets())
