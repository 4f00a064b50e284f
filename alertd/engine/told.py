"""What was told of a group as plain data, and how an engine that begins to speak goes on from there.

Of several engines that judge the same events one speaks. The others know what is true, and what they would tell, but
not what was told. Whoever begins to speak is handed what the last speaker left: which channel believes what of each
alert, and who is still owed it. That is the truth, also over what this engine had told itself in an earlier term. All
else follows from it as ever: what is owed is the difference between what was told and what holds.

An alert that was told and that this engine does not know (its rule is gone, or its target was forgotten) stands here as
`Departed`, until its end has been told.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from alertd.config.schema import Rule
from alertd.engine import placing
from alertd.engine.alert import LiveAlert
from alertd.engine.builtin import Noted
from alertd.engine.conditions import Condition, Measure
from alertd.engine.membership import Belief, Membership
from alertd.engine.memory import Damaged, Dial
from alertd.engine.registry import Instance, Service
from alertd.engine.rules import CompiledRule
from alertd.model import Cause, Kind, Reason, RuleText, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from alertd.engine.desk import Desk
    from alertd.engine.group import Group
    from alertd.engine.memory import Record
    from alertd.engine.registry import Change
    from alertd.engine.storm import Outlet
    from alertd.model import Instant

_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


class Departed(Condition):
    """Stands for a rule that is gone, or for one that no longer knows the target; it judges nothing."""

    @override
    def judge(self, changes: Sequence[Change], now: Instant, *, calm: bool) -> None:
        """Do nothing."""

    @override
    def judge_all(self, now: Instant) -> None:
        """Do nothing."""

    @override
    def measure(self, alert: LiveAlert) -> Measure:
        return Measure(self.service.up, self.service.up + len(self.service.lost))


# --- remembering -----------------------------------------------------------------------------------------------------


def of_group(group: Group, now: Instant) -> Record | None:
    """Return what was told of a group; None if nothing is left of that."""
    dial = Dial(now)
    told = [member for member in group.members if member.beliefs]
    if not told and not group.has_spoken:
        return None
    beliefs: dict[tuple[Any, ...], int] = {}
    numbers: dict[tuple[int, tuple[str, ...], int], int] = {}
    by_rule: dict[Condition, list[Any]] = {}
    for member in told:
        alert = member.alert
        owed = _owed_of(alert)
        shared = (id(member.beliefs), owed, member.steps_done)
        number = numbers.get(shared)
        if number is None:
            number = numbers[shared] = beliefs.setdefault(_of_beliefs(member, owed, dial), len(beliefs))
        alerts = by_rule.get(alert.condition)
        if alerts is None:
            alerts = by_rule[alert.condition] = []
        alerts.append(_of_alert(alert, number, dial))
    record: Record = {
        "key": list(group.key),
        "labels": dict(group.labels),
        "routes": group.desk.router.name,
        **({"spoke": dial.write_mono(group.spoke)} if group.has_spoken else {}),
        "at": max((*(member.alert.revision for member in told), *group.through.values()), default=0),
        "reminders": group.reminders,
        "digested": sorted(group.digested),
        "through": dict(group.through),
        "beliefs": list(beliefs),
        "alerts": [[_of_condition(condition), alerts] for condition, alerts in by_rule.items()],
    }
    return {name: part for name, part in record.items() if part or name in ("key", "labels")}


def _owed_of(alert: LiveAlert) -> tuple[str, ...]:
    """Return to whom it is still owed, in whatever group: a group that has told nobody yet leaves nothing itself."""
    first, *others = alert.memberships
    if not others:
        return first.owed
    return tuple(dict.fromkeys(channel for member in alert.memberships for channel in member.owed))


def _of_beliefs(member: Membership, owed: tuple[str, ...], dial: Dial) -> tuple[Any, ...]:
    known = tuple(
        (channel, str(belief.kind), None if belief.since is None else dial.write(belief.since))
        for channel, belief in member.beliefs.items()
    )
    return known, owed, member.steps_done


def _of_condition(condition: Condition) -> Record:
    text = condition.rule.text
    return {
        "rule": text.name,
        "service": condition.service.name,
        "severity": str(text.severity),
        "source": text.source,
        "labels": {**condition.service.labels, **condition.rule.rule.labels},
        **({"per": condition.per_field} if condition.per_field else {}),
    }


def _of_alert(alert: LiveAlert, number: int, dial: Dial) -> list[Any]:
    name = alert.per if alert.instance is None else alert.instance.name
    since = None if alert.since is None else dial.write(alert.since)
    condition = alert.condition
    known = condition.words_of(alert) if isinstance(condition, Noted) else alert.revision
    return [name, number, since, None if alert.cause is None else str(alert.cause), alert.episode, known]


def of_channel(outlet: Outlet, now: Instant) -> Record:
    """Return what is to be known of a channel's storm."""
    storm_until, digests = outlet.past()
    return {"storm_until": Dial(now).write_mono(storm_until) if storm_until > -inf else None, "digests": digests}


