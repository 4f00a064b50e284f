"""Sends one letter to one target, now, and says exactly why if that fails.

A `Sender` is used by one thread at a time and blocks for as long as the provider likes. It neither queues nor retries:
that is the lane's. Apprise is imported on first use, once, and its own log goes nowhere: what it knows of a failure
ends up, scrubbed, in the `DeliveryError`.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from alertd.delivery import observe
from alertd.delivery.incident import docket_of
from alertd.delivery.markup import dialect_of
from alertd.delivery.wording import DETAIL_ROOM, cut, plain
from alertd.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from apprise import AppriseResult, NotifyBase

    from alertd.delivery.letter import Letter
    from alertd.delivery.scrub import Scrubber

LOG_CHANNEL = "log"
"""The channel that is always there: one line a notification on the daemon's log."""

ID_HEADER = "X-Alertd-Notification"
"""The header that names the notification where a target has headers: the same again when a message is repeated."""
_TITLE_MARGIN = 16
"""Characters that Apprise adds where it puts a title into the body: line break, heading mark or tags."""
_SECONDS_EACH = 10.0
"""Seconds that one of several requests may take, besides the pause before it."""
_CLOSE_ENOUGH = 16
"""Characters that may be given away when a body is cut to fit as it is written in markup."""


class Sender(Protocol):
    """One target, ready to be sent to. `seconds_apart` is the rate that the provider is known to bear.

    `seconds_more` is what one send may take beyond others, since it consists of several requests.
    """

    service: str
    seconds_apart: float
    seconds_more: float

    def send(self, letter: Letter) -> None:
        """Deliver, or raise `DeliveryError`."""


class LogSender:
    """The built-in channel `log`."""

    service = "log"
    seconds_apart = 0.0
    seconds_more = 0.0

    def send(self, letter: Letter) -> None:
        """Write one line on the daemon's log."""
        structlog.get_logger("alertd.notification").info(letter.title, id=letter.id, type=str(letter.tone))


class UnusableSender:
    """Stands for a target that could not be built, so that what was meant for it fails visibly."""

    service = "unusable"
    seconds_apart = 0.0
    seconds_more = 0.0

    def __init__(self, why: str) -> None:
        self._why = why

    def send(self, letter: Letter) -> None:
        """Raise `DeliveryError`."""
        raise DeliveryError(f"{self._why}; {letter.id} is not sent there", recoverable=False)


