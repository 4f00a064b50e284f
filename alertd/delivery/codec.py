"""A notification as it is kept in etcd until it is delivered: small, and good for the same message.

Pure. What is shared is stored once (rules, services, labels, who acknowledged, what mutes), and each alert, instance
and transition as a short list whose empty end is left out. Invariant: what `decode` makes of what `encode` made renders
to the same letter, document and incident. What no message shows is not stored, so it is not the same object.

Times: the decision's is RFC 3339 with microseconds, by the wall clock; any other is an int, microseconds after that
one, or `[wall, monotonic]` where the wall clock was stepped between the two, so that durations stay true.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from alertd import document
from alertd.delivery import tame
from alertd.errors import NotUnderstood
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

FORMAT = 1

MOST_INSTANCES = 2_000
"""Instances that no alert is about, of all services of a notification together, that are stored."""
MOST_TRANSITIONS = 1_000
"""Transitions of all services together that are stored."""
_MOST_IN_COMMON = 100
_MICROSECOND = timedelta(microseconds=1)
_STEP = 0.001
"""Seconds by which the two clocks must differ for both to be stored."""

Row = list[Any]
Value = TypeVar("Value")


def encode(notification: Notification) -> dict[str, Any]:
    """Return the content of a notification, of what JSON knows: 0.1 KB for each alert and each instance listed."""
    return _Writer(notification).content()


def decode(content: object, now: Instant) -> Notification:
    """Return the notification, its times by the clocks that `now` is read from; raise `NotUnderstood`."""
    if not isinstance(content, dict) or not isinstance(version := content.get("format"), int):
        raise NotUnderstood("a stored notification has no format; it was not written by alertd")
    if version > FORMAT:
        raise NotUnderstood(f"a stored notification has format {version}, newer than {FORMAT}; run a newer alertd")
    try:
        return _Reader(content, now).notification()
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"[:200]
        raise NotUnderstood(f"a stored notification is damaged: {why}") from None


class _Table:
    """Values that are stored once, in their order; `index` returns which one a value is."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._known: dict[Any, int] = {}

    def index(self, key: Any, row: Any) -> int:
        """Return the place of the value that `key` stands for, storing `row` if it is a new one."""
        place = self._known.get(key)
        if place is None:
            place = self._known[key] = len(self.rows)
            self.rows.append(row)
        return place


