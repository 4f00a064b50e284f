"""What keeps quiet: windows, silences as code and inhibitions, and what is said of those that do not do what they say.

The tests' clock shows 2026-06-01 00:00 UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alertd.model import Silence
from tests.config.folder import Folder

BASE = """\
services: {"pay*": {labels: {squad: money}}}
rules:
  - {name: lost, service: [apache, "pay*"], when: {instance: down}, severity: critical}
  - {name: few, service: apache, when: {instances: {below: 2, per: rack}}, labels: {team: web}}
windows: {nightly: {cron: 0 2 * * *, duration: 2h}}
"""
"""What silences and inhibitions speak of; they follow in line 6."""


def problems_of(folder: Folder, section: str, line: str) -> list[str]:
    """Return what is said of a section with one entry, without the file's name and the line."""
    found = folder.write(f"{BASE}{section}: [{line}]\n").problems()
    return [problem.removeprefix("rules/a.yaml:6:") for problem in found]


def silences_of(folder: Folder, *lines: str) -> tuple[Silence, ...]:
    """Return the silences of a file with these."""
    return folder.write(BASE + "silences:\n" + "".join(f"  - {line}\n" for line in lines)).ruleset().silences


# --- windows ---------------------------------------------------------------------------------------------------------

NO_WINDOW = [
    ("{cron: 0 2 * * *}", "14: error: `duration` is missing"),
    ("{cron: 0 2 * * *, duration: 0s}", "42: error: `duration` must be longer than 0s"),
    ("{cron: 0 2 * * *, duration: 120}", "42: error: `duration` must be a duration with its unit"),
    ("{cron: 0 2 * *, duration: 2h}", "21: error: `cron` must be five cron fields such as `0 2 * * mon-fri`"),
    (
        "{cron: 0 25 * * *, duration: 2h}",
        "21: error: `cron` must be five cron fields such as `0 2 * * mon-fri`: bad hour",
    ),
    ("{cron: 0 2 30 2 *, duration: 2h}", "21: error: `cron` never fires: there is no such day"),
    ("{cron: [0], duration: 2h}", "21: error: `cron` must be text, not a list"),
    ("{cron: * 2 * * *, duration: 2h}", "21: error: text that begins with `*`, `&` or `!` must be quoted"),
    (
        "{cron: 0 2 * * *, duration: 2h, timezone: Europe/Berlni}",
        "56: error: `timezone` must be the name of a time zone, such as Europe/Berlin or UTC; did you mean",
    ),
    ("{cron: '* * * * *', duration: 1m}", "44: warning: the window opens again before it closes, so it is always open"),
    ("{cron: 0 2 * * *, duration: 24h}", "42: warning: the window opens again before it closes, so it is always open"),
]


@pytest.mark.parametrize(("window", "said"), NO_WINDOW)
def test_a_window_that_is_none(folder: Folder, window: str, said: str) -> None:
    """It must open some time, and close some time."""
    problems = folder.write(
        f"rules: [{{name: a, service: s, when: {{instance: down}}}}]\nwindows: {{w: {window}}}\n"
    ).problems()
    assert any(problem.startswith(f"rules/a.yaml:2:{said}") for problem in problems), problems


# --- silences --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "until",
    [
        "2026-12-01T06:00:00Z",
        "'2026-12-01T06:00:00Z'",
        "2026-12-01T07:00:00+01:00",
        "2026-12-01t06:00:00.000z",
        "'2026-12-01 00:00:00-06:00'",
    ],
)
def test_an_end_is_a_moment_with_its_offset(folder: Folder, until: str) -> None:
    """Quoted or not, in any offset: the same moment."""
    (silence,) = silences_of(folder, f"{{match: {{service: apache}}, until: {until}}}")
    assert silence.until == datetime(2026, 12, 1, 6, tzinfo=UTC)
    assert silence.until.utcoffset() == timedelta(0)


def test_a_silence_may_end_and_hold_in_windows_only(folder: Folder) -> None:
    """`until` ends what `during` repeats."""
    (silence,) = silences_of(
        folder, "{match: {rule: lost, not: {squad: money}}, during: nightly, until: 2026-12-01T06:00:00Z}"
    )
    assert silence.during == ("nightly",)
    assert silence.until is not None