# --- going on --------------------------------------------------------------------------------------------------------


class _About(NamedTuple):
    """Which rule on which service an alert was told of, as it was then."""

    rule: str
    service: str
    severity: Severity
    source: str
    labels: Mapping[str, str]
    per: str


class _ToldAlert(NamedTuple):
    """One alert that was told. `name` is that of its instance, or the value that `per` chose, or None."""

    name: str | None
    beliefs: Mapping[str, Belief]
    owed: Sequence[str]
    steps_done: int
    since: Instant | None
    cause: Cause | None
    episode: int
    words: str
    """Of a built-in rule: how its target stood."""
    revision: int
    """Of any other: that of its last turn by then."""


class _Told(NamedTuple):
    """One group's record, read."""

    key: tuple[str, ...]
    labels: dict[str, str]
    routes: str
    spoke: float
    reminders: int
    digested: set[str]
    through: dict[str, int]
    alerts: list[tuple[_About, list[_ToldAlert]]]


_Beliefs = tuple[dict[str, Belief], tuple[str, ...], int]
"""What is believed of alerts that share it, whom they are owed, and how many steps of escalation were taken."""


def _read(record: Mapping[str, Any], dial: Dial) -> _Told:
    """Return a record as values; raise one of `_UNREADABLE`."""
    known = [_read_beliefs(each, dial) for each in record.get("beliefs", ())]
    spoke = record.get("spoke")
    return _Told(
        key=tuple(map(str, record["key"])),
        labels={str(name): str(text) for name, text in record["labels"].items()},
        routes=str(record.get("routes", "")),
        spoke=-inf if spoke is None else dial.read_mono(spoke),
        reminders=int(record.get("reminders", 0)),
        digested=set(record.get("digested", ())),
        through={str(channel): int(revision) for channel, revision in record.get("through", {}).items()},
        alerts=[
            (_read_about(about), [_read_alert(each, known, dial) for each in alerts])
            for about, alerts in record.get("alerts", ())
        ],
    )


def _read_beliefs(row: Iterable[Any], dial: Dial) -> _Beliefs:
    beliefs, owed, steps = row
    known = {
        channel: Belief(Kind(kind), None if since is None else dial.read(since)) for channel, kind, since in beliefs
    }
    return known, tuple(map(str, owed)), int(steps)


def _read_about(about: Mapping[str, Any]) -> _About:
    severity, per = Severity(about["severity"]), about.get("per", "")
    return _About(about["rule"], about["service"], severity, about["source"], about["labels"], per)


def _read_alert(row: Sequence[Any], known: Sequence[_Beliefs], dial: Dial) -> _ToldAlert:
    name, number, since, cause, episode, last = (*row, 0)[:6]
    beliefs, owed, steps = known[number]
    begun = None if since is None else dial.read(since)
    why = None if cause is None else Cause(cause)
    words, revision = (last, 0) if isinstance(last, str) else ("", int(last))
    return _ToldAlert(name, beliefs, owed, steps, begun, why, int(episode), words, revision)


