"""What is refused, where, and in which words: read the tables as the specification of the messages."""

from __future__ import annotations

import time

import pytest

from tests.config.folder import RULE, Folder

# Line 5, added to a good rule.
IN_A_RULE = [
    ("    sevrity: info", '5: error: unknown key "sevrity"; did you mean "severity"?'),
    ("    place: x", '5: error: unknown key "place"'),
    ("    name: b", "5: error: `name` is given twice; first at rules/a.yaml:2:5"),
    (
        "    for: 30",
        "10: error: `for` must be a duration with its unit, such as 500ms, 30s, 5m, 1h30m or 7d, not `30`",
    ),
    ("    for:", "5: error: `for` has no value; give it one, or remove the key"),
    ("    for: ~", "5: error: `for` has no value; give it one (quote `~` if it is text), or remove the key"),
    ("    for: 3651d", "10: error: `for` must be at most 3650d"),
    ("    severity: bad", '15: error: `severity` must be `info`, `warning` or `critical`, not "bad"'),
    ("    runbook: 5", "14: error: `runbook` must be text, not `5` (quote it)"),
    ("    channels: []", "15: error: `channels` must not be empty"),
    ("    channels: [lag]", '16: error: unknown channel "lag"; did you mean "log"?'),
    ("    labels: {a: [1]}", "17: error: `a` must be text, not a list"),
    ("    flap: {changes: '5'}", "21: error: `changes` must be a whole number, not text"),
    ("    flap: {changes: 1}", "21: error: `changes` must be at least 2, not `1`"),
    ("    flap: true", "11: error: `flap` must be a mapping such as {changes: 6, within: 30m, settle: 10m}, or false"),
    # what YAML would have read otherwise than it was meant
    (
        "    flap: off",
        "11: error: `off` is a boolean to many readers of YAML; write true or false, or quote it",
    ),
    ("    labels: {a: True}", "17: error: `True` is spelt true or false in lower case; quote it if it is text"),
    ("    labels: {a: 22:00}", "17: error: `22:00` is a number in base 60 to many readers of YAML; quote it"),
    ("    labels: {a: 010}", "17: error: `010` is octal to many readers of YAML; leave out the leading 0, or quote it"),
    ("    labels: {a: 0o7}", "17: error: `0o7` is not a decimal number; write it in decimal, or quote it"),
    ("    labels: {a: 1_0}", "17: error: `1_0` has `_` in a number; leave it out, or quote it"),
    ("    labels: {a: 2026-12-01}", "17: error: `2026-12-01` is a date to many readers of YAML; quote it"),
    ("    labels: {a: .nan}", "17: error: `.nan` is not a finite number; quote it if it is text"),
    (
        "    labels: {no: x}",
        "14: error: `no` is a boolean to many readers of YAML; write true or false, or quote it",
    ),
    (
        "    where: {host: *core}",
        "19: error: no anchor `&core` above this alias; to write text that begins with `*`, quote it",
    ),
    ("    service: *", "14: error: text that begins with `*`, `&` or `!` must be quoted"),
    ("    where: {host: !core}", "19: error: text that begins with `*`, `&` or `!` must be quoted"),
    ("    <<: {for: 1m}", "5: error: merge keys (`<<`) are not supported; write the keys out"),
    ("\tfor: 1m", "1: error: a tab; indent with spaces"),
    ("    description: a: b", "19: error: an unexpected `:`; quote text that contains `: `, and check the indentation"),
    (
        "    summary: {{ x }}",
        "15: error: a list or mapping as a key; quote the text if it begins with `[` or `{`, as a template does",
    ),
    (
        "    summary: '{{ x'",
        "14: error: `summary` does not parse as a template: unexpected end of template, expected 'end of print",
    ),
]


@pytest.mark.parametrize(("line", "said"), IN_A_RULE)
def test_in_a_rule(folder: Folder, line: str, said: str) -> None:
    """The place, what is wrong, and what to do; one fault is told once."""
    (problem,) = folder.write(f"{RULE}{line}\n").problems()
    assert problem.startswith(f"rules/a.yaml:5:{said}")


def test_a_value_cannot_forge_a_problem(folder: Folder) -> None:
    """What a message quotes stays within its line, and shows what does not print."""
    (problem,) = folder.write(RULE + '    for: "1\\nrules/a.yaml:1:1: error: \\u202e"\n').problems()
    assert problem.endswith(r"not `1\nrules/a.yaml:1:1: error: \u202e`")


def test_a_fault_in_a_block_template_is_told_at_its_line(folder: Folder) -> None:
    """And not at the start of the text."""
    folder.write(RULE + "    summary: |\n      a\n      {{ x\n")
    assert folder.problems()[0].startswith("rules/a.yaml:7:1: error: `summary` does not parse as a template")


