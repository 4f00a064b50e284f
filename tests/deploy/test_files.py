"""What the operator's README and the image name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "deploy/README.md").read_text()
CONTAINERFILE = (ROOT / "deploy/Containerfile").read_text()


def test_every_file_that_the_readme_names_is_there() -> None:
    """Commands stay true when files move."""
    commands = "\n".join(re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
    named = set(re.findall(r"(?<![/\w])(?:deploy|rules|templates|instances)/[\w@./*-]+", commands))
    assert {"deploy/secretary.sh", "deploy/constraints.txt", "instances/apache@8080.service"} <= named
    missing = [name for name in named if not list(ROOT.glob(name)) and not list((ROOT / "deploy/fleet").glob(name))]
    assert missing == []


def test_the_image_is_built_from_what_is_there() -> None:
    """What is copied into it exists, and nothing of it is left out of what a builder is given."""
    lines = [shlex.split(line)[1:-1] for line in CONTAINERFILE.splitlines() if line.startswith("COPY ")]
    copied = {name for words in lines for name in words if not words[0].startswith("--from")}
    assert {"alertd", "pyproject.toml", "deploy/constraints.txt"} <= copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied <= given


def test_the_image_holds_no_secret_and_runs_as_nobody_in_particular() -> None:
    """The last user named is no root, and no variable that is set is a secret."""
    assert re.findall(r"^USER (\S+)", CONTAINERFILE, re.MULTILINE) == ["65532:65532"]
    assert not re.search(r"PASSWORD|TOKEN|SECRET", CONTAINERFILE)
