"""A second opinion: who may be told of what, worked out from scratch from the view alone.

It shares no code with what it judges: globs are `fnmatch`, nothing is filed or remembered, every silence and inhibition
is asked about every alert each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from alertd.config.schema import Ruleset
from alertd.engine.core import Engine
from alertd.model import Ack, Action, Alert, AlertState, Instant, Kind, Lifted, Match, Notification, Reason, Silence

URGENT = frozenset({Kind.REMINDER, Kind.ESCALATED})
MUTABLE = frozenset({Kind.FIRING, Kind.FLAPPING}) | URGENT


def stands(alert: Alert) -> bool:
    """Tell whether an alert inhibits others, and can be muted."""
    return alert.state is AlertState.FIRING or alert.flapping


@dataclass
class Truth:
    """What holds beside the state: rules, silences and acknowledgements, as they were handed to the engine."""

    ruleset: Ruleset
    silences: dict[str, Silence] = field(default_factory=dict)
    acks: dict[str, Ack] = field(default_factory=dict)

    def load(self, ruleset: Ruleset) -> None:
        """Put a ruleset in force, with its silences as code."""
        self.ruleset = ruleset
        self.silences = {key: silence for key, silence in self.silences.items() if not silence.source}
        self.silences.update((silence.id, silence) for silence in ruleset.silences)

    def expire(self, wall: datetime) -> None:
        """Drop what is over."""
        self.silences = {key: each for key, each in self.silences.items() if each.until is None or each.until > wall}
        self.acks = {key: ack for key, ack in self.acks.items() if ack.until > wall}

    def is_open(self, names: Iterable[str], wall: datetime) -> bool:
        """Tell whether one of these windows is open."""
        return any(self.ruleset.windows[name].is_open(wall) for name in names if name in self.ruleset.windows)


@dataclass
class View:
    """The alerts at one moment, what they are called, and what may mute them."""

    truth: Truth
    wall: datetime
    alerts: dict[str, Alert]
    labels: dict[str, Mapping[str, str]]

    @classmethod
    def of(cls, engine: Engine, truth: Truth, wall: datetime) -> View:
        """Look at an engine."""
        fields = {(facts.name, each.name): each.fields for facts in engine.services() for each in facts.instances}
        alerts = {alert.id: alert for alert in engine.alerts()}
        labels: dict[str, Mapping[str, str]] = {key: cls._labels_of(each, fields) for key, each in alerts.items()}
        return cls(truth, wall, alerts, labels)

    @staticmethod
    def _labels_of(alert: Alert, fields: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, str]:
        own = fields.get((alert.service, alert.instance or ""), {})
        built_in = {"rule": alert.rule.name, "service": alert.service, "severity": str(alert.rule.severity)}
        if alert.instance is not None:
            built_in["instance"] = alert.instance
        shown = {name: str(value) for name, value in own.items()}
        return {**shown, **(alert.per or {}), **alert.labels, **built_in}

    def means(self, match: Match, alert_id: str) -> bool:
        """Tell whether an alert is meant."""
        labels = self.labels[alert_id]

        def has(name: str, patterns: tuple[str, ...]) -> bool:
            return name in labels and any(fnmatchcase(labels[name], pattern) for pattern in patterns)

        wanted = all(has(name, patterns) for name, patterns in match.is_.items())
        return wanted and not any(has(name, patterns) for name, patterns in match.not_.items())

    def standing(self) -> list[str]:
        """Return the alerts that fire or flap."""
        return [key for key, alert in self.alerts.items() if stands(alert)]

    def mutes(self, alert_id: str) -> set[tuple[Reason, str]]:
        """Return all that mutes an alert that stands."""
        found: set[tuple[Reason, str]] = set()
        for silence in self.truth.silences.values():
            if self.holds(silence) and self.means(silence.match, alert_id):
                found.add((Reason.SILENCED, silence.id))
        for inhibition in self.truth.ruleset.inhibit:
            if not self.means(inhibition.mute, alert_id):
                continue
            is_twofold = self.means(inhibition.if_, alert_id)
            for source in self.standing():
                if source == alert_id or not self.means(inhibition.if_, source):
                    continue
                if is_twofold and self.means(inhibition.mute, source):
                    continue
                if self._are_equal(inhibition.equal, alert_id, source):
                    found.add((Reason.INHIBITED, self.alerts[source].rule.name))
        return found

    def _are_equal(self, names: tuple[str, ...], one: str, other: str) -> bool:
        mine, its = self.labels[one], self.labels[other]
        return all(name in mine and mine.get(name) == its.get(name) for name in names)

    def holds(self, silence: Silence) -> bool:
        """Tell whether a silence is in force."""
        if silence.until is not None and silence.until <= self.wall:
            return False
        return not silence.during or self.truth.is_open(silence.during, self.wall)

    def muted(self) -> dict[str, set[tuple[Reason, str]]]:
        """Return the alerts that are muted, and by what."""
        return {key: mutes for key in self.standing() if (mutes := self.mutes(key))}

    def acknowledged(self) -> set[str]:
        """Return the alerts that somebody has taken on."""
        return {
            key
            for key, alert in self.alerts.items()
            if (ack := self.truth.acks.get(key)) is not None
            and ack.until > self.wall
            and alert.since is not None
            and (ack.since is None or ack.since == alert.since.wall)
        }


class Witness:
    """Stands before an engine and its twin: checks every answer, and that both give the same one."""

    def __init__(self, ruleset: Ruleset, prefix: bytes) -> None:
        self._engine = Engine(ruleset, prefix)
        self._twin = Engine(ruleset, prefix)
        self.truth = Truth(ruleset)
        self.truth.load(ruleset)
        self._mono = 0.0
        self._unsure_until = 0.0
        self._has_gap = False
        self._seen: Instant | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name not in ("feed", "advance", "open_gap", "close_gap", "load", "silence", "lift", "acknowledge", "forget"):
            return found
        return lambda *arguments: self._ask(name, arguments)

    def unacknowledge(self, alert_id: str, now: Instant) -> list[Action]:
        """Pass it on."""
        return self._ask("unacknowledge", (alert_id, now))

    def _ask(self, name: str, arguments: tuple[Any, ...]) -> list[Action]:
        now = next(each for each in arguments if isinstance(each, Instant))
        seen_at = self._watch_clock(now)
        self._take_in(name, arguments)
        before = View.of(self._engine, self.truth, seen_at)
        muted, taken_on = before.muted(), before.acknowledged()
        actions: list[Action] = getattr(self._engine, name)(*arguments)
        assert actions == getattr(self._twin, name)(*arguments), "the twin answered otherwise"
        for action in actions:
            if isinstance(action, Lifted):
                del self.truth.silences[action.silence]
        after = View.of(self._engine, self.truth, now.wall)
        self._has_gap = name == "open_gap" or (self._has_gap and name != "close_gap")
        self._check_times(actions, now)
        if now.mono >= self._unsure_until and not self._has_gap:
            self.truth.expire(now.wall)
            self._check_mutes(after)
            self._check_told(actions, before, after, muted, taken_on)
        return actions

    def _watch_clock(self, now: Instant) -> datetime:
        """Return when the clock was last looked at; after it was stepped the engine may take a minute to see it."""
        seen = self._seen or now
        if abs((now.wall - seen.wall).total_seconds() - (now.mono - seen.mono)) > 1e-3:
            self._unsure_until = now.mono + 60.001
        self._seen = now
        return seen.wall

    def _take_in(self, name: str, arguments: tuple[Any, ...]) -> None:
        truth, subject = self.truth, arguments[0]
        if name == "load":
            truth.load(subject)
        elif name == "silence":
            truth.silences[subject.id] = subject
        elif name == "lift":
            truth.silences.pop(subject, None)
        elif name == "acknowledge":
            truth.acks[subject.alert_id] = subject
        elif name == "unacknowledge":
            truth.acks.pop(subject, None)

    def _check_times(self, actions: list[Action], now: Instant) -> None:
        for action in actions:
            assert self._mono <= action.at.mono <= now.mono, f"{action} is not of this moment"
        if not self._has_gap:  # deadlines that passed meanwhile keep their own time
            self._mono = now.mono

    def _check_mutes(self, view: View) -> None:
        muted = view.muted()
        for key in view.standing():
            found = view.alerts[key].muted
            mutes = muted.get(key, set())
            assert (found is not None) is bool(mutes), f"{view.alerts[key].target}: {found}, but should be {mutes}"
            assert found is None or (found.reason, found.by) in mutes

    def _check_told(
        self,
        actions: list[Action],
        before: View,
        after: View,
        muted: Mapping[str, object],
        taken_on: set[str],
    ) -> None:
        """Hold that nothing was told of what was muted all the while, or came to stand meanwhile and is muted."""
        muted_after, acknowledged = after.muted(), after.acknowledged()
        stood = set(before.standing())
        for action in actions:
            for kind, alert in action.entries if isinstance(action, Notification) else ():
                key = alert.id
                is_muted = key in muted_after and (key in muted or key not in stood)
                says_firing = kind in MUTABLE or (kind is Kind.SETTLED and alert.state is AlertState.FIRING)
                assert not (says_firing and is_muted), f"{kind} {alert.target} was told though {muted_after[key]}"
                assert not (kind in URGENT and key in taken_on & acknowledged), (
                    f"{kind} {alert.target} has been taken on"
                )
