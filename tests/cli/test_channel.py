"""`alertd channel`, from outside: its own process, real targets."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.sinks import Answer, HttpInbox, http_inbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def alertd(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "alertd", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environ},
    )


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    """Run a webhook inbox."""
    with http_inbox() as box:
        yield box


def write(folder: Path, text: str) -> str:
    """Write one rules file and return the folder."""
    (folder / "channels.yaml").write_text(text)
    return str(folder)


def test_list_shows_how_each_target_was_understood(tmp_path: Path) -> None:
    """As a table and as JSON, with secrets masked; an unset secret and a bad target make it exit 1."""
    rules = write(
        tmp_path,
        """
        channels:
          ops: {urls: ["json://bob:hunter22@127.0.0.1:8080/hook-secret?+Authorization=${TOKEN}"]}
          mail: {urls: [{schema: mailto, host: mail.example, user: bob, password: "p@ss#%w:/rd", to: "a@b.example"}]}
          bad: {urls: ["slack://hunter22", "json://${NOT_SET}/"]}
        """,
    )
    table = alertd("channel", "list", "--rules", rules, TOKEN="tok3n-secret")
    as_json = alertd("channel", "list", "--rules", rules, "--json", TOKEN="tok3n-secret")
    assert (table.returncode, as_json.returncode) == (1, 1)
    ops, mail, bad, unset, log = json.loads(as_json.stdout)
    assert (ops["host"], ops["port"], ops["service"], ops["error"]) == ("127.0.0.1", 8080, "JSON", None)
    assert (mail["schema"], mail["host"], mail["body_limit"]) == ("mailto", "mail.example", 32768)
    assert "Apprise cannot use it" in bad["error"]
    assert "its secret is not set" in unset["error"]
    assert log["channel"] == "log"
    assert "json://***@127.0.0.1:8080/***?method=POST&+Authorization=***" in table.stdout
    assert "Traceback" not in table.stderr + as_json.stderr
    for secret in ("hunter22", "tok3n", "hook-secret", "p@ss"):
        assert secret not in table.stdout + table.stderr + as_json.stdout + as_json.stderr


def test_test_sends_to_each_target_and_tells_each_result(tmp_path: Path, inbox: HttpInbox) -> None:
    """Exit 1 if one fails, with its reason; the message is the awkward one."""
    with http_inbox(Answer(503, body=b"hook-secret is busy")) as busy:
        rules = write(tmp_path, f"channels: {{ops: {{urls: ['{inbox.url}/good', '{busy.url}/hook-secret']}}}}")
        done = alertd("channel", "test", "ops", "--rules", rules)
    assert done.returncode == 1
    good, bad = sorted(done.stdout.splitlines())
    assert good.startswith("ops #1 json  sent (")
    assert bad.startswith("ops #2 json  failed: HTTP 503 Service Unavailable: *** is busy (")
    (got,) = inbox.wait_for_count(1)
    assert got["title"].startswith("[TEST] ops · <>&_*")
    assert got["type"] == "info"


def test_test_of_a_good_channel_exits_0(tmp_path: Path, inbox: HttpInbox) -> None:
    """And the built-in channel can be tested too."""
    rules = write(tmp_path, f"channels: {{ops: {{urls: ['{inbox.url}']}}}}")
    assert alertd("channel", "test", "ops", "--rules", rules).returncode == 0
    log = alertd("channel", "test", "log", rules)
    assert (log.returncode, log.stdout.startswith("log  sent")) == (0, True)
    assert "[TEST] log" in log.stderr


RULES = """
settings: {name: prod, url: "https://alertd.example"}
rules:
  - {name: load, service: db, when: {value: {field: load.one, above: 4}}, summary: "load {{ load.one }} on {{ host }}"}
  - {name: faulty, service: db, when: {instance: down}, summary: "{{ rack }}"}
channels:
  ops: {urls: ["URL"], templates: {title: "own {{ rule }} {{ kind }}"}}
  hook: {webhook: "http://bobby:hunter22@127.0.0.1:PORT/hook-secret", headers: {Authorization: "Bearer tok3n-secret"}}
