"""Random notifications, as an engine might decide them, and more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from alertd import values
from alertd.model import (
    Ack,
    Alert,
    AlertState,
    Cause,
    Entry,
    Escalation,
    InstanceFacts,
    Instant,
    Kind,
    Mute,
    Notification,
    Reason,
    RuleText,
    ServiceFacts,
    Severity,
    Transition,
)
from tests.delivery.examples import MORNING

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["core01", "支付", "x" * 500])
NAMES = st.sampled_from(["apache", "pay", "支付", "a/b", "web"])
INSTANCES = st.sampled_from(["a", "b", "c/d", "172.31.14.97", "core01"])
TEMPLATES = st.sampled_from(["", "{{ service }} {{ up }} {{ values }}", "{{ host }} {{ load.one }}", "{{ since }}"])
JSON_TEXT = (
    '{"host": "core01", "load": {"one": 1.10}, "port": 80}',
    '{"host": 1.50, "load": {"one": 1e400}, "=": {"=": "x"}}',
    '{"load": {"=": "text"}, "deep": [[[[[[[[[[1]]]]]]]]]], "wide": [1, 2.5, null, true]}',
    '{"big": 123456789012345678901234567890, "long": "' + "y" * 300 + '"}',
    "{}",
)


@st.composite
def instants(draw: st.DrawFn) -> Instant:
    """Draw an instant on the eighth of a second, so that durations are exact; sometimes the wall clock was stepped."""
    seconds = draw(st.integers(-80_000, 8)) / 8
    step = draw(st.sampled_from([0, 0, 0, 3600, -120]))
    return Instant(4096.0 + seconds, MORNING + timedelta(seconds=seconds + step))


MAYBE = st.none() | instants()
WALLS = instants().map(lambda at: at.wall)
RULES = st.builds(RuleText, NAMES, st.sampled_from(Severity), TEXTS, TEMPLATES, TEMPLATES, TEXTS)
MUTES = st.builds(Mute, st.sampled_from([Reason.SILENCED, Reason.INHIBITED]), TEXTS, TEXTS)
ACKS = st.builds(Ack, TEXTS, TEXTS, TEXTS, WALLS, WALLS, st.none() | WALLS)
LABELS = st.dictionaries(NAMES, TEXTS, max_size=2)
ENTRY_KINDS = st.sampled_from([kind for kind in Kind if kind is not Kind.DIGEST])
COUNTS = st.integers(0, 3)
ALERTS = st.builds(
    Alert,
    id=TEXTS,
    rule=RULES,
    service=NAMES,
    instance=st.none() | INSTANCES,
    per=st.none() | LABELS,
    state=st.sampled_from(AlertState),
    flapping=st.booleans(),
    labels=LABELS,
    since=MAYBE,
    until=MAYBE,
    cause=st.none() | st.sampled_from(Cause),
    reason=st.none() | st.sampled_from(Reason),
    up=COUNTS,
    known=COUNTS,
    minimum=st.none() | COUNTS,
    maximum=st.none() | COUNTS,
    values=st.lists(TEXTS, max_size=4).map(tuple),
    changes=COUNTS,
    between=MAYBE,
    muted=st.none() | MUTES,
    acknowledged=st.none() | ACKS,
)
FIELDS = st.sampled_from(JSON_TEXT).map(lambda text: dict(values.read(text.encode()).fields or {}))
FACTS = st.builds(
    InstanceFacts,
    name=INSTANCES,
    up=st.booleans(),
    cause=st.sampled_from(Cause),
    since=instants(),
    detail=TEXTS,
    fields=FIELDS,
    between=MAYBE,
    replaced_by=TEXTS,
    malformed=st.booleans(),
    raw=TEXTS,
)
TRANSITIONS = st.builds(Transition, NAMES, INSTANCES, st.booleans(), st.sampled_from(Cause), instants(), COUNTS, TEXTS)
SERVICES = st.builds(
    ServiceFacts,
    name=NAMES,
    up=COUNTS,
    known=COUNTS,
    expected=st.none() | COUNTS,
    instances=st.lists(FACTS, max_size=4, unique_by=lambda facts: facts.name).map(tuple),
    common=LABELS,
    recent=st.lists(TRANSITIONS, max_size=4).map(tuple),
)
STEPS = st.lists(st.builds(Escalation, st.lists(NAMES, max_size=2).map(tuple), instants()), max_size=2).map(tuple)


def _by_name(services: list[ServiceFacts]) -> dict[str, ServiceFacts]:
    return {service.name: service for service in services}


def notifications(**fixed: Any) -> st.SearchStrategy[Notification]:
    """Return a strategy for notifications."""
    parts: dict[str, Any] = {
        "id": TEXTS,
        "kind": st.sampled_from(Kind),
        "channel": NAMES,
        "group": TEXTS,
        "entries": st.lists(st.builds(Entry, ENTRY_KINDS, ALERTS), max_size=4).map(tuple),
        "services": st.lists(SERVICES, max_size=3).map(_by_name),
        "still_firing": COUNTS,
        "at": instants(),
        "next": STEPS,
        "standing": st.lists(ALERTS, max_size=2).map(tuple),
        "labels": LABELS,
        "key": TEXTS,
        "before": STEPS,
    }
    return st.builds(Notification, **(parts | fixed))
