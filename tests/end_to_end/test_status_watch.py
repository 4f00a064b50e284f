"""`alertd status --watch`: one picture after another, on a terminal in place and in a pipe one below the other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
from rich.cells import cell_len

from tests.end_to_end.process import alertd, environment
from tests.end_to_end.terminal import HOME, TerminalProcess
from tests.etcd_server import EtcdServer, free_port, wait_until

ALERT = '{"format": 1, "id": "7f", "state": "firing", "severity": "info", "rule": "lost", "service": "支付"}'


class WatchProcess:
    """`alertd status --watch` whose output goes to files."""

    def __init__(self, folder: Path, etcd: EtcdServer, *arguments: str) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alertd", "status", "--watch", "--etcd", etcd.endpoint, *arguments],
                env=environment(),
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        """What it has printed."""
        return self._out.read_text()

    @property
    def err(self) -> list[str]:
        """What it has said of itself, by lines."""
        return self._err.read_text().splitlines()

    @property
    def blocks(self) -> list[str]:
        """The pictures that it has printed."""
        return self.out.split("--- ")[1:]

    def wait_for(self, text: str) -> None:
        """Wait until the last picture shows a text."""
        wait_until(lambda: self.blocks and text in self.blocks[-1], f"it shows {text!r}; it printed {self.out}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


# --- in a pipe -------------------------------------------------------------------------------------------------------


def test_a_new_block_for_each_change_and_for_nothing_else(tmp_path: Path, etcd: EtcdServer) -> None:
    """An instance, its value, an alert, a leader; a lease that runs down or is renewed is no change."""
    lease = etcd.ctl("lease", "grant", "3600").split()[1]
    etcd.ctl("put", f"--lease={lease}", "/services/apache/a", "")
    with WatchProcess(tmp_path, etcd) as watching:
        watching.wait_for("apache")
        etcd.ctl("put", f"--lease={lease}", "/services/apache/a", "")
        etcd.ctl("lease", "keep-alive", "--once", lease)
        etcd.ctl("put", "/elsewhere", "")
        quiet_until = time.monotonic() + 2.5
        wait_until(lambda: time.monotonic() > quiet_until, "leases run down")
        assert len(watching.blocks) == 1
        for change, shown in (
            (("put", "/services/支付/甲", ""), "支付     1 of 1  甲"),
            (("put", "/services/支付/甲", '{"status": "failing"}'), "0 of 1"),
            (("put", "/alertd/alerts/7f", ALERT), "firing"),
            (("put", "/alertd/leader", '{"format": 1, "replica": "r1"}'), "r1 leads"),
            (("del", "/alertd/alerts/7f"), "no alerts\n"),
            (("del", "/services/支付/甲"), "SERVICE  UP      INSTANCE  STATE  TTL    VALUE\napache"),
        ):
            etcd.ctl(*change)
            watching.wait_for(shown)
        assert len(watching.blocks) == 7
        assert "支付" not in watching.blocks[-1]
        assert all(block.endswith("\n\n") for block in watching.blocks[:-1])
        assert "\x1b" not in watching.out
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait(5) == 130
        assert watching.err == []


def test_as_json_it_is_one_document_a_line(tmp_path: Path, etcd: EtcdServer) -> None:
    """Each of the shape that `status --json` has; of the service that is named."""
    etcd.ctl("put", "/services/apache/a", "")
    etcd.ctl("put", "/services/pay/a", "")

    def lines() -> list[str]:
        return watching.out.splitlines()

    with WatchProcess(tmp_path, etcd, "--json", "apache") as watching:
        wait_until(lambda: len(lines()) == 1, "the first picture")
        etcd.ctl("put", "/services/pay/b", "")
        etcd.ctl("put", "/services/apache/b", "")
        wait_until(lambda: len(lines()) == 2, "a second")
        once = alertd("status", "apache", "--json", "--etcd", etcd.endpoint)
        assert json.loads(lines()[1]) == json.loads(once.stdout)
        assert len(json.loads(lines()[0])["services"][0]["instances"]) == 1


def test_it_goes_on_when_etcd_was_away(tmp_path: Path, etcd: EtcdServer) -> None:
    """It says so on stderr, once; what changed meanwhile is shown, and nothing if nothing did."""
    etcd.ctl("put", "/services/apache/a", "")
    with WatchProcess(tmp_path, etcd) as watching:
        watching.wait_for("apache")
        for number, name in enumerate(("", "b")):
            etcd.kill()
            wait_until(lambda: len(watching.err) == 2 * number + 1, "it says that etcd is away")  # noqa: B023
            etcd.start()
            if name:
                etcd.ctl("put", f"/services/apache/{name}", "")
            wait_until(lambda: len(watching.err) == 2 * number + 2, "it says that etcd is back")  # noqa: B023
        watching.wait_for("2 of 2")
        assert len(watching.blocks) == 2
        assert [line.split(":")[1].strip() for line in watching.err] == [
            "the watch on etcd does not work",
            "etcd is back",
        ] * 2


def test_a_reader_that_has_enough_ends_it(tmp_path: Path, etcd: EtcdServer) -> None:
    """As with any tool in a pipe, and without a word."""
    command = [sys.executable, "-m", "alertd", "status", "--watch", "--etcd", etcd.endpoint]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()

        def has_ended() -> bool:
            etcd.ctl("put", "/services/apache/a", str(time.monotonic()))
            return process.poll() is not None

        wait_until(has_ended, "it ends")
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--etcd", "127.0.0.1:{port}"), 3, "refuses the connection"),
        (("--exit-code",), 2, "--watch"),
    ],
)
def test_what_cannot_be_watched_is_said_at_once(arguments: tuple[str, ...], code: int, says: str) -> None:
    """One line, with the exit code that `status` has for it."""
    done = alertd("status", "--watch", *(part.format(port=free_port()) for part in arguments))
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- on a terminal ---------------------------------------------------------------------------------------------------


def test_a_terminal_is_drawn_in_place_and_given_back(etcd: EtcdServer) -> None:
    """Time left of leases ticks; a change is seen at once; Ctrl-C leaves the terminal as it was."""
    lease = etcd.ctl("lease", "grant", "1000").split()[1]
    etcd.ctl("put", f"--lease={lease}", "/services/支付/甲", '{"host": "core01"}')
    etcd.ctl("put", "/alertd/alerts/7f", ALERT)
    with TerminalProcess("status", "--watch", "--etcd", etcd.endpoint) as terminal:
        wait_until(lambda: len(terminal.frames) > 3, "it is drawn again and again")
        left = [int(frame[1].split("up")[1].split("s")[0]) for frame in terminal.frames[:3]]
        assert left[0] > left[2] >= left[0] - 5
        assert "firing  info" in terminal.last
        etcd.ctl("put", "/services/支付/乙", "")
        wait_until(lambda: "乙" in terminal.last, "the change is seen", 1.5)
        assert terminal.interrupt() == 130
    begun, drawn = terminal.output.split(HOME, 1)
    assert begun == "\x1b[?1049h\x1b[?25l"
    assert drawn.endswith("\x1b[?25h\x1b[?1049l")
    assert "\x1b[2J" not in drawn, "clearing all before each picture flickers"


def test_a_picture_never_exceeds_the_terminal(etcd: EtcdServer) -> None:
    """Cut in both directions, wide letters counted as they are shown, and the alerts are still there."""
    for number in range(30):
        etcd.ctl("put", f"/services/支付/甲{number:02}", '{"host": "' + "支" * 100 + '"}')
    etcd.ctl("put", "/alertd/alerts/7f", ALERT)
    with TerminalProcess("status", "--watch", "--etcd", etcd.endpoint, columns=50, lines=12) as terminal:
        wait_until(lambda: len(terminal.frames) >= 2, "it is drawn")
        frame = terminal.frames[0]
    assert len(frame) == 12
    assert max(map(cell_len, frame)) <= 50
    assert "… and 26 lines more" in frame
    assert any(line.startswith("firing") for line in frame)


def test_a_terminal_shows_the_last_picture_while_etcd_is_away(etcd: EtcdServer) -> None:
    """And says that it is the last."""
    etcd.ctl("put", "/services/apache/a", "")
    with TerminalProcess("status", "--watch", "--etcd", etcd.endpoint) as terminal:
        wait_until(lambda: "apache" in terminal.last, "it is drawn")
        etcd.kill()
        wait_until(lambda: "this is the last that was seen" in terminal.last, "it says so")
        assert "apache" in terminal.last
        etcd.start()
        wait_until(lambda: "this is the last that was seen" not in terminal.last, "it is over")
        etcd.ctl("put", "/services/pay/a", "")
        wait_until(lambda: "pay" in terminal.last, "it goes on")
        assert terminal.interrupt() == 130
    assert "Traceback" not in terminal.output
