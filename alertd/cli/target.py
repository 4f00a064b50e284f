"""What a TARGET means: one grammar for every command that takes one.

A TARGET is `service`, `service/instance` (all that follows the first slash), the id of an alert or of a notification,
or the beginning of an id that no other id shares. What is written out counts before what is abbreviated: a service that
is known wins over the beginning of an id. Acting on a notification acts on the alerts that it spoke of. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alertd.errors import AlertdError, NotThere

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from alertd.cli.scene import AlertRow

HELP = "`service`, `service/instance`, or (the beginning of) the id of an alert or a notification."

LEAST = 4
"""Characters of an id that must be given, so that a short name is not taken for one."""

_LIKE_AN_ID = re.compile(r"(?=.*[0-9])[0-9a-f]{8,12}|[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What was meant: some alerts by their ids, or a service, perhaps with an instance, and all alerts there.

    `service` is None where it was an id. `is_known` says whether etcd has heard of the service.
    """

    text: str
    alerts: tuple[AlertRow, ...]
    service: str | None = None
    instance: str | None = None
    is_known: bool = True

    @property
    def firing(self) -> tuple[AlertRow, ...]:
        """Those of the alerts that fire."""
        return tuple(alert for alert in self.alerts if alert.is_firing)


def service_of(text: str) -> str:
    """Return the name of the service that a TARGET names, if it names one; raise AlertdError for what is no TARGET."""
    service, slash, instance = text.partition("/")
    if not service or (slash and not instance):
        raise AlertdError(f"{text!r} is no target; give {HELP.rstrip('.')}")
    return service


def resolve(text: str, alerts: Sequence[AlertRow], present: Collection[str]) -> Meaning:
    """Return what a TARGET means, given the alerts under way and the instances that `service_of(text)` has.

    A service that nobody has heard of may yet come, so it is no error; what looks like an id, and is none, is. Raises
    NotThere for that, and AlertdError where several ids begin so.
    """
    named = tuple(alert for alert in alerts if text == alert.id or text in alert.told_by)
    if named:
        return Meaning(text, named)
    service, slash, instance = text.partition("/")
    there = tuple(alert for alert in alerts if alert.service == service)
    if not slash and not there and not present:
        if begun := _begun_with(text, alerts):
            return Meaning(text, begun)
        if _LIKE_AN_ID.fullmatch(text):
            raise NotThere(f"no alert under way, nor a notification of one, has an id that begins with {text}")
    its = tuple(alert for alert in there if not slash or alert.instance == instance)
    is_known = bool(its or (instance in present if slash else present))
    return Meaning(text, its, service, instance if slash else None, is_known)


def _begun_with(text: str, alerts: Sequence[AlertRow]) -> tuple[AlertRow, ...]:
    """Return the alerts of the one id that begins with `text`."""
    if len(text) < LEAST:
        return ()
    found: dict[str, list[AlertRow]] = {}
    for alert in alerts:
        for each in (alert.id, *alert.told_by):
            if each.startswith(text):
                found.setdefault(each, []).append(alert)
    if len(found) > 1:
        some = ", ".join(sorted(found)[:3])
        raise AlertdError(f"{text} is the beginning of {len(found)} ids, such as {some}; give more of it")
    return tuple(next(iter(found.values()), ()))
