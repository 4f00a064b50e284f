"""A good directory becomes a ruleset; several files are one."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alertd.config.load import load, survey
from alertd.config.schema import source_of
from alertd.errors import ConfigError
from alertd.model import Match, Place, Severity
from alertd.window import Window
from tests.config.folder import NOW, RULE, Folder

CONTRACT = """\
settings:
  name: prod-fra
  url: https://alertd.example
  timezone: Europe/Berlin
  flap: {changes: 6, within: 30m, settle: 10m}
  registry: {unreachable_after: 30s, settle: 60s, suspect: 50%}
  storm: {above: 5, within: 30s}
  forget_after: 7d
services:
  apache: {expected: 3, labels: {team: web}}
rules:
  - name: apache-minimum        # unique
    service: apache
    where: {host: "core*", version: 1.10, ok: true}
    when: {instances: {below: 2}}
    for: 30s
    keep_firing_for: 0s
    flap: {changes: 4, within: 10m, settle: 5m}
    severity: critical
    labels: {team: web}
    summary: "{{ service }}: {{ up }} of {{ minimum }} instances up"
    runbook: https://wiki.example/apache
    channels: [ops]
  - {name: instance-lost, service: "*", when: {instance: down, cause: [expired, failing]}, for: 45s, flap: false}
  - {name: zone-thin, service: [pay, "mail*"], when: {instances: {below: 2, per: zone}}, for: 1h30m}
channels:
  ops: {urls: ["${OPS_URL:-json://localhost}"], rate: 20/1m}
  mail: {urls: [{schema: mailto, host: h, password: "p@$$s#${WORD}"}], send_resolved: false}
  hook: {webhook: "https://h/${WORD}", headers: {Authorization: "Bearer ${WORD}"}, secret: "${SIGN:-}"}
windows:
  nightly: {cron: "0 2 * * mon-fri", duration: 2h}
  weekly: {cron: 0 2 * * sun, duration: 2h, timezone: America/New_York}
routes:
  - match: {severity: critical, service: "pay*", during: nightly, not: {team: lab}}
    channels: [ops]
    group_by: [service]
    group_wait: 5s
    group_interval: 1m
    repeat_interval: 4h
    escalate: [{after: 15m, channels: [mail]}]
    continue: true
  - {default: true, channels: [ops, mail], group_wait: 500ms, group_interval: 2m}
inhibit:
  - {if: {rule: apache-minimum}, mute: {rule: instance-lost}, equal: [service]}
silences:
  - {match: {service: apache}, until: 2026-12-01T06:00:00Z, comment: "move to new racks"}
  - {match: {service: "db-*"}, during: nightly, comment: "nightly vacuum"}
heartbeats:
  - {name: watchdog, every: 1m, channel: hook}
  - {name: outside, every: 5m, url: "https://h/${WORD}"}
reports:
  - {name: weekly, cron: "0 8 * * mon", channel: mail}
"""


def test_the_contracts_example_is_read(folder: Folder) -> None:
    """Every section, each value in its unit, scalars of `where` as they are written, rules with their places."""
    ruleset = folder.write(CONTRACT).ruleset({"WORD": "x"})
    minimum, lost, thin = ruleset.rules
    assert (minimum.for_, lost.for_, thin.for_) == (30.0, 45.0, 5400.0)
    assert minimum.where == {"host": ("core*",), "version": ("1.10",), "ok": ("true",)}
    assert minimum.severity is Severity.CRITICAL
    assert lost.flap is False
    assert (lost.service, thin.service) == (("*",), ("pay", "mail*"))
    assert minimum.place == Place("rules/a.yaml", 12, 5)
    assert source_of(minimum, ruleset.digest) == f"rules/a.yaml:12 @{ruleset.digest}"
    assert ruleset.settings.forget_after == 7 * 86400
    assert ruleset.services["apache"].expected == 3
    assert not ruleset.channels["mail"].send_resolved


def test_the_contracts_routes_are_read(folder: Folder) -> None:
    """Who is told, when, and who is told as well; the default route is the last."""
    pay, default = folder.write(CONTRACT).ruleset({"WORD": "x"}).routes
    assert pay.match == Match({"severity": ("critical",), "service": ("pay*",)}, {"team": ("lab",)})
    assert (pay.during, pay.channels, pay.group_by, pay.continue_) == (("nightly",), ("ops",), ("service",), True)
    assert (pay.group_wait, pay.group_interval, pay.repeat_interval) == (5.0, 60.0, 14_400.0)
    assert [(step.after, step.channels) for step in pay.escalate] == [(900.0, ("mail",))]
    assert default.default
    assert (default.channels, default.group_wait, default.group_interval) == (("ops", "mail"), 0.5, 120.0)
    assert (default.group_by, default.match, default.continue_) == (("rule", "service"), Match(), False)


def test_what_keeps_quiet_is_read(folder: Folder) -> None:
    """Windows in the settings' time zone unless they have their own, inhibitions, silences with an end."""
    ruleset = folder.write(CONTRACT).ruleset({"WORD": "x"})
    assert ruleset.windows == {
        "nightly": Window("0 2 * * mon-fri", 7200.0, "Europe/Berlin"),
        "weekly": Window("0 2 * * sun", 7200.0, "America/New_York"),
    }
    (inhibition,) = ruleset.inhibit
    assert inhibition.if_ == Match({"rule": ("apache-minimum",)})
    assert inhibition.mute == Match({"rule": ("instance-lost",)})
    assert inhibition.equal == ("service",)
    racks, vacuum = ruleset.silences
    assert racks.match == Match({"service": ("apache",)})
    assert (racks.until, racks.during) == (datetime(2026, 12, 1, 6, tzinfo=UTC), ())
    assert (racks.comment, racks.author, racks.source) == ("move to new racks", "", "rules/a.yaml:46")
    assert (vacuum.until, vacuum.during) == (None, ("nightly",))


