"""Unit files as systemd and fleet read them, and what each finds wrong with one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

DEPLOY = Path(__file__).parents[2] / "deploy"
PLAIN = DEPLOY / "systemd"
TEMPLATES = DEPLOY / "fleet/templates"
INSTANCES = DEPLOY / "fleet/instances"

HOSTS_OWN = ("docker.service", "etcd-member.service")
"""Units that a host of fleet's brings; here they stand for themselves."""

PROGRAMS = re.compile(r"(?<=[=+\-!@:])(/usr/bin/docker|/opt/alertd/bin/\S+)")
"""Programs that are on no machine where tests run."""

_X_FLEET = {"MachineID", "MachineOf", "MachineMetadata", "Conflicts", "Global", "Replaces"}
_BESIDE_GLOBAL = {"Global", "MachineMetadata", "Conflicts"}
_SERVICE_OF_2016 = {
    *("Environment", "EnvironmentFile", "ExecReload", "ExecStart", "ExecStartPre", "ExecStop", "KillMode"),
    *("Restart", "RestartSec", "TimeoutStartSec"),
}
"""What our fleet units use of what systemd 225 knew; fleet is as old."""


class Option(NamedTuple):
    """One `name=value` of a unit file."""

    section: str
    name: str
    value: str


def read(text: str) -> list[Option]:
    """Return a unit's options in order, with continued lines joined; raise ValueError for a line that is none."""
    options, section = [], ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if match := re.fullmatch(r"\[(.+)\]", line):
            section = match[1]
        elif line.strip() and line[0] not in "#;":
            name, equals, value = line.partition("=")
            if not equals or not section:
                raise ValueError(f"{line!r} is no option of a section")
            options.append(Option(section, name, value))
    return options


def values(text: str, section: str, name: str) -> list[str]:
    """Return all words that a unit gives an option."""
    return [word for option in read(text) if option[:2] == (section, name) for word in option.value.split()]


def fleet_faults(text: str) -> list[str]:
    """Return what fleet would refuse, ignore or misread in a unit.

    fleet takes a backslash anywhere in a line for a continuation, enables a unit with an [Install] section instead of
    tracking it, and knows few options and specifiers in [X-Fleet].
    """
    options = read(text)
    own = [option for option in options if option.section == "X-Fleet"]
    faults = [f"[X-Fleet] knows no {option.name}" for option in own if option.name not in _X_FLEET]
    faults += [f"no specifier {found}" for option in own for found in re.findall(r"%[^nNpi]", option.value)]
    if any(option.name == "Global" for option in own):
        faults += [f"{option.name} beside Global" for option in own if option.name not in _BESIDE_GLOBAL]
    faults += [f"section {option.section}" for option in options if option.section == "Install"]
    faults += [f"backslash in {line!r}" for line in text.splitlines() if "\\" in line.removesuffix("\\")]
    faults += [
        f"{option.name} is too new"
        for option in options
        if option.section == "Service" and option.name not in _SERVICE_OF_2016
    ]
    return faults if own else ["no section X-Fleet"]


def plant(folder: Path, *files: Path) -> Path:
    """Copy units into a folder as systemd would find them, with programs that exist; return the folder."""
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file.name).write_text(PROGRAMS.sub("/bin/true", file.read_text()))
    for name in HOSTS_OWN:
        (folder / name).write_text("[Service]\nExecStart=/bin/true\n")
    return folder


def verify(folder: Path, *units: str) -> list[str]:
    """Return all that systemd finds wrong with units in a folder, warnings too."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    return lines or ([f"exit code {done.returncode}"] if done.returncode else [])
