"""Every unit that is shipped is read by systemd without a word, and by fleet's rules; each check can fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deploy.units import INSTANCES, PLAIN, PROGRAMS, TEMPLATES, fleet_faults, plant, read, values, verify

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")

LINKS = sorted(INSTANCES.iterdir())
FLEET = sorted(TEMPLATES.iterdir())
SERVICES = sorted(PLAIN.glob("*.service"))


def name_of(path: Path) -> str:
    """Return a test's name for a unit."""
    return path.name


def instance_of(path: Path) -> str:
    """Return the name that a unit is started by."""
    return path.name.replace("@.", "@8080.")


def known_to_be_old(line: str) -> bool:
    """Whether systemd only says that `KillMode=none` is no longer wise; the case asks for it, for hosts of its time."""
    return "KillMode=none" in line


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_systemd_finds_nothing_wrong_with_a_plain_unit(unit: Path, tmp_path: Path) -> None:
    """No unknown option, no program that is missing, no unit that is not there; not even a warning."""
    assert verify(plant(tmp_path / "units", *SERVICES), instance_of(unit)) == []


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_shell_secretary(tmp_path: Path) -> None:
    """As a drop-in of the secretary's unit."""
    units = plant(tmp_path / "units", *SERVICES)
    plant(units / "apache-secretary@.service.d", PLAIN / "shell.conf")
    assert verify(units, "apache-secretary@8080.service") == []
    (units / "apache-secretary@.service.d/shell.conf").write_text("[Service]\nExecStart=/bin/false\n")
    assert verify(units, "apache-secretary@8080.service") != []


@needs_systemd
@pytest.mark.parametrize("unit", [*LINKS, TEMPLATES / "alertd.service"], ids=name_of)
def test_systemd_finds_nothing_wrong_with_a_fleet_unit(unit: Path, tmp_path: Path) -> None:
    """Each link is verified under its own name, beside those that it names."""
    faults = verify(plant(tmp_path / "units", *LINKS, TEMPLATES / "alertd.service"), unit.name)
    assert [line for line in faults if not known_to_be_old(line)] == []


BROKEN = [
    ("alertd.service", "WatchdogSec=30s", "WatchdogSecs=30s"),
    ("alertd.service", "Restart=on-failure", "Restart=sometimes"),
    ("alertd.service", "ExecStart=/opt/alertd/bin/alertd", "ExecStart=alertdd"),
    ("alertd.service", "[Service]", "[Srevice]"),
    ("alertd.service", "SetCredential=secret:none", "SetCredential=secret:"),
    ("apache-secretary@.service", "Requires=apache@%i.service", "Requires=apachee@%i.service"),
    ("apache@.service", "/usr/bin/python3", "/usr/bin/python4"),
]


@needs_systemd
@pytest.mark.parametrize(("name", "right", "wrong"), BROKEN, ids=[case[2] for case in BROKEN])
def test_a_broken_unit_is_seen(tmp_path: Path, name: str, right: str, wrong: str) -> None:
    """One slip in one line is enough."""
    units = plant(tmp_path / "units", *SERVICES)
    text = (units / name).read_text()
    right = PROGRAMS.sub("/bin/true", right)
    assert right in text
    (units / name).write_text(text.replace(right, wrong))
    assert verify(units, instance_of(units / name)) != []


def test_every_instance_is_a_link_to_the_template_of_its_name() -> None:
    """Relative, so that it holds in any clone; three of the service, each with its secretary."""
    for link in LINKS:
        prefix = link.name.partition("@")[0]
        assert link.is_symlink()
        assert link.readlink() == Path(f"../templates/{prefix}@.service")
        assert link.resolve(strict=True) == TEMPLATES / f"{prefix}@.service"
    names = [link.name for link in LINKS]
    assert [f"apache-secretary@{port}.service" for port in (8080, 8081, 8082)] == names[:3]
    assert [f"apache@{port}.service" for port in (8080, 8081, 8082)] == names[3:]


@pytest.mark.parametrize("unit", FLEET, ids=name_of)
def test_fleet_finds_nothing_wrong(unit: Path) -> None:
    """Only what it knows, nothing that it reads otherwise, nothing newer than it is."""
    assert fleet_faults(unit.read_text()) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("MachineOf=", "ConditionMachineOf="), "[X-Fleet] knows no ConditionMachineOf"),
        (("MachineOf=", "Global=true\nMachineOf="), "MachineOf beside Global"),
        (("MachineOf=apache@%i", "MachineOf=apache@%H"), "no specifier %H"),
        (("[X-Fleet]", "[Install]\nWantedBy=multi-user.target\n\n[X-Fleet]"), "section Install"),
        (("[X-Fleet]", "[Service]"), "no section X-Fleet"),
        (("RestartSec=5", "RuntimeMaxSec=5"), "RuntimeMaxSec is too new"),
        (("RestartSec=5", r"Environment=A=\x20"), r"backslash in 'Environment=A=\\x20'"),
    ],
)
def test_what_fleet_would_refuse_is_seen(change: tuple[str, str], fault: str) -> None:
    """The book's own spelling among it, which fleet ignores: the secretary would land on any host."""
    text = (TEMPLATES / "apache-secretary@.service").read_text()
    assert change[0] in text
    assert fault in fleet_faults(text.replace(*change))


def test_a_fleet_service_and_its_secretary_are_tied() -> None:
    """Started with it, stopped with it, on the same machine; no machine runs two of the service or of the daemon."""
    service, secretary = ((TEMPLATES / f"{name}@.service").read_text() for name in ("apache", "apache-secretary"))
    assert "apache-secretary@%i.service" in values(service, "Unit", "Requires")
    assert "apache-secretary@%i.service" in values(service, "Unit", "Before")
    for name in ("Requires", "BindsTo", "After"):
        assert "apache@%i.service" in values(secretary, "Unit", name)
    assert values(secretary, "X-Fleet", "MachineOf") == ["apache@%i.service"]
    assert values(secretary, "Service", "Restart") == ["on-failure"]
    assert values(service, "X-Fleet", "Conflicts") == ["apache@*.service"]
    alertd = (TEMPLATES / "alertd.service").read_text()
    assert values(alertd, "X-Fleet", "Global") == ["true"]


def test_a_plain_service_and_its_secretary_are_tied() -> None:
    """Started and stopped with it, and neither fails because the other does."""
    service, secretary = ((PLAIN / f"{name}@.service").read_text() for name in ("apache", "apache-secretary"))
    assert "apache-secretary@%i.service" in values(service, "Unit", "Wants")
    assert "apache-secretary@%i.service" in values(service, "Unit", "Before")
    assert values(service, "Unit", "Requires") == []
    for name in ("Requires", "After"):
        assert "apache@%i.service" in values(secretary, "Unit", name)
    assert values(secretary, "Unit", "BindsTo") == []


@pytest.mark.parametrize("unit", SERVICES, ids=name_of)
def test_a_plain_unit_is_confined(unit: Path) -> None:
    """A user of its own, nothing to write to but its own folder, no capability."""
    given = {(option.name, option.value) for option in read(unit.read_text())}
    wanted = [("DynamicUser", "yes"), ("ProtectSystem", "strict"), ("ProtectHome", "yes"), ("NoNewPrivileges", "yes")]
    wanted += [("CapabilityBoundingSet", ""), ("MemoryDenyWriteExecute", "yes"), ("PrivateTmp", "yes")]
    assert [option for option in wanted if option not in given] == []
