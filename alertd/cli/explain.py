"""`alertd explain`: why people are told what they are told, or would be."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertd.cli import options, target
from alertd.errors import AlertdError
from alertd.model import Cause, Forecast, Instant, NoForecast, Reason, Silence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alertd.cli.scene import AlertRow
    from alertd.config.schema import Rule, Ruleset
    from alertd.engine.core import Engine
    from alertd.etcd.channel import EtcdSettings
    from alertd.model import ForecastWay, KeyEvent, Mute

_LEAD = 3600.0
"""Seconds before now at which the rules begin to judge what etcd holds, besides the longest `for`: all has settled."""

_RUNNING = 1e9
"""What a monotonic clock shows that has run for longer than anything lasts."""

_NEVER = {
    NoForecast.OTHER_SERVICE: "does not speak of that service",
    NoForecast.WANTS_INSTANCE: "is judged on instances: name one, as service/instance",
    NoForecast.WANTS_SERVICE: "is judged on the service as a whole: leave the instance out",
    NoForecast.OTHER_INSTANCE: "leaves that instance out, by its `where`",
}


@dataclass(frozen=True, slots=True)
class Known:
    """What etcd holds that the answer depends on."""

    service: str
    instance: str | None
    events: Sequence[KeyEvent]
    silences: Sequence[Silence]
    alerts: Sequence[AlertRow]


def explain(
    what: Annotated[str, typer.Argument(metavar="TARGET", help=target.HELP)],
    rules_dir: options.RulesArgument = None,
    if_: Annotated[
        str | None,
        typer.Option(
            "--if", envvar="ALERTD_IF", metavar="RULE", help="Were this rule to fire there now, who would be told?"
        ),
    ] = None,
    cause: Annotated[
        Cause | None,
        typer.Option(
            "--cause", envvar="ALERTD_CAUSE", help="Of the loss.", show_default="its own if it is down, else expired"
        ),
    ] = None,
    rules: options.RulesOption = None,
    as_json: options.Json = False,
    etcd: options.Endpoints = options.DEFAULT_ETCD,
    etcd_user: options.User = "",
    etcd_ca: options.Ca = None,
    etcd_cert: options.Cert = None,
    etcd_key: options.Key = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    namespace: options.Namespace = options.DEFAULT_NAMESPACE,
) -> None:
    """Tell who would be told, how and when, were RULE to fire on TARGET now; nothing is sent, nothing written.

    Goes by the rules in DIR, and by the services and silences in etcd. Exit code 1: the rule can never fire there.
    """
    if if_ is None:
        raise AlertdError("how a target came to its state is not recorded yet; give --if RULE")
    ruleset = _load(options.rules_directory(rules_dir, rules))
    rule = next((each for each in ruleset.rules if each.name == if_), None)
    if rule is None:
        from alertd.config.problems import suggest

        raise AlertdError(f"there is no rule {if_!r}{suggest(if_, [each.name for each in ruleset.rules])}")
    settings = options.etcd_settings(etcd, etcd_user, etcd_ca, etcd_cert, etcd_key)
    folder = options.as_folder(prefix)
    known = asyncio.run(_read(settings, folder, options.as_folder(namespace), what))
    now = Instant(_RUNNING, datetime.now(UTC))
    engine = _engine(ruleset, folder, known, now)
    found = engine.forecast(rule.name, known.service, known.instance, now, cause or _cause(engine, known))
    answer = Answer(rule, known, found, now)
    if as_json:
        typer.echo(json.dumps(answer.as_json(), ensure_ascii=False))
    else:
        typer.echo("\n".join(answer.lines(ruleset)))
    if isinstance(found, NoForecast):
        raise typer.Exit(1)


def _load(directory: Any) -> Ruleset:
    from alertd.config.load import load

    return load(directory, environ=os.environ, now=datetime.now(UTC), secrets_required=False).ruleset


# --- what is known ---------------------------------------------------------------------------------------------------


async def _read(settings: EtcdSettings, prefix: str, namespace: str, text: str) -> Known:
    """Read what there is; raise AlertdError if TARGET names several services or instances."""
    from alertd.cli.scene import look
    from alertd.order import OrderKind

    async with look(settings, prefix, namespace) as scene:
        service = target.service_of(text)
        alerts = await scene.alerts()
        present = (await scene.instances(service)).get(service, {})
        meaning = target.resolve(text, alerts, present)
        named = {(alert.service, alert.instance) for alert in meaning.alerts}
        targets = named if meaning.service is None else {(meaning.service, meaning.instance)}
        if len(targets) > 1:
            raise AlertdError(f"{text} speaks of {len(targets)} targets; name one, such as {min(named)[0]}")
        (only,) = targets
        silences = [said.order for said in await scene.said(OrderKind.SILENCE) if isinstance(said.order, Silence)]
        return Known(*only, await scene.found(), silences, alerts)


def _engine(ruleset: Ruleset, prefix: str, known: Known, now: Instant) -> Engine:
    """Return an engine to which all that etcd holds now has been so for a while."""
    from alertd.engine.core import Engine

    engine = Engine(ruleset, prefix.encode())
    begin = now.shifted_to(now.mono - _LEAD - max(rule.for_ for rule in ruleset.rules))
    engine.open_gap(begin)
    engine.feed(known.events, begin)
    for silence in known.silences:
        engine.silence(silence, begin)
    engine.close_gap(begin)
    engine.advance(now)
    return engine


def _cause(engine: Engine, known: Known) -> Cause | None:
    """Return the cause of the usual loss for what is up, or was never seen; None for what is down by its own."""
    facts = next((each for each in engine.services() if each.name == known.service), None)
    downs = {each.name for each in facts.instances if not each.up} if facts is not None else set()
    return None if known.instance in downs else Cause.EXPIRED


# --- the answer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, told to people and programs."""

    rule: Rule
    known: Known
    found: Forecast | NoForecast
    now: Instant

    @property
    def target(self) -> str:
        """The target in words."""
        return self.known.service if self.known.instance is None else f"{self.known.service}/{self.known.instance}"

    def as_json(self) -> dict[str, Any]:
        """Return the answer as a stable object; `never` says why the rule can never fire there."""
        never = str(self.found) if isinstance(self.found, NoForecast) else None
        mute = self.found.mute if isinstance(self.found, Forecast) else None
        ways = self.found.ways if isinstance(self.found, Forecast) else ()
        return {
            "rule": self.rule.name,
            "target": self.target,
            "never": never,
            "for": self.rule.for_,
            "muted": None if mute is None else str(mute),
            "ways": [_way_as_json(way) for way in ways],
        }

    def lines(self, ruleset: Ruleset) -> list[str]:
        """Return the answer for people."""
        from alertd.cli.table import plain
        from alertd.delivery.wording import span

        found, name = self.found, plain(self.rule.name)
        if isinstance(found, NoForecast):
            return [f"{name} can never fire on {plain(self.target)}: it {_NEVER.get(found, str(found))}"]
        held = f", once its condition has held for {span(self.rule.for_)}" if self.rule.for_ else ""
        place = self.rule.place
        lines = [f"were {name} ({place.file}:{place.line}) to fire on {plain(self.target)} now{held}:"]
        if found.mute is not None:
            lines.append(f"nobody would be told: {self._mute(found.mute, ruleset)}")
            lines.append("without that:")
        lines += [f"  {line}" for way in found.ways for line in _describe(way)]
        if not any(way.channels for way in found.ways):
            lines.append("  nobody would be told: no route leads to a channel")
        return [*lines, *self._remarks()]

    def _mute(self, mute: Mute, ruleset: Ruleset) -> str:
        from alertd.cli.clock import end
        from alertd.cli.table import plain

        comment = f" ({plain(mute.comment)})" if mute.comment else ""
        if mute.reason is Reason.INHIBITED:
            return f"{plain(mute.by)} fires{comment} and inhibits it"
        silence = next((each for each in (*self.known.silences, *ruleset.silences) if each.id == mute.by), None)
        where = f" at {silence.source}" if silence is not None and silence.source else ""
        until = f" until {end(silence.until, self.now.wall)}" if silence is not None and silence.until else ""
        return f"silence {mute.by}{comment}{where} keeps it quiet{until}"

    def _remarks(self) -> Iterator[str]:
        """Say that it fires already, if it does."""
        for alert in self.known.alerts:
            is_it = (alert.rule, alert.service, alert.instance) == (
                self.rule.name,
                self.known.service,
                self.known.instance,
            )
            if is_it and alert.is_firing:
                by = alert.shown["acknowledged"]
                taken = f", acknowledged by {by.get('by')}" if isinstance(by, dict) else ""
                yield f"it fires there now, since {alert.shown['since']} (id {alert.id}){taken}"


