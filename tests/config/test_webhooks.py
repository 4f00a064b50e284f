"""Webhooks, heartbeats and reports: addresses and headers with their secrets, and who is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertd.config.schema import Webhook
from tests.config.folder import RULE, Folder


def webhook_of(folder: Folder, text: str, **environ: str) -> Webhook | None:
    """Return the webhook of a channel written so, with these variables."""
    return folder.write(f"{RULE}channels: {{a: {text}}}\n").ruleset(environ).channels["a"].webhook


def problems_of(folder: Folder, line: str, **environ: str) -> list[str]:
    """Return what is said of a line 5, without the file's name."""
    problems = folder.write(f"{RULE}{line}\n").problems(environ)
    return [problem.removeprefix("rules/a.yaml:5:") for problem in problems]


def test_secrets_are_filled_in_everywhere_in_a_webhook(folder: Folder, tmp_path: Path) -> None:
    """In the address, in each header and in the secret; from variables, defaults and files."""
    token = tmp_path / "token"
    token.write_text("geheim\n")
    text = (
        "{webhook: 'https://u:${WORD}@h:8443/x?k=${NO:-1}', secret: '${WORD}', send_resolved: false, rate: 5/1m,"
        f" headers: {{Authorization: 'Bearer ${{file:{token}}}', X-Number: 5, X-Empty: ''}}}}"
    )
    webhook = webhook_of(folder, text, WORD="xy")
    assert webhook is not None
    assert webhook.url.get_secret_value() == "https://u:xy@h:8443/x?k=1"
    headers = {name: value.get_secret_value() for name, value in webhook.headers.items()}
    assert headers == {"Authorization": "Bearer geheim", "X-Number": "5", "X-Empty": ""}
    assert webhook.secret is not None
    assert webhook.secret.get_secret_value() == "xy"
    channel = folder.ruleset({"WORD": "xy"}).channels["a"]
    assert (channel.targets, channel.send_resolved, channel.rate is not None) == ((), False, True)


def test_an_empty_secret_is_none(folder: Folder) -> None:
    """So that a default may turn signing off."""
    webhook = webhook_of(folder, "{webhook: https://h, secret: '${NO:-}'}")
    assert webhook is not None
    assert webhook.secret is None


WEBHOOKS = [
    ("{webhook: x}", "25: error: `webhook` must be an address that begins with http:// or https://"),
    ("{webhook: 'ftp://h'}", "25: error: `webhook` must be an address that begins with http:// or https://"),
    ("{webhook: ''}", "25: error: `webhook` must be an address that begins with http:// or https://"),
    ("{webhook: 'https://h /x'}", "25: error: `webhook` must be an address that begins with http:// or https://"),
    (
        "{webhook: 'https://'}",
        "25: error: `webhook` must be an address that begins with http:// or https://",
    ),
    (
        "{webhook: 'https://[::1/'}",
        "25: error: `webhook` must be an address that begins with http:// or https://, foll",
    ),
    ("{webhook: 'https://h:99999/'}", "25: error: `webhook` is wrong: the URL's port must lie between 1 and 65535"),
    ("{webhook: 5}", "25: error: `webhook` must be text, not `5` (quote it)"),
    ("{webhook: [https://h]}", "25: error: `webhook` must be text, not a list"),
    (
        "{webhook: 'https://${NO}'}",
        "25: error: environment variable NO is not set; set it, or give a default: ${NO:-…}",
    ),
    ("{webhook: https://h, urls: json://h}", "15: error: `a` must have either `urls` or a `webhook`"),
    ("{send_resolved: true}", "15: error: `a` must have either `urls` or a `webhook`"),
    ("{urls: json://h, headers: {A: b}}", "15: error: `a` must not have `headers`, which goes with `webhook` only"),
    ("{urls: json://h, secret: x}", "15: error: `a` must not have `secret`, which goes with `webhook` only"),
    ("{webhook: https://h, headers: [A]}", "45: error: `headers` must be a mapping, not a list"),
    ("{webhook: https://h, headers: {A: [b]}}", "49: error: `A` must be text, not a list"),
    ("{webhook: https://h, headers: {A b: c}}", '46: error: "A b" is not the name of an HTTP header'),
    ("{webhook: https://h, headers: {'A:': c}}", '46: error: "A:" is not the name of an HTTP header'),
    ("{webhook: https://h, headers: {a: b, A: c}}", '52: error: the header "A" is given twice, in another case'),
    ('{webhook: https://h, headers: {A: "b\\nC: d"}}', '49: error: the header "A" must be one line of Latin letters'),
    ("{webhook: https://h, headers: {A: ' b'}}", '49: error: the header "A" must be one line of Latin letters, digits'),
    ("{webhook: https://h, headers: {A: 支付}}", '49: error: the header "A" must be one line of Latin letters, digits'),
    ("{webhook: https://h, headers: {A: '${BREAK}'}}", '49: error: the header "A" must be one line of Latin letters'),
    ("{webhook: https://h, headers: {A: '${NO}'}}", "49: error: environment variable NO is not set; set it, or give a"),
    ("{webhook: https://h, secret: '${file:no}'}", "44: error: secret file 'no' is not an absolute path"),
    ("{webhook: https://h, urls: json://h, header: {}}", '52: error: unknown key "header"; did you mean "headers"?'),
]


