"""What is stored of a notification is good for the same message, small, quick, and never a traceback."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alertd import document, values
from alertd.config.schema import Settings, Templates
from alertd.delivery import codec, render, tame
from alertd.errors import NotUnderstood
from alertd.model import Entry, Instant, Kind, Notification, ServiceFacts
from tests.delivery.examples import MORNING, PROD, at, lost, lost_alert, notification, resolved, up
from tests.delivery.random_news import notifications

if TYPE_CHECKING:
    from collections.abc import Mapping

SOME = settings(max_examples=60, deadline=None)
OTHER_CLOCK = Instant(900_000.0, at(64.0).wall)
"""Of a daemon on another machine, a minute later."""
TEMPLATED = Templates(
    title="{{ kind }} {{ alerts | length }} {{ lost }} {{ common }} {{ per }}",
    body="{% for a in alerts %}{{ a.since }} {{ a.until }} {{ a.labels }} {{ a.muted }} {{ a.host | default('?') }} "
    "{{ a.load | default('?') }} {{ a.deep | default('?') }} {{ a.long | default('?') }}{% endfor %} "
    "{{ next }} {{ recent }} {{ instances | default('') }}",
)


def through_etcd(told: Notification, now: Instant = OTHER_CLOCK) -> Notification:
    """Write and read a notification as a document of etcd holds it."""
    read = document.read(document.encode({"letter": codec.encode(told)})).content
    assert read is not None
    return codec.decode(read["letter"], now)


def letters(told: Notification) -> list[Any]:
    """Return all that is made of a notification, in several ways."""
    made: list[Any] = []
    for shown, templates in ((PROD, Templates()), (Settings(url="https://alertd.example"), TEMPLATED)):
        letter = render.letter(told, shown, templates, delivered=MORNING)
        assert letter.document is not None
        made += [letter.id, letter.title, letter.tone, letter.body(None), letter.body(300), letter.incident]
        made += [letter.document(), letter.faults]
    return made


@given(notifications())
@SOME
def test_what_is_read_again_makes_the_same_message(told: Notification) -> None:
    """By another machine's clocks: title, body, type, incident, webhook document, also with templates."""
    again = through_etcd(told)
    assert letters(again) == letters(told)
    assert (again.at.wall, again.kind, again.channel) == (told.at.wall, told.kind, told.channel)
    assert through_etcd(again) == again


def test_times_are_those_of_the_reader() -> None:
    """A decision 64 s ago is 64 s old by its monotonic clock as well."""
    again = through_etcd(resolved(at=at(0.0)))
    assert again.at == Instant(OTHER_CLOCK.mono - 64.0, at(0.0).wall)
    since = again.entries[0].alert.since
    assert since == Instant(OTHER_CLOCK.mono - 64.0, MORNING)


def test_a_duration_survives_a_step_of_the_wall_clock() -> None:
    """What fired for 200 s did so, though the clock on the wall was set meanwhile."""
    stepped = resolved(at=Instant(at(200).mono, at(3800).wall))
    assert "3m 20s" in render.body(stepped, PROD)
    assert "3m 20s" in render.body(through_etcd(stepped), PROD)


def test_fields_are_cut_to_what_a_message_shows() -> None:
    """Of an instance that no alert is about only its host; a value of a megabyte takes no more room than some."""
    big = {"host": "core01", "blob": "x" * 1_000_000, "list": list(range(100_000)), **{str(n): n for n in range(9_999)}}
    service = ServiceFacts("apache", 1, 2, instances=(lost("a", fields=big), up("b", fields=big)))
    told = notification(Entry(Kind.FIRING, lost_alert("a")), services={"apache": service})
    content = codec.encode(told)
    assert len(json.dumps(content)) < 3 * tame.ROOM
    own, other = codec.decode(content, at(0)).services["apache"].instances
    assert other.fields == {"host": "core01"}
    assert own.fields["host"] == "core01"
    assert len(own.fields["blob"]) == tame.TEXT
    assert render.body(codec.decode(content, at(0)), PROD) == render.body(told, PROD)


def test_numbers_are_kept_as_written() -> None:
    """1.10 is not 1.1, and neither is an object that looks like how that is stored."""
    fields = values.read(
        b'{"a": 1.10, "b": 1.5, "c": {"=": "1.10"}, "d": {"=": {"=": 2}}, "e": [1e999], "f": 7}'
    ).fields
    assert fields is not None
    stored: Mapping[str, Any] = json.loads(json.dumps(tame.pack(fields, is_own=True)))
    again = tame.unpack(stored)
    assert again == dict(fields)
    assert (str(again["a"]), str(again["b"]), str(again["e"][0])) == ("1.10", "1.5", "1e999")


def crowd(number: int) -> Notification:
    """Return a message about so many lost instances of one service, 50 of them listed as the engine does."""
    names = [f"172.31.{each // 250}.{each % 250}:8080" for each in range(number)]
    fields = {"host": "core01", "ipv4_addr": "172.31.14.97", "port": 8080, "rack": "r7", "version": "1.2.3"}
    listed = tuple(lost(name, fields=fields, since=at(-30 - n / 8)) for n, name in enumerate(names[:50]))
    service = ServiceFacts("apache", 0, number, instances=listed)
    entries = [
        Entry(Kind.FIRING, lost_alert(name, id=f"{each:012x}", since=at(-each / 1000)))
        for each, name in enumerate(names)
    ]
    return notification(*entries, services={"apache": service}, still_firing=number)


def test_a_thousand_alerts_are_small() -> None:
    """At most 200 KB."""
    told = crowd(1000)
    assert len(document.encode({"letter": codec.encode(told)})) < 200_000
    assert through_etcd(told).entries[999].alert.instance == told.entries[999].alert.instance


# --- what is damaged, or newer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "has format 2, newer than 1; run a newer alertd"),
        ({"format": None}, "has no format"),
        ({"kind": "sung"}, "is damaged: ValueError: 'sung' is not a valid Kind"),
        ({"at": "yesterday"}, "is damaged: ValueError: `at` is no time"),
        ({"id": 7}, "is damaged: TypeError: a text is a int"),
        ({"rules": []}, "is damaged: IndexError"),
        ({"entries": [["firing", *range(40)]]}, "is damaged: ValueError: a row has more values"),
        ({"entries": 1}, "is damaged: TypeError"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_understood_says_why(change: dict[str, Any], said: str) -> None:
    """So that the daemon stands by instead of telling half of it."""
    with pytest.raises(NotUnderstood, match=said):
        codec.decode(codec.encode(notification()) | change, at(0))


@pytest.mark.parametrize("content", [None, [], "text", {}, {"format": True}, {"format": 1}])
def test_what_is_no_notification_is_one_error(content: object) -> None:
    """Whatever it is."""
    with pytest.raises(NotUnderstood):
        codec.decode(content, at(0))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(notifications(), st.data())
@SOME
def test_damage_anywhere_is_the_one_error_or_none(told: Notification, data: st.DataObject) -> None:
    """Any value of a document in place of any other."""
    content: Any = json.loads(json.dumps(codec.encode(told)))
    place = content
    for _ in range(4):
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if not place[key] or not isinstance(place[key], (dict, list)):
            break
        place, parent = place[key], place
    else:
        place = parent
    place[key] = data.draw(JSON)
    with suppress(NotUnderstood):
        assert isinstance(codec.decode(content, at(0)), Notification)
