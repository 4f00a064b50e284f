"""What a user's template sees, and the texts that are rendered from it.

The table of variables stands in the README, under "In messages and templates"; a test holds the two together. A name
further up in it wins. Foreign text is made fit for one line before a template sees it, so that no value can forge a
line of a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alertd import template
from alertd.delivery import outlook
from alertd.delivery.verdict import state_of
from alertd.delivery.wording import DETAIL_ROOM, Times, plain
from alertd.values import Written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.model import Alert, InstanceFacts, Instant, Notification, ServiceFacts

SUMMARY_ROOM = 2_000
"""Characters of a rendered summary or description that a message shows."""
_DEEPEST = 8
"""How far into an instance's nested value a template can reach."""
_WIDEST = 200
"""How many members of one list or object of an instance's value a template sees."""


def for_alert(alert: Alert, service: ServiceFacts | None, times: Times, now: Instant) -> dict[str, Any]:
    """Return the variables of one alert, as in the table above."""
    facts = service.instances if service is not None else ()
    variables = _fields_of(alert, facts)
    variables |= {name: plain(value, DETAIL_ROOM) for name, value in alert.labels.items()}
    variables |= {
        "rule": alert.rule.name,
        "service": plain(alert.service),
        "instance": plain(alert.instance or ""),
        "severity": str(alert.rule.severity),
        "cause": str(alert.cause or ""),
        "up": alert.up,
        "known": alert.known,
        "minimum": alert.minimum,
        "maximum": alert.maximum,
        "expected": service.expected if service is not None else None,
        "instances": [plain(each.name) for each in facts],
        "lost": [plain(each.name) for each in facts if not each.up],
        "values": [plain(value, DETAIL_ROOM) for value in alert.values],
        "per": {name: plain(value) for name, value in (alert.per or {}).items()},
        "since": times.stamp(alert.since) if alert.since else "",
        "until": times.stamp(alert.until) if alert.until else "",
        "now": times.stamp(now),
        "common": {plain(name): plain(value) for name, value in (service.common if service else {}).items()},
        "acknowledged": plain(alert.acknowledged.by) if alert.acknowledged is not None else "",
        "muted": outlook.muted_text(alert),
    }
    return variables


def for_message(notification: Notification, times: Times) -> dict[str, Any]:
    """Return the variables of a whole message: those of its first alert, its own, and `alerts` with those of all."""
    alerts = [
        for_alert(entry.alert, notification.services.get(entry.alert.service), times, notification.at)
        | {"kind": str(entry.kind)}
        for entry in notification.entries
    ]
    first = alerts[0] if alerts else {}
    return first | {
        "kind": str(notification.kind),
        "alerts": alerts,
        "next": outlook.steps(notification, times),
        "recent": [
            line for service in notification.services.values() for line in outlook.hour_of(notification, service, times)
        ],
    }


class Press:
    """Renders the templates of one message, and remembers those that do not render.

    `faults` say where each stands and what is wrong, `fault` is what is wrong with the last one.
    """

    def __init__(self) -> None:
        self.faults: dict[str, None] = {}
        self.fault = ""

    def attempt(self, source: str, seen: Mapping[str, Any], where: str) -> str | None:
        """Return a template's text, or None; `where` it stands is said of one that does not render."""
        try:
            return template.render(source, seen).strip()
        except template.TemplateFault as fault:
            self.fault = plain(str(fault), DETAIL_ROOM)
            self.faults[f"{where}: {self.fault}"] = None
            return None

    def render(self, source: str, seen: Mapping[str, Any], where: str, default: str = "") -> str:
        """Return a template's text, or `default` and a note of what is wrong with the template."""
        text = self.attempt(source, seen, where)
        return text if text is not None else f"{default} ({self.fault})".lstrip()

    def summary(self, alert: Alert, service: ServiceFacts | None, seen: Mapping[str, Any]) -> str:
        """Return a rule's rendered summary; if it has none, or a faulty one, the alert in our own words."""
        rule = alert.rule
        default = f"{rule.name} {plain(alert.target)}: {state_of(alert, service)}".removesuffix(": ")
        where = f"the summary of rule {rule.name} at {rule.source}"
        return self.render(rule.summary, seen, where, default) if rule.summary else default

    def description(self, alert: Alert, seen: Mapping[str, Any]) -> str:
        """Return a rule's rendered description, if it has one."""
        rule = alert.rule
        where = f"the description of rule {rule.name} at {rule.source}"
        return self.render(rule.description, seen, where) if rule.description else ""


def _fields_of(alert: Alert, facts: tuple[InstanceFacts, ...]) -> dict[str, Any]:
    """Return the last fields of the alert's own instance; a service alert has none."""
    if alert.instance is None:
        return {}
    own = next((each for each in facts if each.name == alert.instance), None)
    return {plain(name): _tamed(value, _DEEPEST) for name, value in own.fields.items()} if own else {}


def _tamed(value: Any, depth: int) -> Any:
    """Return a JSON value whose texts are `plain` and whose size is bounded."""
    if isinstance(value, str):
        return plain(value, DETAIL_ROOM)
    if isinstance(value, dict):
        members = list(value.items())[:_WIDEST] if depth else ()
        return {plain(name): _tamed(member, depth - 1) for name, member in members}
    if isinstance(value, list):
        return [_tamed(member, depth - 1) for member in value[:_WIDEST]] if depth else []
    return value if isinstance(value, (int, float, Written)) or value is None else str(value)
