"""Invariants 1, 3 and 4 across processes: random stories in which engines die, restart and take over from each other.

Per channel, told firings and resolves pair whoever told them, no id is used twice, and at rest what was told last is
what is true.
"""

from __future__ import annotations

from typing import Any

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from alertd.config.schema import Channel, Settings
from tests.engine import story as stories
from tests.engine.machine import FORGET_AFTER, RULES
from tests.engine.relay import Relay
from tests.engine.story import default_route, route
from tests.engine.test_machine import Engine

ROUTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "by service": ({"group_by": ("rule", "service")},),
    "by instance": ({"group_by": ("rule", "service", "instance")},),
    "critical apart": ({"match": {"severity": "critical"}}, {"group_by": ("service",)}),
    "by data": ({"match": {"zone": "eu"}}, {"group_by": ("rule", "service", "load")}),
}
"""Routes that a reload may put in force: what each sets, the last being the default one. All lead to both channels."""


class Engines(Engine):
    """An engine, and another that stands by or follows it."""

    story: Relay

    @initialize(
        rules=RULES,
        wait=st.sampled_from(["0s", "5s"]),
        interval=st.sampled_from(["0s", "30s"]),
        above=st.sampled_from([1, 100]),
        has_standby=st.booleans(),
    )
    def start(self, rules: Any, wait: str, interval: str, above: int = 100, has_standby: bool = True) -> None:  # noqa: FBT001, FBT002
        """Begin with one instance up."""
        storm = {"above": above, "within": "20s"}
        self.fields: dict[str, Any] = {
            "group_wait": wait,
            "group_interval": interval,
            "settings": Settings.model_validate({"flap": False, "forget_after": FORGET_AFTER, "storm": storm}),
            "channels": {"ops": Channel(targets=()), "mail": Channel(targets=())},
        }
        note(f"rules: {rules}, wait {wait}, interval {interval}, above {above}, standby {has_standby}")
        self.story = Relay(*rules, up=("apache/a",), has_standby=has_standby, **self.fields)
        self.present["apache/a"] = b""
        self.is_away = False

    @rule()
    @precondition(lambda self: self.story.standby is not None and not self.has_gap)
    def fail_over(self) -> None:
        """Let the standby speak."""
        self.story.fail_over()

    @rule()
    @precondition(lambda self: self.story.standby is not None and not self.has_gap)
    def restart_standby(self) -> None:
        """Let another stand by, which knows what is remembered."""
        self.wait(0.5)  # no two processes begin at one moment
        self.story.restart_standby()

    @rule()
    @precondition(lambda self: self.story.standby is None and not self.has_gap and not self.is_away)
    def leave(self) -> None:
        """Let the engine die."""
        self.story.leave()
        self.is_away = True

    @rule(lost_history=st.booleans())
    @precondition(lambda self: self.is_away)
    def come_back(self, lost_history: bool) -> None:  # noqa: FBT001
        """Let another follow it."""
        self.wait(0.5)  # no two processes begin at one moment
        self.story.come_back(lost_history=lost_history)
        self.is_away = False

    @rule()
    @precondition(lambda self: not self.has_gap and not self.is_away)
    def gap(self) -> None:
        """Cut the watch; a listing begins."""
        super().gap()

    @rule(rules=RULES, routing=st.sampled_from(sorted(ROUTINGS)))
    @precondition(lambda self: not self.has_gap and not self.is_away)
    def reload(self, rules: Any, routing: str = "by service") -> None:
        """Change rules and routes."""
        note(f"rules: {rules}, grouped {routing}")
        times = {name: self.fields[name] for name in ("group_wait", "group_interval")}
        *first, last = ({**times, **fields} for fields in ROUTINGS[routing])
        self.fields["routes"] = (*(route(channels=("ops", "mail"), **each) for each in first), default_route(**last))
        self.story.reload(*rules, **self.fields)

    def teardown(self) -> None:
        """Come to rest, with somebody watching."""
        if self.may_rest and self.is_away:
            self.come_back(lost_history=False)
        super().teardown()

    def view_is_what_happened(self) -> None:
        """Hold what the events say, while anybody watches."""
        if self.is_begun and not self.is_away:
            believed = {key.removeprefix(stories.PREFIX).decode() for key in self.story.engine.present_keys()}
            assert believed == set(self.present)


TestEngines = Engines.TestCase
TestEngines.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