@pytest.mark.parametrize(("text", "said"), WEBHOOKS)
def test_a_webhook_that_is_none(folder: Folder, text: str, said: str) -> None:
    """An address of the web, headers that HTTP can carry, and either this or Apprise's targets."""
    problems = problems_of(folder, f"channels: {{a: {text}}}", BREAK="b\nC: d")
    assert any(problem.startswith(said) for problem in problems), problems


def test_a_webhook_whose_secret_is_not_set_is_a_target_that_is_not(folder: Folder) -> None:
    """Where secrets are not required it is there to be shown, and cannot be used."""
    folder.write(f"{RULE}channels: {{a: {{webhook: https://h, headers: {{A: '${{NO}}'}}}}}}\n")
    found = folder.survey(secrets_required=False)
    assert [problem.is_warning for problem in found.problems] == [True]
    channel = found.draft.channels["a"]
    assert channel.webhook is None
    assert [(target.url, target.options) for target in channel.targets] == [(None, None)]


SIGNS = [
    ("heartbeats: [{name: a, every: 1m}]", "14: error: this entry must have either a `channel` or a `url`"),
    (
        "heartbeats: [{name: a, every: 1m, channel: log, url: https://h}]",
        "14: error: this entry must have either a `channel` or a `url`",
    ),
    ("heartbeats: [{every: 1m, channel: log}]", "14: error: `name` is missing"),
    ("heartbeats: [{name: a, every: 60, channel: log}]", "31: error: `every` must be a duration with its unit"),
    ("heartbeats: [{name: a, every: 0s, channel: log}]", "31: error: `every` must be longer than 0s"),
    ("heartbeats: [{name: a, every: 1m, channel: lag}]", '44: error: unknown channel "lag"; did you mean "log"?'),
    ("heartbeats: [{name: a, every: 1m, url: h}]", "40: error: `url` must be an address that begins with http:// or"),
    ("heartbeats: [{name: a, every: 1m, url: '${NO}'}]", "40: error: environment variable NO is not set"),
    (
        "heartbeats: [{name: a, every: 1m, channel: log}, {name: a, every: 1m, channel: log}]",
        '57: error: heartbeat "a" is defined at rules/a.yaml:5:21 as well',
    ),
    ("reports: [{name: a, cron: 0 8 * * mon}]", "11: error: `channel` is missing"),
    ("reports: [{name: a, cron: 0 8 * *, channel: log}]", "27: error: `cron` must be five cron fields such as"),
    ("reports: [{name: a, cron: 0 8 31 6 *, channel: log}]", "27: error: `cron` never fires: there is no such day"),
    ("reports: [{name: a, cron: 0 8 * * mon, channel: lag}]", '49: error: unknown channel "lag"; did you mean "log"?'),
    (
        "reports: [{name: a, cron: 0 8 * * mon, channel: log, timezone: Mars}]",
        "64: error: `timezone` must be the name of a time zone, such as Europe/Berlin or UTC",
    ),
    (
        "reports: [{name: a, cron: 0 8 * * mon, channel: log}, {name: a, cron: 0 8 * * mon, channel: log}]",
        '62: error: report "a" is defined at rules/a.yaml:5:18 as well',
    ),
]


@pytest.mark.parametrize(("line", "said"), SIGNS)
def test_a_heartbeat_or_report_that_is_none(folder: Folder, line: str, said: str) -> None:
    """Each has a name, a time, and one who is told."""
    problems = problems_of(folder, line)
    assert any(problem.startswith(said) for problem in problems), problems


def test_two_that_are_one_by_an_alias_are_two(folder: Folder) -> None:
    """An alias repeats the name as well."""
    (problem,) = problems_of(folder, "heartbeats: [&a {name: a, every: 1m, channel: log}, *a]")
    assert problem == '24: error: heartbeat "a" is defined at rules/a.yaml:5:24 as well'
