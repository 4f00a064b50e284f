"""A wall clock of its own for processes, if libfaketime is installed; the monotonic clock stays the real one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

_PLACES = ("lib/*/faketime", "lib/faketime", "lib64/faketime", "local/lib/faketime")
LIBRARY = next((found for place in _PLACES for found in Path("/usr").glob(f"{place}/libfaketimeMT.so.1")), None)

needs_faketime = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian: faketime)")


class WallClock:
    """The wall clock of processes that have `variables`; it can be set while they run.

    libfaketime shows them another one than the real, as the offset in a file says.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.variables = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, offset: float) -> None:
        """Have it be so many seconds ahead of the real one."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+f}\n")
        new.rename(self._file)

    def set_to(self, wall: datetime) -> None:
        """Have it show a moment now."""
        self.set((wall - datetime.now(UTC)).total_seconds())
