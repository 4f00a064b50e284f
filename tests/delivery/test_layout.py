"""What gives way when a message is too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alertd.delivery.layout import Layout, listed


def build(texts: list[str], head: list[str], lines: list[str], total: int) -> Layout:
    """Return a layout with one listing and two foot lines."""
    layout = Layout()
    for text in texts:
        layout.text(text)
    for line in head:
        layout.head(line)
    layout.listing(lines, total)
    layout.foot("rules/web.yaml:12")
    layout.foot("id 9abc")
    return layout


LINES = [f"DOWN instance-{number}" for number in range(100)]


def test_without_a_limit_everything_is_there() -> None:
    """Only what the facts themselves left out is counted."""
    assert build(["text"], ["since"], ["a", "b"], 2).fit(None) == "text\nsince\na\nb\nrules/web.yaml:12\nid 9abc"
    assert build([], [], ["a"], 5).fit(None) == "a\nand 4 more\nrules/web.yaml:12\nid 9abc"


def test_the_listing_gives_way_first_and_says_how_much() -> None:
    """As many lines as fit are shown, and the rest is counted: shown plus "more" is always the total."""
    body = build(["text"], ["since"], LINES, 150).fit(400)
    shown = sum(line.startswith("DOWN") for line in body.splitlines())
    assert 10 < shown < 100
    assert f"and {150 - shown} more" in body
    assert body.startswith("text\nsince\nDOWN instance-0\n")
    assert body.endswith("rules/web.yaml:12\nid 9abc")


def test_a_text_that_is_too_long_leaves_room_for_the_facts() -> None:
    """A summary of any length is cut; the lines below it stay."""
    body = build(["x" * 5000], ["since"], LINES, 100).fit(600)
    assert "…\nsince\nDOWN instance-0" in body
    assert len(body) <= 600


@given(
    texts=st.lists(st.text(st.characters(categories=["L"]), max_size=300), max_size=3),
    head=st.lists(st.just("since 04:12:41 CEST"), max_size=3),
    count=st.integers(0, 60),
    more=st.integers(0, 60),
    limit=st.integers(0, 900),
)
def test_no_limit_is_exceeded_and_the_id_is_never_lost(
    texts: list[str], head: list[str], count: int, more: int, limit: int
) -> None:
    """For every limit: the last line is the id, whole, and the rest obeys the limit."""
    body = build(texts, head, LINES[:count], count + more).fit(limit)
    assert body.splitlines()[-1] == "id 9abc"
    assert len(body) <= max(limit, len("id 9abc"))


def test_a_list_names_a_few_and_counts_the_rest() -> None:
    """Each item once, in order."""
    assert listed(["a", "b", "a"]) == "a, b"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert listed([]) == ""