"""


def rules_at(inbox: HttpInbox, folder: Path) -> str:
    """Write rules whose channels lead to the inbox, and return the folder."""
    return write(folder, RULES.replace("URL", inbox.url).replace("PORT", str(inbox.port)))


def test_a_sample_of_a_rule_is_shown_and_sent(tmp_path: Path, inbox: HttpInbox) -> None:
    """With the channel's own templates; what is shown is what arrives."""
    done = alertd("channel", "test", "ops", "--rules", rules_at(inbox, tmp_path), "--rule", "load")
    assert done.returncode == 0
    (got,) = inbox.wait_for_count(1)
    shown = done.stdout.splitlines()
    assert shown[:3] == ["own load firing", "", "load 5 on core01"]
    assert (got["title"], got["type"]) == ("own load firing", "warning")
    assert got["message"].splitlines()[0] == "load 5 on core01"
    assert shown[-1].startswith("ops #1 json  sent (")


def test_print_sends_nothing_and_other_kinds_can_be_seen(tmp_path: Path, inbox: HttpInbox) -> None:
    """To look at a resolve before there is one."""
    rules = rules_at(inbox, tmp_path)
    done = alertd("channel", "test", "ops", "--rules", rules, "--rule", "load", "--kind", "resolved", "--print")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "own load resolved")
    assert done.stdout.endswith("type success\n")
    assert inbox.received == []


def test_a_template_that_does_not_render_is_an_answer(tmp_path: Path, inbox: HttpInbox) -> None:
    """Exit 1, with its place; a field that only real values have can be given."""
    arguments = ("channel", "test", "ops", "--rules", rules_at(inbox, tmp_path), "--rule", "faulty", "--print")
    done = alertd(*arguments)
    assert done.returncode == 1
    assert "the summary of rule faulty at" in done.stderr
    assert "'rack' is undefined; a field that only real values have can be given by --set" in done.stderr
    assert alertd(*arguments, "--set", "rack=r7").returncode == 0


def test_a_webhook_is_listed_tested_and_sampled(tmp_path: Path, inbox: HttpInbox) -> None:
    """Masked, and with the document that it gets."""
    rules = rules_at(inbox, tmp_path)
    shown = alertd("channel", "list", "--rules", rules)
    assert f"hook     #1 webhook  Webhook  127.0.0.1:{inbox.port}" in shown.stdout
    tested = alertd("channel", "test", "hook", "--rules", rules)
    assert (tested.returncode, tested.stdout.startswith("hook #1 webhook  sent (")) == (0, True)
    sampled = alertd("channel", "test", "hook", "--rules", rules, "--rule", "load")
    awkward, sample = inbox.wait_for_count(2)
    assert awkward["commonLabels"]["alertname"].startswith("[TEST] hook · <>&_*")
    document = json.loads(sampled.stdout[: sampled.stdout.rindex("}") + 1])
    assert document == json.loads(sample["raw"])
    assert document["commonLabels"]["alertname"] == "load"
    for secret in ("bobby", "hunter22", "hook-secret", "tok3n"):
        assert secret not in shown.stdout + shown.stderr + tested.stdout + sampled.stdout + sampled.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--rule", "lod"), "there is no rule 'lod'; did you mean 'load'?"),
        (("--rule", "load", "--kind", "odd"), "--kind odd: there is no such sample; there are: firing, resolved, "),
        (("--rule", "load", "--set", "rack"), "--set takes FIELD=VALUE, such as --set load.one=4.2"),
        (("--print",), "--print and --set go with --rule RULE: without it a fixed test message is sent"),
    ],
)
def test_what_cannot_be_sampled_is_told_in_one_line(
    tmp_path: Path, inbox: HttpInbox, arguments: tuple[str, ...], error: str
) -> None:
    """Exit 2, and nothing is sent."""
    done = alertd("channel", "test", "ops", "--rules", rules_at(inbox, tmp_path), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"alertd: {error}")
    assert inbox.received == []


def test_an_unknown_channel_is_told_with_those_that_exist(tmp_path: Path) -> None:
    """In one line, exit 2."""
    rules = write(tmp_path, "channels: {ops: {urls: ['json://h']}}")
    done = alertd("channel", "test", "opps", "--rules", rules)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "alertd: there is no channel 'opps'; there are: log, ops\n"
