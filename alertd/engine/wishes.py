"""What people and the calendar say: silences, acknowledgements, windows, and when each of them ends.

They go by the wall clock, which may be stepped; so it is looked at when something is due to change, and every minute
besides (see `calendar`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.engine.timers import Timer, stop
from alertd.model import AlertState, Reason

if TYPE_CHECKING:
    from alertd.config.schema import Ruleset
    from alertd.engine.desk import Desk
    from alertd.model import Ack, Instant, Silence


class Wishes:
    """One an engine; what is wished is kept on its desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._timer = Timer(self.look)

    def begin(self, ruleset: Ruleset, now: Instant) -> None:
        """Look at the clock for the first time."""
        self._desk.calendar.turn(now.wall)
        self._desk.mutes.load(ruleset, now)
        self.look(now)

    def silence(self, silence: Silence, now: Instant) -> None:
        """Keep quiet what a silence matches."""
        self.look_when_due(now)
        self._desk.mutes.add(silence, now)
        self._look_again(now)

    def acknowledge(self, ack: Ack, now: Instant) -> None:
        """Take note that somebody has taken on an alert."""
        desk = self._desk
        desk.acks[ack.alert_id] = ack
        desk.ack_ends.add(ack.alert_id)
        alert = desk.active.get(ack.alert_id)
        if alert is not None and alert.ack is not None:
            desk.decide(alert, Reason.ACKNOWLEDGED, now, ack.by)
        self._look_again(now)

    def end_ack(self, alert_id: str, now: Instant) -> None:
        """Take note that nobody has taken on an alert any longer."""
        alert = self._desk.active.get(alert_id)
        was_taken_on = alert is not None and alert.ack is not None
        self._desk.acks.pop(alert_id, None)
        if alert is not None and was_taken_on and alert.state is AlertState.FIRING:
            self._desk.decide(alert, Reason.UNACKNOWLEDGED, now)
            alert.follow_up(now)

    def look(self, now: Instant) -> None:
        """Let windows open and close, silences and acknowledgements end, and see when to look again."""
        desk = self._desk
        stop(self._timer)
        desk.calendar.turn(now.wall)
        desk.mutes.turn(now)
        for alert_id in desk.ack_ends.take(now.wall):
            self.end_ack(alert_id, now)
        self._look_again(now)

    def look_when_due(self, now: Instant) -> None:
        """Look if something is due."""
        due = self._timer.due
        if due is not None and due <= now.mono:
            self.look(now)

    def _look_again(self, now: Instant) -> None:
        """See when to look at the calendar next: sooner than planned, but never later."""
        desk, timer = self._desk, self._timer
        due = desk.calendar.due(now, desk.mutes.ends.next(), desk.ack_ends.next())
        if due is not None and (timer.due is None or due < timer.due):
            desk.timers.start(timer, due)
