"""Makes targets that keep incidents see one incident a group: opened by its first message, closed by its last.

Left to themselves, Apprise's plugins for such services open a new incident with every message, or know them by their
title. Each has an attribute for the incident's key, which is set here before each message, and an action `map`, by
which a success closes what else opens or updates. A key or an action that the user wrote in the URL stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from alertd.delivery.letter import Tone

if TYPE_CHECKING:
    from apprise import NotifyBase

    from alertd.delivery.letter import Letter

_KEY_OF = {
    "firehydrant": "dedup",
    "goalert": "dedup",
    "ilert": "dedup",
    "incidentio": "dedup",
    "jira": "alias",
    "opsgenie": "alias",
    "pagerduty": "dedup",
    "pagertree": "thirdparty",
    "signl4": "external_id",
    "splunk": "entity_id",
    "squadcast": "dedup",
}
"""By module of Apprise's plugins: the attribute that holds an incident's key."""
_BY_ALIAS = frozenset({"jira", "opsgenie"})
"""Plugins that close an alert by what they remember of its creation."""
_CLOSE_NONE = frozenset({"betterstack", "spike"})
"""Plugins that open an incident with every message and can close none."""


class Docket:
    """The incidents of one target."""

    def __init__(self, plugin: Any, attribute: str) -> None:
        self._plugin = plugin
        self._attribute = attribute if _is_unset(plugin, attribute) else ""
        if plugin.action == plugin.template_args["action"]["default"]:
            plugin.action = "map"
        if _module(plugin) in _BY_ALIAS:
            _address_by_alias(plugin)

    def call_up(self, letter: Letter) -> Tone:
        """Let the next message be about the letter's incident; return the type that opens or closes it at the plugin.

        One that is about no group, such as a test message, is an incident of its own.
        """
        incident = letter.incident
        if self._attribute:
            setattr(self._plugin, self._attribute, incident.key if incident is not None else f"alertd-{letter.id}")
        return Tone.SUCCESS if incident is not None and incident.is_over else letter.tone


def docket_of(plugin: NotifyBase) -> Docket | None:
    """Return the docket of a plugin whose service keeps incidents, None for all others."""
    attribute = _KEY_OF.get(_module(plugin))
    return Docket(plugin, attribute) if attribute is not None else None


def can_close(plugin: NotifyBase) -> bool:
    """Say whether a resolve is anything else to the service than one more incident."""
    return _module(plugin) not in _CLOSE_NONE or getattr(plugin, "mode", "") == "logs"


def _module(plugin: NotifyBase) -> str:
    return type(plugin).__module__.rpartition(".")[2]


def _is_unset(plugin: Any, attribute: str) -> bool:
    """Say whether the user gave no key; Splunk's plugin then has one for all, made of its own name."""
    value = getattr(plugin, attribute)
    return not value or value == f"{plugin.app_id}/{getattr(plugin, 'routing_key', '')}"


class _Aliases(Mapping[str, Any]):
    """Stands in for what a plugin remembers of the alerts that it created: the alias of the one at hand."""

    def __init__(self, plugin: Any) -> None:
        self._plugin = plugin

    def __getitem__(self, key: str) -> list[str]:
        return [quote(self._plugin.alias, safe="")]

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0

    def set(self, *_: Any, **__: Any) -> None:
        """Keep nothing: the alias is known without."""

    def clear(self, *_: Any) -> None:
        """Forget nothing."""


def _address_by_alias(plugin: Any) -> None:
    """Let Opsgenie's plugin, and Jira's, close an alert by its alias.

    They would do so by the id of the request that created it, which is not the alert's, and which a restart forgets.
    An alert of severity `info` opens one as well, where they would write a note on one that does not exist.
    """
    own = type(plugin)
    aliases = _Aliases(plugin)

    def fetch(self: Any, method: Any, url: str, payload: Any, params: Mapping[str, str] | None = None) -> Any:
        by_alias = params and {**params, "identifierType": "alias"}
        return own._fetch(self, method, url, payload, by_alias)  # noqa: SLF001 - the plugin asks by nothing else

    plugin.__class__ = type(own.__name__, (own,), {"_fetch": fetch, "store": aliases, "__module__": own.__module__})
    plugin.mapping = {**plugin.mapping, **{tone: "new" for tone in plugin.mapping if str(tone.value) == "info"}}
