"""How plain text is written for a service that shows markup, so that every character arrives as it was meant.

Our texts hold foreign names; what of them a service would read as markup is escaped here and not by Apprise, which also
escapes within links (they lead elsewhere then) and makes every blank of HTML one that does not break (a line is as wide
as it is long, and a command copied from it does not run).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from apprise import NotifyBase

_URL = re.compile(r"(https?://[^\s<>\"]+)")
_SPECIAL = re.compile(r"([\\`*_~\[\]<>#|])|&(?=#?\w{1,32};)")
_LINE_START = re.compile(r"^(\s*)([-+=]|[0-9]{1,9}(?=[.)](?:\s|$)))", re.MULTILINE)
_MENTION = re.compile(r"(?<!\w)@(?=\w)")
_SECOND_BLANK = re.compile(r"(?<= ) |^ ", re.MULTILINE)

_READ_MARKDOWN = frozenset({"mattermost", "discord", "guilded", "revolt", "zulip", "fluxer"})
"""Plugins whose services read Markdown in every message, though the plugins call it text."""
_MARK_TITLES = frozenset({"discord", "guilded", "fluxer"})
"""Plugins whose titles are Markdown too."""
_READ_TEXT = frozenset({"slack"})
"""Plugins whose Markdown is shown with the backslashes in it: they get text, of which nothing is read as markup."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a plugin is told that a text is (`text`, `markdown` or `html`), and how plain text becomes that.

    `has_title` says whether a title is written so as well; where a service shows it apart, it mostly is plain text.
    """

    name: str
    write: Callable[[str], str]
    has_title: bool


def dialect_of(plugin: NotifyBase) -> Dialect:
    """Return how to write for `plugin`; one that speaks better in another format is set to that."""
    module = type(plugin).__module__.rpartition(".")[2]
    if module in _READ_TEXT:
        plugin.notify_format = type(plugin.resolve_format("text"))("text")
    wanted = str(plugin.resolve_format("text").value)
    has_title = plugin.title_maxlen <= 0 or module in _MARK_TITLES
    if wanted == "html":
        return Dialect(wanted, to_html, has_title)
    if wanted == "markdown":
        return Dialect(wanted, lambda text: to_markdown(text).replace("\n", "  \n"), has_title)
    return Dialect(wanted, to_markdown if module in _READ_MARKDOWN else str, has_title)


def to_markdown(text: str) -> str:
    """Return text that Markdown shows as it is: nothing bold, no heading, no list, nobody mentioned; links stay."""
    pieces = _URL.split(text)
    pieces[::2] = [_escaped(piece) for piece in pieces[::2]]
    return _LINE_START.sub(_escaped_start, "".join(pieces))


def to_html(text: str) -> str:
    """Return text as HTML: line for line, with links, and blanks at which lines may break."""
    pieces = _URL.split(text)
    pieces[::2] = [html.escape(piece, quote=False) for piece in pieces[::2]]
    pieces[1::2] = [f'<a href="{html.escape(url)}">{html.escape(url)}</a>' for url in pieces[1::2]]
    return _SECOND_BLANK.sub("&nbsp;", "".join(pieces)).replace("\n", "<br/>")


def _escaped(text: str) -> str:
    text = _SPECIAL.sub(lambda match: f"\\{match[0]}", text)
    return _MENTION.sub("@\u200b", text)


def _escaped_start(match: re.Match[str]) -> str:
    """Escape what would begin a list or underline a heading: `-`, and the dot after a number."""
    blanks, mark = match.groups()
    return f"{blanks}{mark}\\" if mark.isdigit() else f"{blanks}\\{mark}"
