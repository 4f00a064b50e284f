"""The words of the product as values: what the parts of alertd hand to each other.

Everything here is immutable and knows nothing of etcd, clocks or channels. Times come as `Instant`s, durations as
seconds. Values made once an event are named tuples, since those are several times cheaper to make than frozen
dataclasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where in the rules something stands; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Instant(NamedTuple):
    """One reading of both clocks: `mono` (monotonic seconds) for durations, `wall` (aware UTC) for people."""

    mono: float
    wall: datetime

    def shifted_to(self, mono: float) -> Instant:
        """Return the instant at which the monotonic clock shows `mono`, judged by this reading."""
        return Instant(mono, self.wall + timedelta(seconds=mono - self.mono))

    def at_wall(self, wall: datetime) -> Instant:
        """Return the instant at which the wall clock showed `wall`, judged by this reading."""
        return Instant(self.mono - (self.wall - wall).total_seconds(), wall)


# --- what etcd tells -------------------------------------------------------------------------------------------------


class EventKind(Enum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"
    EXPIRE = "expire"
    FOUND = "found"
    """There in a listing (at start, after a gap), with this value."""
    MISSED = "missed"
    """Gone, and nobody can tell how: found absent in a listing, or etcd could not say whether the lease ended."""


class KeyEvent(NamedTuple):
    """One key at one revision. `key` and `value` are as in etcd; value and lease are empty where the key is gone."""

    kind: EventKind
    key: bytes
    value: bytes
    lease: int
    revision: int


# --- what became of an instance --------------------------------------------------------------------------------------


class Cause(StrEnum):
    """Why an instance went up (the first three) or down."""

    REGISTERED = "registered"
    RECOVERED = "recovered"
    FOUND = "found"
    FAILING = "failing"
    STOPPED = "stopped"
    DELETED = "deleted"
    EXPIRED = "expired"
    MISSED = "missed"


DOUBTFUL = frozenset({Cause.EXPIRED, Cause.MISSED})
"""Causes that tell no more than that etcd did not hear of an instance."""

CAUSE_IN_WORDS: Mapping[Cause, str] = {
    Cause.REGISTERED: "new",
    Cause.RECOVERED: "back",
    Cause.FOUND: "found up",
    Cause.FAILING: "its probe failed",
    Cause.STOPPED: "stopped on purpose",
    Cause.DELETED: "its key was removed unannounced",
    Cause.EXPIRED: "lost contact, its lease ended",
    Cause.MISSED: "found gone after a gap in the watch",
}
"""The words that follow a cause wherever a person reads it."""


class Transition(NamedTuple):
    """An instance went up or down, or (`up` false again) a lost one turned out to be stopped on purpose.

    `between` is the start of the gap in which it happened, where the true time is unknown; `at` is then the gap's end.
    """

    service: str
    instance: str
    up: bool
    cause: Cause
    at: Instant
    revision: int
    detail: str = ""
    between: Instant | None = None


# --- what rules make of it -------------------------------------------------------------------------------------------


class Severity(StrEnum):
    """How bad a rule says it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class BuiltIn(StrEnum):
    """A rule that nobody writes, about alertd itself: told as any other, but whoever knows says whether it holds."""

    REGISTRY = "alertd-registry"
    RULESET = "alertd-ruleset"
    CHANNEL = "alertd-channel"


SELF = "alertd"
"""The service that built-in rules speak of; it is not one of those that are watched."""


