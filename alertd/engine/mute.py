"""What keeps alerts quiet: silences, made by people or kept as code, and inhibition by other alerts.

Both are judged on state and at once, not when a message is due: `LiveAlert.muted` always says what holds. A silence
mutes what it matches, a window's while the window is open. An inhibition mutes what `mute` matches while something that
`if` matches fires, with all of `equal` the same on both; what one of the two has not is not the same. An alert that is
on both sides is muted only by one that is not, so that two never mute each other.

An alert is filed under all that concerns it when it begins to stand, and anew when what matchers see of it changes.
Matchers are filed under what they want exactly. So the cost of an alert does not grow with the number of silences and
inhibitions, nor with the number of alerts that fire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.engine.calendar import Ends
from alertd.engine.match import Labels, Matcher, MatcherIndex
from alertd.model import Lifted, Mute, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from alertd.config.schema import Inhibition, Ruleset
    from alertd.engine.alert import LiveAlert
    from alertd.engine.desk import Desk
    from alertd.model import Instant, Silence

_AFTER_INHIBITION = 60.0
"""Seconds for which what was inhibited must still fire, at least, before it is told."""

Equal = tuple[str, ...]
"""The values of an inhibition's `equal`."""

Shelf = dict[Equal, dict["LiveAlert", None]]

Source = tuple[Shelf, "LiveInhibition", Equal]
"""Where an alert that inhibits is filed."""


class LiveSilence:
    """A silence in force, or waiting for its window.

    While it is active, `muting` are the alerts that it matches, of which `standing` stand; the others owe an end.
    """

    __slots__ = ("is_active", "matcher", "muting", "silence", "standing")

    def __init__(self, silence: Silence) -> None:
        self.silence = silence
        self.matcher = Matcher(silence.match)
        self.muting: dict[LiveAlert, None] = {}
        self.standing = 0
        self.is_active = False

    def covers(self, now: Instant, windows: frozenset[str]) -> bool:
        """Tell whether it holds now."""
        silence = self.silence
        if silence.until is not None and silence.until <= now.wall:
            return False
        return not silence.during or any(name in windows for name in silence.during)


class LiveInhibition:
    """One inhibition: by the values of `equal`, which alerts inhibit and which would be muted.

    `twofold` are those that inhibit, but would be muted as well; `pure` those that only inhibit.
    """

    __slots__ = ("_equal", "pure", "targets", "twofold", "wants_muted", "wants_source")

    def __init__(self, inhibition: Inhibition) -> None:
        self.wants_source = Matcher(inhibition.if_)
        self.wants_muted = Matcher(inhibition.mute)
        self._equal = inhibition.equal
        self.pure: Shelf = {}
        self.twofold: Shelf = {}
        self.targets: Shelf = {}

    def values(self, labels: Labels) -> Equal | None:
        """Return the values of `equal` of an alert; None if it lacks one."""
        values = []
        for name in self._equal:
            text = labels.get(name)
            if text is None:
                return None
            values.append(text)
        return tuple(values)

    def source_for(self, values: Equal, *, is_twofold: bool) -> LiveAlert | None:
        """Return an alert that mutes one with these values, if any fires."""
        source = next(iter(self.pure.get(values, ())), None)
        if source is None and not is_twofold:
            source = next(iter(self.twofold.get(values, ())), None)
        return source


class Roles:
    """Where an alert is filed: which silences match it, what would inhibit it, and what it inhibits.

    `targets` says of each inhibition whether the alert is twofold to it. `stands` is what the alert did when filed.
    """

    __slots__ = ("silences", "sources", "stands", "targets")

    def __init__(self) -> None:
        self.silences: dict[LiveSilence, None] = {}
        self.targets: list[tuple[LiveInhibition, Equal, bool]] = []
        self.sources: list[Source] = []
        self.stands = False

    @property
    def inhibitor(self) -> LiveAlert | None:
        """An alert that inhibits the one filed here, if any fires."""
        found = (
            inhibition.source_for(values, is_twofold=is_twofold) for inhibition, values, is_twofold in self.targets
        )
        return next((source for source in found if source is not None), None)

    def mute(self, inhibitor: LiveAlert | None) -> Mute | None:
        """Return what keeps the alert quiet: a silence rather than an inhibition."""
        for live in self.silences:
            return Mute(Reason.SILENCED, live.silence.id, live.silence.comment)
        return None if inhibitor is None else Mute(Reason.INHIBITED, inhibitor.rule.rule.name, inhibitor.target)


