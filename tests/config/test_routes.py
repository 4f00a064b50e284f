"""Routes: what they mean where little is written, and what is said of those that cannot mean what they say."""

from __future__ import annotations

import pytest

from alertd.config.schema import Route
from alertd.model import Match
from tests.config.folder import Folder

BASE = """\
services: {"pay*": {labels: {squad: money}}}
rules:
  - {name: lost, service: "*", when: {instance: down}, severity: critical, where: {zone: a}}
  - {name: few, service: apache, when: {instances: {below: 2, per: rack}}, labels: {team: web}}
channels: {ops: {urls: json://h}, boss: {urls: json://h}, mail: {urls: json://h}}
windows: {nightly: {cron: 0 2 * * *, duration: 2h}, weekly: {cron: 0 2 * * sun, duration: 2h}}
routes:
"""
"""What routes speak of; they follow in line 8."""


def routes_of(folder: Folder, *lines: str) -> tuple[Route, ...]:
    """Return the routes of `BASE` and these lines."""
    return folder.write(BASE + "".join(f"  - {line}\n" for line in lines)).ruleset().routes


def problems_of(folder: Folder, *lines: str) -> list[str]:
    """Return what is said of the routes, without the file's name."""
    folder.write(BASE + "".join(f"  - {line}\n" for line in lines))
    return [problem.removeprefix("rules/a.yaml:") for problem in folder.problems()]


# --- what is read ----------------------------------------------------------------------------------------------------


def test_without_a_default_route_there_is_one_for_all_channels(folder: Folder) -> None:
    """Whether there are no routes at all, or others."""
    other, default = routes_of(folder, "{match: {rule: few}, channels: ops}")
    assert (other.default, other.channels) == (False, ("ops",))
    assert default == Route(default=True)
    assert default.channels is None


def test_the_default_route_has_its_own_times(folder: Folder) -> None:
    """It groups, reminds and escalates like any other; what is left out is as the contract says."""
    (route,) = routes_of(
        folder, "{default: true, channels: ops, repeat_interval: 1h, escalate: {after: 5m, channels: boss}}"
    )
    assert (route.default, route.channels, route.repeat_interval) == (True, ("ops",), 3600.0)
    assert (route.group_by, route.group_wait, route.group_interval) == (("rule", "service"), 5.0, 60.0)
    assert [(step.after, step.channels) for step in route.escalate] == [(300.0, ("boss",))]


def test_a_match_takes_scalars_as_written(folder: Folder) -> None:
    """One or several patterns each; numbers and booleans as they stand in the file."""
    route, _ = routes_of(
        folder, "{match: {version: 1.10, ok: true, zone: [a, 'b*'], not: {host: [x]}, during: [nightly, weekly]}}"
    )
    assert route.match == Match({"version": ("1.10",), "ok": ("true",), "zone": ("a", "b*")}, {"host": ("x",)})
    assert route.during == ("nightly", "weekly")


def test_a_window_alone_is_something_to_match(folder: Folder) -> None:
    """By night all may go elsewhere."""
    route, _ = routes_of(folder, "{match: {during: nightly}, channels: mail}")
    assert (route.match, route.during) == (Match(), ("nightly",))


def test_no_group_by_makes_one_group_of_all(folder: Folder) -> None:
    """An empty list is not the default."""
    route, _ = routes_of(folder, "{match: {rule: few}, group_by: []}")
    assert route.group_by == ()


def test_a_name_given_twice_counts_once(folder: Folder) -> None:
    """Nobody is told twice."""
    route, _ = routes_of(folder, "{match: {rule: few}, channels: [ops, mail, ops], group_by: [rule, rule]}")
    assert (route.channels, route.group_by) == (("ops", "mail"), ("rule",))


# --- errors ----------------------------------------------------------------------------------------------------------

NOTHING = "5: error: this entry must `match` something; one that matches everything is the last: `default: true`"

