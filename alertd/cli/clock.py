"""How commands tell people of times: UTC, with the day, and how far away."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def end(until: datetime, now: datetime) -> str:
    """Return when something ends, or ended: `2026-11-24 05:21 UTC, in 2h`."""
    from alertd.delivery.wording import span

    away = (until - now).total_seconds()
    return f"{until.astimezone(UTC):%Y-%m-%d %H:%M} UTC, " + (f"in {span(away)}" if away > 0 else f"{span(-away)} ago")
