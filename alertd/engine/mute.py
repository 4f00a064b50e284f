"""What keeps alerts quiet: silences, made by people or kept as code, and inhibition by other alerts.

Both are judged on state and at once, not when a message is due: `LiveAlert.muted` always says what holds. A silence
mutes what it matches, a window's while the window is open. An inhibition mutes what `mute` matches while something that
`if` matches fires, with all of `equal` the same on both; what one of the two has not is not the same. An alert that is
on both sides is muted only by one that is not, so that two never mute each other.

Matchers are filed under what they want exactly, so the cost of an alert does not grow with their number, nor with the
number of alerts that fire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.engine.match import Labels, Matcher, MatcherIndex
from alertd.model import Lifted, Mute, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from alertd.config.schema import Inhibition, Ruleset
    from alertd.engine.alert import LiveAlert
    from alertd.engine.desk import Desk
    from alertd.model import Instant, Silence

Equal = tuple[str, ...]
"""The values of an inhibition's `equal`."""

Shelf = dict[Equal, dict["LiveAlert", None]]


class LiveSilence:
    """A silence in force, or waiting for its window; `muting` are the alerts that it matches while it is active."""

    __slots__ = ("is_active", "matcher", "muting", "silence")

    def __init__(self, silence: Silence) -> None:
        self.silence = silence
        self.matcher = Matcher(silence.match)
        self.muting: dict[LiveAlert, None] = {}
        self.is_active = False

    def covers(self, now: Instant, windows: frozenset[str]) -> bool:
        """Tell whether it holds now."""
        silence = self.silence
        if silence.until is not None and silence.until <= now.wall:
            return False
        return not silence.during or any(name in windows for name in silence.during)


class LiveInhibition:
    """One inhibition, and by the values of `equal` which alerts inhibit and which would be muted."""

    __slots__ = ("equal", "pure", "targets", "twofold", "wants_muted", "wants_source")

    def __init__(self, inhibition: Inhibition) -> None:
        self.wants_source = Matcher(inhibition.if_)
        self.wants_muted = Matcher(inhibition.mute)
        self.equal = inhibition.equal
        self.pure: Shelf = {}
        self.twofold: Shelf = {}
        self.targets: Shelf = {}

    def values(self, labels: Labels) -> Equal | None:
        """Return the values of `equal` of an alert; None if it lacks one."""
        values = []
        for name in self.equal:
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
    """Where an alert is filed: where it inhibits, where it would be inhibited, and which silences match it."""

    __slots__ = ("silences", "sources", "targets")

    def __init__(self) -> None:
        self.sources: list[tuple[LiveInhibition, Shelf, Equal]] = []
        self.targets: list[tuple[Shelf, Equal]] = []
        self.silences: list[LiveSilence] = []