ERRORS = [
    ("{channels: [ops]}", NOTHING),
    ("{match: {}, channels: [ops]}", NOTHING),
    ("{match: {not: {}}, channels: [ops]}", NOTHING),
    (
        "{default: true, match: {rule: few}}",
        "5: error: this entry must not have a `match`: the default route is for whatever no other route matched",
    ),
    ("{default: false}", "15: error: `default` must be true, not `false`"),
    ("{matches: {rule: few}}", '6: error: unknown key "matches"; did you mean "match"?'),
    (
        "{match: {severity: critcal}}",
        '24: error: `severity` must be a severity, not "critcal"; did you mean "critical"?',
    ),
    ("{match: {severity: [info, 'z*']}}", '31: error: `severity` must be a severity, not "z*"'),
    ("{match: {not: {cause: expird}}}", '27: error: `cause` must be a cause, not "expird"; did you mean "expired"?'),
    ("{match: {rule: []}}", "20: error: `rule` must not be empty"),
    ("{match: {rule: {few: 1}}}", "20: error: `rule` must be a list, not a mapping"),
    ("{match: {not: {not: {rule: few}}}}", "25: error: `not` must be a list, not a mapping"),
    ("{match: {not: {during: nightly}}}", "28: error: `during` does not belong here"),
    ("{match: {rule: 010}}", "20: error: `010` is octal to many readers of YAML; leave out the leading 0, or quote it"),
    (
        "{match: {rule: *few}}",
        "20: error: no anchor `&few` above this alias; to write text that begins with `*`, quote",
    ),
    ("{match: {during: nihgtly}}", '22: error: unknown window "nihgtly"; did you mean "nightly"?'),
    ("{match: {rule: few}, channels: [opps]}", '37: error: unknown channel "opps"; did you mean "ops"?'),
    ("{match: {rule: few}, channels: []}", "36: error: `channels` must not be empty"),
    ("{match: {rule: few}, group_wait: 5}", "38: error: `group_wait` must be a duration with its unit"),
    ("{match: {rule: few}, repeat_interval: 0s}", "43: error: `repeat_interval` must be longer than 0s"),
    # escalation
    (
        "{match: {rule: few}, channels: ops, escalate: [{after: 5m, channels: [bos]}]}",
        '75: error: unknown channel "bos"; did you mean "boss"?',
    ),
    (
        "{match: {rule: few}, channels: ops, escalate: {after: 5m, channels: bos}}",
        '73: error: unknown channel "bos"; did you mean "boss"?',
    ),
    (
        "{match: {rule: few}, channels: [ops, mail], escalate: [{after: 5m, channels: [boss, mail]}]}",
        '89: error: "mail" is told by the route itself anyway; escalate to somebody else',
    ),
    (
        "{match: {rule: few}, channels: ops, escalate: [{after: 5m, channels: boss}, {after: 9m, channels: boss}]}",
        '103: error: "boss" is told by a step above anyway; escalate to somebody else',
    ),
    (
        "{match: {rule: few}, channels: ops, escalate: [{after: 5m, channels: boss}, {after: 5m, channels: mail}]}",
        "89: error: `after` must be longer than in the step above; both count from the first message",
    ),
    ("{match: {rule: few}, channels: ops, escalate: [{channels: boss}]}", "52: error: `after` is missing"),
]


@pytest.mark.parametrize(("line", "said"), ERRORS)
def test_a_route_that_cannot_be_meant(folder: Folder, line: str, said: str) -> None:
    """Told at its place, with what was probably meant."""
    problems = problems_of(folder, line)
    assert any(problem.startswith(f"8:{said}") for problem in problems), problems


def test_an_escalation_is_held_against_those_whom_the_default_route_tells(folder: Folder) -> None:
    """A route without channels tells the default route's; and if that one chooses none, it tells all."""
    line = "{match: {rule: few}, escalate: [{after: 5m, channels: boss}]}"
    how = "by the route itself, which leaves `channels` out"
    told = f'8:59: error: "boss" is told {how} anyway; escalate to somebody else'
    assert problems_of(folder, line, "{default: true, channels: [mail, ops]}") == []
    assert problems_of(folder, line, "{default: true, channels: [mail, ops, boss]}") == [told]
    assert problems_of(folder, line, "{default: true}") == [told]
    assert problems_of(folder, line) == [told]


def test_there_is_one_default_route_and_it_is_the_last(folder: Folder) -> None:
    """Whatever stands after it would never be asked."""
    assert problems_of(folder, "{default: true}", "{match: {rule: few}}") == [
        "8:5: error: the default route must be the last"
    ]
    assert problems_of(folder, "{default: true}", "{default: true}") == [
        "9:5: error: a second default route; the first is at rules/a.yaml:8:5"
    ]


# --- warnings --------------------------------------------------------------------------------------------------------

