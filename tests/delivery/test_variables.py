"""What templates see, and that the README's table says so."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alertd.config.schema import Templates
from alertd.delivery import render, variables
from alertd.delivery.wording import Times
from alertd.model import Ack, Cause, Entry, Escalation, Kind, Mute, Reason, Transition
from tests.delivery.examples import APACHE, PROD, RULE, alert, at, notification

README = Path(__file__).parents[2] / "README.md"
TOLD = notification(
    Entry(
        Kind.FIRING,
        alert(
            acknowledged=Ack("7f3a", "ann", "on it", at(0).wall, at(0).wall + timedelta(hours=8)),
            muted=Mute(Reason.SILENCED, "3f2a", "vacuum"),
        ),
    ),
    services={
        "apache": replace(
            APACHE,
            common={"rack": "r7"},
            recent=(Transition("apache", "core07", up=False, cause=Cause.STOPPED, at=at(-60), revision=1),),
        )
    },
    next=(Escalation(("boss",), at(900)),),
)


def test_the_table_in_the_readme_lists_every_variable_and_no_other() -> None:
    """Labels and fields aside, which are the user's own."""
    table = README.read_text().partition("| variable | is |")[2].partition("\n\n")[0]
    listed = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition("|")[2].partition("|")[0])
    }
    seen = variables.for_message(TOLD, Times.of("UTC", at(0).wall))
    assert listed == seen.keys() - {"team"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ common.rack }} {{ common | length }}", "r7 1"),
        ("{{ acknowledged }}; {{ muted }}", "ann; silenced by 3f2a: vacuum"),
        ("next {{ next }}", "next boss at 04:27"),
        ("{{ recent | join(', ') }}", "04:11 core07 down (stopped)"),
        ("{{ kind }} {{ alerts | length }} {{ alerts[0].kind }}", "firing 1 firing"),
    ],
)
def test_a_channels_template_sees_what_the_built_in_text_says(source: str, text: str) -> None:
    """Who has it, what the lost share, what came before and what comes next."""
    assert render.body(TOLD, PROD, Templates(body=source)) == f"{text}\nid 9abc"


def test_faults_are_told_in_the_message_and_by_the_letter() -> None:
    """Each with its place, once; the built-in text stands in."""
    rule = replace(RULE, summary="{{ nope }}", description="{{ 1 / 0 }}")
    told = notification(Entry(Kind.FIRING, alert(rule=rule)))
    letter = render.letter(told, PROD, Templates(title="{{ nix }}"), delivered=at(0).wall)
    place = "rule apache-minimum at rules/web.yaml:12 @4f2c9e1: template does not render"
    assert letter.faults == (
        "the title template of channel ops: template does not render: 'nix' is undefined",
        f"the summary of {place}: 'nope' is undefined",
        f"the description of {place}: division by zero",
    )
    assert letter.title.endswith("(template does not render: 'nix' is undefined)")
    assert "(template does not render: division by zero)" in letter.body(None)


def test_a_faulty_body_template_leaves_the_built_in_body() -> None:
    """With a note of what is wrong above it: nobody is told less because of a slip."""
    letter = render.letter(TOLD, PROD, Templates(body="{{ nope }}"), delivered=at(0).wall)
    lines = letter.body(None).splitlines()
    assert lines[0] == "(template does not render: 'nope' is undefined)"
    assert "DOWN 172.31.14.98 core02  failing: HTTP 503" in lines
    assert lines[-1] == "id 9abc"
    assert letter.faults[0].startswith("the body template of channel ops: ")
