"""What people said, brought to the engine: what they silenced, which alerts they took on, what is to be forgotten.

Who says it, and how it gets here, is of no concern; nor does anything here wait. Silences are the engine's to judge. Of
acknowledgements it must be judged first whether the firing that a person meant is the one that is seen here: replicas
and restarts see the same firing begin at different times. It is meant if it began before the person spoke, or when the
person was shown that it began; and before anything has been judged, whatever is found firing is what it was before.

What is over before its time (a silence that was to last until all is resolved, an acknowledgement whose alert has) is
spent: its document is not needed any more.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from alertd.model import Ack, AlertState, Decision, Lifted, Silence
from alertd.order import Forget, OrderKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from alertd.engine.core import Engine
    from alertd.model import Action, Alert, Instant
    from alertd.order import Order

_log = structlog.get_logger("alertd")

_SAME_MOMENT = 1.0
"""Seconds by which two accounts of one moment may differ: documents show them with less precision."""

_CLOCKS_DIFFER = timedelta(seconds=5)
"""By how much the clock of who asked to forget may be behind."""


class People:
    """Stands between those who speak and the engine.

    `do` takes what the engine answers, `spend` the kind and name of what is over.
    """

    def __init__(
        self,
        engine: Engine,
        do: Callable[[list[Action]], None],
        spend: Callable[[OrderKind, str], None],
        clock: Callable[[], Instant],
    ) -> None:
        self._engine = engine
        self._do = do
        self._spend = spend
        self._clock = clock
        self._silences: dict[str, Silence] = {}
        self._acks: dict[str, Ack] = {}
        self._bound: set[str] = set()
        """Alerts that the engine was told are taken on."""
        self._over: set[str] = set()
        """Alerts whose acknowledgement here is spent."""
        self._forgets: dict[str, Forget] = {}
        """Requests that wait until all that happened before them is known."""
        self._obeyed: set[str] = set()
        self._has_judged = False
        self._is_calm = False

    # --- what they say -----------------------------------------------------------------------------------------------

    def take(self, order: Order) -> None:
        """Act on what somebody said, or now says differently."""
        now = self._clock()
        if isinstance(order, Silence):
            self._silences[order.id] = order
            if self._has_judged and _is_ahead(order.until, now):
                _log.info("silenced", silence=order.id, match=_in_words(order), **_facts(order.author, order))
            self._do(self._engine.silence(order, now))
        elif isinstance(order, Ack):
            self._release(order.alert_id)
            self._acks[order.alert_id] = order
            if self._has_judged and _is_ahead(order.until, now):
                _log.info("taken on", alert=order.alert_id, **_facts(order.by, order))
            self._consider(order, now)
        elif order.id not in self._obeyed:
            self._forgets[order.id] = order
            self._obey(now)

    def withdraw(self, kind: OrderKind, name: str) -> None:
        """Act no longer on what somebody said; what was over anyway is withdrawn without a word."""
        now = self._clock()
        if kind is OrderKind.SILENCE:
            if _is_ahead(self._silences.pop(name).until, now):
                _log.info("silence taken back", silence=name)
            self._do(self._engine.lift(name, now))
        elif kind is OrderKind.ACK:
            if _is_ahead(self._acks.pop(name).until, now) and name not in self._over:
                _log.info("given back", alert=name)
            self._release(name)
            self._do(self._engine.unacknowledge(name, now))
        else:
            self._forgets.pop(name, None)
            self._obeyed.discard(name)

    def _release(self, alert_id: str) -> None:
        self._bound.discard(alert_id)
        self._over.discard(alert_id)

    # --- what happens meanwhile --------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Take note that services are being caught up with: until that is complete nothing can be forgotten."""
        self._is_calm = False

    def resume(self) -> None:
        """Take note that all is judged as it is now."""
        now = self._clock()
        if not self._has_judged and (self._silences or self._acks):
            _log.info("people have spoken before", silences=len(self._silences), acknowledgements=len(self._acks))
        self._has_judged = self._is_calm = True
        for ack in list(self._acks.values()):
            self._consider(ack, now)
        self._obey(now)

    def heed(self, actions: Iterable[Action]) -> None:
        """See what the engine's answers mean for what people said."""
        turned: dict[str, None] = {}
        for action in actions:
            if isinstance(action, Lifted):
                self._spend(OrderKind.SILENCE, action.silence)
            elif isinstance(action, Decision) and action.alert_id in self._acks:
                turned[action.alert_id] = None
        for alert_id in turned:
            self._consider(self._acks[alert_id], self._clock())

    # --- acknowledgements --------------------------------------------------------------------------------------------

    def _consider(self, ack: Ack, now: Instant) -> None:
        """Let an acknowledgement hold, or wait for its alert, or be over."""
        alert_id = ack.alert_id
        is_bound = alert_id in self._bound
        if alert_id in self._over:
            return
        if not self._has_judged:
            if not is_bound:
                self._bind(ack, now)
            return
        alert = next((alert for alert, _ in self._engine.look_up([alert_id])), None)
        if not _is_ahead(ack.until, now) or (is_bound and alert is None):
            self._end(ack, now)
        elif alert is None or alert.state is AlertState.PENDING:
            return
        elif not is_bound or alert.acknowledged is None:
            if _is_meant(ack, alert):
                self._bind(ack, now)
            else:
                self._end(ack, now)

    def _bind(self, ack: Ack, now: Instant) -> None:
        """Have the engine count the firing that is seen here as the one that was acknowledged."""
        self._bound.add(ack.alert_id)
        self._do(self._engine.acknowledge(replace(ack, since=None), now))

    def _end(self, ack: Ack, now: Instant) -> None:
        self._over.add(ack.alert_id)
        self._spend(OrderKind.ACK, ack.alert_id)
        self._do(self._engine.unacknowledge(ack.alert_id, now))

    # --- forgetting --------------------------------------------------------------------------------------------------

    def _obey(self, now: Instant) -> None:
        """Forget what is to be forgotten, each request once, unless services are being caught up with."""
        if not self._is_calm:
            return
        for forget in self._forgets.values():
            target = forget.service if forget.instance is None else f"{forget.service}/{forget.instance}"
            _log.info("forgetting what is gone, as asked", target=target, by=forget.by)
            self._obeyed.add(forget.id)
            self._do(self._engine.forget(forget.service, forget.instance, now, forget.at + _CLOCKS_DIFFER))
        self._forgets.clear()


def _is_meant(ack: Ack, alert: Alert) -> bool:
    """Tell whether a person who spoke of an alert can have meant this firing of it."""
    if alert.since is None:
        return False
    if ack.since is not None and abs((ack.since - alert.since.wall).total_seconds()) <= _SAME_MOMENT:
        return True
    return (alert.between or alert.since).wall <= ack.at


def _is_ahead(until: datetime | None, now: Instant) -> bool:
    """Tell whether what holds until a moment holds still."""
    return until is None or until > now.wall


def _facts(by: str, order: Silence | Ack) -> dict[str, str]:
    until = "" if order.until is None else order.until.isoformat()
    facts = {"by": by, "comment": order.comment, "until": until}
    return {name: text for name, text in facts.items() if text}


def _in_words(silence: Silence) -> str:
    wanted = [f"{name}={'|'.join(patterns)}" for name, patterns in silence.match.is_.items()]
    return " ".join([*wanted, *(f"{name}!={'|'.join(patterns)}" for name, patterns in silence.match.not_.items())])
