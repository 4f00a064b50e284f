"""`alertd explain --if`: who would be told, given the rules in a folder and what etcd holds; no daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alertd import document
from tests.cli.inside import Done, alertd, begin_with
from tests.etcd_server import EtcdServer

RULES = """\
rules:
  - {name: lost, service: "*", when: {instance: down}, for: 30s, labels: {team: web}}
  - {name: few, service: apache, when: {instances: {below: 3}}, for: 1m, severity: critical}
  - {name: none, service: apache, when: {instances: {below: 1}}, channels: [boss]}
  - {name: core, service: apache, where: {host: "core*"}, when: {instance: down}}
channels:
  ops: {urls: ["json://127.0.0.1:1"]}
  dba: {urls: ["json://127.0.0.1:1/${NOT_SET}"]}
  boss: {urls: ["json://127.0.0.1:1"], send_resolved: false}
routes:
  - match: {team: web, cause: expired}
    channels: [dba]
    group_by: [service]
    group_wait: 10s
    repeat_interval: 1h
    escalate: [{after: 15m, channels: [boss]}]
    continue: true
  - {default: true, channels: [ops], group_wait: 0s}
inhibit:
  - {if: {rule: few}, mute: {rule: core}, equal: [service]}
silences:
  - {match: {service: nightly}, until: 2036-01-01T00:00:00Z, comment: vacuum}
"""

SILENCE = {"match": {"service": "支*"}, "until": "2036-01-01T00:00:00Z", "comment": "new racks"}
ALERT = {"id": "573c199ba2e5", "rule": "few", "service": "apache", "state": "firing", "severity": "critical"}
TAKEN = {"since": "2026-01-01T00:00:00.000Z", "acknowledged": {"by": "ann"}}
SCENE = {
    "/services/apache/a": '{"host": "core01"}',
    "/services/apache/b": '{"host": "edge01", "status": "failing"}',
    "/services/支付/x": "",
    "/alertd/silences/1a2b": document.encode(SILENCE).decode(),
    "/alertd/silences/junk": "junk",
    "/alertd/alerts/573c199ba2e5": document.encode({**ALERT, **TAKEN}).decode(),
}


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give one server with the scene to all tests here, which only read."""
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as server:
        begin_with(server, SCENE)
        yield server