class AlertState(StrEnum):
    """Where an alert is in its life."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


class Kind(StrEnum):
    """What a notification, or one entry of it, says."""

    FIRING = "firing"
    RESOLVED = "resolved"
    FLAPPING = "flapping"
    SETTLED = "settled"
    FORGOTTEN = "forgotten"
    REMINDER = "reminder"
    """A repeat for a group that still fires."""
    ESCALATED = "escalated"
    """Nobody has acted: somebody else is told as well."""
    DIGEST = "digest"
    """The one message of a storm; its entries are firing or resolved."""


class Reason(StrEnum):
    """Why the engine decided as it did; one word everywhere a decision is shown."""

    CONDITION_TRUE = "condition-true"
    """The condition turned true; `for` runs."""
    HELD_FOR = "held-for"
    """The condition held for all of `for`: the alert fires."""
    BROKE_BEFORE_FOR = "broke-before-for"
    """The condition ended before `for` was over: nobody is told."""
    CONDITION_FALSE = "condition-false"
    """The condition ended: the alert resolves."""
    KEPT_FIRING = "kept-firing"
    """The condition ended, but `keep_firing_for` holds the alert."""
    TRUE_AGAIN = "true-again"
    """The condition came back while `keep_firing_for` held the alert."""
    KEEP_ELAPSED = "keep-elapsed"
    """`keep_firing_for` is over: the alert resolves."""
    REPLACED = "replaced"
    """Another instance took the lost one's place."""
    FOUND_STOPPED = "found-stopped"
    """The lost instance turned out to be stopped on purpose."""
    FORGOTTEN = "forgotten"
    """Gone for so long (or forgotten by a person) that it no longer counts."""
    RULE_GONE = "rule-gone"
    """The rule is no longer in the ruleset, or no longer speaks of this target."""
    TOLD_ONCE = "told-once"
    """A new instance is told of once and never resolves."""
    FLAPPING_BEGAN = "flapping-began"
    """Too many changes within the window: one message, then silence until it settles."""
    FLAPPING_ENDED = "flapping-ended"
    """No change for `settle`: the state is told as it is now."""
    SUPPRESSED_FLAPPING = "suppressed-flapping"
    """It changed, but the alert is flapping: nobody is told."""
    TOLD = "told"
    """A notification went to the channels."""
    ENDED_UNTOLD = "ended-untold"
    """Back to what was last told before it could be told: nothing to say."""
    RESOLVE_NOT_WANTED = "resolve-not-wanted"
    """The channel has `send_resolved: false`."""
    CHANNEL_GONE = "channel-gone"
    """The channel that was told is no longer in the ruleset."""
    SILENCED = "silenced"
    """A person, or a window, keeps it quiet: nobody is told."""
    INHIBITED = "inhibited"
    """Another alert that fires says it all: nobody is told."""
    UNMUTED = "unmuted"
    """Nothing mutes it any more; what still fires is told now."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody has taken it on: no reminders and no escalation."""
    UNACKNOWLEDGED = "unacknowledged"
    """The acknowledgement ended, or was taken back."""
    SUSPECT = "suspect"
    """Too much was lost at once to be believed: it is judged again when the registry has settled."""
    HELD_IN_STORM = "held-in-storm"
    """Too many groups at once for the channel: it is told in one digest."""


class Mute(NamedTuple):
    """What keeps an alert quiet: a silence (its id), or an inhibition (the rule whose alert inhibits)."""

    reason: Reason
    by: str
    comment: str = ""

    def __str__(self) -> str:
        return f"{'silence' if self.reason is Reason.SILENCED else 'inhibited'}:{self.by}"


@dataclass(frozen=True, slots=True)
class Match:
    """Which alerts are meant: every name in `is_` must match one of its patterns, no name in `not_` may match any.

    Patterns are exact or globs; names are those of the one namespace (built-ins, labels, dotted fields). What an alert
    has not never matches, so it satisfies a `not_`.
    """

    is_: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Silence:
    """Keeps alerts quiet until a moment, or while one of the windows named in `during` is open.

    `until_resolved` ends it earlier: when the last alert that it muted has resolved. `source` is `file:line` for one
    that is kept as code, empty for one that a person made.
    """

    id: str
    match: Match
    until: datetime | None = None
    during: tuple[str, ...] = ()
    until_resolved: bool = False
    author: str = ""
    comment: str = ""
    at: datetime | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """Somebody has taken an alert on, until a moment or until it resolves.

    `since` is the alert's own `since` as the person saw it, so that the next firing is not taken for this one.
    """

    alert_id: str
    by: str
    comment: str
    at: datetime
    until: datetime
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RuleText:
    """What people read of a rule. `source` is `file:line @digest`; the templates are unrendered."""

    name: str
    severity: Severity
    source: str
    summary: str = ""
    description: str = ""
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """An instance as it was at a decision. `fields` are those of its last value that could be understood."""

    name: str
    up: bool
    cause: Cause
    since: Instant
    detail: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    between: Instant | None = None
    replaced_by: str = ""
    malformed: bool = False
    raw: str = ""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A service at a decision.

    `instances` holds those that a message speaks of, then the lost, then those up, and may be cut; the counts are not.
    `known` counts those up and those lost, not those stopped on purpose or replaced.
    """

    name: str
    up: int
    known: int
    expected: int | None = None
    instances: tuple[InstanceFacts, ...] = ()
    common: Mapping[str, str] = field(default_factory=dict)
    """What all the lost have in common (if they are at least two) and not all those up: `{"rack": "r7"}`."""
    recent: tuple[Transition, ...] = ()
    """The latest transitions, oldest first, at most 20."""


class Alert(NamedTuple):
    """A snapshot of one (rule, target).

    `since` is when it began to fire (or to be pending), `until` when it ended, `cause` that of the transition that
    tipped it. `up` and `known` count what the rule counts (after `where` and `per`); `minimum` is the threshold of
    `below`; `values` are the values judged (of `distinct`, `value`, `changes`); `changes` counts
    those of the current flap.
    """

    id: str
    rule: RuleText
    service: str
    instance: str | None
    per: Mapping[str, str] | None
    state: AlertState
    flapping: bool
    labels: Mapping[str, str]
    since: Instant | None = None
    until: Instant | None = None
    cause: Cause | None = None
    reason: Reason | None = None
    up: int = 0
    known: int = 0
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()
    changes: int = 0
    between: Instant | None = None
    muted: Mute | None = None
    acknowledged: Ack | None = None

    @property
    def target(self) -> str:
        """`service`, `service/instance`, or `service (zone=eu)`."""
        if self.instance is not None:
            return f"{self.service}/{self.instance}"
        if self.per:
            return f"{self.service} ({', '.join(f'{key}={value}' for key, value in self.per.items())})"
        return self.service


# --- what the engine wants done --------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One alert's part of a notification. `kind` is what is told of this alert now."""

    kind: Kind
    alert: Alert