class _Writer:
    """Writes one notification."""

    def __init__(self, notification: Notification) -> None:
        self._told = notification
        self._at = notification.at
        self._rules, self._services, self._labels, self._hands = _Table(), _Table(), _Table(), _Table()
        self._last_rule: tuple[RuleText, int] | None = None
        self._last_labels: tuple[Mapping[str, str], int] | None = None
        self._last_time: tuple[Instant, Any] | None = None
        """What was written last of each: most alerts of a message share it."""
        self._instances_left = MOST_INSTANCES
        self._transitions_left = MOST_TRANSITIONS

    def content(self) -> dict[str, Any]:
        told = self._told
        entries = [[entry.kind, *self._alert(entry.alert)] for entry in told.entries]
        standing = [self._alert(alert) for alert in told.standing]
        content = {
            "format": FORMAT,
            "id": told.id,
            "kind": told.kind,
            "channel": told.channel,
            "group": told.group,
            "key": told.key,
            "at": self._at.wall.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "still_firing": told.still_firing,
            "labels": dict(told.labels),
            "next": self._escalations(told.next),
            "before": self._escalations(told.before),
            "entries": entries,
            "standing": standing,
            "facts": self._facts(),
            "services": self._services.rows,
            "rules": self._rules.rows,
            "alert_labels": self._labels.rows,
            "hands": self._hands.rows,
        }
        return {name: value for name, value in content.items() if value not in ([], {})}

    def _alert(self, alert: Alert) -> Row:
        time, labels, per = self._time, alert.labels, alert.per
        row = [
            alert.id,
            self._rule(alert.rule),
            self._services.index(alert.service, alert.service),
            alert.instance,
            alert.state,
            self._labels_of(labels) if labels else None,
            time(alert.since),
            alert.cause,
            alert.reason,
            alert.up or None,
            alert.known or None,
            alert.minimum,
            alert.maximum,
            [value[: tame.TEXT] for value in alert.values] if alert.values else None,
            time(alert.until),
            alert.changes or None,
            int(alert.flapping) or None,
            None if per is None else dict(per),
            time(alert.between),
            None if alert.muted is None else self._hands.index(alert.muted, list(alert.muted)),
            None if alert.acknowledged is None else self._ack(alert.acknowledged),
        ]
        return _trimmed(row)

    def _rule(self, rule: RuleText) -> int:
        if self._last_rule is None or self._last_rule[0] is not rule:
            row = (rule.name, rule.severity, rule.source, rule.summary, rule.description, rule.runbook)
            self._last_rule = (rule, self._rules.index(row, row))
        return self._last_rule[1]

    def _labels_of(self, labels: Mapping[str, str]) -> int:
        if self._last_labels is None or self._last_labels[0] is not labels:
            self._last_labels = (labels, self._labels.index(tuple(labels.items()), dict(labels)))
        return self._last_labels[1]

    def _ack(self, ack: Ack) -> int:
        stamps = [None if wall is None else self._wall(wall) for wall in (ack.at, ack.until, ack.since)]
        return self._hands.index(ack, [ack.alert_id, ack.by, ack.comment, *stamps])

    def _facts(self) -> list[Row]:
        """Return the services, those first that come first: they are told of before the others."""
        own: dict[str, set[str | None]] = {}
        for alert in (*(entry.alert for entry in self._told.entries), *self._told.standing):
            own.setdefault(alert.service, set()).add(alert.instance)
        return [self._service(service, own.get(service.name, set())) for service in self._told.services.values()]

    def _service(self, service: ServiceFacts, own: set[str | None]) -> Row:
        instances: list[Row] = []
        for each in service.instances:
            is_own = each.name in own
            if is_own or self._instances_left > 0:
                self._instances_left -= not is_own
                instances.append(self._instance(each, is_own=is_own))
        recent = service.recent[-self._transitions_left :] if self._transitions_left else ()
        self._transitions_left -= len(recent)
        return _trimmed(
            [
                service.name,
                service.up,
                service.known,
                service.expected,
                instances or None,
                [self._transition(each) for each in recent] or None,
                _first(service.common, _MOST_IN_COMMON) or None,
            ]
        )

    def _instance(self, facts: InstanceFacts, *, is_own: bool) -> Row:
        row = [
            facts.name,
            int(facts.up),
            facts.cause,
            self._time(facts.since),
            tame.pack(facts.fields, is_own=is_own) or None,
            facts.detail[: tame.TEXT] or None,
            self._time(facts.between),
            facts.replaced_by or None,
            int(facts.malformed) or None,
            facts.raw[: tame.TEXT] if facts.malformed else None,
        ]
        return _trimmed(row)

    def _transition(self, each: Transition) -> Row:
        return [each.instance, int(each.up), each.cause, self._time(each.at)]

    def _escalations(self, steps: Iterable[Escalation]) -> list[Row]:
        return [[list(step.channels), self._time(step.at)] for step in steps]

    def _time(self, at: Instant | None) -> Any:
        if at is None:
            return None
        if self._last_time is None or self._last_time[0] is not at:
            wall = self._wall(at.wall)
            mono = at.mono - self._at.mono
            self._last_time = (at, wall if abs(mono - wall / 1e6) < _STEP else [wall, round(mono * 1e6)])
        return self._last_time[1]

    def _wall(self, wall: datetime) -> int:
        return (wall - self._at.wall) // _MICROSECOND


