"""The merged sections as the values that the rest of alertd reads.

Each rule, service, channel, route and so on is judged by itself, so that one fault hides no other. What the contract
has but does nothing yet is read, checked, and warned of.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from alertd.config.alerts import OWN_NAMES
from alertd.config.nodes import Mapping, Node, Scalar, code, items_of, plain, quote, scalars_of, value_of
from alertd.config.problems import problems_of
from alertd.config.schema import (
    Channel,
    Heartbeat,
    Inhibition,
    Report,
    Route,
    Rule,
    ServiceSpec,
    Settings,
    Target,
)
from alertd.config.secrets import has_reference
from alertd.config.targets import TargetReader
from alertd.config.written import (
    ChannelText,
    HeartbeatText,
    InhibitionText,
    ReportText,
    RouteText,
    SilenceText,
    WindowText,
)
from alertd.errors import Problem
from alertd.model import Match, Silence
from alertd.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alertd.config.sections import Named, Sections
    from alertd.model import Place

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")

_TIMES = ("channels", "group_by", "group_wait", "group_interval", "repeat_interval", "escalate", "continue_")
BUILT_IN_CHANNEL = "log"


class Placed(NamedTuple, Generic[Value]):
    """A value, and what stands in the file for it."""

    value: Value
    node: Node


class Builder:
    """Turns nodes into values and collects what is wrong with them."""

    def __init__(self, targets: TargetReader) -> None:
        self.targets = targets
        self.problems: list[Problem] = targets.problems

    def settings(self, found: Named | None) -> Settings:
        """Return the settings, or the defaults where there are none to be had."""
        if found is None:
            return Settings()
        self._warn_of_references(found.node)
        settings = self._validated(Settings, found.node, "settings") or Settings()
        return settings.model_copy(update={"texts": _texts(value_of(found.node, "templates"))})

    def services(self, sections: Sections) -> dict[str, ServiceSpec]:
        """Return what is known of services beforehand, by name or glob."""
        built: dict[str, ServiceSpec] = {}
        for name, (_, node) in sections.services.items():
            self._warn_of_references(node)
            service = self._validated(ServiceSpec, node, name)
            if service is not None:
                built[name] = service
        return built

    def rules(self, sections: Sections) -> tuple[Rule, ...]:
        """Return the rules that can be understood; two of the same name are a problem."""
        for name in filter(None, (value_of(node, "name") for node in sections.rules)):
            if isinstance(name, Scalar) and name.text.startswith(OWN_NAMES):
                why = f"names that begin with {code(OWN_NAMES)} are those of built-in rules; choose another"
                self._complain(name.place, why)
        built = self._each(Rule, sections.rules, "rule")
        return tuple(rule.model_copy(update={"place": node.place, "texts": _texts(node)}) for rule, node in built)

    # --- who is told -------------------------------------------------------------------------------------------------

    def channels(self, sections: Sections) -> dict[str, Channel]:
        """Return the channels that can be understood, secrets filled in."""
        built: dict[str, Channel] = {}
        for name, found in sections.channels.items():
            channel = self._channel(name, found)
            if channel is not None:
                built[name] = channel
        return built

    def _channel(self, name: str, found: Named) -> Channel | None:
        if name == BUILT_IN_CHANNEL:
            self._complain(found.place, "`log` is built in and cannot be defined; choose another name")
            return None
        written = self._validated(ChannelText, found.node, name)
        urls, address = value_of(found.node, "urls"), value_of(found.node, "webhook")
        targets = () if urls is None else self.targets.read_all(urls)
        webhook = self.targets.read_webhook(found.node) if address is not None else None
        if written is None:
            return None
        if address is not None and webhook is None:
            targets = (Target(place=address.place),)
        return Channel(
            targets=targets,
            webhook=webhook,
            send_resolved=written.send_resolved,
            fallback=written.fallback,
            rate=written.rate,
            templates=written.templates,
            place=found.place,
            texts=_texts(value_of(found.node, "templates")),
        )

    def routes(self, found: Named | None) -> tuple[Placed[Route], ...]:
        """Return the routes that can be understood, in their order, the default one last if there is one."""
        nodes = items_of(found.node if found is not None else None)
        routes: list[Placed[Route]] = []
        default: Placed[Route] | None = None
        for written, node in self._each(RouteText, nodes):
            route = Placed(_as_route(written, node.place), node)
            if not written.default:
                routes.append(route)
            elif default is None:
                default = route
            else:
                self._complain(node.place, f"a second default route; the first is at {default.node.place}")
        if default is None:
            return tuple(routes)
        if value_of(nodes[-1], "default") is None:
            self._complain(default.node.place, "the default route must be the last")
        return (*routes, default)

    # --- what keeps quiet --------------------------------------------------------------------------------------------

    def windows(self, sections: Sections, zone: str) -> dict[str, Window]:
        """Return the windows; those without a time zone go by `zone`."""
        built: dict[str, Window] = {}
        for name, (_, node) in sections.windows.items():
            self._warn_of_references(node)
            written = self._validated(WindowText, node, name)
            if written is not None:
                built[name] = Window(written.cron, written.duration, written.timezone or zone)
        return built

    def silences(self, sections: Sections) -> tuple[Placed[Silence], ...]:
        """Return the silences; of two that say the same the second is left out."""
        built: dict[str, Placed[Silence]] = {}
        for written, node in self._each(SilenceText, sections.silences):
            silence = _as_silence(written, node.place)
            if silence.id in built:
                first = built[silence.id].node.place
                self._warn(node.place, f"the same silence stands at {first} as well; remove one of the two")
            built.setdefault(silence.id, Placed(silence, node))
        return tuple(built.values())

    def inhibitions(self, sections: Sections) -> tuple[Placed[Inhibition], ...]:
        """Return the inhibitions that can be understood."""
        return tuple(
            Placed(
                Inhibition(
                    if_=written.if_.meaning(), mute=written.mute.meaning(), equal=written.equal, place=node.place
                ),
                node,
            )
            for written, node in self._each(InhibitionText, sections.inhibit)
        )

    # --- signs of life -----------------------------------------------------------------------------------------------

    def heartbeats(self, sections: Sections) -> tuple[Heartbeat, ...]:
        """Return the heartbeats, secrets filled in; one whose secret is not set has neither channel nor URL."""
        built = []
        self._check_names("heartbeat", sections.heartbeats)
        for node in sections.heartbeats:
            written = self._validated(HeartbeatText, node)
            address = value_of(node, "url")
            url = self.targets.read_web_address("url", address) if isinstance(address, Scalar) else None
            if written is not None:
                built.append(
                    Heartbeat.model_construct(
                        name=written.name, every=written.every, channel=written.channel, url=url, place=node.place
                    )
                )
        return tuple(built)

    def reports(self, sections: Sections, zone: str) -> tuple[Report, ...]:
        """Return the reports; those without a time zone go by `zone`."""
        return tuple(
            Report(
                name=written.name,
                cron=written.cron,
                channel=written.channel,
                timezone=written.timezone or zone,
                place=node.place,
            )
            for written, node in self._each(ReportText, sections.reports, "report")
        )

    # --- one by one --------------------------------------------------------------------------------------------------

    def _each(self, model: type[Model], nodes: Iterable[Node], kind: str = "") -> Iterator[Placed[Model]]:
        """Yield those of a list that can be understood; with a `kind`, two of the same name are a problem."""
        nodes = list(nodes)
        if kind:
            self._check_names(kind, nodes)
        for node in nodes:
            self._warn_of_references(node)
            value = self._validated(model, node)
            if value is not None:
                yield Placed(value, node)

    def _check_names(self, kind: str, nodes: Iterable[Node]) -> None:
        names: dict[str, Place] = {}
        for node in nodes:
            name = value_of(node, "name")
            if isinstance(name, Scalar):
                if name.text in names:
                    self._complain(name.place, f"{kind} {quote(name.text)} is defined at {names[name.text]} as well")
                names.setdefault(name.text, name.place)

    def _validated(self, model: type[Model], node: Node, key: str = "") -> Model | None:
        """Return `node` as a `model`, or None and the problems; a field that only the loader sets is unknown here."""
        hidden = [name for name, info in model.model_fields.items() if info.exclude]
        data = plain(node)
        if isinstance(node, Mapping):
            for name in hidden:
                if name in node.entries:
                    self._complain(node.entries[name][0], f"unknown key {quote(name)}")
                    del data[name]
        try:
            return model.model_validate(data)
        except ValidationError as error:
            self.problems.extend(problems_of(error, model, node, key))
            return None

    def _warn_of_references(self, node: Node) -> None:
        for scalar in scalars_of(node):
            if isinstance(scalar.value, str) and has_reference(scalar.text):
                where = "the targets of channels and the `url` of heartbeats"
                self._warn(scalar.place, f"`${{…}}` is filled in only in {where}; here it stays as it is")

    def _complain(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))

    def _warn(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message, is_warning=True))


def _as_route(written: RouteText, place: Place) -> Route:
    values = {name: getattr(written, name) for name in _TIMES}
    match = written.match
    return Route().model_copy(
        update={
            **values,
            "match": match.meaning() if match is not None else Match(),
            "during": match.during if match is not None else (),
            "default": bool(written.default),
            "place": place,
        }
    )


def _as_silence(written: SilenceText, place: Place) -> Silence:
    """Return a silence whose id is that of the same silence on every replica, after every reload."""
    match = written.match.meaning()
    until = written.until.isoformat() if written.until is not None else ""
    parts = [sorted(match.is_.items()), sorted(match.not_.items()), until, written.during, written.comment]
    return Silence(
        id=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12],
        match=match,
        until=written.until,
        during=written.during or (),
        comment=written.comment,
        source=f"{place.file}:{place.line}",
    )


def _texts(node: Node | None) -> dict[str, Place]:
    """Return where the templates stand that a mapping holds."""
    values = ((key, value_of(node, key)) for key in ("summary", "description", "title", "body"))
    return {key: value.place for key, value in values if value is not None}
