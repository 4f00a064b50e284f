"""The file of `alertd secretary --config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alertd.config.secretaries import read
from alertd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = frozenset({"service", "instance", "check", "every"})


def faults(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a file, without its path."""
    file = folder / "s.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read(file, KNOWN)
    return [str(problem).removeprefix(f"{file}:") for problem in error.value.problems]


def test_options_are_texts_as_written_and_fields_are_json(tmp_path: Path) -> None:
    """Whole numbers and booleans are such in `set`; a version with a point stays as it is written."""
    file = tmp_path / "s.yaml"
    file.write_text(
        "secretaries:\n"
        "  - {service: a, instance: 10.0.0.1, every: 10s, set: {port: 80, version: 1.10, on_call: true, at: [1, b]}}\n"
    )
    (entry,) = read(file, KNOWN)
    assert entry.options == {"service": "a", "instance": "10.0.0.1", "every": "10s"}
    assert entry.fields == {"port": 80, "version": "1.10", "on_call": True, "at": [1, "b"]}
    assert (entry.places["every"].line, entry.places["every"].column) == (2, 45)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1:1: error: holds no service"),
        ("secretaries: []", "1:1: error: holds no service"),
        ("secretaries: a", "1:14: error: `secretaries` must be a list"),
        ("secretary: []", '1:1: error: unknown key "secretary"; did you mean "secretaries"?'),
        ("secretaries: [a]", "1:15: error: must be a mapping such as"),
        ("secretaries: [{servcie: a}]", '1:16: error: unknown key "servcie"; did you mean "service"?'),
        ("secretaries: [{service: [a]}]", "1:25: error: `service` must be one value"),
        ("secretaries: [{set: a}]", "1:21: error: `set` must be a mapping"),
        ("secretaries: [{service: a, service: b}]", "1:28: error: `service` is given twice"),
        ("secretaries: {", "2:1: error: "),
    ],
)
def test_what_is_wrong_is_told_at_its_place(tmp_path: Path, text: str, fault: str) -> None:
    """As strictly as in the rules."""
    assert any(found.startswith(fault) for found in faults(tmp_path, text)), faults(tmp_path, text)