def test_signs_of_life_and_webhooks_are_read(folder: Folder) -> None:
    """Their secrets filled in; a secret that is empty signs nothing."""
    ruleset = folder.write(CONTRACT).ruleset({"WORD": "x", "SIGN": ""})
    watchdog, outside = ruleset.heartbeats
    assert (watchdog.name, watchdog.every, watchdog.channel, watchdog.url) == ("watchdog", 60.0, "hook", None)
    assert outside.url is not None
    assert outside.url.get_secret_value() == "https://h/x"
    (report,) = ruleset.reports
    assert (report.name, report.cron, report.channel, report.timezone) == (
        *("weekly", "0 8 * * mon", "mail"),
        "Europe/Berlin",
    )
    webhook = ruleset.channels["hook"].webhook
    assert webhook is not None
    assert webhook.url.get_secret_value() == "https://h/x"
    assert {name: text.get_secret_value() for name, text in webhook.headers.items()} == {"Authorization": "Bearer x"}
    assert webhook.secret is None


def test_all_of_it_is_in_effect(folder: Folder) -> None:
    """Nothing is to be said of it."""
    assert folder.write(CONTRACT).problems({"WORD": "x"}) == []


def test_files_are_merged_in_the_order_of_their_paths(folder: Folder) -> None:
    """At any depth, `.yaml` and `.yml`; what is hidden or something else is left alone."""
    for name in ("b.yaml", "a/z.yml", "c.YAML", ".hidden.yaml", ".git/x.yaml", "notes.txt"):
        folder.write(RULE.replace("name: a", f"name: {name[0]}{len(name)}"), name)
    assert [rule.place.file for rule in folder.ruleset().rules] == ["rules/a/z.yml", "rules/b.yaml", "rules/c.YAML"]


def test_a_name_given_twice_names_both_places(folder: Folder) -> None:
    """Whatever has a name, in one file or in several; settings and routes may stand in one file only."""
    more = "services: {s: {}}\nchannels: {c: {urls: json://h}}\nsettings: {}\nroutes: [{default: true}]\n"
    more += "windows: {w: {cron: 0 2 * * *, duration: 1h}}\nreports: [{name: r, cron: 0 2 * * *, channel: c}]\n"
    more += "heartbeats: [{name: h, every: 1m, channel: c}]\n"
    folder.write(RULE + more).write(RULE + more, "b.yaml")
    assert folder.problems() == [
        'rules/b.yaml:2:11: error: rule "a" is defined at rules/a.yaml:2:11 as well',
        'rules/b.yaml:5:12: error: service "s" is defined at rules/a.yaml:5:12 as well',
        'rules/b.yaml:6:12: error: channel "c" is defined at rules/a.yaml:6:12 as well',
        "rules/b.yaml:7:1: error: `settings` may stand in one file only, and stands at rules/a.yaml:7:1 as well",
        "rules/b.yaml:8:1: error: `routes` may stand in one file only, and stands at rules/a.yaml:8:1 as well",
        'rules/b.yaml:9:11: error: window "w" is defined at rules/a.yaml:9:11 as well',
        'rules/b.yaml:10:18: error: report "r" is defined at rules/a.yaml:10:18 as well',
        'rules/b.yaml:11:21: error: heartbeat "h" is defined at rules/a.yaml:11:21 as well',
    ]


def test_all_problems_are_told_at_once(folder: Folder) -> None:
    """Of every file, in order; a syntax error in one hides nothing in another."""
    folder.write("rules: [\n").write(RULE + "    for: 5\n    sevrity: info\n", "b.yaml")
    with pytest.raises(ConfigError) as raised:
        load(folder.path, environ={}, now=NOW)
    places = [str(problem.place) for problem in raised.value.problems]
    assert places == ["rules/a.yaml:2:1", "rules/b.yaml:5:10", "rules/b.yaml:6:5"]


