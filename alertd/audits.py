"""Audits: now and then, all keys in etcd are compared with what the watch has made of its events."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from alertd.errors import EtcdRefused, EtcdUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from alertd.etcd.watch import Watch

_log = structlog.get_logger("alertd")

EVERY, JITTER = 300.0, 60.0
"""Seconds from one audit to the next, and by how much they vary, so that replicas do not ask at the same moment."""


class Audits:
    """Audits of one watch, by the monotonic clock; `begins` is called at the beginning of each."""

    def __init__(self, watch: Watch, begins: Callable[[], None] = lambda: None) -> None:
        self._watch = watch
        self._begins = begins

    async def keep(self) -> None:
        """Audit for ever."""
        while True:
            await asyncio.sleep(EVERY + random.uniform(-JITTER, JITTER))  # noqa: S311 - jitter
            self._begins()
            await self.make()

    async def make(self) -> None:
        """Audit once, and say what differed, or why it cannot be known."""
        try:
            differences = await self._watch.audit()
        except EtcdRefused as error:  # the stream may go on, since etcd judges it only at its start
            _log.warning("audit put off: etcd refuses it", reason=str(error))
        except EtcdUnavailable as error:
            _log.info("audit put off", reason=str(error))
        else:
            if differences:
                _log.warning("audit: the view differed from etcd and was mended", keys=differences)
