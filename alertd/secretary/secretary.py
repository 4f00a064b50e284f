"""The shell: probes on schedule, and has etcd say what the judge says; whatever happens, it goes on.

Invariant: what etcd does not take is tried again, with jittered backoff, until it holds or a newer verdict takes its
place; probes go on meanwhile, late at most by the deadline of one call.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from alertd.errors import EtcdUnavailable
from alertd.etcd.client import Client
from alertd.etcd.retry import Backoff, Trouble
from alertd.secretary.hold import HeldByAnother, Hold
from alertd.secretary.probe import probe
from alertd.secretary.verdict import Judge, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.etcd.channel import EtcdSettings
    from alertd.sdnotify import ServiceManager
    from alertd.secretary.plan import Plan
    from alertd.secretary.verdict import Finding

_log = logging.getLogger("alertd.secretary")

STOP_SECONDS = 1.5
"""For the last words when it is stopped; with the rest of the work it ends within 2 s."""

_FIRST_RETRY = 0.2

_APART = 0.01
"""Seconds between the first probes of one and the next: many at one moment would be a load of their own."""


async def run(
    plans: Sequence[Plan], etcd: EtcdSettings, prefix: str, stop: asyncio.Event, manager: ServiceManager
) -> None:
    """Hold the keys of all plans until `stop` is set, then announce that they stop.

    The `manager` hears that we are ready once we probe: that a service is not well is no fault of its secretary's.
    Should one of them break by a fault of ours, nothing is announced: the leases end, and that is the truth.
    """
    async with Client(etcd) as client:
        trouble = Trouble("trouble with etcd")
        secretaries = [Secretary(plan, client, prefix, trouble) for plan in plans]
        working = [
            asyncio.create_task(each.work(number * _APART), name=each.plan.name)
            for number, each in enumerate(secretaries)
        ]
        reporting = asyncio.create_task(manager.report(lambda: _describe(secretaries)), name="report")
        manager.ready(_describe(secretaries))
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({*working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            manager.stopping()
            for task in (*working, stopping, reporting):
                task.cancel()
            await asyncio.gather(*working, stopping, reporting, return_exceptions=True)
        for task in done - {stopping}:
            task.result()
        await asyncio.gather(*(each.stop() for each in secretaries))


def _describe(secretaries: Sequence[Secretary]) -> str:
    """Return how things stand, in one line."""
    return f"holding {sum(each.is_holding for each in secretaries)} of {len(secretaries)} keys"


class Secretary:
    """Watches over one service. `trouble` is shared by those that speak with the same etcd."""

    def __init__(self, plan: Plan, client: Client, prefix: str, trouble: Trouble) -> None:
        self.plan = plan
        self._hold = Hold(client, f"{prefix}{plan.name}".encode(), plan.pace)
        self._judge = Judge(failures=plan.failures, successes=plan.successes)
        self._trouble = trouble
        self._rivalry = Trouble(f"{plan.name} has a rival")
        self._backoff = Backoff(first=_FIRST_RETRY, cap=plan.pace.every)
        self._last_reason = ""
        self._last_remark = ""
        self._standing = Standing()
        self._shown = b""

    @property
    def is_holding(self) -> bool:
        """Whether the key is, or may be, ours."""
        return self._hold.is_held

    async def work(self, delay: float = 0.0) -> None:
        """Probe and act for ever, from `delay` seconds on.

        A first round shortened by chance keeps many secretaries from acting in step.
        """
        await asyncio.sleep(delay)
        clock, every = asyncio.get_running_loop().time, self.plan.pace.every
        due = clock() - every * random.uniform(0.0, 0.5)  # noqa: S311 - jitter, not a secret
        while True:
            due = max(due + every, clock())
            finding = await probe(self.plan.check, self.plan.pace.timeout)
            self._report(finding)
            self._standing = self._judge.hear(finding)
            await self._pursue(self._standing, due)
            await asyncio.sleep(max(0.0, due - clock()))

    def _report(self, finding: Finding) -> None:
        """Log what is not as it should be when it is new; a remark is one of good probes, whatever is between them."""
        if finding.reason and finding.reason != self._last_reason:
            _log.warning("%s: the probe failed: %s", self.plan.name, finding.reason)
        self._last_reason = finding.reason
        if finding.remark and finding.remark != self._last_remark:
            _log.warning("%s: the probe is good, but %s", self.plan.name, finding.remark)
        if finding.good:
            self._last_remark = finding.remark

    async def _pursue(self, standing: Standing, until: float) -> None:
        """Make etcd show what holds; try again until the next probe is due."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                await self._show(standing)
            except EtcdUnavailable as error:
                self._trouble.note(error, clock())
            except HeldByAnother as error:
                self._rivalry.note(error, clock())
                return
            else:
                self._backoff.reset()
                return
            delay = self._backoff.next_delay()
            if clock() + delay >= until:
                return
            await asyncio.sleep(delay)

    async def _show(self, standing: Standing) -> None:
        now = asyncio.get_running_loop().time
        if standing.is_up and standing.renews:
            await self._keep(self.plan.value(standing.data))
            self._rivalry.end(now())
        elif not standing.is_up and self._hold.is_held:
            await self._hold.let_go(self.plan.value(standing.data, status="failing", reason=standing.reason))
            _log.warning("%s: failing, removed: %s", self.plan.name, standing.reason)
        else:
            return
        self._trouble.end(now())

    async def _keep(self, value: bytes) -> None:
        """Hold the key; that its data changed is nothing to tell."""
        is_update = self._hold.is_held and self._shown not in {b"", value}
        if await self._hold.keep(value) and not is_update:
            _log.info("%s: registered", self.plan.name)
        self._shown = value

    async def stop(self) -> None:
        """Announce that the service stops on purpose, also where it is failing; without etcd its lease says less."""
        if not self._hold.was_ever:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._hold.let_go(self.plan.value(self._standing.data, status="stopped"))
            _log.info("%s: stopped, removed", self.plan.name)
        except (EtcdUnavailable, TimeoutError) as error:
            _log.warning(
                "%s: %s, so the stop is not announced; the key ends with its lease within %d s",
                self.plan.name,
                str(error) or "etcd is out of reach",
                self.plan.pace.ttl,
            )
