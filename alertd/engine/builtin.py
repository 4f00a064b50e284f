"""The rules about alertd itself: its registry, its ruleset, its channels.

Nobody writes them, and no key is behind them: whoever knows says whether they hold, and of what (`note`). All else is
as for any rule: their alerts are routed, grouped, muted, acknowledged and told. Their service is none of those watched,
so it is in no view, and no message lists its instances.

What is told of them outlives a process in their group's record alone. Whoever takes over goes by what has been noted
here; of what nothing has been, it stands as it was told until something is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from alertd.config.schema import Rule
from alertd.engine.conditions import Condition, Measure
from alertd.engine.desk import unused_number
from alertd.engine.registry import Instance, Service
from alertd.engine.rules import CompiledRule
from alertd.model import SELF, BuiltIn, Reason, RuleText, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from alertd.config.schema import Flap, Ruleset
    from alertd.engine.alert import LiveAlert
    from alertd.engine.desk import Desk
    from alertd.engine.registry import Change
    from alertd.model import Instant

_SOURCE = "built in"

_SEVERITIES = {
    BuiltIn.REGISTRY: Severity.CRITICAL,
    BuiltIn.RULESET: Severity.WARNING,
    BuiltIn.CHANNEL: Severity.CRITICAL,
}

_KNOWN_TO_SPEAKER = (BuiltIn.CHANNEL,)
"""Rules of which only who speaks knows whether they hold."""


class Note(NamedTuple):
    """What was last said of a target: whether the rule holds of it, and in a few words how it stands.

    Words that change while it holds are asked for when they are needed.
    """

    holds: bool
    words: str | Callable[[], str]


class Noted(Condition):
    """A built-in rule; it judges nothing but what is noted."""

    is_about_self = True

    def __init__(self, rule: CompiledRule, service: Service, desk: Desk) -> None:
        super().__init__(rule, service, desk)
        self._notes: dict[str | None, Note] = {}
        self._targets: dict[str, Instance] = {}

    def note(self, name: str | None, note: Note, now: Instant) -> None:
        """Take in what is said of a target (None: alertd as a whole)."""
        self._notes[name] = note
        is_known = None in self.alerts if name is None else name in self._targets
        if note.holds or is_known:
            self._judge(self.alert_about(name, now), now, holds=note.holds, calm=False)

    def alert_about(self, name: str | None, now: Instant) -> LiveAlert:
        """Return the alert on a target, known from now on."""
        if name is None:
            return self.alert_of(None, None, None)
        if name not in self._targets:
            self._targets[name] = Instance(b"", name, self.service, now)
        target = self._targets[name]
        return self.alert_of(target, target, None)

    def go_on(self, name: str | None, since: Instant | None, words: str, now: Instant) -> LiveAlert:
        """Return the alert on a target of which people were told that it fires, `since` then, in these words.

        It stands if nothing was noted that says otherwise.
        """
        alert = self.alert_about(name, now)
        if name not in self._notes:
            self._notes[name] = Note(holds=True, words=words)
            self._judge(alert, now, holds=True, calm=True)
        elif not alert.is_standing:
            if alert.since is None:
                alert.since, alert.until = since, now
            self.count_anew(alert, now)
        return alert

    def count_anew(self, alert: LiveAlert, now: Instant) -> None:
        """Give a firing a number that no process has used: no event of etcd's tells one from the next."""
        alert.episode = max(alert.episode + 1, unused_number(now))

    def know_nothing(self, now: Instant) -> None:
        """Drop all that was noted: it is old."""
        for alert in self.alerts.values():
            alert.end(Reason.FORGOTTEN, now)
        self.alerts.clear()
        self._notes.clear()
        self._targets.clear()

    def words_of(self, alert: LiveAlert) -> str:
        """Return how the target of an alert stands."""
        note = self._notes.get(None if alert.instance is None else alert.instance.name)
        words = "" if note is None else note.words
        return words if isinstance(words, str) else words()

    def _judge(self, alert: LiveAlert, now: Instant, *, holds: bool, calm: bool) -> None:
        if holds and not alert.holds:
            self.count_anew(alert, now)
        alert.judge(holds, now, None, calm=calm)

    @override
    def judge(self, changes: Sequence[Change], now: Instant, *, calm: bool) -> None:
        """Do nothing."""

    @override
    def judge_all(self, now: Instant) -> None:
        """Do nothing."""

    @override
    def measure(self, alert: LiveAlert) -> Measure:
        return Measure(values=(self.words_of(alert) or "over",))

    @property
    @override
    def judges_instances(self) -> bool:
        return True

    @override
    def take_over(self, old: Condition, now: Instant) -> None:
        super().take_over(old, now)
        if isinstance(old, Noted):
            self._notes, self._targets = old._notes, old._targets  # noqa: SLF001 - another of its own kind


class BuiltIns:
    """All built-in rules, by the ruleset in force."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.service = Service(SELF)
        self.by_name: Mapping[str, Noted] = {}

    def install(self, ruleset: Ruleset, labels: Mapping[str, str], now: Instant | None) -> None:
        """Follow a ruleset, which may give alertd labels; alerts live on."""
        self.service.labels = labels
        old, self.by_name = self.by_name, {}
        made = {}
        for order, name in enumerate(BuiltIn):
            rule = _compile(name, -1 - order, ruleset.settings.flap or None)
            made[str(name)] = condition = Noted(rule, self.service, self._desk)
            if now is not None and name in old:
                condition.take_over(old[name], now)
        self.by_name = made
        self.service.conditions = tuple(made.values())

    def begin_to_speak(self, now: Instant) -> None:
        """Know nothing of what only who speaks knows: another did until now."""
        for name in _KNOWN_TO_SPEAKER:
            self.by_name[name].know_nothing(now)


def _compile(name: BuiltIn, order: int, flap: Flap | None) -> CompiledRule:
    severity = _SEVERITIES[name]
    fields = {"name": str(name), "service": SELF, "severity": severity, "when": {"malformed": True}}
    return CompiledRule(Rule.model_validate(fields), RuleText(name, severity, _SOURCE), flap, order)
