"""How a picture is told to people: lines of at most 80 columns where the names allow it, without colour."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from alertd import document, values
from alertd.cli.table import columns, cut, plain

if TYPE_CHECKING:
    from alertd.cli.picture import InstanceRow, Picture

_LONGEST_VALUE = 1_000
_MOST_TARGETS = 8
"""Lines about targets: what is wrong with many has one reason."""
_ALERT_HEAD = ("STATE", "SEVERITY", "RULE", "TARGET", "SINCE UTC")


class Sketch(NamedTuple):
    """The three parts that are told, in their order; each has at least one line."""

    services: list[str]
    alerts: list[str]
    foot: list[str]

    def lines(self) -> list[str]:
        """Return the parts as one text."""
        return [*self.services, "", *self.alerts, "", *self.foot]

    def fitted(self, width: int, height: int) -> list[str]:
        """Return the text cut to a terminal; where it is too long, half of the room is for alerts."""
        room = height - len(self.foot) - 2
        alerts = _first(self.alerts, max(room - len(self.services), room // 2))
        services = _first(self.services, room - len(alerts))
        return [cut(line, width) for line in Sketch(services, alerts, self.foot).lines()][:height]


def sketch(picture: Picture, now: datetime) -> Sketch:
    """Return what there is to say of a picture, at `now`."""
    return Sketch(
        _services(picture),
        alert_lines(picture, now),
        [*_delivery(picture, now), *picture.notes, f"revision {picture.revision}; {standing(picture, now)}"],
    )


def _first(lines: list[str], room: int) -> list[str]:
    return lines if len(lines) <= room else [*lines[: max(room - 1, 0)], f"… and {len(lines) - room + 1} lines more"]


# --- services --------------------------------------------------------------------------------------------------------


def _services(picture: Picture) -> list[str]:
    """Return the table of instances, or a line that says why there is none."""
    services, service = picture.by_service, picture.scope.service
    if not services:
        what = "no service is registered" if service is None else f"service {plain(service)} has no instance"
        return [f"{what} (revision {picture.revision})"]
    table: list[tuple[str, ...]] = [("SERVICE", "UP", "INSTANCE", "STATE", "TTL", "VALUE")]
    for name, rows in services.items():
        up = f"{sum(1 for row in rows if not row.announced)} of {len(rows)}"
        for index, row in enumerate(rows):
            ttl = "" if row.ttl is None else f"{row.ttl}s"
            state = row.announced or ("up, malformed" if row.reading.malformed else "up")
            head = ("", "") if index else (plain(name), up)
            table.append((*head, plain(row.instance), state, ttl, _value(row)))
    return columns(table)


def _value(row: InstanceRow) -> str:
    """Return the value in a few words: as fields if it can be understood, else raw."""
    fields = row.reading.fields
    if fields:
        return " ".join(f"{plain(key)}={plain(value)}" for key, value in fields.items() if key != "status")
    return plain(values.show(row.raw[:_LONGEST_VALUE]))


# --- alerts ----------------------------------------------------------------------------------------------------------


def alert_lines(picture: Picture, now: datetime) -> list[str]:
    """Return the table of alerts, or a line that says that there is none.

    Summaries stand below their alerts unless all of them have room beside.
    """
    alerts = picture.alerts
    if not alerts:
        return ["no alerts" if picture.leader is not None else "no alerts are known"]
    rows = [_ALERT_HEAD, *(_alert_row(alert, now) for alert in alerts)]
    heads = columns(rows)
    summaries = [_summary(alert) for alert in alerts]
    beside = columns(list(zip(heads, ["SUMMARY", *summaries], strict=True)))
    room = shutil.get_terminal_size().columns
    if all(cut(line, room).endswith(summary) for line, summary in zip(beside[1:], summaries, strict=True)):
        return beside
    indent = " " * (max(len(row[0]) for row in rows) + 2)
    room -= len(indent)
    below = ([head, indent + cut(summary, room)] for head, summary in zip(heads[1:], summaries, strict=True))
    return [heads[0], *chain.from_iterable(below)]


def _alert_row(alert: dict[str, Any], now: datetime) -> tuple[str, ...]:
    state = "flapping" if alert["flapping"] else plain(alert["state"])
    return (state, plain(alert["severity"]), plain(alert["rule"]), _target(alert), _since(alert["since"], now))


def _summary(alert: dict[str, Any]) -> str:
    """Return the summary without what the row says anyhow; before it, who has the alert, and what keeps it quiet."""
    text = " ".join(str(alert["summary"]).split())
    summary = plain(text).removeprefix(f"{plain(alert['rule'])} {_target(alert)}: ")
    ack, muted = alert.get("acknowledged"), alert.get("muted")
    by = f"acknowledged by {plain(ack.get('by'))}" if isinstance(ack, dict) else ""
    return " · ".join(filter(None, (by, f"muted: {plain(muted)}" if muted else "", summary)))


def _target(alert: dict[str, Any]) -> str:
    """Return `service`, `service/instance`, or `service (zone=eu)`."""
    service, per = plain(alert["service"]), alert["per"]
    if alert["instance"] is not None:
        return f"{service}/{plain(alert['instance'])}"
    if isinstance(per, dict):
        return f"{service} ({', '.join(f'{plain(key)}={plain(value)}' for key, value in per.items())})"
    return service


def _since(since: object, now: datetime) -> str:
    """Return the time of day, with the day where it is another."""
    time = document.moment(since)
    return "" if time is None else _clock(time, now)


def _clock(time: datetime, now: datetime) -> str:
    time = time.astimezone(UTC)
    return time.strftime("%H:%M:%S" if time.date() == now.date() else "%m-%d %H:%M")


# --- delivery --------------------------------------------------------------------------------------------------------


def _delivery(picture: Picture, now: datetime) -> list[str]:
    """Return a line for each target that something is wrong with, and an empty one; none if all is well."""
    if not picture.delivery:
        return []
    table: list[tuple[str, ...]] = [("DELIVERY", "UNDELIVERED", "STUCK SINCE", "GIVEN UP", "LAST ERROR")]
    for each in picture.delivery:
        cells = (each["undelivered"], _since(each["stuck_since"], now), each["given_up"], each["last_error"])
        table.append((plain(each["target"] or each["channel"]), *map(plain, cells)))
    return [*_first(columns(table), _MOST_TARGETS), ""]


# --- who speaks ------------------------------------------------------------------------------------------------------


def standing(picture: Picture, now: datetime) -> str:
    """Return who leads, or how old the alerts are where nobody does."""
    if picture.leader is not None:
        return f"{plain(picture.leader)} leads"
    if picture.written is None:
        return "no daemon leads"
    from alertd.delivery.wording import span

    age = span((now - picture.written).total_seconds())
    return f"no daemon leads: the alerts were last written at {_clock(picture.written, now)} UTC, {age} ago"