class Mutes:
    """All silences and inhibitions of an engine."""

    __slots__ = ("_desk", "_index", "_roles", "_silences", "_sources", "_targets")

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._silences: dict[str, LiveSilence] = {}
        self._index: MatcherIndex[LiveSilence] = MatcherIndex()
        self._sources: MatcherIndex[LiveInhibition] = MatcherIndex()
        self._targets: MatcherIndex[LiveInhibition] = MatcherIndex()
        self._roles: dict[LiveAlert, Roles] = {}

    # --- what an alert asks ------------------------------------------------------------------------------------------

    def of(self, alert: LiveAlert) -> Mute | None:
        """Return what keeps an alert quiet now."""
        if not self._index and not self._targets:
            return None
        labels = Labels(alert)
        for silenced_by in self._index.matching(labels):
            return Mute(Reason.SILENCED, silenced_by.silence.id, silenced_by.silence.comment)
        for inhibition in self._targets.matching(labels):
            values = inhibition.values(labels)
            if values is not None:
                is_twofold = inhibition.wants_source.matches(labels)
                source = inhibition.source_for(values, is_twofold=is_twofold)
                if source is not None:
                    return Mute(Reason.INHIBITED, source.rule.rule.name, source.target)
        return None

    def begin(self, alert: LiveAlert, now: Instant) -> None:
        """Take in that an alert begins to fire, or to flap."""
        if not self._index and not self._targets and not self._sources:
            return
        self.cease(alert, now)
        self.drop(alert, now)
        woken = self._take_roles(alert)
        alert.mute(self.of(alert), now)
        self._judge(woken, now)

    def cease(self, alert: LiveAlert, now: Instant) -> None:
        """Take in that an alert fires no longer, and so inhibits nothing."""
        roles = self._roles.get(alert)
        if roles is None:
            return
        woken: list[LiveAlert] = []
        for inhibition, shelf, values in roles.sources:
            if _take_out(shelf, values, alert):
                woken += inhibition.targets.get(values, ())
        roles.sources = []
        self._judge(woken, now)

    def drop(self, alert: LiveAlert, now: Instant) -> None:
        """Take in that nothing needs to keep an alert quiet any longer."""
        roles = self._roles.pop(alert, None)
        if roles is None:
            return
        for shelf, values in roles.targets:
            _take_out(shelf, values, alert)
        for live in roles.silences:
            live.muting.pop(alert, None)
            if live.silence.until_resolved and not live.muting and live.is_active:
                self._desk.out.append(Lifted(live.silence.id, now))
                self.lift(live.silence.id, now)

    def _take_roles(self, alert: LiveAlert) -> list[LiveAlert]:
        """File an alert under all that concerns it; return those that it may mute from now on."""
        labels = Labels(alert)
        roles = Roles()
        woken: list[LiveAlert] = []
        for live in self._index.matching(labels):
            live.muting[alert] = None
            roles.silences.append(live)
        mutable = dict.fromkeys(self._targets.matching(labels))
        for inhibition in mutable:
            values = inhibition.values(labels)
            if values is not None:
                inhibition.targets.setdefault(values, {})[alert] = None
                roles.targets.append((inhibition.targets, values))
        for inhibition in self._sources.matching(labels):
            values = inhibition.values(labels)
            if values is not None:
                shelf = inhibition.twofold if inhibition in mutable else inhibition.pure
                if not shelf.get(values):
                    woken += inhibition.targets.get(values, ())
                shelf.setdefault(values, {})[alert] = None
                roles.sources.append((inhibition, shelf, values))
        if roles.sources or roles.targets or roles.silences:
            self._roles[alert] = roles
        return woken

    def _judge(self, alerts: Iterable[LiveAlert], now: Instant) -> None:
        """Find out anew what keeps each of these quiet."""
        for alert in dict.fromkeys(alerts):
            mute = self.of(alert)
            if mute != alert.muted:
                alert.mute(mute, now)

    # --- silences ----------------------------------------------------------------------------------------------------

    def add(self, silence: Silence, now: Instant) -> None:
        """Let a silence hold; one of the same id is replaced."""
        before = self._silences.pop(silence.id, None)
        live = self._silences[silence.id] = LiveSilence(silence)
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
        windows = self._desk.calendar.open
        for live in list(self._silences.values()):
            self._set_active(live, now, is_active=live.covers(now, windows))
            until = live.silence.until
            if until is not None and until <= now.wall:
                self._silences.pop(live.silence.id, None)

    def silences(self) -> Iterator[LiveSilence]:
        """Return the silences that hold, or wait for their window."""
        return iter(self._silences.values())

    def ends(self) -> Iterator[datetime]:
        """Return when silences end."""
        return (live.silence.until for live in self._silences.values() if live.silence.until is not None)

    def _set_active(self, live: LiveSilence, now: Instant, *, is_active: bool) -> None:
        if live.is_active is is_active:
            return
        live.is_active = is_active
        if is_active:
            self._index.add(live, live.matcher)
            for alert in self._standing():
                if live.matcher.matches(Labels(alert)):
                    live.muting[alert] = None
                    self._roles.setdefault(alert, Roles()).silences.append(live)
        else:
            self._index.remove(live, live.matcher)
        self._judge(list(live.muting), now)

    def _standing(self) -> list[LiveAlert]:
        return [alert for alert in self._desk.active.values() if alert.is_standing]

    # --- inhibitions -------------------------------------------------------------------------------------------------

    def load(self, ruleset: Ruleset, now: Instant) -> None:
        """Go by the inhibitions and the silences of a ruleset; those that people made stay."""
        self._sources, self._targets = MatcherIndex(), MatcherIndex()
        for inhibition in map(LiveInhibition, ruleset.inhibit):
            self._sources.add(inhibition, inhibition.wants_source)
            self._targets.add(inhibition, inhibition.wants_muted)
        kept = {silence.id: silence for silence in ruleset.silences}
        for silence_id, live in list(self._silences.items()):
            if live.silence.source and kept.get(silence_id) != live.silence:
                self.lift(silence_id, now)
        for silence in ruleset.silences:
            if silence.id not in self._silences:
                self.add(silence, now)
        standing = self._standing()
        for live in self._silences.values():
            live.muting.clear()
        self._roles.clear()
        for alert in standing:
            self._take_roles(alert)
        self._judge(standing, now)


def _take_out(shelf: Shelf, values: Equal, alert: LiveAlert) -> bool:
    """Take an alert off a shelf; return whether none of these values is left there."""
    alerts = shelf.get(values, {})
    alerts.pop(alert, None)
    if alerts:
        return False
    shelf.pop(values, None)
    return True
