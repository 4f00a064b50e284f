"""`alertd check` and `alertd schema`, from outside: exit codes, a problem a line, a schema that knows good from bad."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from yaml import safe_load

from alertd.config.document import json_schema
from tests.cli.json_schema import fits
from tests.config.folder import RULE

ROOT = Path(__file__).parents[2]


def alertd(*arguments: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with nothing in its environment but `environ`."""
    return subprocess.run(
        [sys.executable, "-m", "alertd", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environ},
    )


def write(folder: Path, text: str) -> Path:
    """Write `rules/a.yaml` below a folder, and return the folder."""
    (folder / "rules").mkdir()
    (folder / "rules" / "a.yaml").write_text(text)
    return folder


def test_the_shipped_rules_pass() -> None:
    """Also as `--rules` and as ALERTD_RULES; the summary is the only line."""
    for done in (alertd("check"), alertd("check", "--rules", "rules"), alertd("check", ALERTD_RULES="rules")):
        assert done.returncode == 0
        assert re.fullmatch(r"rules: \d+ files, \d+ rules, \d+ channels: no problems\n", done.stdout)
        assert done.stderr == ""


def test_the_examples_pass_by_themselves() -> None:
    """Without a secret, and without a warning."""
    done = alertd("check", "rules/examples")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"rules/examples: \d+ files, \d+ rules, \d+ channels: no problems\n", done.stdout)


def test_every_problem_is_a_line_then_the_summary(tmp_path: Path) -> None:
    """Errors of the file and of its targets in one list, in order; exit 1."""
    cwd = write(tmp_path, f"{RULE}    for: 5\nchannels: {{ops: {{urls: ['nosuch://h'], fallback: nix}}}}\n")
    done = alertd("check", cwd=cwd)
    number, target, fallback, summary = done.stdout.splitlines()
    assert number.startswith("rules/a.yaml:5:10: error: `for` must be a duration")
    assert target.startswith("rules/a.yaml:6:25: error: target ops #1 nosuch: no service has the schema")
    assert fallback == 'rules/a.yaml:6:50: error: unknown channel "nix"; known here: "log", "ops"'
    assert summary == "rules: 1 file, 1 rule, 1 channel: 3 errors"
    assert done.returncode == 1
    assert done.stderr == ""


def test_warnings_alone_are_good(tmp_path: Path) -> None:
    """Exit 0."""
    over = "silences: [{match: {service: s}, until: 2020-01-01T00:00:00Z}]\n"
    done = alertd("check", cwd=write(tmp_path, RULE + over))
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "rules: 1 file, 1 rule, 0 channels: 1 warning"


def test_secrets_may_be_elsewhere(tmp_path: Path) -> None:
    """An unset variable is an error, with `--no-secrets` a warning; a secret that is set is not printed."""
    cwd = write(tmp_path, RULE + "channels: {ops: {urls: ['json://u:${WORD}@h:99999']}}\n")
    assert alertd("check", cwd=cwd).returncode == 1
    without = alertd("check", "--no-secrets", cwd=cwd)
    assert without.returncode == 0
    assert "warning: environment variable WORD is not set" in without.stdout
    faulty = alertd("check", cwd=cwd, WORD="geheim")
    assert faulty.returncode == 1
    assert "geheim" not in faulty.stdout + faulty.stderr


def test_a_doubt_stands_beside_the_error_it_explains(tmp_path: Path) -> None:
    """A password with an `@` makes a wrong address of the rest: both are told, at the same place."""
    done = alertd("check", cwd=write(tmp_path, f"{RULE}channels: {{ops: {{urls: ['mailto://u:p@w@h']}}}}\n"))
    error, warning, _ = done.stdout.splitlines()
    assert error.startswith("rules/a.yaml:5:25: error: target ops #1 mailto")
    assert "or use the dict form" in warning


def test_as_json(tmp_path: Path) -> None:
    """An array, empty where there is nothing to say."""
    assert json.loads(alertd("check", "--json").stdout) == []
    done = alertd("check", "--json", cwd=write(tmp_path, f"{RULE}    sevrity: info\n"))
    assert done.returncode == 1
    assert json.loads(done.stdout) == [
        {
            "file": "rules/a.yaml",
            "line": 5,
            "column": 5,
            "level": "error",
            "message": 'unknown key "sevrity"; did you mean "severity"?',
        }
    ]


