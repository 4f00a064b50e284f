"""What fallbacks were told in the place of a channel, and not yet the end of.

Pure. Whoever was told that something fires is told of its end, though the channel it was for may work again by then.
While a notification is kept, its legs say to whom it goes; what is recorded here is what remains of those that are kept
no more. Both are in the same document, so a daemon that takes over knows as much as the last one, and nothing of it
depends on what happened since. As stored: `{channel: {fallback: {alert id: number}}}`, with the number of the item that
told of it; an older alertd wrote the ids alone. Found by channel and alert, for the end may come by another document: a
digest's, or that of another group after a reload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from alertd.errors import NotUnderstood

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from alertd.delivery.pending import Item
    from alertd.delivery.shelf import Shelf

Told = dict[str, dict[str, dict[str, int]]]


class Record(NamedTuple):
    """What a fallback was told last of an alert: in which document that is noted, and the number of the item."""

    name: str
    number: int


class Standins:
    """By channel and alert: which fallbacks believe that it fires, and since which item."""

    def __init__(self) -> None:
        self._named: dict[str, Told] = {}
        self._found: dict[tuple[str, str], dict[str, Record]] = {}

    @property
    def latest(self) -> int:
        """The greatest number of an item that is kept no more, and of which somebody is owed the end."""
        return max((each.number for by in self._found.values() for each in by.values()), default=0)

    def believing(self, shelf: Shelf, item: Item, alert: str) -> list[str]:
        """Return the fallbacks to which an alert fires, once they are told all that was decided before an item."""
        channel = item.notification.channel
        told = {fallback: (each.number, True) for fallback, each in self._found.get((channel, alert), {}).items()}
        for other in shelf.before(item, alert):
            said = (other.number, alert not in other.ends)
            told |= {fallback: max(said, told.get(fallback, said)) for fallback in other.fallbacks}
        return [fallback for fallback, (_, does_fire) in told.items() if does_fire]

    def note_gone(self, item: Item, fallbacks: Iterable[str]) -> set[str]:
        """Take note that an item is kept no more, and was told to `fallbacks`; return which documents change by it."""
        changed: set[str] = set()
        channel = item.notification.channel
        for fallback in fallbacks:
            for alert in item.alerts:
                known = self._found.get((channel, alert), {}).get(fallback)
                if known is not None and known.number > item.number:
                    continue
                changed |= self._forget(channel, fallback, alert)
                if alert not in item.ends:
                    self._note(channel, fallback, alert, Record(item.name, item.number))
                    changed.add(item.name)
        return changed

    def _note(self, channel: str, fallback: str, alert: str, record: Record) -> None:
        self._found.setdefault((channel, alert), {})[fallback] = record
        self._named.setdefault(record.name, {}).setdefault(channel, {}).setdefault(fallback, {})[alert] = record.number

    def _forget(self, channel: str, fallback: str, alert: str) -> set[str]:
        """Forget what was told; return the document that changes by it, if there is one."""
        known = self._found.get((channel, alert), {}).pop(fallback, None)
        if known is None:
            return set()
        told = self._named[known.name]
        del told[channel][fallback][alert]
        if not told[channel][fallback]:
            del told[channel][fallback]
        if not told[channel]:
            del told[channel]
        if not told:
            del self._named[known.name]
        if not self._found[channel, alert]:
            del self._found[channel, alert]
        return {known.name}

    def keep(self, channels: Container[str]) -> set[str]:
        """Forget what was told by or for channels that are no more; return the documents that change by it."""
        gone = [
            (channel, fallback, alert)
            for (channel, alert), fallbacks in self._found.items()
            for fallback in fallbacks
            if channel not in channels or fallback not in channels
        ]
        return {name for channel, fallback, alert in gone for name in self._forget(channel, fallback, alert)}

    def names(self) -> list[str]:
        """Return the documents that hold anything of it."""
        return list(self._named)

    def content(self, name: str) -> dict[str, Any] | None:
        """Return what a document holds of it, None if nothing."""
        told = self._named.get(name)
        if not told:
            return None
        return {channel: {fallback: dict(alerts) for fallback, alerts in by.items()} for channel, by in told.items()}

    def restore(self, name: str, content: Any) -> None:
        """Take over what a document holds; raise `NotUnderstood`."""
        try:
            rows = [
                (str(channel), str(fallback), str(alert), Record(name, int(number)))
                for channel, by in content.items()
                for fallback, alerts in by.items()
                for alert, number in (alerts if isinstance(alerts, dict) else dict.fromkeys(alerts, 0)).items()
            ]
        except (AttributeError, TypeError, ValueError) as error:
            raise NotUnderstood(f"what fallbacks were told is damaged: {type(error).__name__}") from None
        for channel, fallback, alert, record in rows:
            known = self._found.get((channel, alert), {}).get(fallback)
            if known is None or known.number < record.number:
                self._forget(channel, fallback, alert)
                self._note(channel, fallback, alert, record)

    def clear(self) -> None:
        """Forget all."""
        self._named.clear()
        self._found.clear()
