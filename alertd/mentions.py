"""Which messages spoke of an alert, so that whoever has only a message's id at hand can name the alert by it.

Pure, and small: ids of the current firing alone, the oldest given up where there are many. Who begins to lead goes on
with those that the last leader showed in the alerts' documents: a message outlives the daemon that wrote it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.model import AlertState, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.model import Entry, Notification

MOST = 30
"""Ids that are kept of one alert: a day of reminders to several channels."""


class Mentions:
    """The ids of notifications by the alerts that they spoke of."""

    def __init__(self) -> None:
        self._ids: dict[str, tuple[str, ...]] = {}
        self._ended: set[str] = set()
        """Alerts whose end was told: what was shown of them before is about another firing."""

    def __len__(self) -> int:
        return len(self._ids)

    def begin(self) -> None:
        """Forget all: another may have told what is not known here."""
        self._ids.clear()
        self._ended.clear()

    def recall(self, alert_id: str, shown: object) -> None:
        """Take over what an alert's document shows, as written before this began; junk is left out."""
        if alert_id not in self._ended and isinstance(shown, list):
            before = [name for name in shown if isinstance(name, str)]
            own = (name for name in self.of(alert_id) if name not in before)
            self._ids[alert_id] = (*before, *own)[-MOST:]

    def note(self, notification: Notification) -> None:
        """Take in one message: it adds to what is known of each alert, or ends it."""
        ids, own = self._ids, (notification.id,)
        for entry in notification.entries:
            alert_id = entry.alert.id
            if _is_last_word(entry):
                ids.pop(alert_id, None)
                self._ended.add(alert_id)
            elif alert_id not in ids:
                ids[alert_id] = own
            elif notification.id not in ids[alert_id]:
                ids[alert_id] = (*ids[alert_id], *own)[-MOST:]

    def of(self, alert_id: str) -> tuple[str, ...]:
        """Return the ids of the messages that spoke of an alert since it began to fire, the oldest first."""
        return self._ids.get(alert_id, ())

    def keep(self, alert_ids: Iterable[str]) -> None:
        """Forget all alerts but these: not every end is told."""
        self._ids = {alert_id: self._ids[alert_id] for alert_id in alert_ids if alert_id in self._ids}
        self._ended.clear()


def _is_last_word(entry: Entry) -> bool:
    kind = entry.kind
    if kind is Kind.SETTLED:
        return entry.alert.state is not AlertState.FIRING
    return kind is Kind.RESOLVED or kind is Kind.FORGOTTEN
