"""What a report tells of: the figures of one period, frozen at its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from alertd.delivery.lane import LaneStatus
    from alertd.model import Alert, Instant

OTHERS = ""
"""Stands for the services that are too many to be kept by name; no service is called so."""


class Origin(StrEnum):
    """Since when a period counts."""

    STARTED = "since alertd started"
    ADDED = "since this report came into the rules"
    LAST = "since the last report"


class Outage(NamedTuple):
    """A stretch of time in which too few instances of a service were up."""

    start: Instant
    end: Instant

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end.mono - self.start.mono


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One service in a period.

    It was known from `known_from` to `known_until`, and in `outages` times of that fewer than `wanted` of its instances
    were up, for `down` seconds in all. `shown` are those outages, of which neighbours count as one where they are many.
    `wanted` is what the rules expect, if `is_expected`, else 1. `is_out` says that too few are up at the end.
    """

    name: str
    known_from: Instant
    known_until: Instant
    wanted: int = 1
    is_expected: bool = False
    is_out: bool = False
    down: float = 0.0
    outages: int = 0
    longest: float = 0.0
    shown: tuple[Outage, ...] = ()
    incidents: int = 0
    flaps: int = 0

    @property
    def share(self) -> float:
        """The share of the time in which enough were up, from 0 to 1."""
        known = self.known_until.mono - self.known_from.mono
        if known <= 0:
            return 0.0 if self.is_out else 1.0
        return min(max(1.0 - self.down / known, 0.0), 1.0)

    @property
    def is_uneventful(self) -> bool:
        """Whether there is nothing to say of it."""
        return not (self.outages or self.is_out or self.incidents or self.flaps)


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """What went through a channel, one for each of its targets; `error` is the last one."""

    name: str
    sent: int = 0
    failed: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """One period. `rules` are (name, notifications), the noisiest first.

    `firings` counts the incidents in slots of `slot` seconds each, from the period's beginning on. `others` stands for
    the services that are not kept by name: of those only incidents and flaps are known.
    """

    origin: Origin
    began: Instant
    ended: Instant
    services: tuple[ServiceRecord, ...] = ()
    others: ServiceRecord | None = None
    rules: tuple[tuple[str, int], ...] = ()
    channels: tuple[ChannelRecord, ...] = ()
    firings: tuple[int, ...] = ()
    slot: float = 1.0

    @property
    def seconds(self) -> float:
        """How long the period was."""
        return max(self.ended.mono - self.began.mono, 0.0)

    @property
    def incidents(self) -> int:
        """How often an alert began to fire."""
        return sum(self.firings)


@dataclass(frozen=True, slots=True)
class Edition:
    """One report as it goes out: the summary, and what is true at its end.

    `zone` is the time zone for people, `place` the name of the installation. `firing` are the alerts that fire,
    `stuck` the targets that take nothing, `trouble` why what is known may be out of date, if it may.
    """

    name: str
    zone: str
    place: str
    summary: Summary
    firing: tuple[Alert, ...] = ()
    stuck: tuple[LaneStatus, ...] = ()
    trouble: str = ""
