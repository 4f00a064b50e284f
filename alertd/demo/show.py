"""The demo from the first line to the last: raises the stage, plays the story, and takes everything down again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import alertd
from alertd.daemon import Daemon
from alertd.demo.children import Children
from alertd.demo.console import Narrator
from alertd.demo.inbox import Inbox
from alertd.demo.stage import ACTORS, Stage
from alertd.demo.story import END, play
from alertd.errors import AlertdError
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.embedded import EmbeddedEtcd
from alertd.settings import DaemonSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PAGE_PORT = 9490
_RAISED_WITHIN = 30.0


def find_rules() -> Path:
    """Return the folder `rules` here, else beside the package; raise AlertdError if there is none."""
    for folder in (Path("rules"), Path(alertd.__file__).parents[1] / "rules"):
        if folder.is_dir():
            return folder
    raise AlertdError("no folder `rules` here or beside the package; run the demo in a clone of alertd")


async def show(folder: Path, *, seconds: float | None) -> None:
    """Run the demo in `folder`, for so many seconds or until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(ending, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    rules, listener, narrator = find_rules(), _page_listener(), Narrator()
    listen = f"127.0.0.1:{listener.getsockname()[1]}"
    narrator.say(f"alertd demo: the page is at http://{listen}/, Ctrl-C ends it")
    async with (
        EmbeddedEtcd(folder / "etcd") as etcd,
        Children(folder / "children.log") as children,
        Inbox(narrator.receive) as inbox,
    ):
        _explain(narrator, etcd.endpoint, rules, inbox.url)
        server = EtcdSettings((etcd.endpoint,))
        settings = DaemonSettings(rules=rules, etcd=server, listen=listen, listener=listener, replica="demo")
        environ = {**os.environ, "ALERTD_OPS_URL": inbox.url}
        daemon = Daemon(settings, environ=environ, observe=narrator.observe)
        stage = Stage(children, folder, etcd.endpoint)
        async with _running(daemon, stop):
            await stage.set_up()
            await _raised(daemon, children, stop)
            if not stop.is_set():
                await _play(stage, narrator, etcd.endpoint, stop)
    narrator.say(f"\nThe inbox received: {narrator.received()}.")
    narrator.say("All that was started has ended.")
    narrator.say("Next: edit rules/, `alertd check`, then `alertd run --embedded`.")


def _page_listener() -> socket.socket:
    """Take the daemon's usual port, or a free one, before anybody else does."""
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", _PAGE_PORT))
    return socket.create_server(("127.0.0.1", 0))


def _explain(narrator: Narrator, etcd: str, rules: Path, inbox: str) -> None:
    narrator.say(f"  etcd      {etcd}, a real one; keys are /services/<service>/<instance>")
    narrator.say("  services  apache, mail, pay: three each, probed every 1 s, leases of 3 s")
    narrator.say(f"  rules     {rules}/")
    narrator.say(f"  inbox     {inbox}, a webhook that Apprise posts to")
    narrator.say("\nRaising the stage …")


@contextlib.asynccontextmanager
async def _running(daemon: Daemon, stop: asyncio.Event) -> AsyncIterator[None]:
    """Run the daemon meanwhile. If it ends by itself, so does the demo, and its error is raised."""
    over = asyncio.Event()
    running = asyncio.create_task(daemon.run(over), name="daemon")
    running.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        over.set()
        await running


async def _raised(daemon: Daemon, children: Children, stop: asyncio.Event) -> None:
    """Wait until every instance is up; raise AlertdError if that takes too long."""
    try:
        async with asyncio.timeout(_RAISED_WITHIN):
            while sum(service.up for service in daemon.services()) < len(ACTORS) and not stop.is_set():
                if ended := children.ended():
                    raise AlertdError(f"{', '.join(ended)} ended at the start; see {children.log}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AlertdError(f"not all services came up within {_RAISED_WITHIN:g} s; see {children.log}") from None


async def _play(stage: Stage, narrator: Narrator, etcd: str, stop: asyncio.Event) -> None:
    narrator.is_telling = True
    narrator.happens(f"All {len(ACTORS)} instances are up. The story takes {END:.0f} s.")

    def finish() -> None:
        narrator.happens("All is well again; Ctrl-C ends the demo. Try meanwhile:")
        if shutil.which("alertd") is None:
            narrator.say(f"  . {os.path.relpath(sys.prefix)}/bin/activate")
        narrator.say(f"  alertd status --etcd {etcd}")
        narrator.say(f"  etcdctl --endpoints {etcd} get --prefix /services/")
        narrator.say(f"  etcdctl --endpoints {etcd} del /services/apache/core01")

    scheduler = play(stage, narrator.happens, finish)
    try:
        await stop.wait()
    finally:
        scheduler.shutdown(wait=False)
        narrator.is_telling = False