class Judged(NamedTuple):
    """What is judged now, by name."""

    services: Mapping[str, Service]
    rules: Mapping[str, CompiledRule]
    built_in: Mapping[str, Noted]
    believe: Callable[[Service, Instance | None, Instant], None]
    """Judges as lost what is doubted of a service: an instance, or (None) all."""


class Succession:
    """How an engine takes over what another told: `take` each record, then `finish`."""

    def __init__(self, desk: Desk, judged: Judged, now: Instant) -> None:
        """Forget what this engine has told itself, if ever."""
        self._desk = desk
        self._services, self._rules, self._built_in, self._believe = judged
        self._now = now
        self._dial = Dial(now)
        self._instances: dict[Service, dict[str, Instance]] = {}
        self._learned: dict[LiveAlert, _ToldAlert] = {}
        self._owed: dict[LiveAlert, dict[str, None]] = {}
        """To whom the last speaker owed what it had told others."""
        self._rerouted: dict[LiveAlert, None] = {}
        """What was told where other routes than those in force led."""
        desk.unlearn(now)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take over one group; raise Damaged, with no group changed, for a record that cannot be read."""
        try:
            told = _read(record, self._dial)
            alerts = [(self._alert_of(about, each), each) for about, its in told.alerts for each in its]
        except _UNREADABLE as error:
            raise Damaged(f"what was told of a group cannot be read: {type(error).__name__}: {error}") from None
        group = self._desk.group_of(told.key, told.labels)
        group.take_over(told.spoke, told.reminders, told.digested, told.through)
        is_rerouted = told.routes != self._desk.router.name
        for alert, each in alerts:
            self._learn(group, alert, each)
            if is_rerouted:
                self._rerouted[alert] = None

    def take_channel(self, channel: str, record: Mapping[str, Any]) -> None:
        """Take over a channel's storm; raise Damaged for a record that cannot be read."""
        try:
            until, digests = record.get("storm_until"), int(record.get("digests", 0))
            storm_until = -inf if until is None else self._dial.read_mono(until)
        except _UNREADABLE as error:
            raise Damaged(f"the storm of channel {channel} cannot be read: {type(error).__name__}: {error}") from None
        self._desk.outlet(channel).take_over(storm_until, digests)

    def finish(self, *, was_own: bool) -> None:
        """Find out what is owed now, and let it be told in its time, which may be over.

        `was_own`: nobody else has spoken since this engine did, so all that it owes is owed still.
        """
        now = self._now
        self._note_spoken()
        for alert, told in self._learned.items():
            if alert.ending is None:
                self._agree(alert, told)
            if alert.revision < told.revision:  # what is told of it next is about what this engine has never seen
                alert.revision, alert.episode, alert.over = told.revision, told.episode, told.revision
            self._owe(alert)
            if alert.is_standing:
                find = placing.new_places if alert in self._rerouted else placing.own_places
                placing.take(alert, find(alert), is_news=False)
        for group in () if was_own else list(self._desk.groups.values()):
            group.discharge_told()
        for alert in self._desk.alerts():
            if alert not in self._learned and isinstance(alert.condition, Noted):
                alert.condition.count_anew(alert, now)  # the last speaker may have seen it otherwise, and told its end
            alert.change_news(now, alert.turned)
        for group in list(self._desk.groups.values()):
            group.leave_if_empty()

    def _note_spoken(self) -> None:
        """Let the guards against storms know which groups were told of lately, the first first."""
        for group in sorted(self._desk.groups.values(), key=lambda group: group.spoke):
            known: dict[str, list[LiveAlert]] = {}
            for member in group.members if group.has_spoken else ():
                for channel in member.beliefs:
                    known.setdefault(channel, []).append(member.alert)
            for channel, alerts in known.items():
                self._desk.outlet(channel).note_spoken(group, alerts)

    def _learn(self, group: Group, alert: LiveAlert, told: _ToldAlert) -> None:
        member = next((each for each in alert.memberships if each.group is group), None)
        if member is None:
            member = Membership(alert, group)
            alert.memberships = (*alert.memberships, member)
        member.beliefs = told.beliefs
        member.steps_done = told.steps_done
        self._owed.setdefault(alert, {}).update(dict.fromkeys(told.owed))
        self._learned[alert] = told
        if alert.ending is not None:
            self._desk.bury(alert)

    def _agree(self, alert: LiveAlert, told: _ToldAlert) -> None:
        """Believe what people were told where what is known here of the alert itself is older than that, or doubted."""
        kinds = {belief.kind for belief in told.beliefs.values()}
        if Kind.FLAPPING in kinds:
            alert.flap_on(self._now)
        elif Kind.FIRING in kinds and alert.revision <= told.revision:
            service = alert.condition.service
            if service.doubted and not alert.is_standing:
                self._believe(service, alert.instance, self._now)
            alert.fire_on(self._now)
        if alert.since is None:
            alert.since, alert.until = told.since, self._now
        elif alert.is_standing and told.since is not None and told.since.mono < alert.since.mono:
            alert.since = told.since

    def _owe(self, alert: LiveAlert) -> None:
        """Owe what the last speaker owed, each channel by one group, and nothing that this engine alone would tell."""
        known = {channel for member in alert.memberships for channel in member.beliefs}
        owed = [channel for channel in self._owed[alert] if channel not in known and alert.ending is None]
        for member in alert.memberships:
            member.owed = tuple(channel for channel in member.owed if channel in owed)
            owed = [channel for channel in owed if channel not in member.owed]
        for member in alert.memberships[:1]:
            member.owed += tuple(owed)

    def _alert_of(self, about: _About, told: _ToldAlert) -> LiveAlert:
        """Return the alert meant, as one that has ended for good if it is judged no more."""
        own = self._built_in.get(about.rule)
        return (
            self._judged_alert(about, told) if own is None else own.go_on(told.name, told.since, told.words, self._now)
        )

    def _judged_alert(self, about: _About, told: _ToldAlert) -> LiveAlert:
        service = self._services.get(about.service)
        conditions = () if service is None else service.conditions
        condition = next((each for each in conditions if each.rule.rule.name == about.rule), None)
        if about.rule not in self._rules or (service is not None and condition is None):
            return self._departed_alert(about, told, Reason.RULE_GONE)
        if condition is None or service is None:
            return self._departed_alert(about, told, Reason.FORGOTTEN)
        is_instance = told.name is not None and not about.per
        if condition.judges_instances is not is_instance or condition.per_field != about.per:
            return self._departed_alert(about, told, Reason.RULE_GONE)
        if not is_instance:
            return condition.alert_of(told.name, None, told.name)
        instance = self._known(service).get(told.name or "")
        if instance is None:
            return self._departed_alert(about, told, Reason.FORGOTTEN)
        return condition.alert_of(instance, instance, None)

    def _known(self, service: Service) -> dict[str, Instance]:
        if service not in self._instances:
            self._instances[service] = {instance.name: instance for instance in service.instances}
        return self._instances[service]

    def _departed_alert(self, about: _About, told: _ToldAlert, reason: Reason) -> LiveAlert:
        service = self._services.get(about.service) or Service(about.service)
        condition = Departed(self._rules.get(about.rule) or _rule_of(about), service, self._desk)
        condition.per_field = about.per
        instance = None if told.name is None or about.per else Instance(b"", told.name, service, self._now)
        alert = LiveAlert(condition, instance, told.name if about.per else None)
        alert.since, alert.cause = told.since, told.cause
        alert.until, alert.reason = self._now, reason
        alert.ending = Kind.FORGOTTEN if reason is Reason.FORGOTTEN else Kind.RESOLVED
        return alert


def _rule_of(about: _About) -> CompiledRule:
    """Return what is left of a rule that is gone: all that a message says of it."""
    fields = {"name": about.rule, "severity": about.severity, "labels": about.labels}
    rule = Rule.model_validate({**fields, "service": "*", "when": {"malformed": True}, "flap": False})
    return CompiledRule(rule, RuleText(about.rule, about.severity, about.source), None, 0)
