"""The rules that are shipped: those of the demo, and beside them examples of everything that can be written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alertd.config.document import PLANNED_SECTIONS, json_schema
from alertd.config.load import survey
from alertd.config.patterns import may_meet
from tests.config.folder import NOW

SHIPPED = Path(__file__).parents[2] / "rules"
EXAMPLES = SHIPPED / "examples"

OF_THE_DEMO = ("apache", "mail", "pay")

NOT_IN_EFFECT = {"fallback"}


def test_the_shipped_rules_are_without_fault() -> None:
    """With no variable set at all; they use what exists, so nothing is warned of either."""
    found = survey(SHIPPED, environ={}, now=NOW)
    assert found.problems == ()
    assert {"apache-minimum", "instance-lost"} <= {rule.name for rule in found.draft.rules}


def test_the_examples_load_by_themselves() -> None:
    """As a whole configuration, to be copied: no secret, no warning."""
    found = survey(EXAMPLES, environ={}, now=NOW)
    assert found.problems == ()
    ruleset = found.draft
    assert ruleset.windows
    assert ruleset.inhibit
    assert ruleset.silences
    assert ruleset.heartbeats
    assert ruleset.reports
    assert any(channel.webhook for channel in ruleset.channels.values())
    assert any(route.escalate for route in ruleset.routes)


def test_the_shipped_rules_load_without_the_examples(tmp_path: Path) -> None:
    """Whoever removes the examples has rules that are told on the log."""
    for path in SHIPPED.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    found = survey(tmp_path, environ={}, now=NOW)
    assert found.problems == ()
    assert found.rules > 5


def test_the_examples_leave_the_demo_alone() -> None:
    """No rule of theirs judges its services, nothing mutes them, and they take the default route."""
    ruleset = survey(SHIPPED, environ={}, now=NOW).draft
    own = [rule for rule in ruleset.rules if Path(rule.place.file).parent == EXAMPLES]
    assert own
    assert [
        rule.name for rule in own for name in OF_THE_DEMO if any(may_meet(name, each) for each in rule.service)
    ] == []
    assert not [name for name in ruleset.services if "*" not in name and name not in OF_THE_DEMO]
    known = {rule.name for rule in ruleset.rules} - {rule.name for rule in own}
    teams = {ruleset.services[name].labels["team"] for name in OF_THE_DEMO}
    muting = [silence.match for silence in ruleset.silences] + [inhibition.mute for inhibition in ruleset.inhibit]
    for match in (*muting, *(route.match for route in ruleset.routes[:-1])):
        of_others = (
            match.is_.get("rule") and not any(may_meet(one, each) for one in match.is_["rule"] for each in known),
            match.is_.get("service")
            and not any(may_meet(one, each) for one in match.is_["service"] for each in OF_THE_DEMO),
            match.is_.get("team") and not any(may_meet(one, each) for one in match.is_["team"] for each in teams),
        )
        assert any(of_others), match


def keys_of(schema: Any) -> Iterator[str]:
    """Walk the names of all keys that a JSON Schema knows."""
    if isinstance(schema, list):
        for part in schema:
            yield from keys_of(part)
    elif isinstance(schema, dict):
        for keyword, part in schema.items():
            if keyword == "properties":
                yield from part
                yield from keys_of(list(part.values()))
            elif keyword != "default":
                yield from keys_of(part)


@pytest.mark.parametrize("key", sorted(set(keys_of(json_schema())) - NOT_IN_EFFECT - PLANNED_SECTIONS))
def test_the_examples_use_every_key(key: str) -> None:
    """All that is in effect stands in one of them, at least as a comment to be taken out of it."""
    text = "".join(path.read_text() for path in EXAMPLES.glob("*.yaml"))
    assert re.search(rf"(?m)(?:^|[\s{{]){key}: ", text) or re.search(rf"(?m)^\s*(?:# +)?{key}:$", text), key
