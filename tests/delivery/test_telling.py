"""What of one night arrives where, by mail, chat and webhook: the lines that somebody acts on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from alertd.model import Kind
from tests.delivery.telling import SERVICES, Place, live_through, places
from tests.delivery.test_document import assert_is_alertmanagers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alertd.model import Notification


@pytest.fixture(scope="module")
def night() -> list[Notification]:
    """Live through the night once."""
    return live_through()


@pytest.fixture(scope="module")
def everywhere() -> Iterator[dict[str, Place]]:
    """Run all receivers."""
    with places() as all_places:
        yield all_places


def first(night: list[Notification], kind: Kind, *, resolved: bool = False) -> Notification:
    """Return the first message of a kind; of digests, the first one of what fires or of what ended."""
    return next(told for told in night if told.kind is kind and (told.entries[0].kind is Kind.RESOLVED) is resolved)


TEXTS = ("mail", "slack", "json")


@pytest.mark.parametrize("where", TEXTS)
def test_three_lost_at_once(night: list[Notification], everywhere: dict[str, Place], where: str) -> None:
    """Which, why, what they share, who is next, where to look, what to type."""
    text = everywhere[where].tell(first(night, Kind.FIRING)).replace("&lt;", "<").replace("&gt;", ">")
    title, *lines = text.splitlines()
    assert title.endswith("[FIRING:3] instance_lost apache · 1 of 4 up · warning · prod-fra")
    identifier = lines[-1].removeprefix("id ")
    for line in (
        "apache lost web_2_*b* (rack *r7*)",
        "DOWN web_3_<c> core01  expired: lost contact, its lease ended 01:01:40",
        "UP   web_4 core02",
        "Common to all lost: host=core01, rack=r7",
        "Next: boss at 01:16",
        "Runbook https://wiki.example/lost_instances   Open https://alertd.example/",
        f"alertd ack {identifier} · alertd silence add {identifier} --for 1h",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("kind", "title", "line"),
    [
        (Kind.ESCALATED, "[ESCALATED:3] instance_lost apache · 1 of 4 up", "nobody has acted for 15m"),
        (Kind.REMINDER, "[REMINDER:3] instance_lost apache · 1 of 4 up", "still firing, the longest for 4h"),
        (Kind.FLAPPING, "[FLAPPING] instance_lost pay/x · 4 changes, now up", "nothing more is told until it settles"),
        (Kind.SETTLED, "[SETTLED] instance_lost pay/x · now resolved, back", "settled: now resolved, after 6 changes"),
        (Kind.FORGOTTEN, "[FORGOTTEN] instance_lost pay/y", "forgotten: it counts no more, unless it returns"),
        (Kind.DIGEST, "[DIGEST] 13 services · 39 down · warning · prod-fra", "svc-14  0 of 3 up, 3 firing"),
    ],
)
@pytest.mark.parametrize("where", TEXTS)
def test_each_kind_says_what_it_is(
    night: list[Notification], everywhere: dict[str, Place], where: str, kind: Kind, title: str, line: str
) -> None:
    """In its title, and in words."""
    text = everywhere[where].tell(first(night, kind))
    assert title in text.splitlines()[0]
    assert line in text


def test_the_end_of_a_storm_names_every_service(night: list[Notification], everywhere: dict[str, Place]) -> None:
    """As one message, green."""
    text = everywhere["json"].tell(first(night, Kind.DIGEST, resolved=True))
    assert text.startswith("success [DIGEST] 13 services · all resolved · warning")
    assert all(f"{service}  3 of 3 up, all resolved" in text for service in SERVICES[2:])


def test_types_and_colours_follow_the_state(night: list[Notification], everywhere: dict[str, Place]) -> None:
    """Yellow while it fires, green when all is over, blue for what was forgotten."""
    firing, ended = first(night, Kind.FIRING), first(night, Kind.RESOLVED, resolved=True)
    gone = first(night, Kind.FORGOTTEN)
    assert [everywhere["json"].tell(told).split()[0] for told in (firing, ended, gone)] == [
        "warning",
        "success",
        "info",
    ]
    colours = [everywhere["slack"].tell(told).split()[0] for told in (firing, ended, gone)]
    assert colours == ["#CACF29", "#3AA337", "#3AA3E3"]


def test_html_mail_has_links_and_lines(night: list[Notification], everywhere: dict[str, Place]) -> None:
    """Names as they are, and a command that can be copied."""
    html = everywhere["html"].tell(first(night, Kind.FIRING))
    assert "<br/>DOWN web_3_&lt;c&gt; core01 &nbsp;expired: lost contact" in html
    assert '<a href="https://wiki.example/lost_instances">' in html
    assert "<br/>alertd ack " in html
    assert "&nbsp;ack" not in html


def test_markdown_shows_names_as_they_are(night: list[Notification], everywhere: dict[str, Place]) -> None:
    """Where a chat reads Markdown in every message; links are left alone."""
    text = everywhere["mattermost"].tell(first(night, Kind.FIRING))
    assert text.startswith(r"\[FIRING:3\] instance\_lost apache")
    assert r"DOWN web\_2\_\*b\* core01  expired" in text
    assert "Runbook https://wiki.example/lost_instances   Open https://alertd.example/\n" in text


def test_every_message_is_a_document_for_a_webhook(night: list[Notification], everywhere: dict[str, Place]) -> None:
    """Of every kind; the statuses follow."""
    statuses: dict[Kind, str] = {}
    for told in night:
        received = json.loads(everywhere["webhook"].tell(told))
        assert_is_alertmanagers(received)
        statuses.setdefault(told.kind, received["status"])
    assert statuses == {
        Kind.FIRING: "firing",
        Kind.ESCALATED: "firing",
        Kind.REMINDER: "firing",
        Kind.FLAPPING: "firing",
        Kind.DIGEST: "firing",
        Kind.RESOLVED: "resolved",
        Kind.SETTLED: "resolved",
        Kind.FORGOTTEN: "resolved",
    }
