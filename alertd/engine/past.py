"""What an alert and a condition must be told to go on where others, of an earlier process, left off.

Plain values, in the clocks of this process; how they are stored is `memory`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from alertd.engine.flap import FlapCounter
from alertd.engine.placing import Keys, keys_of
from alertd.model import AlertState, Cause, Instant, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from alertd.engine.alert import LiveAlert
    from alertd.engine.peak import PeakPast
    from alertd.engine.registry import Instance


class AlertPast(NamedTuple):
    """What an alert must be told to go on where another on the same rule and target left off.

    `keep_over` and `settled` are deadlines, `flips` the changes that count towards flapping, all in
    monotonic seconds. `is_owed` tells that people are to be told of one that is over, or that is told once. `groups`
    are the keys of those that it takes part in, where the rules alone cannot say, and `owed` whom each of them is to
    tell of one that is over.
    """

    state: AlertState = AlertState.INACTIVE
    holds: bool = False
    flapping: bool = False
    is_owed: bool = False
    is_brief: bool = False
    pending_since: Instant | None = None
    since: Instant | None = None
    until: Instant | None = None
    between: Instant | None = None
    cause: Cause | None = None
    fault: Cause | None = None
    reason: Reason | None = None
    revision: int = 0
    episode: int = 0
    keep_over: float | None = None
    settled: float | None = None
    changes: int = 0
    flips: tuple[float, ...] = ()
    groups: Keys = ()
    owed: tuple[tuple[str, ...], ...] = ()
    over: int = 0


class ConditionPast(NamedTuple):
    """What a condition goes on with, by what it is judged on.

    `kind` is that of the condition that judged, empty where that is not known; `routes` names those that were in force
    where alerts say in which groups they are. `changes` are those that count for
    `changes:`, in monotonic seconds; `peaks` those of a percentage.
    """

    kind: str
    alerts: Mapping[Instance | str | None, AlertPast]
    changes: Mapping[Instance | str | None, Sequence[float]] = {}
    peaks: Mapping[str | None, PeakPast] = {}
    routes: str = ""


def past_of(alert: LiveAlert, now: Instant) -> AlertPast | None:
    """Return what another can go on with; None if nothing is under way."""
    is_owed = not alert.is_standing and any(member.owed for member in alert.memberships)
    flap = alert.rule.flap
    flips = () if alert.changes is None or flap is None else alert.changes.times
    if flap is not None and flips and now.mono - flips[-1] > flap.within:
        flips = ()
    if not (alert.holds or alert.is_standing or flips or (alert.memberships and alert.ending is None)):
        return None
    return AlertPast(
        state=alert.state,
        holds=alert.holds,
        flapping=alert.flapping,
        is_owed=is_owed,
        is_brief=alert.is_brief,
        pending_since=alert.pending_since if alert.state is AlertState.PENDING else None,
        since=alert.since,
        until=alert.until,
        between=alert.between,
        cause=alert.cause,
        fault=alert.fault,
        reason=alert.reason,
        revision=alert.revision,
        episode=alert.episode,
        keep_over=None if alert.keep_timer is None else alert.keep_timer.due,
        settled=None if alert.settle_timer is None else alert.settle_timer.due,
        changes=0 if alert.changes is None else alert.changes.changes,
        flips=flips,
        groups=keys_of(alert),
        owed=tuple(member.owed for member in alert.memberships) if is_owed else (),
        over=alert.over,
    )


def resume(alert: LiveAlert, past: AlertPast, now: Instant) -> None:
    """Let a new alert go on where another left off; a `for` that runs is measured by the rule as it is now."""
    alert.state, alert.holds, alert.is_brief = past.state, past.holds, past.is_brief
    alert.pending_since, alert.since, alert.until = past.pending_since, past.since, past.until
    alert.between, alert.cause, alert.fault, alert.reason = past.between, past.cause, past.fault, past.reason
    alert.revision, alert.episode, alert.over = past.revision, past.episode, past.over
    if alert.state is AlertState.PENDING:
        begun = now if past.pending_since is None else past.pending_since
        alert.start_for(max(begun.mono + alert.rule.rule.for_, now.mono))
    elif alert.state is AlertState.FIRING and not alert.holds:
        alert.start_keep(now.mono if past.keep_over is None else past.keep_over)
    _resume_flapping(alert, past, now)
    alert.enter_books(past, now)


def _resume_flapping(alert: LiveAlert, past: AlertPast, now: Instant) -> None:
    flap = alert.rule.flap
    if flap is None or not (past.flips or past.flapping):
        return
    alert.changes = FlapCounter(flap)
    alert.changes.resume(past.flips, past.changes)
    alert.flapping = past.flapping
    if alert.flapping:
        alert.settle_at(now.mono + flap.settle if past.settled is None else past.settled)