class _Reader:
    """Reads one notification; whatever is not as it was written raises one of the errors that `decode` knows."""

    def __init__(self, content: Mapping[str, Any], now: Instant) -> None:
        self._content = content
        wall = document.moment(content["at"])
        if wall is None:
            raise ValueError("`at` is no time")
        self._at = now.at_wall(wall)
        self._rules = [
            RuleText(_text(name), Severity(severity), *map(_text, rest))
            for name, severity, *rest in content.get("rules", ())
        ]
        self._services: list[str] = [_text(name) for name in content.get("services", ())]
        self._labels: list[Mapping[str, str]] = [_texts(labels) for labels in content.get("alert_labels", ())]
        self._hands = [self._hand(row) for row in content.get("hands", ())]

    def notification(self) -> Notification:
        content = self._content
        facts = [self._service(row) for row in content.get("facts", ())]
        return Notification(
            id=_text(content["id"]),
            kind=Kind(content["kind"]),
            channel=_text(content["channel"]),
            group=_text(content.get("group", "")),
            entries=tuple(Entry(Kind(kind), self._alert(row)) for kind, *row in content.get("entries", ())),
            services={service.name: service for service in facts},
            still_firing=int(content["still_firing"]),
            at=self._at,
            next=self._escalations(content.get("next", ())),
            standing=tuple(self._alert(row) for row in content.get("standing", ())),
            labels=_texts(content.get("labels", {})),
            key=_text(content.get("key", "")),
            before=self._escalations(content.get("before", ())),
        )

    def _alert(self, row: Row) -> Alert:
        row = _filled(row, 21)
        identifier, rule, service, instance, state, labels, since, cause, reason, up, known, minimum, maximum = row[:13]
        values, until, changes, flapping, per, between, muted, acknowledged = row[13:]
        mute, ack = _picked(self._hands, muted), _picked(self._hands, acknowledged)
        return Alert(
            id=_text(identifier),
            rule=self._rules[rule],
            service=self._services[service],
            instance=None if instance is None else _text(instance),
            per=None if per is None else _texts(per),
            state=AlertState(state),
            flapping=bool(flapping),
            labels=_picked(self._labels, labels) or {},
            since=self._time(since),
            until=self._time(until),
            cause=None if cause is None else Cause(cause),
            reason=None if reason is None else Reason(reason),
            up=int(up or 0),
            known=int(known or 0),
            minimum=None if minimum is None else int(minimum),
            maximum=None if maximum is None else int(maximum),
            values=tuple(map(_text, values or ())),
            changes=int(changes or 0),
            between=self._time(between),
            muted=mute if isinstance(mute, Mute) else None,
            acknowledged=ack if isinstance(ack, Ack) else None,
        )

    def _hand(self, row: Sequence[Any]) -> Mute | Ack:
        if len(row) == 3:
            reason, by, comment = row
            return Mute(Reason(reason), _text(by), _text(comment))
        alert_id, by, comment, at, until, since = row
        seen = None if since is None else self._wall(since)
        return Ack(_text(alert_id), _text(by), _text(comment), self._wall(at), self._wall(until), seen)

    def _service(self, row: Row) -> ServiceFacts:
        name, up, known, expected, instances, recent, common = _filled(row, 7)
        return ServiceFacts(
            name=_text(name),
            up=int(up or 0),
            known=int(known or 0),
            expected=None if expected is None else int(expected),
            instances=tuple(self._instance(each) for each in instances or ()),
            common=_texts(common or {}),
            recent=tuple(
                Transition(_text(name), _text(instance), bool(is_up), Cause(cause), self._instant(at), 0)
                for instance, is_up, cause, at in recent or ()
            ),
        )

    def _instance(self, row: Row) -> InstanceFacts:
        name, up, cause, since, fields, detail, between, replaced_by, malformed, raw = _filled(row, 10)
        return InstanceFacts(
            name=_text(name),
            up=bool(up),
            cause=Cause(cause),
            since=self._instant(since),
            detail=_text(detail or ""),
            fields=tame.unpack(fields or {}),
            between=self._time(between),
            replaced_by=_text(replaced_by or ""),
            malformed=bool(malformed),
            raw=_text(raw or ""),
        )

    def _escalations(self, rows: Iterable[Row]) -> tuple[Escalation, ...]:
        return tuple(Escalation(tuple(map(_text, channels)), self._instant(at)) for channels, at in rows)

    def _time(self, stored: Any) -> Instant | None:
        return None if stored is None else self._instant(stored)

    def _instant(self, stored: Any) -> Instant:
        wall, mono = stored if isinstance(stored, list) else (stored, stored)
        return Instant(self._at.mono + mono / 1e6, self._wall(wall))

    def _wall(self, stored: int) -> datetime:
        return self._at.wall + timedelta(microseconds=stored)


def _trimmed(row: Row) -> Row:
    """Return a row without what is not there at its end; zeros stay, for they may be a time or a place."""
    length = len(row)
    while row[length - 1] is None:
        length -= 1
    del row[length:]
    return row


def _filled(row: Row, length: int) -> Row:
    if len(row) > length:
        raise ValueError("a row has more values than this alertd knows")
    return [*row, *[None] * (length - len(row))]


def _picked(table: Sequence[Value], place: int | None) -> Value | None:
    return None if place is None else table[place]


def _first(texts: Mapping[str, str], most: int) -> dict[str, str]:
    return {name[: tame.TEXT]: text[: tame.TEXT] for name, text in list(texts.items())[:most]}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is a {type(value).__name__}")
    return value


def _texts(value: Mapping[Any, Any]) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in value.items()}