@pytest.fixture
def explain(etcd: EtcdServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explain:
    """Give the command, run where the rules lie."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "web.yaml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return Explain(etcd)


class Explain:
    """The command, given a target and a rule."""

    def __init__(self, etcd: EtcdServer) -> None:
        self.etcd = etcd

    def __call__(self, target: str, rule: str, *arguments: str) -> Done:
        """Run it to its end."""
        return alertd(self.etcd, "explain", target, "--if", rule, *arguments)

    def lines(self, target: str, rule: str, *arguments: str) -> list[str]:
        """Return what it prints, which must be good."""
        done = self(target, rule, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


def test_it_tells_who_how_and_when(explain: Explain) -> None:
    """Every route that is taken, at its place, with times, reminders, escalation, and who is not told the end."""
    assert explain.lines("apache/a", "lost") == [
        "were lost (rules/web.yaml:2) to fire on apache/a now, once its condition has held for 30s:",
        "  dba in 10s, in the group apache, by the route at rules/web.yaml:11",
        "    again every 1h while nobody acknowledges it",
        "    boss as well 15m after that, if nobody does by then",
        "    boss not told when it is over",
        "  ops in 0s, in the group lost/apache, by the default route at rules/web.yaml:18",
        "    again every 4h while nobody acknowledges it",
    ]


def test_the_cause_is_its_own_or_the_one_asked_for(explain: Explain) -> None:
    """A route may ask for it: one that is failing is not lost."""
    assert explain.lines("apache/b", "lost")[1].startswith("  ops in")
    assert explain.lines("apache/b", "lost", "--cause", "expired")[1].startswith("  dba in")
    assert explain.lines("apache/never-seen", "lost")[1].startswith("  dba in")


def test_a_rule_s_own_channels_stand_instead_of_the_routes(explain: Explain) -> None:
    """As in the daemon."""
    assert explain.lines("apache", "none")[1].startswith("  boss in 0s")


def test_what_keeps_it_quiet_is_told_and_what_would_be_without(explain: Explain) -> None:
    """A person's silence, one of the rules, and an inhibition by what fires now."""
    by_hand = explain.lines("支付/x", "lost")
    assert (
        by_hand[1]
        == "nobody would be told: silence 1a2b (new racks) keeps it quiet until " + by_hand[1].partition("until ")[2]
    )
    assert by_hand[2:4] == ["without that:", "  dba in 10s, in the group 支付, by the route at rules/web.yaml:11"]
    assert "(vacuum) at rules/web.yaml:22 keeps it quiet until 2036-01-01" in explain.lines("nightly/x", "lost")[1]
    inhibited = explain.lines("apache/a", "core")
    assert inhibited[1] == "nobody would be told: few fires (apache) and inhibits it"


def test_that_it_fires_already_is_told(explain: Explain) -> None:
    """By whom it was taken on, and by which id it is known; the id means its target."""
    last = "it fires there now, since 2026-01-01T00:00:00.000Z (id 573c199ba2e5), acknowledged by ann"
    assert explain.lines("apache", "few")[-1] == last
    assert explain.lines("573c", "few")[-1] == last


def test_the_same_as_json(explain: Explain) -> None:
    """Stable names, seconds, and null where there is nothing."""
    answer = json.loads("\n".join(explain.lines("支付/x", "lost", "--json")))
    first, second = answer.pop("ways")
    assert answer == {"rule": "lost", "target": "支付/x", "never": None, "for": 30.0, "muted": "silence:1a2b"}
    assert first == {
        "route": "rules/web.yaml:11",
        "default": False,
        "channels": ["dba"],
        "group": "支付",
        "labels": {"service": "支付"},
        "after": 10.0,
        "repeat_every": 3600.0,
        "escalate": [{"after": 900.0, "channels": ["boss"]}],
        "unresolved": ["boss"],
        "digested": [],
    }
    assert (second["default"], second["channels"]) == (True, ["ops"])


@pytest.mark.parametrize(
    ("target", "rule", "why", "says"),
    [
        ("支付", "few", "other-service", "does not speak of that service"),
        ("apache", "lost", "wants-instance", "name one, as service/instance"),
        ("apache/a", "few", "wants-service", "leave the instance out"),
        ("apache/b", "core", "other-instance", "leaves that instance out, by its `where`"),
    ],
)
def test_what_can_never_fire_is_no(explain: Explain, target: str, rule: str, why: str, says: str) -> None:
    """Exit 1, and why."""
    done = explain(target, rule)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert says in done.stdout
    assert json.loads(explain(target, rule, "--json").stdout)["never"] == why


def test_what_cannot_be_answered_is_usage(explain: Explain, tmp_path: Path) -> None:
    """One line with the cure; rules that do not load are as bad as in `check`."""
    bare = alertd(explain.etcd, "explain", "apache")
    assert (bare.returncode, bare.stderr.count("\n")) == (2, 1)
    assert "give --if RULE" in bare.stderr
    unknown = explain("apache", "fw")
    assert (unknown.returncode, unknown.stderr) == (2, "alertd: there is no rule 'fw'; did you mean \"few\"?\n")
    assert explain("apache", "few", "--cause", "fire").returncode == 2
    assert explain("ffffffffffff", "few").returncode == 1
    (tmp_path / "rules" / "web.yaml").write_text("rules: [")
    assert explain("apache", "few").returncode == 1


def test_etcd_away_is_exit_3(explain: Explain, tmp_path: Path) -> None:
    """One line on stderr."""
    done = alertd(EtcdServer(tmp_path), "explain", "apache", "--if", "few")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