IN_WHEN = [
    (
        "{}",
        "11: error: `when` is wrong: give exactly one of instances, instance, distinct, changes, value and malformed",
    ),
    ("5", "11: error: `when` must be a mapping, not `5`"),
    ("{instances: {below: 2, above: 3}}", "23: error: `instances` is wrong: give exactly one of below and above"),
    ("{instances: {below: 0}}", "31: error: `below` must be a whole number of at least 1, or a percentage such as 50%"),
    (
        "{instances: {below: 0%}}",
        "31: error: `below` must be a whole number of at least 1, or a percentage such as 50%",
    ),
    (
        "{instances: {below: 2.0}}",
        "31: error: `below` must be a whole number of at least 1, or a percentage such as 50%",
    ),
    ("{instance: gone}", '22: error: `instance` must be `down` or `up`, not "gone"'),
    (
        "{instance: down, cause: [lost]}",
        '36: error: `cause` must be `failing`, `stopped`, `deleted`, `expired` or `missed`, not "lost"',
    ),
    ("{instance: up, cause: [expired]}", "11: error: `when` is wrong: cause goes with `instance: down` only"),
    ("{value: {field: a, above: 4, clear: 5}}", "19: error: `value` is wrong: clear must not lie above `above`"),
    ("{value: {field: a, above: '4'}}", "37: error: `above` must be a number, not text"),
    ("{changes: {above: 5}}", "21: error: `within` is missing"),
    ("{malformed: false}", "23: error: `malformed` must be true, not `false`"),
]


@pytest.mark.parametrize(("when", "said"), IN_WHEN)
def test_in_when(folder: Folder, when: str, said: str) -> None:
    """Each condition has its shape."""
    (problem,) = folder.write(f"rules:\n  - name: a\n    service: s\n    when: {when}\n").problems()
    assert problem == f"rules/a.yaml:4:{said}"


# A whole line 5, after a good rule.
ELSEWHERE = [
    ("silences: {}", "11: error: `silences` must be a list"),
    ("windows: []", "10: error: `windows` must be a mapping"),
    ("tests: []", "1: error: `tests` is not supported yet; remove the section"),
    ("chanels: {}", '1: error: unknown section "chanels"; did you mean "channels"?'),
    ("services: []", "11: error: `services` must be a mapping"),
    ("services: {'': {}}", "12: error: a service's name must be one printable line, without spaces around it"),
    ("services: {a: {expected: -1}}", "26: error: `expected` must be at least 0, not `-1`"),
    (
        "settings: {timezone: Nowhere/X}",
        "22: error: `timezone` must be the name of a time zone, such as Europe/Berlin or UTC",
    ),
    (
        "settings: {timezone: europe/berlin}",
        '22: error: `timezone` must be the name of a time zone, such as Europe/Berlin or UTC; did you mean "Europe/Be',
    ),
    ("settings: {url: 'https://x:99999'}", "17: error: `url` must have a port between 1 and 65535"),
    ("settings: {url: foo}", "17: error: `url` must be the address of a web page, such as https://alertd.example"),
    (
        "settings: {name: '${X}'}",
        "18: warning: `${…}` is filled in only in the targets of channels and the `url` of heartbeats; here it stays",
    ),
    ("channels: {log: {urls: json://a}}", "12: error: `log` is built in and cannot be defined; choose another name"),
    ("channels: {a: {}}", "15: error: `a` must have either `urls` or a `webhook`"),
    ("channels: {a: {urls: []}}", "22: error: `urls` must not be empty"),
    ("channels: {a: {urls: 5}}", "22: error: a target is a URL such as json://host/path, or a mapping"),
    ("channels: {a: {urls: [x]}}", "23: error: the URL has no scheme, such as json:// or mailto://"),
    ("channels: {a: {urls: ['json://h:99999/']}}", "23: error: the URL's port must lie between 1 and 65535"),
    ("channels: {a: {urls: ['json://[::1]:0/']}}", "23: error: the URL's port must lie between 1 and 65535"),
    (
        "channels: {a: {urls: ['json://h,slack://x']}}",
        "23: error: two URLs in one text; make each an entry of its own in the list",
    ),
    (
        "channels: {a: {urls: [{host: x}]}}",
        "23: error: a target given as a mapping needs a `schema`, such as `schema: mailto`",
    ),
    ("channels: {a: {urls: [{schema: mailto, port: 0}]}}", "46: error: `port` must be a whole number from 1 to 65535"),
    (
        "channels: {a: {urls: ['${X']}}",
        "23: error: `${` without a closing `}`; write ${NAME}, ${NAME:-default} or ${file:/path}, and $$ for a",
    ),
    ("? [a]", "3: error: a list or mapping as a key; quote the text if it begins with `[` or `{`, as a template does"),
    ("services: &a {s: {labels: *a}}", "27: error: alias `*a` stands inside what it repeats"),
    (
        "services: !!python/object:os.system x",
        "11: error: `!!python/object:os.system` is a YAML tag, which is not supported; ",
    ),
    ("---", "1: error: a second document; put it into a file of its own"),
    (
        "  - {name: alertd-mine, service: s, when: {malformed: true}}",
        "12: error: names that begin with `alertd-` are those of built-in rules; choose another",
    ),
]


