"""Decides what people read of a report: a title, and a body of lines that are at most 80 columns wide.

Pure. The worst comes first; what went well is told in few words. Where a target takes less text, lists grow shorter and
say so, and the last line is always the id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import combining, east_asian_width
from zoneinfo import ZoneInfo

from alertd.delivery.wording import cut, plain, span
from alertd.report.summary import OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from alertd.delivery.lane import LaneStatus
    from alertd.model import Alert
    from alertd.report.summary import ChannelRecord, Edition, ServiceRecord, Summary

WIDTH = 80
"""Columns of a line."""
_NAME_ROOM = 40
_SHORT_NAME_ROOM = 36
"""Columns of a name that shares its line with another."""
_ERROR_ROOM = 56
_LISTED = (15, 8, 4, 2, 1)
"""How many lines a list may have, the next number only if the body is still too long."""


def title(edition: Edition) -> str:
    """Return one line: `[REPORT] weekly · 2 of 14 services had outages · 7 incidents · prod-fra`."""
    summary = edition.summary
    out = sum(bool(record.outages or record.is_out) for record in summary.services)
    services = how_many(len(summary.services), "service")
    stand = f"{out} of {services} had outages" if out else f"{services}, no outages"
    parts = (f"[REPORT] {plain(edition.name)}", stand, how_many(summary.incidents, "incident"), plain(edition.place))
    return " · ".join(part for part in parts if part)


def body(edition: Edition, identifier: str, limit: int | None = None) -> str:
    """Return the report in at most `limit` characters, all of it for None."""
    foot = f"id {identifier}"
    texts = ("\n".join([*_lines(edition, listed), foot]) for listed in _LISTED)
    whole = next(texts)
    if limit is None or len(whole) <= limit:
        return whole
    for shorter in texts:
        if len(shorter) <= limit:
            return shorter
    head = cut("\n".join(_lines(edition, _LISTED[-1])), limit - len(foot) - 1)
    return f"{head}\n{foot}" if head else foot


def period_line(summary: Summary, zone: str) -> str:
    """Return when the period was: `from Mon 2026-09-28 08:00 to Mon 2026-10-05 08:00 CEST, 7d`."""
    where = ZoneInfo(zone)
    shape = "%a %Y-%m-%d %H:%M" if summary.seconds >= 3600 else "%a %Y-%m-%d %H:%M:%S"
    began, ended = (each.wall.astimezone(where) for each in (summary.began, summary.ended))
    return f"from {began:{shape}} to {ended:{shape} %Z}, {span(summary.seconds)}"


def worst_first(records: Iterable[ServiceRecord]) -> list[ServiceRecord]:
    """Return the services by how little they were available, then by how much else happened."""
    return sorted(records, key=lambda record: (record.share, -record.incidents, -record.flaps, record.name))


def percent(record: ServiceRecord) -> str:
    """Return how available a service was: `99.95 %`, and `100 %` only if it was so all the time."""
    if not record.down or not record.share:
        return f"{record.share:.0%}".replace("%", " %")
    return f"{min(int(record.share * 10_000), 9_999) / 100:.2f} %"


def how_many(number: int, noun: str) -> str:
    """Return `no incident`, `1 incident`, `1,200 incidents`."""
    return f"{f'{number:,}' if number else 'no'} {noun}{'s' if number != 1 else ''}"


def columns(text: str) -> int:
    """Return how many columns a text takes where all characters are set equally wide."""
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def cut_to(text: str, width: int) -> str:
    """Return foreign text fit for one line and at most `width` columns wide."""
    text = plain(text, width)
    while columns(text) > width:
        text = cut(text, len(text) - 1)
    return text


# --- parts -----------------------------------------------------------------------------------------------------------


def _lines(edition: Edition, listed: int) -> Iterator[str]:
    summary = edition.summary
    yield f"{summary.origin}:"
    yield period_line(summary, edition.zone)
    if edition.trouble:
        yield f"what is told may be out of date: {edition.trouble}"
    yield from _section("Services", _service_lines(summary), listed, "services")
    yield from fold(_calm_services(summary, listed), ",")
    yield from _section("Firing now", [_alert_line(alert, edition.zone) for alert in edition.firing], listed, "alerts")
    if not edition.firing:
        yield from ("", "nothing fires now")
    rules = [f"{_rule(name)}  {how_many(number, 'notification')}" for name, number in summary.rules]
    yield from _section("Noisiest rules", rules, min(listed, 5), "rules")
    yield from _section("Messages", _channel_lines(edition), listed, "channels")
    yield ""


def _section(heading: str, entries: Sequence[str], listed: int, what: str) -> Iterator[str]:
    """Yield a heading and what stands below it; "nothing" is not worth a heading."""
    if not entries:
        return
    yield ""
    yield heading
    for entry in entries[:listed]:
        yield from fold(entry.split(" · "))
    if len(entries) > listed:
        yield f"and {len(entries) - listed} more {what}"


def fold(parts: Iterable[str], between: str = " ·") -> Iterator[str]:
    """Yield parts as lines; what follows on the next line stands further in."""
    line = ""
    for part in parts:
        joined = f"{line}{between} {part}" if line else part
        if line and columns(joined) > WIDTH:
            yield line + between.strip(" ·")
            joined = f"    {part}"
        line = joined
    if line:
        yield line


def _service_lines(summary: Summary) -> list[str]:
    eventful = worst_first(record for record in summary.services if not record.is_uneventful)
    lines = [_service_line(record, summary) for record in eventful]
    if summary.others is not None:
        facts = (_incidents(summary.others), _flaps(summary.others))
        lines.append(" · ".join(["others", *filter(None, facts)]))
    return lines


def _service_line(record: ServiceRecord, summary: Summary) -> str:
    """Return `pay  97.62 % · down for 4h 3m, 3 times · 4 incidents · flapped 2 times`."""
    facts = (_outages(record), _incidents(record), _flaps(record), _known(record, summary))
    return " · ".join([f"{_name(record.name)}  {percent(record)}", *filter(None, facts)])


def _outages(record: ServiceRecord) -> str:
    if not record.outages:
        return ""
    what = f"fewer than {record.wanted:,} up" if record.is_expected and record.wanted > 1 else "down"
    times = f", {record.outages:,} times, longest {span(record.longest)}" if record.outages > 1 else ""
    return f"{what} for {span(record.down)}{times}{', still' if record.is_out else ''}"


def _incidents(record: ServiceRecord) -> str:
    return how_many(record.incidents, "incident") if record.incidents else ""


def _flaps(record: ServiceRecord) -> str:
    return f"flapped {record.flaps:,} times".replace("flapped 1 times", "flapped once") if record.flaps else ""


def _known(record: ServiceRecord, summary: Summary) -> str:
    """Say for how long a service was known, if that is much less than the period."""
    seconds = record.known_until.mono - record.known_from.mono
    return f"known for {span(seconds)}" if seconds < summary.seconds * 0.95 else ""


def _calm_services(summary: Summary, listed: int) -> list[str]:
    """Return the services of which there is nothing to tell, by name as far as that is short."""
    calm = [record.name for record in summary.services if record.is_uneventful]
    if not calm:
        return [] if summary.services else ["no service was seen"]
    names = [_name(name) for name in calm[:listed]]
    if len(calm) > listed:
        names.append(f"{len(calm) - listed:,} more")
    return [f"up all the time: {names[0]}", *names[1:]]


def _alert_line(alert: Alert, zone: str) -> str:
    """Return `apache-minimum apache · critical · since Mon 04:12 · acknowledged by kim`."""
    facts = [str(alert.rule.severity)]
    if alert.since is not None:
        facts.append(f"since {_day_and_minute(alert.since.wall, zone)}")
    if alert.flapping:
        facts.append("flapping")
    if alert.acknowledged is not None:
        facts.append(f"acknowledged by {cut_to(alert.acknowledged.by, 20)}")
    if alert.muted is not None:
        facts.append(cut_to(str(alert.muted), 30))
    return " · ".join([f"{_name(alert.rule.name, _SHORT_NAME_ROOM)} {_name(alert.target, _SHORT_NAME_ROOM)}", *facts])


def _channel_lines(edition: Edition) -> list[str]:
    stuck: dict[str, LaneStatus] = {lane.channel: lane for lane in edition.stuck}
    known = {record.name for record in edition.summary.channels}
    lines = [_channel_line(record, stuck.get(record.name), edition.zone) for record in edition.summary.channels]
    silent = [lane for name, lane in stuck.items() if name not in known]
    return lines + [f"{_name(lane.channel)} · {_stuck(lane, edition.zone)}" for lane in silent]


def _channel_line(record: ChannelRecord, lane: LaneStatus | None, zone: str) -> str:
    """Return `mail · 4 sent · 2 failed (mail #1 mailto: connection refused)`."""
    failed = f"{record.failed:,} failed ({cut_to(record.error, _ERROR_ROOM)})" if record.failed else ""
    sent = f"{record.sent:,} sent" if record.sent or not failed else ""
    facts = (sent, failed, _stuck(lane, zone) if lane is not None else "")
    return " · ".join([_name(record.name), *filter(None, facts)])


def _stuck(lane: LaneStatus, zone: str) -> str:
    since = f" since {_day_and_minute(lane.stuck_since, zone)}" if lane.stuck_since is not None else ""
    why = f" ({cut_to(lane.last_error, _ERROR_ROOM)})" if lane.last_error else ""
    return f"stuck{since} with {lane.queued:,} waiting{why}"


def _day_and_minute(wall: datetime, zone: str) -> str:
    return f"{wall.astimezone(ZoneInfo(zone)):%a %H:%M}"


def _rule(name: str) -> str:
    return _name(name) if name != OTHERS else "others"


def _name(name: str, room: int = _NAME_ROOM) -> str:
    return cut_to(name, room)
