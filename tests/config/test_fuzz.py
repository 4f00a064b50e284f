"""Whatever stands in a rules directory, reading it ends, and ends in a ruleset or in problems at sane places."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertd.config.load import survey
from alertd.config.schema import FieldValue, InstanceCount, Rule, Ruleset, Section, Settings, When
from alertd.config.written import (
    ChannelText,
    HeartbeatText,
    InhibitionText,
    ReportText,
    RouteText,
    SilenceText,
    WindowText,
)
from tests.config.folder import NOW
from tests.config.test_load import CONTRACT

TOKENS = re.findall(r"\w+|\s+|[^\w\s]", CONTRACT)
AWKWARD = [
    *("*", "&a", "*a", "!x", "<<: ", "{{", "}}", "{%", "[", "]", "{", "}", "'", '"', "|\n", "? ", "- ", ": "),
    *(
        "#",
        "%",
        "@",
        "on",
        "010",
        "22:00",
        "~",
        "1e999",
        "9" * 200,
        "---\n",
        "...",
        "${",
        "$$",
        "\n",
        "  ",
        "a",
        "rules",
    ),
    *("\t", "\x00", "\x85", "\u2028", "\ud7ff", "💥"),
]
LINE_ENDS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

SETTINGS = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def judge(folder: Path, content: bytes) -> None:
    """Read a file, and hold what is said of it against the file."""
    path = folder / "a.yaml"
    path.write_bytes(content)
    started = time.monotonic()
    found = survey(folder, environ={}, now=NOW)
    assert time.monotonic() - started < 5
    lines = len(LINE_ENDS.findall(content.decode(errors="replace"))) + 2
    for problem in found.problems:
        assert problem.place.file in {str(path), str(folder)}
        assert 1 <= problem.place.line <= lines
        assert problem.place.column >= 1
        assert str(problem).isprintable(), problem
        assert len(problem.message) < 600
        assert not re.search("Traceback|Input should|Errno|object at 0x", problem.message)
    if not found.has_errors:
        assert Ruleset.model_validate(found.draft) is found.draft


@SETTINGS
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    """Bytes that are hardly ever YAML."""
    judge(tmp_path, content)


@SETTINGS
@given(pieces=st.lists(st.sampled_from(AWKWARD), max_size=30))
def test_any_syntax(tmp_path: Path, pieces: list[str]) -> None:
    """Signs that mean something in YAML, in any order."""
    judge(tmp_path, "".join(pieces).encode())


FAULTS = st.tuples(
    st.integers(0, len(TOKENS) - 1),
    st.sampled_from(["", "*", "2"]) | st.sampled_from(AWKWARD) | st.sampled_from(TOKENS) | st.text(max_size=8),
    st.booleans(),
)


@SETTINGS
@given(faults=st.lists(FAULTS, min_size=1, max_size=6))
def test_a_good_file_with_faults(tmp_path: Path, faults: list[tuple[int, str, bool]]) -> None:
    """The mistakes that people make: something left out, put in, or mistyped."""
    tokens = list(TOKENS)
    for where, text, is_added in faults:
        tokens[where] = tokens[where] + text if is_added else text
    judge(tmp_path, "".join(tokens).encode(errors="surrogatepass"))


WORDS = ["30s", "50%", "down", "up", "*", "{{ a }}", "{{", "2/1m", "json://h", "${X}", "log", "1.10", "", "\n", "é"]
WORDS += ["https://h", "0 2 * * *", "* * * * *", "0 0 30 2 *", "UTC", "2026-12-01T06:00:00Z", "a", "b", "critical"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=6)
SHAPES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=3),
    max_leaves=5,
)


def shaped(model: type[Section], **inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Return mappings with the keys of `model` and anything under them, mostly `inner` where that is given."""
    keys = {info.alias or name: info for name, info in model.model_fields.items()}
    values = {key: inner.get(key, SHAPES) for key in keys}
    return st.fixed_dictionaries({}, optional=values) | SHAPES


NAMES = st.sampled_from(["a", "b", "log"]) | SHAPES
MATCHES = st.dictionaries(st.sampled_from(["rule", "service", "severity", "team", "not", "during"]), SHAPES, max_size=3)
WHENS = shaped(When, instances=shaped(InstanceCount), value=shaped(FieldValue))
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "settings": shaped(Settings),
        "services": st.dictionaries(st.text(max_size=3), SHAPES, max_size=2) | SHAPES,
        "rules": st.lists(shaped(Rule, when=WHENS), max_size=2),
        "channels": st.dictionaries(st.sampled_from(["a", "log", ""]), shaped(ChannelText), max_size=2),
        "windows": st.dictionaries(st.sampled_from("ab"), shaped(WindowText), max_size=2),
        "routes": st.lists(shaped(RouteText, match=MATCHES, channels=NAMES), max_size=3),
        "inhibit": st.lists(shaped(InhibitionText, **{"if": MATCHES, "mute": MATCHES}), max_size=2),
        "silences": st.lists(shaped(SilenceText, match=MATCHES, during=NAMES), max_size=2),
        "heartbeats": st.lists(shaped(HeartbeatText, channel=NAMES), max_size=2),
        "reports": st.lists(shaped(ReportText, channel=NAMES), max_size=2),
    },
)


@SETTINGS
@given(document=DOCUMENTS)
def test_any_shape(tmp_path: Path, document: object) -> None:
    """The keys that there are, with the wrong kinds of values under them; JSON is YAML."""
    judge(tmp_path, json.dumps(document).encode())
