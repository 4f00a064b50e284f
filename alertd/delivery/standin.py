"""What fallbacks were told in the place of a channel, and not yet the end of.

Pure. Whoever was told that something fires is told of its end, though the channel it was for may work again by then.
While a notification is kept, its legs say to whom it goes; what is recorded here is what remains of those that are kept
no more. Both are in the same document, so a daemon that takes over knows as much as the last one, and nothing of it
depends on what happened since. As stored: `{channel: {fallback: [alert id, …]}}`; found by channel and alert, for the
end may come by another document: a digest's, or that of another group after a reload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alertd.errors import NotUnderstood

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from alertd.delivery.pending import Item
    from alertd.delivery.shelf import Shelf

Told = dict[str, dict[str, dict[str, None]]]


class Standins:
    """By channel and alert: which fallbacks believe that it fires, and the document that says so."""

    def __init__(self) -> None:
        self._named: dict[str, Told] = {}
        self._found: dict[tuple[str, str], dict[str, str]] = {}

    def believing(self, shelf: Shelf, item: Item, alert: str) -> list[str]:
        """Return the fallbacks to which an alert fires, once they are told all that was decided before an item."""
        channel = item.notification.channel
        fires = dict.fromkeys(self._found.get((channel, alert), ()), True)
        for other in shelf.before(item, alert):
            fires |= dict.fromkeys(other.fallbacks, alert not in other.ends)
        return [fallback for fallback, does_fire in fires.items() if does_fire]

    def note_gone(self, item: Item, fallbacks: Iterable[str]) -> set[str]:
        """Take note that an item is kept no more, and was told to `fallbacks`; return which documents change by it."""
        changed: set[str] = set()
        channel = item.notification.channel
        for fallback in fallbacks:
            changed |= self._forget(channel, fallback, item.ends)
            self._note_told(item.name, channel, fallback, [alert for alert in item.alerts if alert not in item.ends])
        return changed

    def _note_told(self, name: str, channel: str, fallback: str, alerts: Iterable[str]) -> None:
        for alert in alerts:
            if self._found.setdefault((channel, alert), {}).setdefault(fallback, name) == name:
                self._named.setdefault(name, {}).setdefault(channel, {}).setdefault(fallback, {})[alert] = None

    def _forget(self, channel: str, fallback: str, alerts: Iterable[str]) -> set[str]:
        changed: set[str] = set()
        for alert in alerts:
            name = self._found.get((channel, alert), {}).pop(fallback, None)
            if name is not None:
                self._drop(name, channel, fallback, alert)
                changed.add(name)
        return changed

    def keep(self, channels: Container[str]) -> set[str]:
        """Forget what was told by or for channels that are no more; return the documents that change by it."""
        gone = [
            (channel, fallback, alert)
            for (channel, alert), fallbacks in self._found.items()
            for fallback in fallbacks
            if channel not in channels or fallback not in channels
        ]
        return {name for channel, fallback, alert in gone for name in self._forget(channel, fallback, [alert])}

    def names(self) -> list[str]:
        """Return the documents that hold anything of it."""
        return list(self._named)

    def content(self, name: str) -> dict[str, Any] | None:
        """Return what a document holds of it, None if nothing."""
        told = self._named.get(name)
        if not told:
            return None
        return {channel: {fallback: list(alerts) for fallback, alerts in by.items()} for channel, by in told.items()}

    def restore(self, name: str, content: Any) -> None:
        """Take over what a document holds; raise `NotUnderstood`."""
        try:
            rows = [
                (str(channel), str(fallback), [str(alert) for alert in alerts])
                for channel, by in content.items()
                for fallback, alerts in by.items()
            ]
        except (AttributeError, TypeError) as error:
            raise NotUnderstood(f"what fallbacks were told is damaged: {type(error).__name__}") from None
        for channel, fallback, alerts in rows:
            self._note_told(name, channel, fallback, alerts)

    def clear(self) -> None:
        """Forget all."""
        self._named.clear()
        self._found.clear()

    def _drop(self, name: str, channel: str, fallback: str, alert: str) -> None:
        told = self._named[name]
        del told[channel][fallback][alert]
        if not told[channel][fallback]:
            del told[channel][fallback]
        if not told[channel]:
            del told[channel]
        if not told:
            del self._named[name]
        if not self._found[channel, alert]:
            del self._found[channel, alert]
