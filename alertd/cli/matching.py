"""What a silence from the command line matches, and what of all that etcd shows that is now. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from alertd import values
from alertd.config.patterns import is_glob, meets_any
from alertd.errors import AlertdError
from alertd.model import Cause, Match, Severity
from alertd.order import is_matchable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from alertd.cli.scene import AlertRow
    from alertd.cli.target import Meaning

_MATCH = re.compile(r"(?P<name>[^!=~]+?)\s*(?P<sign>!?=)(?P<pattern>[^~=].*|)", re.DOTALL)
_CLOSED: Mapping[str, Sequence[str]] = {"severity": list(Severity), "cause": list(Cause)}
"""Names whose every value is known."""

Patterns = dict[str, tuple[str, ...]]


# --- reading ---------------------------------------------------------------------------------------------------------


def read_matches(texts: Iterable[str]) -> Match:
    """Return what several `--match` ask for together; one name given twice may have either pattern.

    Raises AlertdError for any that is not `name=pattern` or `name!=pattern`.
    """
    wanted: Patterns = {}
    unwanted: Patterns = {}
    for text in texts:
        found = _MATCH.fullmatch(text)
        if found is None:
            raise AlertdError(
                f"--match {text!r}: give name=pattern or name!=pattern; patterns are globs, such as web-*"
            )
        name, pattern = found["name"].strip(), found["pattern"]
        _check(text, name, pattern)
        side = wanted if found["sign"] == "=" else unwanted
        side[name] = (*side.get(name, ()), pattern)
    return Match(wanted, unwanted)


def _check(text: str, name: str, pattern: str) -> None:
    if not is_matchable(name):
        raise AlertdError(f"--match {text!r}: {name!r} is a word of the rules, not a name of an alert's")
    if not pattern:
        raise AlertdError(f"--match {text!r}: it has no pattern; to match any value, give {name}=*")
    known = _CLOSED.get(name)
    if known is not None and not any(meets_any(each, [pattern]) for each in known):
        raise AlertdError(f"--match {text!r}: no alert has such a {name}; there are {', '.join(known)}")


# --- what a TARGET matches -------------------------------------------------------------------------------------------


def matches_of(meaning: Meaning) -> list[Match]:
    """Return the matches that mean exactly what a TARGET means: one, unless it is alerts of several rules.

    Where etcd knows no such service, a TARGET may be a pattern.
    """
    if meaning.service is None:
        return list(_matches_of_alerts(meaning.alerts))
    write = literal if meaning.is_known else str
    instance = {} if meaning.instance is None else {"instance": (write(meaning.instance),)}
    return [Match({"service": (write(meaning.service),), **instance})]


def _matches_of_alerts(alerts: Iterable[AlertRow]) -> Iterator[Match]:
    """Yield one match for the alerts of each rule on each service; those on whole services share one."""
    services: dict[str, list[str]] = {}
    parts: dict[tuple[str, str, str], list[str]] = {}
    for alert in alerts:
        if alert.instance is not None:
            parts.setdefault((alert.rule, alert.service, "instance"), []).append(alert.instance)
        for name, value in alert.per.items():
            parts.setdefault((alert.rule, alert.service, name), []).append(value)
        if alert.instance is None and not alert.per:
            services.setdefault(alert.rule, []).append(alert.service)
    for rule, names in services.items():
        yield Match({"rule": (literal(rule),), "service": tuple(map(literal, names))})
    for (rule, service, name), found in parts.items():
        yield Match({"rule": (literal(rule),), "service": (literal(service),), name: tuple(map(literal, found))})


def narrow(match: Match, more: Match) -> Match:
    """Return what both ask for; raise AlertdError where both name the same."""
    twice = match.is_.keys() & more.is_.keys()
    if twice:
        raise AlertdError(f"--match: the target says already which {min(twice)} is meant; leave one of them out")
    return Match({**match.is_, **more.is_}, more.not_)


def literal(text: str) -> str:
    """Return the pattern that matches this text alone."""
    return re.sub(r"([*?[])", r"[\1]", text) if is_glob(text) else text


def in_words(match: Match) -> str:
    """Return a match as it is given on the command line: `service=apache team!=lab`."""
    wanted = [f"{name}={pattern}" for name, patterns in match.is_.items() for pattern in patterns]
    return " ".join([*wanted, *(f"{name}!={pattern}" for name, patterns in match.not_.items() for pattern in patterns)])


# --- what is matched now ---------------------------------------------------------------------------------------------

Instances = dict[str, dict[str, bytes]]


def muted_by(match: Match, alerts: Iterable[AlertRow], instances: Instances) -> list[AlertRow]:
    """Return the alerts under way that a match means, as far as etcd shows what they have."""
    return [alert for alert in alerts if _means(match, _Names(alert, instances))]


def covered_by(match: Match, instances: Instances) -> list[str]:
    """Return the instances, as `service/instance`, whose alerts a match would mean.

    What only a rule or its labels decide is left open.
    """
    if not match.is_.keys() & {"service", "instance"}:
        return []
    return [
        f"{service}/{instance}"
        for service, its in instances.items()
        for instance in its
        if _covers(match, {"service": service, "instance": instance})
    ]


def _covers(match: Match, names: Mapping[str, str]) -> bool:
    return all(meets_any(text, match.is_.get(name, [text])) for name, text in names.items()) and not any(
        meets_any(text, match.not_.get(name, ())) for name, text in names.items()
    )


class _Names:
    """The one namespace as one alert fills it: what its document says, then the last value of its instance."""

    def __init__(self, alert: AlertRow, instances: Instances) -> None:
        self._alert = alert
        self._raw = instances.get(alert.service, {}).get(alert.instance or "", b"")

    def get(self, name: str) -> str | None:
        """Return what a name stands for; None if the alert has no such thing, or etcd does not show it."""
        text = self._alert.label(name)
        return text if text is not None else values.as_written(values.look_up(values.read(self._raw).fields, name))


def _means(match: Match, names: _Names) -> bool:
    return all(_meets(names.get(name), patterns) for name, patterns in match.is_.items()) and not any(
        _meets(names.get(name), patterns) for name, patterns in match.not_.items()
    )


def _meets(text: str | None, patterns: Iterable[str]) -> bool:
    return text is not None and meets_any(text, patterns)
