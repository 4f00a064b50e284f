"""What the tests of the configuration share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.folder import Folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """Return an empty rules directory, shown as `rules`."""
    monkeypatch.chdir(tmp_path)
    return Folder()
