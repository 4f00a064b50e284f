"""The merged sections as the values that the rest of alertd reads.

Each rule, service, channel and route is judged by itself, so that one fault hides no other. What the contract has but
does nothing yet is read, checked, and warned of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from alertd.config.document import ChannelText, RouteText
from alertd.config.nodes import Mapping, Node, Scalar, Sequence, code, plain, quote, scalars_of
from alertd.config.problems import problems_of
from alertd.config.schema import Channel, Route, Rule, ServiceSpec, Settings, Target
from alertd.config.secrets import has_reference
from alertd.config.targets import TargetReader
from alertd.errors import Problem

if TYPE_CHECKING:
    from alertd.config.sections import Named, Sections
    from alertd.model import Place

Model = TypeVar("Model", bound=BaseModel)

_NOT_IN_EFFECT = {
    "settings": ("registry", "storm"),
    "channel": ("fallback",),
    "route": ("group_by", "repeat_interval", "escalate", "continue"),
}
_NOT_SUPPORTED_CHANNEL = ("webhook", "headers", "secret")
BUILT_IN_CHANNEL = "log"


class Builder:
    """Turns nodes into values and collects what is wrong with them."""

    def __init__(self, targets: TargetReader) -> None:
        self.targets = targets
        self.problems: list[Problem] = targets.problems

    def settings(self, found: Named | None) -> Settings:
        """Return the settings, or the defaults where there are none to be had."""
        if found is None:
            return Settings()
        self._warn_not_in_effect("settings", found.node)
        self._warn_of_references(found.node)
        return self._validated(Settings, found.node, "settings") or Settings()

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
        built: list[Rule] = []
        names: dict[str, Place] = {}
        for node in sections.rules:
            self._check_name_once(node, names)
            self._warn_of_references(node)
            rule = self._validated(Rule, node)
            if rule is not None:
                built.append(rule.model_copy(update={"place": node.place}))
        return tuple(built)

    def channels(self, sections: Sections) -> dict[str, Channel]:
        """Return the channels that can be understood, secrets filled in."""
        built: dict[str, Channel] = {}
        for name, found in sections.channels.items():
            channel = self._channel(name, found)
            if channel is not None:
                built[name] = channel
        return built

    def route(self, found: Named | None) -> Route:
        """Return the default route; left out, it means all channels."""
        nodes = found.node.items if found is not None and isinstance(found.node, Sequence) else []
        written: RouteText | None = None
        first: Node | None = None
        for node in nodes:
            if isinstance(node, Mapping) and "default" not in node.entries:
                self._complain(node.place, "routes other than the default one are not supported yet; remove this one")
            elif first is not None:
                self._complain(node.place, f"a second default route; the first is at {first.place}")
            else:
                first = node
                written = self._validated(RouteText, node)
                self._warn_not_in_effect("route", node)
        if first is not None and nodes[-1] is not first:
            self._complain(first.place, "the default route must be the last")
        if written is None:
            return Route(default=True)
        return Route(default=True).model_copy(
            update={
                "channels": written.channels,
                "group_wait": written.group_wait,
                "group_interval": written.group_interval,
            }
        )

    def _channel(self, name: str, found: Named) -> Channel | None:
        if name == BUILT_IN_CHANNEL:
            self._complain(found.place, "`log` is built in and cannot be defined; choose another name")
            return None
        if isinstance(found.node, Mapping) and self._refuse_unsupported(found.node):
            return None
        written = self._validated(ChannelText, found.node, name)
        targets: tuple[Target, ...] = ()
        if isinstance(found.node, Mapping) and "urls" in found.node.entries:
            self._warn_not_in_effect("channel", found.node)
            targets = self.targets.read_all(found.node.entries["urls"][1])
        if written is None:
            return None
        return Channel(
            targets=targets,
            send_resolved=written.send_resolved,
            fallback=written.fallback,
            rate=written.rate,
            templates=written.templates,
            place=found.place,
        )

    def _refuse_unsupported(self, node: Mapping) -> bool:
        unsupported = [key for key in _NOT_SUPPORTED_CHANNEL if key in node.entries]
        for key in unsupported:
            message = f'{code(key)} is not supported yet; use `urls: ["json://…"]`'
            self._complain(node.entries[key][0], message)
        return bool(unsupported)

    def _check_name_once(self, node: Node, names: dict[str, Place]) -> None:
        name = node.entries.get("name") if isinstance(node, Mapping) else None
        if name is None or not isinstance(name[1], Scalar):
            return
        first = names.setdefault(name[1].text, name[1].place)
        if first is not name[1].place:
            self._complain(name[1].place, f"rule {quote(name[1].text)} is already defined at {first}")

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

    def _warn_not_in_effect(self, kind: str, node: Node) -> None:
        for key in _NOT_IN_EFFECT[kind]:
            if isinstance(node, Mapping) and key in node.entries:
                self._warn(node.entries[key][0], f"{code(key)} is not in effect yet")

    def _warn_of_references(self, node: Node) -> None:
        for scalar in scalars_of(node):
            if isinstance(scalar.value, str) and has_reference(scalar.text):
                self._warn(scalar.place, "`${…}` is filled in only in the `urls` of channels; here it stays as it is")

    def _complain(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))

    def _warn(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message, is_warning=True))
