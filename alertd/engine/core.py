"""The engine: (event, now) in, actions out.

It reads no clock and does no I/O; the same events, times and ruleset give the same actions. Events of one revision are
judged together, since etcd made them true together. In a gap no deadlines pass. What is listed is judged when that is
complete, since half the truth proves nothing. What is replayed is judged as it happened, but calmly: its times are not
known, so it makes no flap and fulfils no `for`, yet what fired and ended meanwhile is told as over.

Invariant: what it believes of instances is what the events say, and every decision leaves it as an action.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from alertd.engine.assignment import Assignment
from alertd.engine.builtin import BuiltIns, Note
from alertd.engine.calendar import Calendar
from alertd.engine.desk import Desk, unused_number
from alertd.engine.doubt import Doubt
from alertd.engine.facts import describe_alert, describe_all, describe_service
from alertd.engine.forecast import foresee, reach
from alertd.engine.memory import Damaged, Record, recall, remember
from alertd.engine.mute import Mutes
from alertd.engine.registry import Change, Instance, Registry, Service
from alertd.engine.routing import Router
from alertd.engine.timers import Timers
from alertd.engine.told import Judged, Succession, of_channel, of_group
from alertd.engine.wishes import Wishes
from alertd.model import (
    SELF,
    Ack,
    Action,
    Alert,
    BuiltIn,
    EventKind,
    Forecast,
    Instant,
    KeyEvent,
    NoForecast,
    Reason,
    ServiceFacts,
    Silence,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from alertd.config.schema import Ruleset
    from alertd.engine.alert import LiveAlert
    from alertd.model import Cause


class Engine:
    """Judges the keys below `prefix` by a ruleset."""

    def __init__(self, ruleset: Ruleset, prefix: bytes) -> None:
        self._out: list[Action] = []
        self._timers = Timers()
        self._registry = Registry(prefix, self._timers, self._out, self)
        self._desk = Desk(self._timers, self._out, self._registry.touched)
        self._desk.mutes = Mutes(self._desk)
        self._dirty: dict[Service, dict[Instance, bool]] | None = None
        """While a gap is open: what was listed and is not judged, and whether it went up or down."""
        self._is_listing = False
        """Whether the last event was found in a listing."""
        self._assignment = Assignment(self._registry, self._desk)
        self._wishes = Wishes(self._desk)
        self._builtins = BuiltIns(self._desk)
        self._doubt = Doubt(self._desk, self._registry, self._builtins, self._judge_service)
        self._ruleset = ruleset
        self._has_begun = False
        self._install(ruleset)

    # --- events ------------------------------------------------------------------------------------------------------

    def feed(self, events: Sequence[KeyEvent], now: Instant) -> list[Action]:
        """Take in key events, whole revisions in order, and return what follows from them."""
        registry = self._registry
        by_key = registry.by_key
        put = EventKind.PUT
        is_gap = self._dirty is not None
        changes: list[Change] = []
        self._pass_time(now)
        self._desk.is_dated = True
        for event in events:
            kind, key, value, _, revision = event
            if changes and revision != self._desk.revision:
                self._judge(changes, now)
                changes = []
            self._desk.revision = revision
            if is_gap:
                self._is_listing = kind is EventKind.FOUND or kind is EventKind.MISSED
            if kind is put:
                instance = by_key.get(key)
                if instance is not None and instance.is_present and instance.raw == value:
                    continue
            registry.apply(event, now, changes)
        self._judge(changes, now)
        self._desk.is_dated = False
        if registry.losses:
            self._doubt.sift([], now)
        return self._finish(now)

    def open_gap(self, now: Instant, began: Instant | None = None) -> list[Action]:
        """Begin to catch up: what follows happened at some time since `began`, and is judged at its end."""
        self._begin(now)
        if self._dirty is None:
            self._dirty = {}
            self._doubt.enter_gap(now, began)
            self._registry.gap_began = None if self._registry.is_first_listing else began or now
        return self._finish(now)

    @property
    def is_catching_up(self) -> bool:
        """Whether a gap is open, so that what is known is true at no one revision."""
        return self._dirty is not None

    @property
    def revision(self) -> int:
        """The revision of the last event that was taken in, or of the last listing."""
        return self._desk.revision

    def close_gap(self, now: Instant, revision: int | None = None) -> list[Action]:
        """End the catching up, at `revision` if that is known: judge what it changed, by the state at its end."""
        if revision is not None:
            self._desk.revision = revision
        dirty, self._dirty = self._dirty or {}, None
        for service, changes in dirty.items():
            if changes:
                self._judge_service(service, list(changes.items()), now, calm=True)
        self._registry.gap_began = None
        self._registry.is_first_listing = False
        self._distrust()
        self._assignment.judge_unjudged(now)
        self._doubt.leave_gap(now)
        return self._finish(now)

    def advance(self, now: Instant) -> list[Action]:
        """Let the deadlines pass that are due at `now`."""
        return self._finish(now)

    def next_deadline(self) -> float | None:
        """Return when `advance` is due, in monotonic seconds."""
        return self._timers.next_due() if self._dirty is None else None

    def load(self, ruleset: Ruleset, now: Instant) -> list[Action]:
        """Judge by `ruleset` from now on; alerts whose rule and target remain live on."""
        self._begin(now)
        self._desk.mutes.unfile()
        self._install(ruleset, now)
        self._desk.mutes.load(ruleset, now)
        self._desk.rehome(now)
        self._wishes.look(now)
        return self._finish(now)

    # --- people ------------------------------------------------------------------------------------------------------

    def silence(self, silence: Silence, now: Instant) -> list[Action]:
        """Keep quiet what a silence matches; one of the same id is replaced."""
        self._begin(now)
        self._wishes.silence(silence, now)
        return self._finish(now)

    def lift(self, silence_id: str, now: Instant) -> list[Action]:
        """End a silence before its time."""
        self._desk.mutes.lift(silence_id, now)
        return self._finish(now)

    def acknowledge(self, ack: Ack, now: Instant) -> list[Action]:
        """Take note that somebody has taken on an alert, which may not be known yet."""
        self._wishes.acknowledge(ack, now)
        return self._finish(now)

    def unacknowledge(self, alert_id: str, now: Instant) -> list[Action]:
        """Take note that nobody has taken on an alert any longer."""
        self._wishes.end_ack(alert_id, now)
        return self._finish(now)

    def forget(self, service: str, instance: str | None, now: Instant, lost_by: datetime | None = None) -> list[Action]:
        """Forget an instance that is gone, or (None) all of a service's; one that is there, or was `lost_by`, stays.

        The latter is a moment of the wall clock: what went after that cannot have been meant.
        """
        known = self._registry.services.get(service)
        for each in list(known.instances) if known is not None else ():
            is_meant = lost_by is None or (each.between or each.since).wall <= lost_by
            if not each.is_present and instance in (None, each.name) and is_meant:
                self._registry.forget(each, now)
        return self._finish(now)

    # --- alertd itself -----------------------------------------------------------------------------------------------

    def note(self, rule: BuiltIn, words: str, now: Instant, *, holds: bool, target: str | None = None) -> list[Action]:
        """Take in whether a built-in rule holds of a target (None: of alertd as a whole), and in `words` how it stands.

        `words` follow the target in a title, and `now` where a target no longer fires: `delivering again`.
        """
        self._begin(now)
        self._builtins.by_name[rule].note(target, Note(holds, words), now)
        return self._finish(now)

    def hold(self, why: str, now: Instant) -> list[Action]:
        """Doubt losses by `expired` or `missed` for `settle`, since etcd was away: `why` says so in a few words.

        Called while a gap is open, and before what it holds is fed, that lasts until `settle` after the gap's end.
        """
        self._doubt.hold(why, now)
        return self._finish(now)

    def release(self, now: Instant) -> list[Action]:
        """Judge now what is doubted, or when the gap ends that is open."""
        self._doubt.release(now)
        return self._finish(now)

    # --- from one process to the next --------------------------------------------------------------------------------

    def recall(self, memories: Mapping[str, Mapping[str, Any]], now: Instant, era: int = 0) -> list[Damaged]:
        """Know services as an earlier process remembered them, by name; return what could not be read.

        To be called before the first event. What the watch then tells of the time since is a gap.
        """
        self._begin(now)
        damaged, outdated = [], []
        self._desk.era, self._desk.first_episode = era, unused_number(now)
        for name, record in memories.items():
            try:
                service = recall(name, record, self._registry, now)
            except Damaged as error:
                damaged.append(error)
            else:
                self._assignment.unjudged[service] = None
                self._registry.is_first_listing = False
                if record.get("fields", []) != list(service.kept_fields):
                    outdated.append(name)
        self._doubt.resume(now)
        self._finish(now)
        self._registry.touched.clear()
        self._registry.touched |= dict.fromkeys(outdated)
        return damaged

    def _distrust(self) -> None:
        """Take what was recalled for older than all that is told: etcd shows another history."""
        for service in self._registry.services.values():
            service.true_at = 0

    def rebase(self, now: Instant) -> None:
        """Take all that is known for older than all that is told from now on: revisions begin anew."""
        self._distrust()
        self._desk.rebase(now)

    @property
    def era(self) -> int:
        """What tells revisions from those of the same number before they began anew; `recall` is to be given it."""
        return self._desk.era

    def remember(self, now: Instant, services: Iterable[str] | None = None) -> dict[str, Record | None]:
        """Return what is to be remembered of services (None: of all) by name, or None of those that are gone."""
        registry = self._registry
        wanted = registry.services if services is None else services
        return {name: self._remember(registry.services.get(name), now) for name in wanted}

    def _remember(self, service: Service | None, now: Instant) -> Record | None:
        return None if service is None else remember(service, self._registry, self._desk.revision, now)

    def take_touched(self) -> list[str]:
        """Return the services of which something is to be remembered anew, each once."""
        registry = self._registry
        names = [name for name in registry.touched if name != SELF or name in registry.services]
        self._registry.touched.clear()
        return names

    def hush(self) -> None:
        """Tell nobody any more. All is judged as before, and whatever there is to tell is kept."""
        self._desk.speaks = self._desk.is_spoken_for = False

    def stand_by(self, *, another_speaks: bool) -> None:
        """Take note whether another is known to speak: then what has been over for long need not be kept to be told."""
        self._desk.is_spoken_for = another_speaks

    def speak(
        self,
        groups: Iterable[Mapping[str, Any]],
        channels: Mapping[str, Mapping[str, Any]],
        now: Instant,
        *,
        was_own: bool = False,
    ) -> tuple[list[Action], list[Damaged]]:
        """Tell people from now on, going on with what the last speaker told; return also what could not be read.

        `was_own`: that was this engine itself.
        """
        self._desk.speaks = True
        self._builtins.begin_to_speak(now)
        judged = Judged(self._registry.services, self._assignment.rules, self._builtins.by_name, self._doubt.believe)
        succession = Succession(self._desk, judged, now)
        damaged = []
        for take in (
            *(partial(succession.take_channel, name, record) for name, record in channels.items()),
            *(partial(succession.take, record) for record in groups),
        ):
            try:
                take()
            except Damaged as error:
                damaged.append(error)
        succession.finish(was_own=was_own)
        return self._finish(now), damaged

    def take_told(
        self, now: Instant, *, everything: bool = False
    ) -> tuple[dict[str, Record | None], dict[str, Record]]:
        """Return what was told of groups, by id, and of channels' storms, where that changed since this was called.

        With `everything`, also where it did not.
        """
        desk = self._desk
        if everything:
            desk.mark_all_told()
        known = {group.id: desk.groups.get(group.key) for group in desk.told}
        groups = {name: None if group is None else of_group(group, now) for name, group in known.items()}
        channels = {name: of_channel(desk.outlet(name), now) for name in desk.stormy}
        desk.told.clear()
        desk.stormy.clear()
        return groups, channels

    @property
    def has_told(self) -> bool:
        """Whether any of what `take_told` returns has changed since it was called."""
        return bool(self._desk.told or self._desk.stormy)

    # --- view --------------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, int]:
        """How many instances and services are known, alerts under way, keys ignored."""
        registry = self._registry
        known = {"instances": len(registry.by_key), "services": len(registry.services)}
        return known | {"alerts": len(self._desk.active), "ignored": registry.ignored}

    def present_keys(self) -> Iterator[bytes]:
        """Return the keys that are there, as the engine believes."""
        return (key for key, instance in self._registry.by_key.items() if instance.is_present)

    def services(self) -> Iterator[ServiceFacts]:
        """Return all services, by name."""
        return (describe_service(service) for _, service in sorted(self._registry.services.items()))

    def alerts(self) -> Iterator[Alert]:
        """Return the alerts that are pending, firing or flapping."""
        return (describe_alert(alert) for alert in self._desk.active.values())

    def silences(self) -> Iterator[tuple[Silence, bool, int]]:
        """Return the silences that are not over, each with whether it holds now, and how many alerts it keeps quiet."""
        return ((live.silence, live.is_active, live.standing) for live in self._desk.mutes.silences())

    def service_names(self) -> Iterator[str]:
        """Return the names of all services, which costs nothing."""
        return iter(self._registry.services)

    def alert_ids(self) -> Iterator[str]:
        """Return the ids of the same alerts, which costs nothing."""
        return iter(self._desk.active)

    def look_up(self, alert_ids: Iterable[str]) -> Iterator[tuple[Alert, ServiceFacts]]:
        """Return those of the alerts that are under way, each with its service as far as a summary speaks of that."""
        return describe_all(filter(None, map(self._desk.active.get, alert_ids)))

    def forecast(
        self, rule: str, service: str, instance: str | None, now: Instant, cause: Cause | None = None
    ) -> Forecast | NoForecast:
        """Tell who would be told, how and when, were `rule` to fire now on a service (None) or an instance of it.

        `cause` is that of the loss; None is the one that the instance went down with, if it is down.
        """
        condition = self._assignment.suppose(rule, service)
        return condition if isinstance(condition, NoForecast) else foresee(condition, instance, cause, now)

    def reach(self, rule: BuiltIn) -> tuple[Alert, tuple[str, ...]]:
        """Return a built-in rule's alert on alertd as a whole, and whom it would tell; nobody while it is muted."""
        return reach(self._builtins.by_name[rule])

    # --- what the registry asks --------------------------------------------------------------------------------------

    def match(self, service: Service) -> None:
        """Give a service its labels, expectation and conditions."""
        self._assignment.match(service)

    def is_held(self, service: Service) -> bool:
        """Tell whether a service alert is under way, or it is not known what has become of an instance."""
        return bool(service.doubted) or any(condition.is_held for condition in service.conditions)

    def drop(self, instance: Instance, now: Instant) -> None:
        """End what is judged about an instance; with the last one of an unnamed service, about the service too."""
        service = instance.service
        for condition in service.conditions:
            condition.forget(instance, now)
        if self._dirty is not None:
            self._dirty.get(service, {}).pop(instance, None)
        if len(service.instances) == 1 and not service.is_named:
            self._assignment.leave(service, Reason.FORGOTTEN, now)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _begin(self, now: Instant) -> None:
        """Look at the clock for the first time: only now can windows and silences be judged."""
        if not self._has_begun:
            self._has_begun = True
            self._wishes.begin(self._ruleset, now)

    def _judge(self, changes: list[Change], now: Instant) -> None:
        """Judge what happened at one revision, service by service."""
        if not changes:
            return
        if self._registry.losses > self._doubt.room or self._doubt.is_on:
            changes = self._doubt.sift(changes, now)
        if self._dirty is not None:
            self._catch_up(changes, self._dirty, now)
            return
        if len(changes) == 1 and not self._desk.mutes.are_needed:
            for condition in changes[0][0].service.conditions:
                condition.judge(changes, now, calm=False)
            return
        for service, its in _by_service(changes).items():
            self._judge_service(service, its, now, calm=False)

    def _catch_up(self, changes: list[Change], dirty: dict[Service, dict[Instance, bool]], now: Instant) -> None:
        """Put off what was listed; judge what is replayed, after what was listed of the same service."""
        for service, its in _by_service(changes).items():
            if self._is_listing:
                listed = dirty.setdefault(service, {})
                for instance, went in its:
                    listed[instance] = listed.get(instance, False) or went
            else:
                before = dirty.pop(service, {})
                if before:
                    self._judge_service(service, list(before.items()), now, calm=True)
                self._judge_service(service, its, now, calm=True)

    def _judge_service(self, service: Service, changes: list[Change], now: Instant, *, calm: bool) -> None:
        """Judge what happened to a service; what stands all the while may have got other labels by it."""
        touched: list[LiveAlert] = []
        if self._desk.mutes.are_needed:
            found = (condition.alerts.get(change[0]) for condition in service.conditions for change in changes)
            touched = [alert for alert in found if alert is not None and alert.is_standing]
        for condition in service.conditions:
            condition.judge(changes, now, calm=calm)
        for alert in touched:
            alert.relabel(now)

    def _finish(self, now: Instant) -> list[Action]:
        """Let deadlines pass (those of this very moment too) and hand over what has been decided."""
        self._pass_time(now)
        actions = self._out[:]
        self._out.clear()
        return actions

    def _pass_time(self, now: Instant) -> None:
        """Let deadlines pass, but not while a gap is open; however late, nothing is told that is silenced by now."""
        if self._dirty is not None:
            return
        self._wishes.look_when_due(now)
        self._timers.run(now)

    def _install(self, ruleset: Ruleset, now: Instant | None = None) -> None:
        self._ruleset = ruleset
        self._desk.settings = ruleset.settings
        self._doubt.follow(ruleset.settings.registry)
        self._desk.calendar = Calendar(ruleset.windows, None if now is None else now.wall)
        self._desk.router = Router(ruleset, self._desk.calendar)
        self._registry.forget_after = ruleset.settings.forget_after
        self._assignment.install(ruleset, now)
        self._builtins.install(ruleset, self._assignment.own_labels, now)
        if now is not None and self._dirty is None:
            self._assignment.judge_unjudged(now)


def _by_service(changes: Iterable[Change]) -> dict[Service, list[Change]]:
    by_service: dict[Service, list[Change]] = {}
    for change in changes:
        by_service.setdefault(change[0].service, []).append(change)
    return by_service
