"""What is sent to one target: a title, a body still to be cut, and what sorts of targets need besides.

A letter is written by `render` from a notification, or handed to `Dispatcher.send` ready. Which parts of it are used is
the sender's: chats take title and body, targets that keep incidents the `incident` as well, webhooks the `document`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path


class Tone(StrEnum):
    """The type of a message, in Apprise's words: what colour and which icon people see."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Incident:
    """What a message is to a target that keeps incidents.

    `key` and `title` are the same for one group from its first message to its last; `is_over` says that nothing in the
    group fires any more, so that the incident ends.
    """

    key: str
    title: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class Diversion:
    """Why a channel is told in the place of another, the one that it is a fallback for.

    `target` is the one of that other channel that failed: since when it takes nothing, if it is not that it refused,
    and its `error`. Without a target and an error: the channel was told of the beginning, and is told of the end.
    """

    channel: str
    target: str = ""
    since: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to one target.

    `body(limit)` returns plain text of at most `limit` characters, all of it for None. `attachment` is a file that goes
    along where the target takes files. `faults` are templates that did not render, so that others stand in their place.
    """

    id: str
    title: str
    tone: Tone
    body: Callable[[int | None], str]
    incident: Incident | None = None
    document: Callable[[], Mapping[str, Any]] | None = None
    attachment: Path | None = None
    faults: tuple[str, ...] = ()