class Escalation(NamedTuple):
    """Who is told as well at `at` if nobody acts until then."""

    channels: tuple[str, ...]
    at: Instant


@dataclass(frozen=True, slots=True)
class Notification:
    """One message about one group to one channel.

    `id` is a function of what the message is about, so that every replica gives it the same one. `still_firing` counts
    the group's alerts that fire after this message. `services` holds the facts of each service named by an entry.
    `group` names the group for people and logs, `digest` for a digest.
    """

    id: str
    kind: Kind
    channel: str
    group: str
    entries: tuple[Entry, ...]
    services: Mapping[str, ServiceFacts]
    still_firing: int
    at: Instant
    next: tuple[Escalation, ...] = ()
    """Who will be told, and when, if nobody acts."""
    standing: tuple[Alert, ...] = ()
    """The other alerts of the group that fire and that the channel was told of; only for channels that want them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the group is grouped by."""
    key: str = ""
    """Names the group in all its messages, also where two routes group by the same; if empty, `group` does."""
    before: tuple[Escalation, ...] = ()
    """Of an escalated message: who was told before, and when, the first first."""


class Decision(NamedTuple):
    """What was decided about an alert, and why; also every decision not to notify."""

    at: Instant
    alert_id: str
    rule: str
    source: str
    target: str
    reason: Reason
    detail: str = ""


class Lifted(NamedTuple):
    """A silence that was to last until all is resolved has ended."""

    silence: str
    at: Instant


Action = Transition | Decision | Notification | Lifted
"""What the engine answers with; the shell logs all, and delivers the notifications."""


# --- what would be told ----------------------------------------------------------------------------------------------


class ForecastStep(NamedTuple):
    """Who is told as well, `after` seconds from the first message, if nobody acts."""

    after: float
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForecastWay:
    """One route that an alert would take.

    `after` is how many seconds from its firing its channels are told, `repeat_every` how many until they are reminded.
    """

    place: Place
    is_default: bool
    channels: tuple[str, ...]
    group: str
    labels: Mapping[str, str]
    after: float
    repeat_every: float
    steps: tuple[ForecastStep, ...] = ()
    unresolved: tuple[str, ...] = ()
    """The channels, also those of the steps, that would not be told that it is over."""
    digested: tuple[str, ...] = ()
    """The channels with a storm on: told in their next digest."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Who would be told, how and when, were a rule to fire on a target now; while `mute` holds, nobody."""

    rule: RuleText
    target: str
    mute: Mute | None
    ways: tuple[ForecastWay, ...]


class NoForecast(StrEnum):
    """Why a rule can never fire on a target."""

    UNKNOWN_RULE = "unknown-rule"
    OTHER_SERVICE = "other-service"
    """The rule speaks of other services."""
    WANTS_INSTANCE = "wants-instance"
    """The rule is judged on instances, and none was named."""
    WANTS_SERVICE = "wants-service"
    """The rule is judged on the service as a whole."""
    OTHER_INSTANCE = "other-instance"
    """The rule's `where` leaves the instance out, as far as it is known."""