@pytest.mark.parametrize(("line", "said"), ELSEWHERE)
def test_elsewhere(folder: Folder, line: str, said: str) -> None:
    """Sections, services, settings, channels, routes."""
    problems = folder.write(f"{RULE}{line}\n").problems()
    assert any(problem.startswith(f"rules/a.yaml:5:{said}") for problem in problems), problems


def test_a_fallback_that_is_told_anyway(folder: Folder) -> None:
    """It would be told twice; where a route chooses others, or it is nobody's but the fallback, all is well."""
    channels = "channels: {a: {urls: json://h, fallback: b}, b: {urls: json://h, fallback: log}}\n"
    twice = 'warning: "b" is told %s; it is told twice when "a" fails'
    folder.write(RULE + channels)
    assert folder.problems() == [f"rules/a.yaml:5:42: {twice % 'of everything, as no default route has `channels`'}"]
    folder.write(RULE + channels + "routes: [{match: {rule: x}, channels: [a, b]}, {default: true, channels: [a]}]\n")
    assert f"rules/a.yaml:5:42: {twice % 'by the route at rules/a.yaml:6:10'}" in folder.problems()
    folder.write(RULE + channels + "routes: [{default: true, channels: [a]}]\n")
    assert folder.problems() == []


def test_circles_of_fallbacks(folder: Folder) -> None:
    """Told once, at the fallback of the first in the circle; who is its own fallback is a circle too."""
    folder.write(
        RULE
        + "channels:\n"
        + "  a: {urls: json://h, fallback: b}\n"
        + "  b: {urls: json://h, fallback: a, rate: 20/1x}\n"
    )
    assert folder.problems() == [
        'rules/a.yaml:6:33: error: a circle of fallbacks: "a" → "b" → "a"',
        "rules/a.yaml:7:42: error: `rate` must be a number of messages and a duration, such as 20/1m",
    ]
    folder.write(RULE + "channels: {a: {urls: json://h, fallback: a}, b: {urls: json://h, fallback: log}}\n")
    assert folder.problems() == ['rules/a.yaml:5:42: error: a circle of fallbacks: "a" → "a"']


def test_a_channel_that_nobody_uses_is_warned_of(folder: Folder) -> None:
    """Only where the default route chooses; without a choice it means all channels."""
    channel = RULE + "channels: {spare: {urls: json://h}}\n"
    assert folder.write(channel).problems() == []
    chosen = "routes: [{match: {rule: a}, channels: [log]}, {default: true%s}]\n"
    assert folder.write(channel + chosen % "").problems() == []
    assert folder.write(channel + chosen % ", channels: [log]").problems() == [
        'rules/a.yaml:5:12: warning: channel "spare" is used nowhere: nobody is told through it'
    ]


@pytest.mark.parametrize(
    "use",
    [
        "heartbeats: [{name: h, every: 1m, channel: spare}]",
        "reports: [{name: r, cron: 0 8 * * mon, channel: spare}]",
        "routes: [{match: {rule: a}, channels: spare}, {default: true, channels: log}]",
        "routes: [{default: true, channels: log, escalate: {after: 5m, channels: spare}}]",
    ],
)
def test_whoever_names_a_channel_uses_it(folder: Folder, use: str) -> None:
    """Heartbeats, reports, any route, and any step of an escalation."""
    route = "" if use.startswith("routes") else "routes: [{default: true, channels: log}]\n"
    assert folder.write(f"{RULE}channels: {{spare: {{urls: json://h}}}}\n{route}{use}\n").problems() == []


# --- what would take the machine down --------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 250,000 keys and values, aliases counted at full size"),
        ("a: " + "[" * 3000, "nested more than 32 levels deep"),
        ("a: " + "{a: " * 3000, "nested more than 32 levels deep"),
        ("- " * 3000, "nested more than 32 levels deep"),
        ("a: [" + "1," * 500_000, "more than 250,000 keys and values"),
        ("rules: " + "9" * 5000, "has more than 100 digits"),
        ("rules: 1e999", "is too large for a number"),
    ],
    ids=["aliases", "lists", "mappings", "dashes", "many", "digits", "exponent"],
)
def test_bombs_are_found_before_they_go_off(folder: Folder, text: str, said: str) -> None:
    """In seconds of the processor's time, where the worst of them would take hours."""
    started = time.process_time()
    problems = folder.write(text).problems()
    assert any(said in problem for problem in problems), problems
    assert time.process_time() - started < 30
