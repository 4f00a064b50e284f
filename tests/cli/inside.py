"""Commands run in the process of the tests, exit codes and all: a second's third is saved each time."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, NamedTuple

import pytest

from alertd import cli
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, put_op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.etcd_server import EtcdServer


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def alertd(etcd: EtcdServer, *arguments: str, **environ: str) -> Done:
    """Run a command to its end, with nothing in its environment but `environ`."""
    out, err, code = StringIO(), StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["alertd", *arguments, "--etcd", etcd.endpoint])
        for name in [name for name in os.environ if name.startswith("ALERTD_")]:
            patch.delenv(name)
        for name, value in {"LOGNAME": "ann", **environ}.items():
            patch.setenv(name, value)
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def begin_with(etcd: EtcdServer, keys: Mapping[str, str]) -> None:
    """Let etcd hold these keys and no others."""

    async def put_all() -> None:
        async with Client(EtcdSettings((etcd.endpoint,))) as client:
            await client.delete(b"/", is_prefix=True)
            await client.txn([], [put_op(key.encode(), value.encode()) for key, value in keys.items()])

    asyncio.run(put_all())
