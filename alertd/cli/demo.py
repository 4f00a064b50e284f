"""`alertd demo`: everything real, on one machine, in a minute."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", envvar="ALERTD_SECONDS", min=1, help="End by itself after so many.", show_default="Ctrl-C ends"
        ),
    ] = None,
) -> None:
    """Show alertd at work: a real etcd, services that fail, and the messages that people would get.

    Leaves nothing behind.
    """
    from alertd.cli import logs
    from alertd.demo.show import show

    folder = Path(tempfile.mkdtemp(prefix="alertd-demo-"))
    logs.set_up("json")
    with (folder / "alertd.log").open("w") as log:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(log)
        asyncio.run(show(folder, seconds=seconds))
    shutil.rmtree(folder, ignore_errors=True)
