"""What is written behind lets those go first who tell people, but not for ever."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_EVERY = 0.05
"""Seconds between two looks whether a rush is over."""


class Rush:
    """A time of much to judge or to tell, as `is_on` says at any moment."""

    def __init__(self, is_on: Callable[[], bool] = lambda: False) -> None:
        self.is_on = is_on

    async def wait(self, until: float) -> None:
        """Wait for its end, but no longer than `until`, in monotonic seconds."""
        while self.is_on() and time.monotonic() < until:  # noqa: ASYNC110 - it is for whoever asks to find out
            await asyncio.sleep(_LOOK_EVERY)
