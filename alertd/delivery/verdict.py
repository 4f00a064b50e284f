"""What is told of one alert in a few words: how bad it is, how it ended, how it stands after flapping.

Pure, and without times: those are the body's. A resolve says how it ended, never the cause that is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.delivery.layout import listed
from alertd.delivery.wording import DETAIL_ROOM, cause_text, plain
from alertd.model import AlertState, Cause, Kind, Reason

if TYPE_CHECKING:
    from alertd.model import Alert, Entry, InstanceFacts, Notification, ServiceFacts

_UP = frozenset({Cause.REGISTERED, Cause.RECOVERED, Cause.FOUND})
_RULE_GONE = "the rule is gone"


def fact_of(entry: Entry, service: ServiceFacts | None) -> str:
    """Return what a title says of one alert: `1 of 3 up, needs 2`, `back`, `now firing, expired: …`."""
    if entry.kind is Kind.RESOLVED:
        return _ending(entry, service)
    if entry.kind is Kind.SETTLED and entry.alert.state is AlertState.INACTIVE:
        return f"{_stand(entry.alert)}, {_ending(entry, service)}"
    if entry.kind is Kind.SETTLED:
        return f"{_stand(entry.alert)}, {state_of(entry.alert, service)}"
    if entry.kind is Kind.FLAPPING:
        return _flapping(entry.alert, service)
    return state_of(entry.alert, service)


def state_of(alert: Alert, service: ServiceFacts | None) -> str:
    """Return `1 of 3 up, needs 2` for a count, what was judged for values, the cause for an instance."""
    own = own_instance(alert, service)
    if own is not None and own.malformed and own.up and alert.state is AlertState.FIRING:
        return "its value cannot be understood"
    if alert.values:
        return judged(alert) + _bounds(alert)
    if alert.instance is None:
        return f"{alert.up} of {alert.known} up{_bounds(alert)}"
    if alert.cause is not None:
        return cause_text(alert.cause, own.detail if own is not None and own.cause is alert.cause else "")
    return cause_text(own.cause, own.detail) if own is not None else ""


def judged(alert: Alert) -> str:
    """Return the values that were judged, with their number where that is what counts."""
    values = listed(plain(value, DETAIL_ROOM) for value in alert.values)
    return f"{len(alert.values)} different: {values}" if len(alert.values) > 1 or alert.minimum is not None else values


def own_instance(alert: Alert, service: ServiceFacts | None) -> InstanceFacts | None:
    """Return the facts of the alert's own instance, if it has one and they are listed."""
    if alert.instance is None or service is None:
        return None
    return next((each for each in service.instances if each.name == alert.instance), None)


def news_since(notification: Notification, service: ServiceFacts) -> float | None:
    """Return when the first alert told of a service began (monotonic seconds): what came up after it is news."""
    begun = [entry.alert.since for entry in notification.entries if entry.alert.service == service.name]
    return min((since.mono for since in begun if since is not None), default=None)


def is_up(alert: Alert, own: InstanceFacts | None) -> bool:
    """Say whether the alert's instance is up, by its facts or else by the alert's cause."""
    return own.up if own is not None else alert.cause in _UP


def is_over(entry: Entry) -> bool:
    """Say whether an alert no longer fires once this is told of it."""
    kind = entry.kind
    if kind is Kind.FIRING:
        return False
    if kind is Kind.SETTLED:
        return entry.alert.state is not AlertState.FIRING
    return kind in (Kind.RESOLVED, Kind.FORGOTTEN)


def has_lost_its_rule(entry: Entry) -> bool:
    """Say whether an alert ended because its rule did."""
    return entry.kind is Kind.RESOLVED and entry.alert.reason is Reason.RULE_GONE


def remark_on(entry: Entry) -> str:
    """Return the line below the times of a message about one alert, where its kind needs to be explained."""
    alert = entry.alert
    changes = f"after {alert.changes} changes" if alert.changes else ""
    if entry.kind is Kind.FLAPPING:
        return f"{' '.join(part for part in ('flapping', changes) if part)}: nothing more is told until it settles"
    if entry.kind is Kind.SETTLED:
        pending = "; its condition holds, but not yet for long enough" if alert.state is AlertState.PENDING else ""
        return "settled: " + ", ".join(part for part in (_stand(alert), changes) if part) + pending
    if entry.kind is Kind.FORGOTTEN:
        return "forgotten: it counts no more, unless it returns"
    return _RULE_GONE if has_lost_its_rule(entry) else ""


def aside_on(entry: Entry, *, is_up: bool) -> str:
    """Return what a line about one of several alerts adds to the instance's own cause."""
    alert = entry.alert
    if entry.kind is Kind.FLAPPING:
        return f"flapping, {alert.changes} changes" if alert.changes else "flapping"
    if entry.kind is Kind.SETTLED:
        return _stand(alert)
    if entry.kind is Kind.FORGOTTEN:
        return "forgotten"
    if has_lost_its_rule(entry):
        return _RULE_GONE
    if entry.kind is Kind.RESOLVED:
        return "resolved" if alert.values else ""
    return "firing" if is_up and alert.reason is Reason.HELD_FOR else ""


def _ending(entry: Entry, service: ServiceFacts | None) -> str:
    """Return how an alert ended: `back`, `replaced by z`, `found to be stopped on purpose`, `the rule is gone`."""
    alert = entry.alert
    own = own_instance(alert, service)
    if has_lost_its_rule(entry):
        return _RULE_GONE
    if alert.instance is None:
        return state_of(alert, service)
    if alert.values:
        return f"now {judged(alert) or 'empty'}"
    if own is not None and not own.up and own.replaced_by:
        return f"replaced by {plain(own.replaced_by)}"
    if own is not None and not own.up and own.cause is Cause.STOPPED:
        return "found to be stopped on purpose"
    return "back" if is_up(alert, own) else "over"


def _stand(alert: Alert) -> str:
    """Say how a settled alert stands: `now firing`, `now resolved`, or `not firing` while `for` still runs."""
    if alert.state is AlertState.FIRING:
        return "now firing"
    return "now resolved" if alert.state is AlertState.INACTIVE else "not firing"


def _flapping(alert: Alert, service: ServiceFacts | None) -> str:
    changes = f"{alert.changes} changes" if alert.changes else ""
    own = own_instance(alert, service)
    if alert.instance is None or alert.values:
        now = state_of(alert, service)
    else:
        now = "now up" if is_up(alert, own) else "now down"
    return ", ".join(part for part in (changes, now) if part)


def _bounds(alert: Alert) -> str:
    """Return the thresholds behind a figure: `, needs 2`, `, at most 4`."""
    low = f", needs {alert.minimum}" if alert.minimum is not None else ""
    return low + (f", at most {alert.maximum}" if alert.maximum is not None else "")