def _describe(way: ForecastWay) -> Iterator[str]:
    """Yield the lines about one route."""
    from alertd.cli.table import plain
    from alertd.delivery.wording import span

    which = "the default route" if way.is_default else "the route"
    where = f" at {way.place.file}:{way.place.line}" if way.place.file else ""
    yield f"{_names(way.channels)} in {span(way.after)}, in the group {plain(way.group)}, by {which}{where}"
    yield f"  again every {span(way.repeat_every)} while nobody acknowledges it"
    for step in way.steps:
        yield f"  {_names(step.channels)} as well {span(step.after)} after that, if nobody does by then"
    if way.unresolved:
        yield f"  {_names(way.unresolved)} not told when it is over"
    if way.digested:
        yield f"  {_names(way.digested)} in the digest of the storm that is on"


def _names(channels: Sequence[str]) -> str:
    from alertd.cli.table import plain

    return ", ".join(map(plain, channels)) or "nobody"


def _way_as_json(way: ForecastWay) -> dict[str, Any]:
    return {
        "route": f"{way.place.file}:{way.place.line}" if way.place.file else None,
        "default": way.is_default,
        "channels": list(way.channels),
        "group": way.group,
        "labels": dict(way.labels),
        "after": way.after,
        "repeat_every": way.repeat_every,
        "escalate": [{"after": step.after, "channels": list(step.channels)} for step in way.steps],
        "unresolved": list(way.unresolved),
        "digested": list(way.digested),
    }
