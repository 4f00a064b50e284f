"""What services that show markup are sent, so that people read what was meant."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.delivery import channel
from alertd.delivery.markup import dialect_of, to_html, to_markdown
from tests.delivery.examples import target

ESCAPED = re.compile(r"\\([\\`*_~\[\]<>#|&=+.)-])")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("DOWN _core_01_ *x*", r"DOWN \_core\_01\_ \*x\*"),
        ("<b>&amp;</b> a & b", r"\<b\>\&amp;\</b\> a & b"),
        (
            "# no heading\n- no list\n+ none\n1. none\n2) none",
            "\\# no heading\n\\- no list\n\\+ none\n1\\. none\n2\\) none",
        ),
        ("172.31.14.97 at 04:12:41", "172.31.14.97 at 04:12:41"),
        ("back\\slash `tick` ~~no~~ [a](b) a|b", r"back\\slash \`tick\` \~\~no\~\~ \[a\](b) a\|b"),
        ("see https://x.y/a_b_c?d=*e* _f_", r"see https://x.y/a_b_c?d=*e* \_f\_"),
    ],
)
def test_markdown_shows_names_as_they_are(text: str, written: str) -> None:
    """Nothing turns bold or into a list, and links lead where they led."""
    assert to_markdown(text) == written


def test_nobody_is_mentioned_by_a_name_or_a_reason() -> None:
    """A blank without width parts the sign from the name; mail addresses stay whole."""
    assert to_markdown("failing: @here @channel ask ops@example.com") == (
        "failing: @\u200bhere @\u200bchannel ask ops@example.com"
    )


@given(st.text(st.characters(min_codepoint=32, max_codepoint=1000)))
def test_markdown_loses_no_character(text: str) -> None:
    """Without the backslashes and the blanks of no width it is the text again."""
    if "http" not in text:
        assert ESCAPED.sub(r"\1", to_markdown(text)).replace("@\u200b", "@") == text


def test_html_has_links_and_blanks_that_can_be_copied() -> None:
    """A command copied from a mail must run: its blanks are blanks; of two, one keeps the columns apart."""
    written = to_html("DOWN <a>  failing & gone\nOpen https://x.y/?a=1&b=2\nalertd ack 7f3a")
    assert written == (
        "DOWN &lt;a&gt; &nbsp;failing &amp; gone<br/>"
        'Open <a href="https://x.y/?a=1&amp;b=2">https://x.y/?a=1&amp;b=2</a><br/>alertd ack 7f3a'
    )


@given(st.text(st.characters(min_codepoint=32, max_codepoint=1000)))
def test_html_loses_no_character(text: str) -> None:
    """Read back, it is the text again."""
    if "http" not in text:
        assert html.unescape(to_html(text).replace("&nbsp;", " ")) == text


@pytest.mark.parametrize(
    ("url", "name", "written"),
    [
        ("json://h", "text", "a_b"),
        ("mailto://u:p@h.example", "text", "a_b"),
        ("mailto://u:p@h.example?format=html", "html", "a_b"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?format=markdown", "text", "a_b"),
        ("mmost://h/3ccdd113474722377935511fc85d3dd4", "text", r"a\_b"),
        ("mmost://h/3ccdd113474722377935511fc85d3dd4?format=markdown", "markdown", r"a\_b"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "text", r"a\_b"),
    ],
)
def test_each_service_is_written_to_in_what_it_reads(url: str, name: str, written: str) -> None:
    """Some read Markdown in what their plugin calls text; Slack's Markdown shows the backslashes, so it gets text."""
    dialect = dialect_of(channel._instantiate(target(url), "ops #1"))
    assert (dialect.name, dialect.write("a_b")) == (name, written)
