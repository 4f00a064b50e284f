"""What the daemon's log says of what happened, what was decided and what was delivered.

A storm must not drown the log, nor the log slow the daemon down in a storm: of many actions of a kind at one moment,
however many batches they come in, the first are logged one by one and the rest as a number. At the level `debug` all
are logged.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from alertd.model import CAUSE_IN_WORDS, Decision, Lifted, Notification, Reason, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from alertd.delivery.lane import Delivery
    from alertd.errors import Problem
    from alertd.model import Action

_log = structlog.get_logger("alertd")

ONE_BY_ONE = 20
"""Actions of one kind that are logged one by one of a moment."""

MOMENT = 1.0
"""Seconds from the first action of a moment to its end."""

_QUIET = frozenset({Reason.TOLD, Reason.SUPPRESSED_FLAPPING})
"""Said by the notification itself, or for ever again while something flaps: for debugging only."""


class Chronicle:
    """Logs what the engine answers; `later` calls a function so many seconds from now."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._later = later
        self._seen: Counter[type[Action]] = Counter()
        """The actions of this moment by their kind."""

    def log(self, actions: Sequence[Action]) -> None:
        """Log what the engine answered at once."""
        if logging.getLogger("alertd").isEnabledFor(logging.DEBUG):
            for action in actions:
                _log_action(action)
            return
        if not self._seen and actions:
            self._later(MOMENT, self._end)
        seen = self._seen
        if all(seen[kind] >= ONE_BY_ONE for kind in set(map(type, actions))):
            seen.update(map(type, actions))
            return
        for action in actions:
            kind = type(action)
            seen[kind] += 1
            if seen[kind] <= ONE_BY_ONE:
                _log_action(action)

    def _end(self) -> None:
        """Log how many there were besides at the moment that ends."""
        seen, self._seen = self._seen, Counter()
        for kind, number in seen.items():
            if number > ONE_BY_ONE:
                _log.info("and more of the same moment", what=kind.__name__.lower(), number=number - ONE_BY_ONE)


def log_delivery(delivery: Delivery) -> None:
    """Log how one notification ended at one target."""
    facts = {
        "id": delivery.notification,
        "target": delivery.target,
        "attempts": delivery.attempts,
        "seconds": round(delivery.seconds, 3),
    }
    if delivery.ok:
        _log.info("delivered", **facts)
    else:
        _log.error("not delivered", **facts, error=delivery.error)


def log_problems(problems: Iterable[Problem]) -> None:
    """Log what is wrong with the rules, each at its place."""
    for problem in problems:
        (_log.warning if problem.is_warning else _log.error)(str(problem))


def _log_action(action: Action) -> None:
    if isinstance(action, Transition):
        _log.info(
            "up" if action.up else "down",
            instance=f"{action.service}/{action.instance}",
            cause=str(action.cause),
            meaning=CAUSE_IN_WORDS[action.cause],
            revision=action.revision,
            **({"detail": action.detail} if action.detail else {}),
            **({"since": action.between.wall.isoformat()} if action.between else {}),
        )
    elif isinstance(action, Decision):
        (_log.debug if action.reason in _QUIET else _log.info)(
            "decided",
            rule=action.rule,
            target=action.target,
            reason=str(action.reason),
            source=action.source,
            alert=action.alert_id,
            **({"detail": action.detail} if action.detail else {}),
        )
    elif isinstance(action, Notification):
        _log.info(
            "notify",
            kind=str(action.kind),
            channel=action.channel,
            group=action.group,
            alerts=len(action.entries),
            id=action.id,
        )
    elif isinstance(action, Lifted):
        _log.info("silence over: all that it kept quiet has resolved", silence=action.silence)
