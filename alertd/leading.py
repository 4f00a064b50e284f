"""What whoever leads does beside speaking; it begins anew when etcd shows another history.

Each of it reads what etcd has before it writes there, and goes by what it has written itself after that. In another
history that is not there: so all begins once more, in the same term if that holds there as well.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from alertd.etcd.election import Term


class Leading:
    """The `work` of a leader: each is called with the term, and returns, or is cancelled, when that is over."""

    def __init__(self, work: Sequence[Callable[[Term], Coroutine[Any, Any, None]]]) -> None:
        self._work = work
        self._again = asyncio.Event()

    def begin_anew(self) -> None:
        """Begin anew, if any of it is under way."""
        self._again.set()

    async def lead(self, term: Term) -> None:
        """Do all until `term` is over; raise what any of it raises."""
        while not term.is_over:
            self._again.clear()
            working = asyncio.create_task(self._do_all(term), name="work")
            waiting = asyncio.create_task(self._again.wait(), name="begin-anew")
            try:
                await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
                if working.done():
                    working.result()
                    return
            finally:
                for task in (working, waiting):
                    task.cancel()
                await asyncio.gather(working, waiting, return_exceptions=True)

    async def _do_all(self, term: Term) -> None:
        async with asyncio.TaskGroup() as group:
            for each in self._work:
                group.create_task(each(term), name=each.__qualname__)
