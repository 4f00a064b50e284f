"""What etcd shows of the alerts under way, for whoever reads there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alertd import document
from alertd.delivery.render import summary
from alertd.delivery.variables import SUMMARY_ROOM
from alertd.delivery.wording import Times, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from alertd.engine.core import Engine
    from alertd.mentions import Mentions
    from alertd.model import Instant


class Sheets:
    """The documents that a `Mirror` keeps below `alerts/`."""

    def __init__(
        self, engine: Engine, mentions: Mentions, timezone: Callable[[], str], clock: Callable[[], Instant]
    ) -> None:
        self._engine = engine
        self._mentions = mentions
        self._timezone = timezone
        self._clock = clock

    def alert_ids(self) -> Iterator[str]:
        """Return the ids of the alerts under way."""
        return self._engine.alert_ids()

    def recall(self, alert_id: str, content: Mapping[str, Any]) -> None:
        """Take over which messages spoke of an alert: all else follows from what there is."""
        self._mentions.recall(alert_id, content.get("notifications"))

    def contents_of(self, alert_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return what etcd should show of each of these alerts that is under way, as it is now."""
        now = self._clock()
        times = Times.of(self._timezone(), now.wall)
        return {
            alert.id: document.of_alert(
                alert, cut(summary(alert, service, times, now), SUMMARY_ROOM), self._mentions.of(alert.id)
            )
            for alert, service in self._engine.look_up(alert_ids)
        }
