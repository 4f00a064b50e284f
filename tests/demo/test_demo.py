"""The demo from outside: its story, its end, and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.process import alertd, environment
from tests.etcd_server import wait_until

CLONE = Path(__file__).parents[2]


class DemoProcess:
    """`alertd demo` with a mark in its environment, which all its processes inherit."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.mark = f"MARK={uuid.uuid4()}"
        self.temp = folder / "temp"
        self.temp.mkdir()
        self.out_path = folder / "out"
        name, _, value = self.mark.partition("=")
        with self.out_path.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alertd", "demo", *arguments],
                cwd=CLONE,
                env=environment(TMPDIR=str(self.temp), COLUMNS="80", **{name: value}),
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        """Return what it has printed."""
        return self.out_path.read_text()

    def processes(self) -> list[int]:
        """Return all processes of the demo that are alive, by the mark in their environment."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def wait_for_story(self) -> None:
        """Wait until the stage stands."""
        wait_until(lambda: "instances are up" in self.output(), "the stage stands", 30)


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[list[DemoProcess]]:
    """Give a list whose demos and all their processes are killed in the end, should a test fail."""
    started: list[DemoProcess] = []
    yield started
    for demo in started:
        demo.process.kill()
        demo.process.wait()
        for left in demo.processes():
            os.kill(left, signal.SIGKILL)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> DemoProcess:
    """Give a demo that has run its course on a machine whose port 9490 is taken."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody else has it: as good
            taken.bind(("127.0.0.1", 9490))
            taken.listen()
        demo = DemoProcess(tmp_path_factory.mktemp("demo"), "--seconds", "52")
        try:
            demo.process.wait(90)
        finally:
            demo.process.kill()
    return demo


def test_it_ends_by_itself_and_leaves_nothing(story: DemoProcess) -> None:
    """Exit 0, no process alive, an empty temp folder, no traceback."""
    assert story.process.returncode == 0, story.output()
    assert story.processes() == []
    assert list(story.temp.iterdir()) == []
    assert "Traceback" not in story.output()


def test_the_address_of_the_page_comes_first(story: DemoProcess) -> None:
    """Another port is taken where 9490 is not to be had."""
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", story.output().splitlines()[0])
    assert found
    assert found[1] != "9490"


@pytest.mark.parametrize(
    "expected",
    [
        r"sees +DOWN apache/core02  failing: connection refused",
        r"sees +DOWN mail/core06  expired: lost contact, its lease ended",
        r"receives +\[FIRING\] instance-lost apache/core02",
        r"receives +\[FIRING\] instance-lost mail/core06 · expired",
        r"receives +\[FIRING\] apache-minimum apache · 1 of 3 up, needs 2",
        r"receives +\[FLAPPING\] instance-lost pay/core08",
        r"receives +\[SETTLED\] instance-lost pay/core08 · now resolved",
        r"receives +\[RESOLVED\] apache-minimum apache · 3 of 3 up",
        r"receives +\[RESOLVED\] instance-lost mail/core06 · back",
        r"receives +\[RESOLVED:2\] instance-lost apache",
        r"held-for, rules/instances\.yaml:\d+",
        r"The inbox received: 4 FIRING, 1 FLAPPING, 3 RESOLVED, 1 SETTLED\.",
    ],
)
def test_the_story_is_told_whole(story: DemoProcess, expected: str) -> None:
    """Each turn: the transition with its cause, the decision with its rule's place, the message that arrived."""
    assert re.search(expected, story.output()), story.output()


def test_it_is_readable_at_80_columns(story: DemoProcess) -> None:
    """No line is longer, none ends in spaces, and there is no colour off a terminal."""
    lines = story.output().splitlines()
    assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []
    assert "\x1b" not in story.output()


def test_ctrl_c_ends_everything(tmp_path: Path, demos: list[DemoProcess]) -> None:
    """Exit 0 within seconds; services, secretaries and etcd end as well, and the temp folder is empty."""
    demos.append(demo := DemoProcess(tmp_path))
    demo.wait_for_story()
    assert len(demo.processes()) >= 15
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(15) == 0
    assert demo.processes() == []
    assert list(demo.temp.iterdir()) == []


def test_its_processes_die_with_it(tmp_path: Path, demos: list[DemoProcess]) -> None:
    """Killed without warning, it takes all it started along."""
    demos.append(demo := DemoProcess(tmp_path))
    demo.wait_for_story()
    demo.process.kill()
    demo.process.wait()
    wait_until(lambda: demo.processes() == [], "all processes of the demo have ended")


@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_a_wrong_time_is_refused(seconds: str) -> None:
    """Usage, exit 2, no traceback."""
    done = alertd("demo", "--seconds", seconds)
    assert done.returncode == 2
    assert "--seconds" in done.stderr
    assert "Traceback" not in done.stderr
