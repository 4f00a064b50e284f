"""The small words of a message: times, durations, causes, one line an instance.

Everything that came from outside (names, values, reasons) passes `plain` here, so that no control character or line
break of theirs can break a line of ours or forge one. Pure: knows no channel and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from alertd.model import CAUSE_IN_WORDS, Cause
from alertd.values import as_written, look_up

if TYPE_CHECKING:
    from datetime import date, datetime

    from alertd.model import InstanceFacts, Instant

NAME_ROOM = 120
"""Characters of a service's or instance's name that a line shows."""
DETAIL_ROOM = 200
"""Characters of a reason or a raw value that a line shows."""

_JOINERS = frozenset("\u200c\u200d")
"""Unprintable, yet part of how Persian, Hindi and emoji are written."""


def cut(text: str, room: int) -> str:
    """Return `text` in at most `room` characters, an ellipsis showing that something is missing."""
    if len(text) <= room:
        return text
    return text[: room - 1] + "…" if room > 0 else ""


def plain(text: str, room: int = NAME_ROOM) -> str:
    r"""Return foreign text fit for one line: control characters appear as `\n`, `\x00`, `\u2028`; cut to `room`."""
    text = cut(text, room)
    if text.isprintable():
        return text
    return cut("".join(map(_visible, text)), room)


def _visible(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode()


def span(seconds: float) -> str:
    """Return a duration in its two largest units: `3m 20s`, `1d 2h`, `45s`, `0.4s`."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}".removesuffix(".0") + "s"
    rest = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(part for part in parts[:2] if part)


@dataclass(frozen=True, slots=True)
class Times:
    """How one message shows times: in `zone`, with the date wherever it is not `today`."""

    zone: ZoneInfo
    today: date

    @classmethod
    def of(cls, zone: str, now: datetime) -> Times:
        """Return the times of a message decided at `now`, for people in the time zone named `zone`."""
        where = ZoneInfo(zone)
        return cls(where, now.astimezone(where).date())

    def clock(self, at: Instant) -> str:
        """`04:12:41`, or `2026-11-22 04:12:41` on another day."""
        local = at.wall.astimezone(self.zone)
        return local.strftime("%H:%M:%S" if local.date() == self.today else "%Y-%m-%d %H:%M:%S")

    def minute(self, wall: datetime) -> str:
        """`04:12`, or `2026-11-22 04:12` on another day."""
        local = wall.astimezone(self.zone)
        return local.strftime("%H:%M" if local.date() == self.today else "%Y-%m-%d %H:%M")

    def stamp(self, at: Instant) -> str:
        """Return the clock with its zone: `04:12:41 CEST`."""
        return f"{self.clock(at)} {self._zone_name(at)}"

    def since(self, at: Instant, gap: Instant | None) -> str:
        """`since 04:12:41 CEST`, or `since between … and …` where only the `gap` that ended at `at` is known."""
        return f"since {self._moment(at, gap)}"

    def stretch(self, start: Instant, end: Instant, gap: Instant | None) -> str:
        """`from 04:12:41 to 04:16:01 CEST, 3m 20s`; the duration is the monotonic clock's.

        Of what lies within a `gap` no more is known than that: `between 04:12:41 and 04:16:01 CEST, began and ended`.
        """
        if gap is not None and start.mono >= gap.mono:
            return f"between {self.clock(gap)} and {self.stamp(end)}, began and ended"
        change = self._zone_name(start) != self._zone_name(end)
        first = self.stamp(start) if change else self.clock(start)
        lasted = span(end.mono - start.mono)
        if gap is not None:
            return f"from {first} until between {self.clock(gap)} and {self.stamp(end)}, about {lasted}"
        return f"from {first} to {self.stamp(end)}, {lasted}"

    def _moment(self, at: Instant, gap: Instant | None) -> str:
        return f"between {self.clock(gap)} and {self.stamp(at)}" if gap else self.stamp(at)

    def _zone_name(self, at: Instant) -> str:
        return at.wall.astimezone(self.zone).tzname() or ""


def cause_text(cause: Cause, detail: str = "") -> str:
    """Return a cause as its vocabulary word, then in words: `expired: lost contact, its lease ended`.

    What a probe said takes the place of "its probe failed"; any other detail follows in brackets.
    """
    if detail and cause is Cause.FAILING:
        return f"{cause}: {plain(detail, DETAIL_ROOM)}"
    text = f"{cause}: {CAUSE_IN_WORDS[cause]}"
    return f"{text} ({plain(detail, DETAIL_ROOM)})" if detail else text


def host_of(facts: InstanceFacts) -> str:
    """Return the instance's `host` field where it says more than the name, else an empty string."""
    host = as_written(look_up(facts.fields, "host"))
    return plain(host, NAME_ROOM) if host and host != facts.name else ""


def cause_of(facts: InstanceFacts, times: Times) -> str:
    """Return why an instance is as it is, and when: `expired: lost contact, its lease ended 04:12:11`."""
    text = cause_text(facts.cause, facts.detail)
    if facts.between is not None:
        text += f", between {times.clock(facts.between)} and {times.clock(facts.since)}"
    elif facts.cause is not Cause.FAILING or not facts.detail:
        text += f" {times.clock(facts.since)}"
    if facts.replaced_by:
        text += f", replaced by {plain(facts.replaced_by)}"
    return text


def instance_line(facts: InstanceFacts, times: Times, *, news_since: float | None = None) -> str:
    """Return `DOWN 172.31.14.97 core01  expired: …` or `UP   172.31.14.99 core03`.

    The cause of one that is up is told only if it came up at `news_since` (monotonic seconds) or later: before that it
    is no news.
    """
    line = f"{'UP  ' if facts.up else 'DOWN'} {plain(facts.name)}"
    if host := host_of(facts):
        line += f" {host}"
    if not facts.up or (news_since is not None and facts.since.mono >= news_since):
        line += f"  {cause_of(facts, times)}"
    if facts.malformed:
        line += f"  malformed value: {plain(facts.raw, DETAIL_ROOM)}"
    return line