@pytest.mark.parametrize(("arguments", "code"), [(("check", "nowhere"), 1), (("check", "--nope"), 2), (("chek",), 2)])
def test_what_a_user_can_do_wrong(arguments: tuple[str, ...], code: int) -> None:
    """A line and an exit code, never a traceback."""
    done = alertd(*arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout + done.stderr


def test_a_terminal_that_knows_no_unicode(tmp_path: Path) -> None:
    """A message with `…` in it, and a name from the file, still come out."""
    cwd = write(tmp_path, RULE + "channels: {支付: {urls: ['${NO}']}}\n")
    done = alertd("check", cwd=cwd, LANG="C", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 1
    assert "environment variable NO is not set" in done.stdout
    assert "Traceback" not in done.stderr


# --- the schema ------------------------------------------------------------------------------------------------------


def test_schema_prints_json_schema() -> None:
    """On stdout, and nothing else."""
    done = alertd("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout) == json_schema()
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def accepts(text: str) -> bool:
    """Tell whether the schema accepts a YAML file, read as an editor reads it."""
    schema = json_schema()
    return fits(safe_load(text), schema, schema)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "rules").rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_the_schema_accepts_the_shipped_rules(path: Path) -> None:
    """Each file by itself."""
    assert accepts(path.read_text())


GOOD = [
    "    where: {host: 'core*', port: 8080, zone: [a, b]}",
    "    flap: false",
    "    flap: {changes: 4, within: 10m, settle: 5m}",
    "    channels: ops",
    "    for: 1h30m",
    "channels: {a: {urls: json://h}, b: {urls: [{schema: mailto, port: 587}], rate: 20/1m, fallback: a}}",
    "settings: {registry: {suspect: 50%}, storm: {above: 5, within: 30s}, templates: {title: '{{ rule }}'}}",
    "channels: {a: {webhook: 'https://h', headers: {X: 5, Y: 'a b'}, secret: '${S}'}}",
    "settings: {resolve_muted: false}",
    "windows: {nightly: {cron: 0 2 * * mon-fri, duration: 2h, timezone: Europe/Berlin}}",
    "routes: [{default: true, group_by: [service], escalate: [{after: 15m, channels: [boss]}], continue: false}]",
    "routes: [{match: {severity: critical, load.one: 4, during: nightly, not: {team: [a, b]}}, channels: a}]",
    "routes: [{match: {service: 'pay*'}, group_by: [], escalate: {after: 15m, channels: boss}}, {default: true}]",
    "inhibit: [{if: {rule: a}, mute: {rule: [b, 'c*'], not: {team: web}}, equal: [service]}]",
    "silences: [{match: {service: a}, until: '2026-12-01T06:00:00Z', during: [nightly, weekly], comment: x}]",
    "heartbeats: [{name: a, every: 1m, channel: b}, {name: c, every: 1h, url: 'https://h'}]",
    "reports: [{name: weekly, cron: 0 8 * * mon, channel: mail, timezone: UTC}]",
]
BAD = [
    "    sevrity: info",
    "    severity: bad",
    "    for: 30",
    "    for: 30x",
    "    flap: true",
    "    flap: {changes: 1}",
    "    place: x",
    "    service: []",
    "    when: {instance: gone}",
    "    when: {instances: {below: 0}}",
    "    when: {value: {above: 4}}",
    "chanels: {}",
    "channels: {a: {}}",
    "channels: {a: {urls: []}}",
    "channels: {a: {urls: json://h, webhook: 'https://h'}}",
    "routes: [{default: false}]",
    "routes: [{channels: [a]}]",
    "routes: [{default: true, match: {rule: a}}]",
    "routes: [{match: {rule: {a: b}}}]",
    "routes: [{match: {not: {rule: []}}}]",
    "windows: {nightly: {cron: 0 2 * * *}}",
    "windows: {nightly: {cron: 0 2 * * *, duration: 2}}",
    "inhibit: [{if: {rule: a}}]",
    "silences: [{match: {rule: a}}]",
    "silences: [{until: '2026-12-01T06:00:00Z'}]",
    "silences: [{match: {rule: a}, until: '2026-12-01'}]",
    "heartbeats: [{name: a, every: 1m}]",
    "heartbeats: [{name: a, every: 1m, channel: b, url: 'https://h'}]",
    "reports: [{name: a, channel: b}]",
    "tests: []",
    "settings: {for: 1}",
]


@pytest.mark.parametrize("line", GOOD)
def test_the_schema_accepts_what_is_right(line: str) -> None:
    """The contract's shapes."""
    assert accepts(f"{RULE}{line}\n")


@pytest.mark.parametrize("line", BAD)
def test_the_schema_refuses_what_is_wrong(line: str) -> None:
    """So that an editor underlines it."""
    assert not accepts(f"{RULE}{line}\n")
