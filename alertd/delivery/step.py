"""How far a notification is on its way to one target: what the daemon is told of each, and tests die at."""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """How far a notification has come on its way."""

    DECIDED = "decided"
    """The engine wants it told; only memory knows."""
    WRITTEN = "written"
    """It is durable, and may be attempted."""
    ATTEMPTED = "attempted"
    """A target is about to be asked to take it."""
    ACCEPTED = "accepted"
    """The target has taken it; only memory knows."""
    RECORDED = "recorded"
    """That it was taken is durable."""
