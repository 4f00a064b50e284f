"""How the daemon logs: to stderr, as lines for people or as JSON; whatever library speaks, in one format."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor


def set_up(log_format: str) -> None:
    """Log in `log_format`, `console` (coloured on a terminal) or `json`; times are UTC, RFC 3339.

    ALERTD_LOG_LEVEL=debug shows every decision, also those of flapping alerts.
    """
    level = logging.getLevelNamesMapping().get(os.environ.get("ALERTD_LOG_LEVEL", "info").upper(), logging.INFO)
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        last: list[Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        last = [structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=14, sort_keys=False)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("alertd").setLevel(level)
