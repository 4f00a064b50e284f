"""What happens, and when: the plot as data, and APScheduler that plays it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from apscheduler.schedulers.asyncio import AsyncIOScheduler

if TYPE_CHECKING:
    from alertd.demo.stage import Stage


class Scene(NamedTuple):
    """At so many seconds, what `Stage` does to whom, and how it is told (empty: it goes without saying)."""

    at: float
    act: str
    whom: str
    telling: str = ""


PLOT = (
    Scene(3, "kill", "apache/core02", "One of three web servers dies: kill -9 on apache/core02."),
    Scene(9, "freeze", "secretary on core06", "A machine hangs: the secretary of mail/core06 is frozen."),
    Scene(14, "kill", "apache/core03", "A second web server dies: apache/core03. Only one is left."),
    Scene(20, "unsettle", "pay/core08", "pay/core08 becomes flaky: it fails every other probe."),
    Scene(25, "settle", "pay/core08", "pay/core08 is well again."),
    Scene(29, "start", "apache/core02", "The web servers are started again …"),
    Scene(29.1, "start", "apache/core03"),
    Scene(31, "thaw", "secretary on core06", "… and the machine of mail/core06 wakes up."),
)
END = 40.0
"""Seconds after which the last message has arrived."""


def play(stage: Stage, tell: Callable[[str], None], finish: Callable[[], None]) -> AsyncIOScheduler:
    """Begin the story now and return the scheduler, to be shut down; `finish` is called at its end.

    A scene that a busy machine delays is played late, never left out.
    """
    scheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None})
    start = datetime.now(UTC)

    async def act(scene: Scene) -> None:
        if scene.telling:
            tell(scene.telling)
        do: Callable[[str], Awaitable[None]] = getattr(stage, scene.act)
        await do(scene.whom)

    for scene in PLOT:
        scheduler.add_job(act, "date", run_date=start + timedelta(seconds=scene.at), args=[scene])
    scheduler.add_job(_soon(finish), "date", run_date=start + timedelta(seconds=END))
    scheduler.start()
    return scheduler


def _soon(call: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    """Make a coroutine function of it: the scheduler runs those on the loop, and others in threads."""

    async def run() -> None:
        call()

    return run
