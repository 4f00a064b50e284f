"""Templates tried on made-up alerts when rules are loaded, not only when somebody is to be woken.

What cannot be known beforehand is not complained of: a name that may be a field of an instance's value, or a label that
only some services have; and where the made-up value of a field does not fit, that is a warning, since the real one may.
All else that fails on a sample fails at night as well.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from alertd import template
from alertd.delivery import sample, variables
from alertd.delivery.wording import Times
from alertd.errors import Problem
from alertd.model import Entry, Instant, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from alertd.config.schema import Rule, Ruleset, Templates, Texts
    from alertd.model import Notification

_NOW = Instant(1e6, datetime(2026, 1, 1, 12, tzinfo=UTC))
"""When the samples happen; any moment does."""

_KINDS = (Kind.FIRING, Kind.RESOLVED)


def verify(ruleset: Ruleset) -> list[Problem]:
    """Return which templates do not render: errors, or warnings where they do for some alerts."""
    labels = frozenset(name for spec in ruleset.services.values() for name in spec.labels)
    problems: list[Problem] = []
    for rule in ruleset.rules:
        if rule.summary or rule.description:
            problems += _of_rule(rule, ruleset, labels)
    told = list(_messages(ruleset))
    problems += _of_messages(ruleset.settings.templates, ruleset.settings.texts, told)
    for channel in ruleset.channels.values():
        problems += _of_messages(channel.templates, channel.texts, told)
    return problems


def _of_rule(rule: Rule, ruleset: Ruleset, labels: frozenset[str]) -> Iterator[Problem]:
    """Try what a rule says of its alerts."""
    seen = []
    firm: frozenset[str] = frozenset()
    for kind in _KINDS:
        made_up = _notification(rule, ruleset, kind)
        (entry,), (service,) = made_up.entries, made_up.services.values()
        seen.append(variables.for_alert(entry.alert, service, _times(ruleset), _NOW))
        firm = frozenset(variables.for_alert(entry.alert._replace(instance=None), service, _times(ruleset), _NOW))
    has_fields = sample.judges_instances(rule.when)
    for key, source in (("summary", rule.summary), ("description", rule.description)):
        names = template.names_in(source)
        unknown = names - seen[0].keys()
        if not (unknown and (has_fields or unknown & labels)):
            yield from _try(key, source, rule.texts, seen, is_sure=names - firm <= unknown)


def _of_messages(templates: Templates, texts: Texts, told: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Try title and body; whose alerts come to a channel is not known, so a name that is nobody's may be a field."""
    for key, source in (("title", templates.title or ""), ("body", templates.body or "")):
        names = template.names_in(source)
        yield from _try(key, source, texts, [seen for seen in told if names <= seen.keys()])


def _try(
    key: str, source: str, texts: Texts, samples: Sequence[Mapping[str, Any]], *, is_sure: bool = True
) -> Iterator[Problem]:
    """Render a template with each sample's variables."""
    faults = list(filter(None, (_fault(source, seen) for seen in samples)))
    if faults and key in texts:
        some = len(faults) < len(samples)
        where = "on a sample of some alerts" if some else "on a sample alert"
        yield Problem(texts[key], f"`{key}`, tried {where}: {faults[0]}", is_warning=some or not is_sure)


def _fault(source: str, seen: Mapping[str, Any]) -> str:
    try:
        template.render(source, seen)
    except template.TemplateFault as fault:
        return str(fault)
    return ""


def _messages(ruleset: Ruleset) -> Iterator[Mapping[str, Any]]:
    """Yield what a message's templates see, for one rule of those on instances and one of the others."""
    first: dict[bool, Rule] = {}
    for rule in ruleset.rules:
        first.setdefault(sample.judges_instances(rule.when), rule)
    for rule in first.values():
        for kind in _KINDS:
            told = _notification(rule, ruleset, kind)
            without_fields = tuple(Entry(each.kind, each.alert._replace(instance=None)) for each in told.entries)
            firm = variables.for_message(replace(told, entries=without_fields), _times(ruleset)).keys()
            yield {name: text for name, text in variables.for_message(told, _times(ruleset)).items() if name in firm}


def _notification(rule: Rule, ruleset: Ruleset, kind: Kind) -> Notification:
    return sample.notification_of(rule, ruleset, "log", kind, now=_NOW, fields={})


def _times(ruleset: Ruleset) -> Times:
    return Times.of(ruleset.settings.timezone, _NOW.wall)