def test_the_digest_is_of_names_and_contents(folder: Folder, tmp_path: Path) -> None:
    """Seven digits that change with any byte, and are the same for the same rules elsewhere."""
    first = folder.write(RULE).ruleset().digest
    assert len(first) == 7
    assert int(first, 16) >= 0
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "a.yaml").write_text(RULE)
    assert load(tmp_path / "copy", environ={}, now=NOW).ruleset.digest == first
    assert folder.write(RULE + "# more\n").ruleset().digest != first


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_a_directory_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, a file, or without rules: an error at the directory itself."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("empty").mkdir()
    names = ("no", "file", "empty")
    said = {name: [str(problem) for problem in survey(Path(name), environ={}, now=NOW).problems] for name in names}
    assert said["no"] == ["no:1:1: error: there is no such directory; give the directory that holds the rules"]
    assert said["file"] == ["file:1:1: error: is a file; give the directory that holds the rules"]
    assert said["empty"] == ["empty:1:1: error: the directory holds no *.yaml or *.yml file"]


def test_links_in_a_circle_end(folder: Folder) -> None:
    """A link to a folder that holds it, and one to itself."""
    folder.write(RULE)
    (folder.path / "again").symlink_to("../rules")
    (folder.path / "self.yaml").symlink_to("self.yaml")
    circle, itself = folder.problems()
    assert "rules/again:1:1: error:" in circle
    assert "link to a folder that contains it" in circle
    assert itself.startswith("rules/self.yaml:1:1: error: ")


def test_a_pipe_is_not_waited_on(folder: Folder) -> None:
    """Opening one would block for ever."""
    os.mkfifo(folder.path / "a.yaml")
    (problem,) = folder.problems()
    assert "not a regular file" in problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "1:1: error: not UTF-8 from here on; save the file as UTF-8"),
        (b"a: b\nc: \xc3\x28\n", "2:4: error: not UTF-8 from here on; save the file as UTF-8"),
        (b"\xef\xbb\xbfrules: []", "1:1: error: the file begins with a byte order mark; save it as UTF-8 without one"),
        (b"a: \x00", "1:4: error: control character '\\x00'; remove it"),
        (b"#" * 1_048_577, "1:1: error: the file is larger than 1 MiB; split it into several"),
    ],
)
def test_bytes_that_are_no_text(folder: Folder, content: bytes, said: str) -> None:
    """Told at the first byte that is wrong."""
    assert folder.write(content).problems() == [f"rules/a.yaml:{said}"]


# --- secrets ---------------------------------------------------------------------------------------------------------


def url_of(folder: Folder, url: str, **environ: str) -> str:
    """Return what a target's URL comes to."""
    folder.write(f"{RULE}channels: {{c: {{urls: ['{url}']}}}}\n")
    (target,) = folder.ruleset(environ).channels["c"].targets
    assert target.url is not None
    return target.url.get_secret_value()


def test_secrets_are_filled_in_after_parsing(folder: Folder, tmp_path: Path) -> None:
    """From variables, defaults and files; a secret's own characters never become YAML."""
    secret = tmp_path / "word"
    secret.write_text("geheim\n")
    assert url_of(folder, "json://${A}/${B:-b}/${C:-c}/$$x", A="h', x: [y", C="") == "json://h', x: [y/b/c/$x"
    assert url_of(folder, f"json://u:${{file:{secret}}}@h") == "json://u:geheim@h"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("json://${NO}", "environment variable NO is not set; set it, or give a default: ${NO:-…}"),
        ("json://${file:/no/where}", "secret file '/no/where' cannot be read: no such file or directory"),
    ],
)
def test_a_secret_that_is_missing(folder: Folder, url: str, said: str) -> None:
    """An error at its line; where secrets are not required a warning, and the target is there without a URL."""
    folder.write(f"{RULE}channels: {{c: {{urls: ['{url}']}}}}\n")
    assert folder.problems() == [f"rules/a.yaml:5:23: error: {said}"]
    found = folder.survey(secrets_required=False)
    assert not found.has_errors
    assert [problem.is_warning for problem in found.problems] == [True]
    assert found.draft.channels["c"].targets[0].url is None


def test_no_secret_is_printed(folder: Folder) -> None:
    """Neither in problems, nor in a ruleset's repr, nor in a traceback."""
    folder.write(
        f"{RULE}    for: 1\nchannels:\n  a: {{urls: ['json://u:${{S}}@h:99999', '${{S}}', 'json://h,json://${{S}}']}}\n"
        "  b: {urls: [{schema: mailto, password: '${S}'}]}\n"
        "  c: {webhook: 'ftp://${S}', headers: {A: \"${S}\\n\"}, secret: '${S}'}\n"
        "  d: {webhook: 'http://h/${S}', headers: {A: '${S}'}, secret: '${S}'}\n"
        "heartbeats: [{name: h, every: 1m, url: 'ftp://${S}'}, {name: i, every: 1m, url: 'http://h/${S}'}]\n"
    )
    environ = {"S": "ge" + "heim"}  # in two parts, since a traceback shows this line
    with pytest.raises(ConfigError) as raised:
        load(folder.path, environ=environ, now=NOW)
    assert len(raised.value.problems) == 7
    assert "geheim" not in "".join(traceback.format_exception(raised.value))
    found = folder.survey(environ)
    assert "geheim" not in f"{found!r} {found.draft.model_dump()} {found.draft.model_dump_json()}"
