"""Files that outlive the process: whole or as before, and each of a format that is understood."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alertd import statedir
from alertd.statedir import StateDir


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """By the next process too; until it is removed, and nothing is no fault."""
    folder = tmp_path / "state"
    assert StateDir(folder).read("x") == {}
    assert StateDir(folder).write("x", {"n": [1, "\ud800"]})
    assert StateDir(folder).read("x") == {"n": [1, "\ud800"]}
    assert StateDir(folder).write("x", None)
    assert StateDir(folder).read("x") == {}
    assert StateDir(None).write("x", {"n": 1}) is False


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"\xff", b'{"format": 2, "n": 1}', b"[" * 100_000])
def test_what_cannot_be_understood_is_left_out(tmp_path: Path, raw: bytes) -> None:
    """Be it damaged, or a newer alertd's."""
    (tmp_path / "x.json").write_bytes(raw)
    with capture_logs():
        assert StateDir(tmp_path).read("x") == {}


def test_a_file_bears_its_format(tmp_path: Path) -> None:
    """So that an older alertd leaves it alone one day."""
    StateDir(tmp_path).write("x", {"n": 1})
    assert json.loads((tmp_path / "x.json").read_bytes()) == {"format": 1, "n": 1}


def test_a_disk_that_is_full_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays, and work goes on."""

    def fill_up(_path: Path, _raw: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = StateDir(tmp_path)
    assert folder.write("x", {"n": 1})
    monkeypatch.setattr(statedir, "_replace", fill_up)
    with capture_logs() as logs:
        assert not folder.write("x", {"n": 2})
        assert not folder.write("x", {"n": 3})
    assert [line["error"] for line in logs] == ["No space left on device"]
    assert folder.read("x") == {"n": 1}