def test_the_id_of_a_silence_is_that_of_what_it_says(folder: Folder) -> None:
    """The same wherever it stands and in whatever order; another for anything else that it says."""
    first = silences_of(folder, "{match: {rule: lost, service: apache}, until: 2026-12-01T06:00:00Z, comment: x}")
    again = silences_of(
        folder,
        "{match: {rule: few}, during: nightly}",
        "{comment: x, until: '2026-12-01T07:00:00+01:00', match: {service: [apache], rule: lost}}",
    )
    assert again[1].id == first[0].id
    assert again[1].source == "rules/a.yaml:8"
    others = [
        "{match: {rule: lost, service: apache}, until: 2026-12-01T06:00:00Z, comment: y}",
        "{match: {rule: lost, service: apache}, until: 2026-12-01T06:00:01Z, comment: x}",
        "{match: {rule: lost, service: apache}, until: 2026-12-01T06:00:00Z, comment: x, during: nightly}",
        "{match: {rule: lost, not: {service: apache}}, until: 2026-12-01T06:00:00Z, comment: x}",
    ]
    ids = {silence.id for silence in silences_of(folder, *others)} | {first[0].id}
    assert len(ids) == 5
    assert all(len(each) == 12 and int(each, 16) >= 0 for each in ids)


def test_the_same_silence_twice_is_one(folder: Folder) -> None:
    """And is warned of at the second."""
    line = "{match: {rule: lost}, during: nightly}"
    assert len(silences_of(folder, line, line)) == 1
    assert folder.problems() == [
        "rules/a.yaml:8:5: warning: the same silence stands at rules/a.yaml:7:5 as well; remove one of the two"
    ]


NO_MOMENT = (
    "`until` must be a moment with its offset from UTC, such as 2026-12-01T06:00:00Z or 2026-12-01T07:00:00+01:00"
)

IN_A_SILENCE = [
    (
        "{match: {rule: lost}}",
        "12: error: this entry must have `until` or `during`: a silence without an end is forgotten, and then missed",
    ),
    ("{match: {}, during: nightly}", "20: error: `match` must not be empty: it would match everything"),
    ("{match: {not: {}}, during: nightly}", "20: error: `match` must not be empty: it would match everything"),
    ("{during: nightly}", "12: error: `match` is missing"),
    (
        "{match: {rule: lost, during: nightly}, comment: x}",
        "41: error: `during` does not belong here: in a route it stands in `match`, in a silence beside it",
    ),
    ("{match: {severity: critcal}, during: nightly}", '31: error: `severity` must be a severity, not "critcal"; did'),
    ("{match: {rule: lost}, during: nihgtly}", '42: error: unknown window "nihgtly"; did you mean "nightly"?'),
    ("{match: {rule: lost}, until: 2026-12-01T06:00:00}", f"41: error: {NO_MOMENT}"),
    ("{match: {rule: lost}, until: 2026-13-01T06:00:00Z}", f"41: error: {NO_MOMENT}"),
    ("{match: {rule: lost}, until: 0001-01-01T00:00:00+01:00}", f"41: error: {NO_MOMENT}"),
    ("{match: {rule: lost}, until: '2026-12-01'}", f"41: error: {NO_MOMENT}"),
    ("{match: {rule: lost}, until: 2h}", f"41: error: {NO_MOMENT}"),
    ("{match: {rule: lost}, until: 5}", f"41: error: {NO_MOMENT}"),
    ("{match: {rule: lost}, until: 2026-12-01}", "41: error: `2026-12-01` is a date to many readers of YAML; quote it"),
    ("{match: {rule: lost}, during: nightly, comment: 5}", "60: error: `comment` must be text, not `5` (quote it)"),
    (
        "{match: {rule: lost}, until: 2026-06-01T02:00:00+02:00}",
        "41: warning: this silence is over since 2026-06-01T00:00:00Z; remove it",
    ),
    (
        "{match: {service: '*'}, during: nightly}",
        "20: warning: this matches everything: while the silence holds, nobody is told of anything",
    ),
    ("{match: {rule: lsot}, during: nightly}", '27: warning: no rule is called "lsot"; did you mean "lost"?'),
    ("{match: {severity: info}, during: nightly}", '31: warning: no rule has severity "info"'),
    ("{match: {service: apche}, during: nightly}", '30: warning: no rule speaks of a service "apche"; did you mean'),
    ("{match: {tem: web}, during: nightly}", '21: warning: no rule and no service gives a label "tem"; did you mean'),
]


@pytest.mark.parametrize(("line", "said"), IN_A_SILENCE)
def test_a_silence_that_cannot_or_will_hardly_be_meant(folder: Folder, line: str, said: str) -> None:
    """It must mean something and end some time, and something in the rules should be what it mutes."""
    problems = problems_of(folder, "silences", line)
    assert any(problem.startswith(said) for problem in problems), problems


