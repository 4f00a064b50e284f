"""The calendar's words as they stand in YAML: moments, time zones and cron expressions, checked where they are read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from alertd.config.problems import suggest
from alertd.window import check_cron

_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_MOMENT_HINT = "must be a moment with its offset from UTC, such as 2026-12-01T06:00:00Z or 2026-12-01T07:00:00+01:00"

_zones = lru_cache(maxsize=1)(available_timezones)


def _parse_moment(value: object) -> datetime:
    """Return a moment of RFC 3339 in UTC; without an offset nobody could tell which one is meant."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError(_MOMENT_HINT)
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_MOMENT_HINT) from None


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = f"must be the name of a time zone, such as Europe/Berlin or UTC{suggest(name, _zones())}"
        raise ValueError(hint) from None
    return name


def _checked_cron(cron: str) -> str:
    check_cron(cron)
    return cron


_MOMENT_SCHEMA = WithJsonSchema({"type": "string", "pattern": f"^{_MOMENT.pattern}$"})

Moment = Annotated[datetime, BeforeValidator(_parse_moment), _MOMENT_SCHEMA]
"""A date and time with its offset, as RFC 3339 has it; quoted or not."""
Zone = Annotated[str, AfterValidator(_known_zone)]
Cron = Annotated[str, AfterValidator(_checked_cron)]