# Two routes: whether the second is ever reached.
PAIRS = [
    ("{match: {rule: few}}", "{match: {rule: few}}", False),
    ("{match: {rule: few}}", "{match: {rule: few, team: web}}", False),
    ("{match: {rule: few, team: web}}", "{match: {rule: few}}", True),
    ("{match: {rule: 'f*'}}", "{match: {rule: [few, 'fe*']}}", False),
    ("{match: {rule: [few, lost]}}", "{match: {rule: lost}}", False),
    ("{match: {rule: few}}", "{match: {rule: [few, lost]}}", True),
    ("{match: {rule: few}, continue: true}", "{match: {rule: few}}", True),
    ("{match: {service: '*'}}", "{match: {rule: few}}", False),
    ("{match: {service: '*'}}", "{default: true}", False),
    ("{match: {zone: '*'}}", "{match: {rule: few}}", True),
    ("{match: {rule: few, during: nightly}}", "{match: {rule: few}}", True),
    ("{match: {rule: few}}", "{match: {rule: few, during: nightly}}", False),
    ("{match: {rule: few, during: [nightly, weekly]}}", "{match: {rule: few, during: weekly}}", False),
    ("{match: {not: {team: web}}}", "{match: {rule: few}}", True),
    ("{match: {not: {team: web}}}", "{match: {rule: few, not: {team: 'w*'}}}", False),
    ("{match: {not: {team: web}}}", "{match: {rule: few, team: [a, 'b*']}}", False),
    ("{match: {not: {team: web}}}", "{match: {rule: few, team: [a, 'w*']}}", True),
]


@pytest.mark.parametrize(("first", "second", "is_reached"), PAIRS)
def test_a_route_that_no_alert_comes_to_is_warned_of(
    folder: Folder, first: str, second: str, *, is_reached: bool
) -> None:
    """Where one before it certainly takes all that it matches, and is the end of it."""
    unreached = [problem for problem in problems_of(folder, first, second) if "no alert comes" in problem]
    expected = (
        "9:5: warning: no alert comes to this route: the one at rules/a.yaml:8:5 matches all that it matches, "
        "and does not `continue`"
    )
    assert unreached == ([] if is_reached else [expected])


WARNINGS = [
    ("{match: {rule: lsot}}", '20: warning: no rule is called "lsot"; did you mean "lost"?'),
    ("{match: {rule: [few, 'x*']}}", '26: warning: no rule is called "x*"; known here: "few", "lost"'),
    ("{match: {tem: web}}", '14: warning: no rule and no service gives a label "tem"; did you mean "team"?'),
    ("{match: {not: {sqad: a}}}", '20: warning: no rule and no service gives a label "sqad"; did you mean "squad"?'),
    (
        "{match: {floor: 7}}",
        '14: warning: no rule and no service gives a label "floor": only instances whose value has such a field',
    ),
    (
        "{match: {rule: few}, group_by: [rule, srvice]}",
        '43: warning: no rule and no service gives a label "srvice"; did you mean "service"?',
    ),
    ("{default: true, continue: true}", "31: warning: `continue` does nothing here: no route comes after the default"),
]


@pytest.mark.parametrize(("line", "said"), WARNINGS)
def test_a_route_that_is_hardly_meant_so_is_warned_of(folder: Folder, line: str, said: str) -> None:
    """Names that no rule, no service and no label has."""
    (problem,) = problems_of(folder, line)
    assert problem.startswith(f"8:{said}")


@pytest.mark.parametrize(
    "line",
    [
        "{match: {team: web, squad: money}}",
        "{match: {zone: a, rack: r7, host: x, load.one: 4}}",
        "{match: {instance: a, cause: expired, severity: info}}",
        "{match: {service: 'db-*'}}",
        "{match: {rule: 'alertd-*', severity: info}}",
        "{match: {severity: '*', cause: 'e*'}}",
    ],
)
def test_what_may_well_be_meant_is_not_warned_of(folder: Folder, line: str) -> None:
    """Labels, fields that rules speak of, usual fields, ways into a value, built-in names and built-in rules."""
    assert problems_of(folder, line) == []


def test_no_rule_speaks_of_a_service(folder: Folder) -> None:
    """Known only where no rule is for all services."""
    folder.write("routes:\n  - {match: {service: [pay-eu, apche]}}\n", "b.yaml").write(
        "rules: [{name: a, service: [apache, 'pay-*'], when: {instance: down}}]\n"
    )
    assert folder.problems() == [
        'rules/b.yaml:2:32: warning: no rule speaks of a service "apche"; did you mean "apache"?'
    ]


def test_a_faulty_rule_keeps_doubts_back(folder: Folder) -> None:
    """A rule that could not be read may be the one that is meant."""
    problems = folder.write(
        "rules: [{name: lost, service: s, when: {}}, {name: few, service: s, when: {instance: down}}]\n"
        "routes: [{match: {rule: lost}}]\n"
    ).problems()
    assert [problem for problem in problems if "warning" in problem] == []