_NOWHERE = Roles()
"""Where an alert is filed that nothing concerns."""


class Mutes:
    """All silences and inhibitions of an engine."""

    __slots__ = ("_desk", "_open", "_roles", "_silences", "_sources", "_targets", "_wanted", "are_needed", "ends")

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._silences: dict[str, LiveSilence] = {}
        self.ends = Ends(self._end_of)
        """When silences end."""
        self._open: frozenset[str] = frozenset()
        """The windows that were open when silences were last judged by them."""
        self._wanted: MatcherIndex[LiveSilence] = MatcherIndex()
        """What the silences that are active want."""
        self._sources: MatcherIndex[LiveInhibition] = MatcherIndex()
        self._targets: MatcherIndex[LiveInhibition] = MatcherIndex()
        self._roles: dict[LiveAlert, Roles] = {}
        self.are_needed = False
        """Whether any silence is active, or there is any inhibition."""

    # --- what an alert asks ------------------------------------------------------------------------------------------

    def review(self, alert: LiveAlert, now: Instant) -> None:
        """File an alert anew: it began to stand or ceased to, owes nothing any more, or its labels changed."""
        before = self._roles.pop(alert, None)
        if before is None and not self.are_needed:
            return
        before = before or _NOWHERE
        roles = self._roles_of(alert) if alert.can_be_muted else _NOWHERE
        woken = self._move(alert, before, roles)
        self._judge([alert, *woken], now)
        for live in before.silences if before.stands and not roles.stands else ():
            self._lift_if_resolved(live, now)

    def foresee(self, alert: LiveAlert) -> Mute | None:
        """Return what would keep an alert quiet that is not filed."""
        roles = self._roles_of(alert)
        return roles.mute(roles.inhibitor)

    def _roles_of(self, alert: LiveAlert) -> Roles:
        labels = Labels(alert)
        roles = Roles()
        roles.stands = alert.is_standing
        roles.silences = dict.fromkeys(self._wanted.matching(labels))
        targets = dict.fromkeys(self._targets.matching(labels))
        sources = dict.fromkeys(self._sources.matching(labels))
        for inhibition in targets:
            values = inhibition.values(labels)
            if values is not None:
                roles.targets.append((inhibition, values, inhibition in sources))
        for inhibition in sources if roles.stands else ():
            values = inhibition.values(labels)
            if values is not None:
                shelf = inhibition.twofold if inhibition in targets else inhibition.pure
                roles.sources.append((shelf, inhibition, values))
        return roles

    def _move(self, alert: LiveAlert, before: Roles, after: Roles) -> list[LiveAlert]:
        """File an alert under `after` instead of `before`; return those that may be muted, or unmuted, by that."""
        for live in before.silences:
            live.muting.pop(alert, None)
            live.standing -= before.stands
        for inhibition, values, _ in before.targets:
            _take_out(inhibition.targets, values, alert)
        for live in after.silences:
            live.muting[alert] = None
            live.standing += after.stands
        for inhibition, values, _ in after.targets:
            inhibition.targets.setdefault(values, {})[alert] = None
        if after.silences or after.targets or after.sources:
            self._roles[alert] = after
        ceased = [source for source in before.sources if source not in after.sources]
        begun = [source for source in after.sources if source not in before.sources]
        turned = [source for source in ceased if _take_out(source[0], source[2], alert)]
        for shelf, inhibition, values in begun:
            if not shelf.get(values):
                turned.append((shelf, inhibition, values))
            shelf.setdefault(values, {})[alert] = None
        return [target for _, inhibition, values in turned for target in inhibition.targets.get(values, ())]

    def _judge(self, alerts: Iterable[LiveAlert], now: Instant) -> None:
        """Find out anew what keeps each of these quiet."""
        for alert in dict.fromkeys(alerts):
            roles = self._roles.get(alert, _NOWHERE)
            inhibitor = roles.inhibitor
            if alert.is_inhibited and inhibitor is None:
                alert.not_before = now.mono + _AFTER_INHIBITION
            alert.is_inhibited = inhibitor is not None
            mute = roles.mute(inhibitor)
            if mute != alert.muted:
                alert.mute(mute, now)

    # --- silences ----------------------------------------------------------------------------------------------------

    def add(self, silence: Silence, now: Instant) -> None:
        """Let a silence hold; one of the same id is replaced."""
        before = self._silences.pop(silence.id, None)
        live = self._silences[silence.id] = LiveSilence(silence)
        self.ends.add(silence.id)
        self._set_active(live, now, is_active=live.covers(now, self._desk.calendar.open))
        if before is not None:
            self._set_active(before, now, is_active=False)

    def lift(self, silence_id: str, now: Instant) -> None:
        """End a silence."""
        live = self._silences.pop(silence_id, None)
        if live is not None:
            self._set_active(live, now, is_active=False)

    def turn(self, now: Instant) -> None:
        """See which silences hold now; what is over is dropped."""
        before, self._open = self._open, self._desk.calendar.open
        for live in list(self._silences.values()) if before != self._open else ():
            self._set_active(live, now, is_active=live.covers(now, self._open))
        for silence_id in self.ends.take(now.wall):
            self.lift(silence_id, now)

    def silences(self) -> Iterator[LiveSilence]:
        """Return the silences that hold, or wait for their window."""
        return iter(self._silences.values())

    def _end_of(self, silence_id: str) -> datetime | None:
        live = self._silences.get(silence_id)
        return None if live is None else live.silence.until

    def _set_active(self, live: LiveSilence, now: Instant, *, is_active: bool) -> None:
        if live.is_active is is_active:
            return
        live.is_active = is_active
        if is_active:
            self._want(live)
            for alert in self._desk.alerts(live.matcher.services):
                if alert.can_be_muted and live.matcher.matches(Labels(alert)):
                    roles = self._roles.setdefault(alert, Roles())
                    roles.stands = alert.is_standing
                    roles.silences[live] = live.muting[alert] = None
                    live.standing += roles.stands
            self._judge(list(live.muting), now)
            return
        self._wanted.remove(live)
        self.are_needed = bool(self._wanted or self._targets)
        muted, live.muting, live.standing = live.muting, {}, 0
        for alert in muted:
            self._roles[alert].silences.pop(live, None)
        self._judge(muted, now)

    def _want(self, live: LiveSilence) -> None:
        self._wanted.add(live, live.matcher)
        self.are_needed = True

    def _lift_if_resolved(self, live: LiveSilence, now: Instant) -> None:
        """End a silence that was to last until all is resolved, and all is."""
        if live.silence.until_resolved and live.is_active and not live.standing:
            self._desk.out.append(Lifted(live.silence.id, now))
            self.lift(live.silence.id, now)

    # --- a ruleset ---------------------------------------------------------------------------------------------------

    def unfile(self) -> None:
        """Take all alerts out, to be filed by another ruleset; until then they stay muted or not, as they are."""
        self._roles = {}
        self._wanted, self._sources, self._targets = MatcherIndex(), MatcherIndex(), MatcherIndex()
        self.are_needed = False

    def load(self, ruleset: Ruleset, now: Instant) -> None:
        """Go by the inhibitions and the silences of a ruleset; those that people made stay."""
        for inhibition in map(LiveInhibition, ruleset.inhibit):
            self._sources.add(inhibition, inhibition.wants_source)
            self._targets.add(inhibition, inhibition.wants_muted)
            self.are_needed = True
        muted_before = [live for live in self._silences.values() if live.standing]
        self._take_silences(ruleset.silences, now)
        alerts = self._desk.alerts()
        for alert in alerts:
            if alert.can_be_muted:
                self._move(alert, _NOWHERE, self._roles_of(alert))
        self._judge(alerts, now)
        for live in muted_before:
            self._lift_if_resolved(live, now)

    def _take_silences(self, kept: Iterable[Silence], now: Instant) -> None:
        """Have the silences of a ruleset besides those of people, and want what those want that hold now."""
        made = {key: live for key, live in self._silences.items() if not live.silence.source}
        coded = {silence.id: LiveSilence(silence) for silence in kept}
        self._silences = {**made, **coded}
        self._open = self._desk.calendar.open
        for silence_id in coded:
            self.ends.add(silence_id)
        for live in self._silences.values():
            live.muting, live.standing = {}, 0
            live.is_active = live.covers(now, self._open)
            if live.is_active:
                self._want(live)


def _take_out(shelf: Shelf, values: Equal, alert: LiveAlert) -> bool:
    """Take an alert off a shelf; return whether none of these values is left there."""
    alerts = shelf.get(values, {})
    alerts.pop(alert, None)
    if alerts:
        return False
    shelf.pop(values, None)
    return True
