"""What whoever leads does goes on beside each other, and begins anew when that is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from alertd.leading import Leading
from tests.etcd.following import until
from tests.etcd.terms import Frail

if TYPE_CHECKING:
    from alertd.etcd.election import Term


def a_term() -> Frail:
    """Return a term that lasts until it is ended."""
    term = Frail(None, b"leader", 1, 0)  # type: ignore[arg-type]
    term.deadline = float("inf")
    return term


class Work:
    """Work that notes when it begins and ends, and lasts until its term is over."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    async def do(self, term: Term) -> None:
        """Work."""
        self.begun += 1
        try:
            await term.rest(3600)
        finally:
            self.ended += 1


def test_all_begins_anew_in_the_same_term() -> None:
    """After all of it has ended; and it ends with the term."""

    async def story() -> None:
        works, term = [Work(), Work()], a_term()
        leading = Leading([work.do for work in works])
        leading.begin_anew()  # nothing is under way
        task = asyncio.create_task(leading.lead(term))
        await until(lambda: [work.begun for work in works] == [1, 1], "they work")
        leading.begin_anew()
        await until(lambda: [(work.begun, work.ended) for work in works] == [(2, 1)] * 2, "they work anew")
        term.end("enough")
        async with asyncio.timeout(5):
            await task
        assert [(work.begun, work.ended) for work in works] == [(2, 2)] * 2

    asyncio.run(story())


def test_what_breaks_is_raised_and_ends_the_rest() -> None:
    """A fault of our own is not to be overlooked."""

    async def story() -> None:
        async def broken(_term: Term) -> None:
            raise ZeroDivisionError

        work = Work()
        with pytest.raises(ExceptionGroup):
            await Leading([work.do, broken]).lead(a_term())
        assert work.begun == work.ended

    asyncio.run(story())