def test_a_silence_until_a_moment_to_come_is_not_over(folder: Folder) -> None:
    """A second is enough."""
    assert problems_of(folder, "silences", "{match: {rule: lost}, until: 2026-06-01T00:00:01Z}") == []


# A match, and whether one of the two rules can raise an alert that it means.
POSSIBLE = [
    ("{rule: lost, service: apache}", True),
    ("{rule: lost, service: pay-eu}", True),
    ("{rule: few, service: 'a*'}", True),
    ("{rule: few, service: pay-eu}", False),
    ("{rule: few, severity: critical}", False),
    ("{rule: 'l*', severity: [warning, critical]}", True),
    # labels: a rule's own, then those of services, then an instance's fields
    ("{rule: few, team: web}", True),
    ("{rule: few, team: 'x*'}", False),
    ("{rule: lost, team: web}", True),
    ("{rule: few, squad: anything}", True),
    # an alert on a service has no instance and no fields, but what it is counted per
    ("{rule: few, instance: a}", False),
    ("{rule: few, host: a}", False),
    ("{rule: few, rack: r7}", True),
    ("{rule: lost, instance: a, host: b, load.one: 4}", True),
    ("{rule: few, cause: stopped}", True),
    # what is excluded
    ("{rule: few, not: {team: 'w*'}}", False),
    ("{rule: few, not: {team: lab}}", True),
    ("{service: apache, not: {rule: few}}", True),
    ("{not: {severity: [warning, critical]}}", False),
    ("{rule: alertd-registry, severity: info, instance: x}", True),
]


@pytest.mark.parametrize(("match", "is_possible"), POSSIBLE)
def test_a_match_that_no_rule_can_fulfil_is_warned_of(folder: Folder, match: str, *, is_possible: bool) -> None:
    """As far as can be known without instances; in silences and on both sides of inhibitions."""
    nothing = "warning: this matches no alert that any rule can raise"
    expected = [] if is_possible else [nothing]
    silence = problems_of(folder, "silences", f"{{match: {match}, during: nightly}}")
    assert [problem.partition(" ")[2] for problem in silence] == expected
    for sides in (f"if: {match}, mute: {{rule: lost}}", f"if: {{rule: few}}, mute: {match}"):
        inhibition = problems_of(folder, "inhibit", f"{{{sides}, equal: [service]}}")
        assert [problem.partition(" ")[2] for problem in inhibition if "the same as" not in problem] == expected


# --- inhibitions -----------------------------------------------------------------------------------------------------

IN_AN_INHIBITION = [
    ("{if: {rule: few}}", "11: error: `mute` is missing"),
    ("{if: {}, mute: {rule: lost}, equal: service}", "16: error: `if` must not be empty: it would match everything"),
    ("{if: {rule: few}, mute: {}, equal: service}", "35: error: `mute` must not be empty: it would match everything"),
    ("{if: {rule: few, during: nightly}, mute: {rule: lost}}", "36: error: `during` does not belong here"),
    ("{if: {rule: few}, mute: {cause: gone}, equal: x}", '43: error: `cause` must be a cause, not "gone"; known here:'),
    (
        "{if: {rule: few}, mute: {rule: lost}}",
        "11: warning: without `equal` one alert mutes those of all services; say what both must share, such as",
    ),
    ("{if: {rule: few}, mute: {rule: lost}, equal: []}", "56: warning: without `equal` one alert mutes those of all"),
    (
        "{if: {rule: few}, mute: {rule: [few]}, equal: service}",
        "35: warning: the same as `if`: alerts that are both never mute each other, so this mutes nothing",
    ),
    (
        "{if: {rule: fw}, mute: {rule: lost}, equal: service}",
        '23: warning: no rule is called "fw"; did you mean "few"?',
    ),
    (
        "{if: {rule: few}, mute: {rule: lost}, equal: [service, sqad]}",
        '66: warning: no rule and no service gives a label "sqad"; did you mean "squad"?',
    ),
]


@pytest.mark.parametrize(("line", "said"), IN_AN_INHIBITION)
def test_an_inhibition_that_cannot_or_will_hardly_be_meant(folder: Folder, line: str, said: str) -> None:
    """One alert says it all for others, on what both have in common."""
    problems = problems_of(folder, "inhibit", line)
    assert any(problem.startswith(said) for problem in problems), problems
