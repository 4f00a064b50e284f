"""Invariants 3 and 4 of the engine, under random stories.

Per channel, told firings and resolves pair; flapping and settled pair; and when all has come to rest, what was told
last is what is true. Events, gaps, reloads and the passing of time come in any order.
"""

from __future__ import annotations

from typing import Any

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from alertd.config.schema import Channel, Settings
from alertd.model import AlertState, Cause, Transition
from tests.engine import story as stories
from tests.engine.machine import FORGET_AFTER, RULES, Cluster


class Engine(Cluster):
    """One engine with the default route to two channels, and random events."""

    @initialize(rules=RULES, wait=st.sampled_from(["0s", "5s"]), interval=st.sampled_from(["0s", "30s"]))
    def start(self, rules: Any, wait: str, interval: str) -> None:
        """Begin with one instance up."""
        self.fields: dict[str, Any] = {
            "group_wait": wait,
            "group_interval": interval,
            "settings": Settings.model_validate({"flap": False, "forget_after": FORGET_AFTER}),
            "channels": {"ops": Channel(targets=()), "mail": Channel(targets=())},
        }
        note(f"rules: {rules}, wait {wait}, interval {interval}")
        self.story = stories.Story(*rules, up=("apache/a",), **self.fields)
        self.present["apache/a"] = b""

    @rule(rules=RULES)
    @precondition(lambda self: not self.has_gap)
    def reload(self, rules: Any) -> None:
        """Change the rules."""
        note(f"rules: {rules}")
        self.story.reload(*rules, **self.fields)

    def teardown(self) -> None:
        """Come to rest: then what was told last is what is true, on each channel."""
        if not self.may_rest:
            return
        if self.has_gap:
            self.synced()
        self.wait(130)
        self.told_in_pairs()
        for _ in range(5):  # what is forgotten at the last moment is told a little later
            if not self.is_true():
                self.wait(37)
                self.told_in_pairs()
        assert self.ledger.flapping == set(), "a flapping was never settled"
        assert self.is_true()

    def is_true(self) -> bool:
        """Whether each channel was told last of exactly what fires."""
        firing = {alert.id for alert in self.story.engine.alerts() if alert.state is AlertState.FIRING}
        told = self.ledger.firing
        return all({alert for name, alert in told if name == channel} == firing for channel in ("ops", "mail"))


def test_a_transition_names_each_cause_it_may_have() -> None:
    """Guards the machine itself: its steps do reach transitions of every cause."""
    story = stories.Story(up=("s/a",)).expire("s/a").up("s/a").delete("s/a").up("s/a").fail("s/a").up("s/a").stop("s/a")
    story.up("s/a", "s/b").miss("s/a")
    causes = {action.cause for action in story.actions if isinstance(action, Transition)}
    assert causes == set(Cause)


TestEngine = Engine.TestCase
TestEngine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
