"""Draws a report as SVG: for each service a strip of time with its outages, and below it how often something fired.

Pure, and written by hand: no scripts, no style sheets, no fonts of its own, nothing loaded from anywhere. The ground is
transparent and all colours are of middling brightness, so that it can be read on white as on black; what is good and
what is bad differs in brightness and height as well as in hue. Foreign names are cut, freed from characters that XML
does not know, and escaped.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from alertd.report.text import cut_to, how_many, percent, period_line, worst_first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alertd.model import Instant
    from alertd.report.summary import Edition, ServiceRecord, Summary

_WIDTH = 760
_LEFT, _RIGHT = 210, 670
"""Where the time axis begins and ends, in pixels."""
_TOP = 58
_ROW = 22
_STRIP = 12
_FIRINGS_HEIGHT = 64
_MOST = 30
"""Services that are drawn."""
_NAME_COLUMNS = 27
_THINNEST = 1.5
"""Pixels of an outage, however short it was."""

_INK, _LINE = "#767676", "#9a9a9a"
_UP, _DOWN, _FIRED = "#5b8fc9", "#d9532c", "#b8862f"

_STEPS = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400, 30 * 86400)
"""Seconds between two marks on the time axis."""
_MARKS = 9
_DAY = 86400


class _Axis(NamedTuple):
    """The time axis: `began` is at its left end, `seconds` later at its right end."""

    began: Instant
    seconds: float

    def x(self, mono: float) -> float:
        """Return where a time is, in pixels; what lies outside is at the end."""
        share = (mono - self.began.mono) / self.seconds if self.seconds > 0 else 0.0
        return _LEFT + min(max(share, 0.0), 1.0) * (_RIGHT - _LEFT)


def draw(edition: Edition) -> str:
    """Return the chart of a report, an XML document."""
    summary = edition.summary
    axis = _Axis(summary.began, summary.seconds)
    records = worst_first(summary.services)
    shown, rest = records[:_MOST], len(records) - _MOST
    firings = _TOP + (len(shown) + (rest > 0)) * _ROW + 12
    bottom = firings + _FIRINGS_HEIGHT
    parts = [*_heading(edition), *_time_marks(edition, axis, bottom)]
    for index, record in enumerate(shown):
        parts += _row(record, axis, _TOP + index * _ROW)
    if rest > 0:
        note = f"and {how_many(rest, 'service')} more, which had fewer outages"
        parts.append(_text(_LEFT, _TOP + len(shown) * _ROW + 15, note))
    parts += [*_firings(summary, axis, firings), *_legend(bottom + 40)]
    return _document(edition, parts, height=bottom + 54)


def _document(edition: Edition, parts: list[str], height: float) -> str:
    size = f'width="{_WIDTH}" height="{height:g}" viewBox="0 0 {_WIDTH} {height:g}"'
    look = f'role="img" font-family="system-ui, sans-serif" font-size="12" fill="{_INK}"'
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {look}>',
        f"<title>{escape(cut_to(edition.name, 60))}: availability by service, and incidents over time</title>",
    )
    return "\n".join((*head, *parts, "</svg>\n"))


def _heading(edition: Edition) -> Iterator[str]:
    names = " · ".join(cut_to(part, 40) for part in (edition.name, edition.place) if part)
    yield _text(16, 24, names, size=16, weight="bold")
    yield _text(16, 42, period_line(edition.summary, edition.zone))


def _row(record: ServiceRecord, axis: _Axis, y: float) -> Iterator[str]:
    """Draw one service: its name, the time in which it was known, its outages, and the share of time it was up."""
    strip = y + (_ROW - _STRIP) / 2
    yield _text(_LEFT - 10, y + 15, cut_to(record.name, _NAME_COLUMNS), anchor="end")
    begin, end = axis.x(record.known_from.mono), axis.x(record.known_until.mono)
    yield _box(begin, strip + 2, max(end - begin, _THINNEST), _STRIP - 4, _UP)
    for outage in record.shown:
        left, right = axis.x(outage.start.mono), axis.x(outage.end.mono)
        width = max(right - left, _THINNEST)
        yield _box(min(left, _RIGHT - width), strip - 1, width, _STRIP + 2, _DOWN)
    yield _text(_RIGHT + 10, y + 15, percent(record))


def _firings(summary: Summary, axis: _Axis, y: float) -> Iterator[str]:
    """Draw the incidents of each slot of time as a bar; the highest fills the height."""
    most = max(summary.firings, default=0)
    yield _text(_LEFT - 10, y + 14, "incidents", anchor="end")
    yield _text(_LEFT - 10, y + 30, f"{summary.incidents:,} in all", anchor="end")
    if most:
        yield _text(_RIGHT + 10, y + 14, f"most: {most:,}")
    for index, number in enumerate(summary.firings):
        if number:
            left = axis.x(summary.began.mono + index * summary.slot)
            right = axis.x(summary.began.mono + (index + 1) * summary.slot)
            height = max(number / most * (_FIRINGS_HEIGHT - 8), 2.0)
            yield _box(left, y + _FIRINGS_HEIGHT - height, max(right - left - 1, _THINNEST), height, _FIRED)
    yield _rule(_LEFT, y + _FIRINGS_HEIGHT, _RIGHT, y + _FIRINGS_HEIGHT)


def _time_marks(edition: Edition, axis: _Axis, bottom: float) -> Iterator[str]:
    """Draw a fine line and a time at round moments."""
    for seconds, label in _round_moments(edition.summary, edition.zone):
        x = axis.x(axis.began.mono + seconds)
        yield _rule(x, _TOP - 4, x, bottom + 4, opacity=0.35)
        yield _text(x, bottom + 17, label, anchor="middle", size=11)


def _round_moments(summary: Summary, zone: str) -> Iterator[tuple[float, str]]:
    """Yield moments that people call round in the time zone, as seconds after the beginning, and what they are called.

    They are few enough to be read, and counted on the face of the clock, so that midnight is midnight in any season.
    """
    where = ZoneInfo(zone)
    step = next((step for step in _STEPS if summary.seconds / step < _MARKS), _STEPS[-1])
    day = "%a %d" if step <= 7 * _DAY else "%Y-%m-%d"
    shape = "%H:%M:%S" if step < 60 else "%H:%M"
    began = summary.began.wall
    face = began.astimezone(where).replace(tzinfo=None)
    midnight = datetime.combine(face.date(), time(), None)
    first = int((face - midnight).total_seconds() // step)
    for number in range(first, first + 2 * _MARKS):
        moment = (midnight + timedelta(seconds=number * step)).replace(tzinfo=where)
        seconds = moment.timestamp() - began.timestamp()
        if 0 <= seconds <= summary.seconds:
            yield seconds, moment.strftime(shape if moment.time() > time() else day)


def _legend(y: float) -> Iterator[str]:
    x = float(_LEFT)
    for colour, height, label in ((_UP, _STRIP - 4, "enough up"), (_DOWN, _STRIP + 2, "too few up")):
        yield _box(x, y - height / 2 - 4, 16, height, colour)
        yield _text(x + 22, y, label, size=11)
        x += 110
    yield _text(x, y, "no strip: not known then", size=11)


# --- shapes ----------------------------------------------------------------------------------------------------------


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "normal") -> str:
    attributes = f'x="{x:g}" y="{y:g}"'
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    if size != 12:
        attributes += f' font-size="{size}"'
    if weight != "normal":
        attributes += f' font-weight="{weight}"'
    return f"<text {attributes}>{escape(text)}</text>"


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _rule(x1: float, y1: float, x2: float, y2: float, opacity: float = 1.0) -> str:
    line = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {line} stroke="{_LINE}" stroke-opacity="{opacity:g}"/>'
