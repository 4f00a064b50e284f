"""Templates that cannot render are refused when the rules are loaded, at their own line."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertd.config.load import survey
from alertd.delivery import proof
from alertd.errors import ConfigError
from alertd.rulebook import load_rules
from tests.config.folder import NOW

TRIED = "tried on a sample alert: template does not render:"
PARTLY = "tried on a sample of some alerts: template does not render:"
RULES = """\
services:
  "shop-*": {{labels: {{site: fra}}}}
rules:
  - name: lost
    service: "*"
    when: {{instance: down}}
    where: {{port: "80"}}
    labels: {{team: web}}
    summary: "{lost}"
  - name: few
    service: "*"
    when: {{instances: {{below: 2}}}}
    description: "{few}"
settings:
  templates:
    title: "{title}"
channels:
  ops:
    urls: ["json://127.0.0.1:1/"]
    templates: {{body: "{body}"}}
"""


def problems(folder: Path, **texts: str) -> list[str]:
    """Return what is said of templates, without the file's name; those that are not given are empty."""
    (folder / "a.yaml").write_text(RULES.format(**{"lost": "", "few": "", "title": "", "body": "", **texts}))
    found = survey(folder, environ={}, now=NOW)
    assert found.problems == ()
    told = proof.verify(found.draft)
    return [f"{each.place.line} {'warning' if each.is_warning else 'error'} {each.message}" for each in told]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            {"lost": "{{ 1 / 0 }}"},
            f"9 error `summary`, {TRIED} division by zero",
        ),
        (
            {"few": "{{ minimum + service }}"},
            f"13 error `description`, {TRIED} ",
        ),
        (
            {"few": "{{ rack }}"},
            f"13 error `description`, {TRIED} 'rack' is undef",
        ),
        (
            {"title": "{{ kind.foo.bar }}"},
            f"16 error `title`, {TRIED} 'str obj",
        ),
        ({"body": "{{ alerts.x.y }}"}, f"20 error `body`, {TRIED} 'list obj"),
        (
            {"body": "{{ minimum + 1 }}"},
            f"20 warning `body`, {PARTLY} ",
        ),
        ({"lost": "{{ port + 1 }}"}, f"9 warning `summary`, {TRIED} "),
    ],
)
def test_what_fails_on_a_sample_is_told_at_its_line(tmp_path: Path, texts: dict[str, str], said: str) -> None:
    """A warning where some alerts, or other values of a field, would do."""
    (problem,) = problems(tmp_path, **texts)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    "texts",
    [
        {"lost": "{{ rack }} {{ load.one > 4 }} {{ site }} {{ team }}"},
        {"few": "{{ site }} {{ minimum - up }} {{ rack | default('?') }}"},
        {"title": "{{ rack.deep }} {{ rule }}", "body": "{% for each in alerts %}{{ each.cause }}{% endfor %}"},
    ],
)
def test_what_only_real_alerts_can_show_is_not_complained_of(tmp_path: Path, texts: dict[str, str]) -> None:
    """A field of values, or a label that some services have."""
    assert problems(tmp_path, **texts) == []


def test_the_daemon_does_not_load_them(tmp_path: Path) -> None:
    """A reload leaves the rules in force that are."""
    problems(tmp_path, lost="{{ 1 / 0 }}")
    with pytest.raises(ConfigError, match="division by zero"):
        load_rules(tmp_path, {}, NOW)
