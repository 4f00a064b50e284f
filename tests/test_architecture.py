"""The house rules that a reader relies on: who imports whom, and what the pure engine may not touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import alertd

ROOT = Path(alertd.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

_LEAVES = "collector document duration errors mentions model order sdnotify template tether values window"
LEAVES = {"alertd", *(f"alertd.{name}" for name in _LEAVES.split())}
MAY_IMPORT: dict[str, set[str]] = {
    "config": LEAVES | {"alertd.config"},
    "engine": LEAVES | {"alertd.config", "alertd.engine"},
    "etcd": LEAVES | {"alertd.etcd"},
    "delivery": LEAVES | {"alertd.config", "alertd.delivery"},
    "heartbeat.py": LEAVES | {"alertd.config", "alertd.delivery"},
    "channels.py": LEAVES | {"alertd.delivery", "alertd.heartbeat"},
    "report": LEAVES | {"alertd.config", "alertd.delivery", "alertd.report"},
    "secretary": LEAVES | {"alertd.etcd", "alertd.secretary"},
    "web": LEAVES | {"alertd.config", "alertd.web"},
}
"""What each package may import of alertd. The shell may import everything, the leaves only leaves."""

_SHELL = (
    "audits bulletin bustle channels chronicle claims daemon handover keeper leading outage people post rulebook "
    "settings sheets speaker statedir"
)
SHELL = {"cli", "demo", "__main__.py", *(f"{name}.py" for name in _SHELL.split())}

ONLY_UNDER = {
    "etcd3": "etcd",
    "grpc": "etcd",
    "google": "etcd",
    "apprise": "delivery",
    "yaml": "config",
    "apscheduler": "",
    "sqlite3": "journal.py",
}
PURE_OF_REPORTS = [ROOT / "report" / f"{name}.py" for name in ("chart", "ledger", "period", "summary", "text")]
BANNED_IN_ENGINE = {"time", "asyncio", "os", "random", "logging", "structlog", "threading", "socket", "pathlib", "uuid"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of every import in a file, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = (ROOT.parent / name.replace(".", "/")).with_suffix(".py").exists()
                yield node.lineno, name if is_module else node.module


def name_of(path: Path) -> str:
    """Return a file's place in the package, such as `engine/core.py`."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    """The core knows nothing of the shell, and each part only what lies below it."""
    package = path.relative_to(ROOT).parts[0]
    if package in SHELL:
        return
    allowed = MAY_IMPORT.get(package, LEAVES)
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for line, name in imports(path)
        if name.split(".")[0] == "alertd"
        and not any(name == good or name.startswith(f"{good}.") for good in allowed - {"alertd"})
        and name != "alertd"
    ]
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_package_is_known_in_one_place(path: Path) -> None:
    """etcd3 and gRPC under etcd/, Apprise under delivery/, YAML under config/, SQLite in the journal."""
    wrong = []
    for line, name in imports(path):
        home = ONLY_UNDER.get(name.split(".")[0])
        if home and not name_of(path).startswith(home):
            wrong.append(f"{name_of(path)}:{line} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("path", [*sorted((ROOT / "engine").glob("*.py")), *PURE_OF_REPORTS], ids=name_of)
def test_the_engine_is_pure(path: Path) -> None:
    """So are the books of the reports. No clock, no randomness, no environment, no I/O, no logging, no waiting."""
    tree = ast.parse(path.read_text())
    wrong = [f"{line}: imports {name}" for line, name in imports(path) if name.split(".")[0] in BANNED_IN_ENGINE]
    for node in ast.walk(tree):
        if isinstance(node, (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)):
            wrong.append(f"{node.lineno}: waits")
        elif isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            owner = node.value
            if isinstance(owner, ast.Name) and owner.id in ("datetime", "date"):
                wrong.append(f"{node.lineno}: reads the clock")
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("open", "print", "input")
        ):
            wrong.append(f"{node.lineno}: does I/O")
    assert wrong == []


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.py")), ids=name_of)
def test_what_is_wrong_with_rules_does_not_look_ready(path: Path) -> None:
    """It is logged before the daemon is ready, and whoever waits for that looks for the word."""
    tree = ast.parse(path.read_text())
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    docstrings = {
        ast.get_docstring(node, clean=False)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
    }
    assert [text for text in words - docstrings if "ready" in text] == []
