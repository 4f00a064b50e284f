"""Work that cannot be cancelled, done aside.

asyncio's own threads will not do: there are few of them, so that work that hangs would hold up work that does not; and
the process waits for them when it ends.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def start_aside(work: Callable[[], None]) -> None:
    """Do `work` in a thread that the end of the process does not wait for; raise OSError if there is none to have."""
    try:
        threading.Thread(target=work, name="aside", daemon=True).start()
    except RuntimeError:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
