"""Templates that users write: what they can do, and what they cannot do to the daemon."""

from __future__ import annotations

import time

import pytest

from alertd import template
from alertd.template import OUTPUT_CAP, TemplateFault

VARIABLES = {"service": "支付", "up": 1, "values": ["a", "b"], "per": {"zone": "eu"}}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ service }}: {{ up }}", "支付: 1"),
        ("{{ values | join(', ') }} {{ values | length }}", "a, b 2"),
        ("{% if up < 2 %}few{% endif %} in {{ per.zone | upper }}", "few in EU"),
        ("{% for value in values %}[{{ value }}]{% endfor %}", "[a][b]"),
        ("{{ up * 3 + 2 ** 4 }} {{ 10 % 3 }}", "19 1"),
        ("{{ nothing | default('-') }}", "-"),
        ("<b>{{ service }}</b>", "<b>支付</b>"),
    ],
)
def test_what_templates_can_do(source: str, text: str) -> None:
    """Plain Jinja2: variables, filters, conditions, loops; nothing is escaped: the format is the target's."""
    assert template.render(source, VARIABLES) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{ unknown }}",
        "{{ service.unknown }}",
        "{{ 1 / 0 }}",
        "{{ up + service }}",
        "{{ service.__class__ }}",
        "{{ values.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ 'x' * 200000000 }}",
        "{{ '%200000000s' % up }}",
        "{{ '{:200000000}'.format(up) }}",
        "{{ service.center(200000000) }}",
        "{{ service | center(200000000) }}",
        "{{ service | indent(200000000, true) }}",
        "{{ values | slice(10000000) | list }}",
        "{{ 9 ** 999999999 }}",
        "{% set a = 99 ** 9 %}{% set a = a * a %}{% set a = a * a %}{{ a }}",
        "{{ range(1000000000) | list }}",
        "{{ lipsum(1000000) }}",
        "{% include 'x' %}",
        "{{ 1 | round(-400000000) }}",
        "{{ " + "9" * 5_000 + " }}",
        "{{ " + "(" * 5_000,
        "{{ " + "a." * 5_000 + "a }}",
        "{{ " + "not " * 4_000 + "a }}",
        "{% if up %}" * 600 + "{% endif %}" * 600,
        "{% for a in values %}" * 30 + "{% endfor %}" * 30,
        "x" * 1_000_000,
    ],
    ids=lambda source: source[:30],
)
def test_what_templates_cannot_do_is_a_fault_at_once(source: str) -> None:
    """Unknown names, what breaks, what reaches out and what grows: one sentence, no traceback, no waiting."""
    began = time.monotonic()
    with pytest.raises(TemplateFault) as caught:
        template.render(source, VARIABLES)
    assert time.monotonic() - began < 1
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_rounded_in_earnest_is_rounded() -> None:
    """The bound is on what nobody means."""
    assert template.render("{{ 12.345 | round(1) }} {{ 1250 | round(-2) }}", {}) == "12.3 1200"


@pytest.mark.parametrize("source", ["{{", "{% if %}", "{{ a | nofilter }}", "{% endfor %}"])
def test_what_does_not_parse_is_found_before_it_is_needed(source: str) -> None:
    """`check` says so, with the line."""
    with pytest.raises(TemplateFault) as caught:
        template.check(f"line one\n{source}")
    assert caught.value.line == 2


def test_output_is_cut() -> None:
    """However often a loop prints."""
    text = "x" * 1000
    source = "{% for a in t %}{% for b in t %}{{ t }}{% endfor %}{% endfor %}"
    assert len(template.render(source, {"t": text})) == OUTPUT_CAP
