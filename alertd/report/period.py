"""The figures of one period in the making.

Pure: all times are handed in. Each call costs the same whatever went before, and memory is bounded by the number of
names: outages of one service that are too many are joined where they lie closest, and the slots of the firings grow
wider as the period grows longer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from alertd.report.summary import OTHERS, ChannelRecord, Origin, Outage, ServiceRecord, Summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alertd.delivery.lane import Delivery
    from alertd.model import Instant

_SHOWN = 40
"""Outages of one service that are kept apart."""
_SLOTS = 96
_NOISIEST = 1_000
"""Rules that are counted by name; a ruleset that is exchanged again and again must not fill the memory."""


class Firings:
    """How often something fired over time, in at most 96 slots; `slot` is how many seconds each is long now."""

    __slots__ = ("_began", "counts", "slot")

    def __init__(self, began: float) -> None:
        self._began = began
        self.slot = 1.0
        self.counts = [0] * _SLOTS

    def count(self, mono: float) -> None:
        """Count one more at a time, in monotonic seconds."""
        self.reach(mono)
        self.counts[int(max(mono - self._began, 0.0) / self.slot)] += 1

    def reach(self, mono: float) -> None:
        """Let the slots grow wide enough to hold a time."""
        while mono - self._began >= self.slot * _SLOTS:
            pairs = zip(self.counts[::2], self.counts[1::2], strict=True)
            self.counts = [first + second for first, second in pairs] + [0] * (_SLOTS // 2)
            self.slot *= 2

    def until(self, mono: float) -> tuple[int, ...]:
        """Return the counts of all slots that have begun by a time."""
        self.reach(mono)
        return tuple(self.counts[: int(max(mono - self._began, 0.0) / self.slot) + 1])


class _Tally:
    """One service; `out_since` is set while too few of its instances are up, `gone` once it is forgotten."""

    __slots__ = ("down", "flaps", "gone", "incidents", "known_from", "longest", "out_since", "outages", "shown")

    def __init__(self, known_from: Instant) -> None:
        self.known_from = known_from
        self.out_since: Instant | None = None
        self.gone: Instant | None = None
        self.down = self.longest = 0.0
        self.outages = self.incidents = self.flaps = 0
        self.shown: list[Outage] = []

    def end_outage(self, at: Instant) -> None:
        """Take note that enough are up again; an outage without any length was none."""
        start, self.out_since = self.out_since, None
        if start is None or at.mono <= start.mono:
            return
        outage = Outage(start, at)
        self.down += outage.seconds
        self.longest = max(self.longest, outage.seconds)
        self.outages += 1
        self.shown.append(outage)
        if len(self.shown) > _SHOWN:
            _join_closest(self.shown)

    def record(self, name: str, ended: Instant, expected: int | None) -> ServiceRecord:
        """Return what it came to; an outage that goes on counts until `ended`. To be called once, at the end."""
        until = self.gone or ended
        is_out = self.out_since is not None
        self.end_outage(until)
        return ServiceRecord(
            name=name,
            known_from=self.known_from,
            known_until=until,
            wanted=1 if expected is None else expected,
            is_expected=expected is not None,
            is_out=is_out and self.gone is None,
            down=self.down,
            outages=self.outages,
            longest=self.longest,
            shown=tuple(self.shown),
            incidents=self.incidents,
            flaps=self.flaps,
        )


class Period:
    """What has happened since `began`."""

    def __init__(self, began: Instant, origin: Origin) -> None:
        self._began = began
        self._origin = origin
        self._tallies: dict[str, _Tally] = {}
        self._others = _Tally(began)
        self._rules: Counter[str] = Counter()
        self._channels: dict[str, ChannelRecord] = {}
        self._firings = Firings(began.mono)

    def turn(self, service: str, at: Instant, *, is_available: bool) -> None:
        """Take note that enough instances of a service are up from now on, or that too few are."""
        tally = self._tallies.get(service)
        if tally is None:
            tally = self._tallies[service] = _Tally(at)
        tally.gone = None
        if is_available:
            tally.end_outage(at)
        elif tally.out_since is None:
            tally.out_since = at

    def forget(self, service: str, at: Instant) -> None:
        """Take note that a service is no longer known: what was counted stays, and its time stops."""
        tally = self._tallies.get(service)
        if tally is not None:
            tally.gone = at

    def count_incident(self, service: str, at: Instant) -> None:
        """Count an alert that began to fire."""
        self._tallies.get(service, self._others).incidents += 1
        self._firings.count(at.mono)

    def count_flap(self, service: str) -> None:
        """Count an alert that began to flap."""
        self._tallies.get(service, self._others).flaps += 1

    def count_notification(self, rules: Iterable[str]) -> None:
        """Count a message about alerts of `rules`."""
        for rule in rules:
            self._rules[rule if rule in self._rules or len(self._rules) < _NOISIEST else OTHERS] += 1

    def count_delivery(self, delivery: Delivery) -> None:
        """Count how it ended with one message at one target."""
        before = self._channels.get(delivery.channel, ChannelRecord(delivery.channel))
        self._channels[delivery.channel] = ChannelRecord(
            delivery.channel,
            before.sent + delivery.ok,
            before.failed + (not delivery.ok),
            before.error if delivery.ok else f"{delivery.target}: {delivery.error}".removeprefix(": "),
        )

    def close(self, ended: Instant, expected: dict[str, int | None]) -> Summary:
        """Return what it came to; `expected` is how many instances the rules want of a service."""
        others = self._others.record(OTHERS, ended, None)
        return Summary(
            origin=self._origin,
            began=self._began,
            ended=ended,
            services=tuple(
                tally.record(name, ended, expected.get(name)) for name, tally in sorted(self._tallies.items())
            ),
            others=None if others.is_uneventful else others,
            rules=tuple(sorted(self._rules.items(), key=lambda each: (-each[1], each[0]))),
            channels=tuple(record for _, record in sorted(self._channels.items())),
            firings=self._firings.until(ended.mono),
            slot=self._firings.slot,
        )


def _join_closest(outages: list[Outage]) -> None:
    """Make one outage of the two neighbours with the least time between them."""
    index = min(range(1, len(outages)), key=lambda i: outages[i].start.mono - outages[i - 1].end.mono)
    outages[index - 1 : index + 1] = [Outage(outages[index - 1].start, outages[index].end)]