class AppriseSender:
    """One Apprise service."""

    def __init__(self, plugin: NotifyBase, scrubber: Scrubber) -> None:
        """Take over `plugin`: its own pauses between messages end here, since a pause that sleeps cannot be ended."""
        apprise = library()
        self.service = str(plugin.service_name)
        self.seconds_apart = float(plugin.request_rate_per_sec)
        self.seconds_more = (len(plugin) - 1) * (self.seconds_apart + _SECONDS_EACH) if len(plugin) > 1 else 0.0
        plugin.service_retry = 0
        if len(plugin) <= 1:
            plugin.request_rate_per_sec = 0
        self._plugin = plugin
        self._docket = docket_of(plugin)
        self._dialect = dialect_of(plugin)
        self._scrubber = scrubber
        is_mail = isinstance(plugin, plugin_of("mailto") or ())
        self._headers: dict[str, str] | None = getattr(plugin, "headers", None) if is_mail else None
        self._apprise = apprise.Apprise(asset=plugin.asset)
        self._apprise.add(plugin)

    def __repr__(self) -> str:
        return f"AppriseSender({self.service})"

    def send(self, letter: Letter) -> None:
        """Send, in this thread and without a limit of time, which is the `Courier`'s, cut to what the service takes.

        Raise `DeliveryError` with the provider's reason, free of secrets.
        """
        tone = letter.tone
        if self._docket is not None:
            tone = self._docket.call_up(letter)
            letter = _as_incident(letter)
        title, body = self._fitted(letter)
        if self._headers is not None:
            self._headers[ID_HEADER] = letter.id
        try:
            with observe.watch() as exchanges:
                result = self._apprise.notify(
                    body=body,
                    title=title,
                    notify_type=str(tone),
                    body_format=self._dialect.name,
                    attach=self._attachment(letter),
                    log_level=logging.DEBUG,
                )
        except Exception as error:  # noqa: BLE001 - a plugin's bug is this target's failure, not the thread's end
            raise DeliveryError(self._scrubber(f"{type(error).__name__} in Apprise's {self.service}")) from None
        with result:
            if not result:
                raise self._failure(exchanges, result)

    def _attachment(self, letter: Letter) -> str | None:
        """Return the file that goes along, if the service takes files and it is still there."""
        path = letter.attachment
        return str(path) if path is not None and self._plugin.attachment_support and path.is_file() else None

    def _failure(self, exchanges: observe.Exchanges, result: AppriseResult) -> DeliveryError:
        worst = exchanges.worst
        reasons = [observe.in_words(worst)] if exchanges.failures else [_logged(result), observe.in_words(worst)]
        return DeliveryError(
            self._scrubber("; ".join(filter(None, reasons)) or "Apprise does not say why"),
            recoverable=observe.is_recoverable(worst),
            retry_after=observe.retry_after(worst),
        )

    def _fitted(self, letter: Letter) -> tuple[str, str]:
        """Return title and body as short as the service wants them, written in its markup."""
        plugin = self._plugin
        room = int(plugin.body_maxlen)
        if plugin.title_maxlen <= 0:
            title = self._dialect.write(cut(letter.title, max(room // 4, 40)))
            room -= len(title) + _TITLE_MARGIN
        else:
            title = cut(letter.title, plugin.title_maxlen)
            if self._dialect.has_title:
                title = cut(self._dialect.write(title), plugin.title_maxlen)
            room -= len(title) + _TITLE_MARGIN if plugin.overflow_amalgamate_title else 0
        return title, self._fewer_lines(self._cut_body(letter, room), in_body=plugin.title_maxlen <= 0)

    def _cut_body(self, letter: Letter, room: int) -> str:
        """Return the longest body that has room as written; the search is over what is asked of the letter."""
        write = self._dialect.write
        body = letter.body(room)
        if len(write(body)) <= room:
            return write(body)
        fits, too_much = 0, min(room, len(body))
        while too_much - fits > _CLOSE_ENOUGH:
            middle = (fits + too_much) // 2
            if len(write(letter.body(middle))) <= room:
                fits = middle
            else:
                too_much = middle
        return write(letter.body(fits))

    def _fewer_lines(self, body: str, *, in_body: bool) -> str:
        """Keep the first lines and the last, the id, where a service takes so many lines only."""
        most = self._plugin.body_max_line_count
        lines = body.splitlines()
        if most <= 0 or len(lines) + in_body <= most:
            return body
        return "\n".join([*lines[: max(most - 1 - in_body, 0)], lines[-1]])


def _as_incident(letter: Letter) -> Letter:
    """Return a letter with its incident's title, which stays the same; its own becomes the first line of the body."""
    if letter.incident is None:
        return letter
    return replace(letter, title=letter.incident.title, body=lambda limit: _below(letter.title, letter.body, limit))


def _below(line: str, body: Callable[[int | None], str], limit: int | None) -> str:
    """Return a line and a body below it in at most `limit` characters; the body's last line is the last to give way."""
    room = None if limit is None else limit - len(line) - 1
    return f"{line}\n{body(room)}" if room is None or room > len(line) else body(limit)


def _logged(result: AppriseResult) -> str:
    """Return what Apprise said of a failure: its warnings, and the error behind them."""
    said = [" ".join(entry.message.split()) for entry in result.logs()]
    return plain("; ".join(dict.fromkeys(line.rstrip(".") for line in said if line)), 2 * DETAIL_ROOM)


class _OnlyReasons(logging.Filter):
    """Lets pass Apprise's warnings, and of its debug lines those with the error behind a failure.

    The other debug lines hold payloads, addresses and passwords. They are dropped at the logger itself, so that no
    handler ever sees them, whoever adds one.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            return True
        return record.levelno == logging.DEBUG and "Exception" in str(record.msg).partition(":")[0]


class _OnlyWarnings(logging.Filter):
    """Drops what a library says of its connections: their paths may be secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


@lru_cache(maxsize=1)
def library() -> ModuleType:
    """Return the module `apprise` with all its plugins, silenced and watched; 44 MB the first time.

    To be called once before threads are, for loading plugins is not made for several at once.
    """
    log = logging.getLogger("apprise")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.addFilter(_OnlyReasons())
    logging.getLogger("urllib3.connectionpool").addFilter(_OnlyWarnings())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what its plugins import is not ours to mend
        import apprise  # noqa: PLC0415 - see above

        apprise.manager_plugins.NotificationManager().load_modules()  # type: ignore[no-untyped-call]  # Apprise's
    observe.install()
    return apprise


def plugin_of(schema: str) -> type[NotifyBase] | None:
    """Return Apprise's plugin for a schema, or None if it has none."""
    manager = library().manager_plugins.NotificationManager()
    return manager[schema] if schema in manager else None  # noqa: SIM401 - it has no `get`


def asset() -> Any:
    """Return Apprise's settings for one target: no pool, no time limit of its own, no files."""
    return library().AppriseAsset(
        app_id="alertd", app_desc="alertd", async_mode=False, service_timeout=0, storage_mode="memory", language="en"
    )
