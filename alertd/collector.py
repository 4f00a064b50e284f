"""What Python's garbage collector is told of a daemon whose memory is large and mostly stays."""

from __future__ import annotations

import gc


def settle_memory() -> None:
    """Take what the first snapshot made out of the collector's sight: it stays, and would be traversed for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
