"""Invariants 1, 3, 4 and 5 where etcd is in trouble: random stories in which many instances expire at once, and return.

To what happens to engines that follow each other come mass expiries, and holds after an etcd that was away. Told
firings and resolves pair, what is doubted is not told, nothing stays in doubt, and at rest what was told is true.
"""

from __future__ import annotations

from typing import Any

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from alertd.config.schema import Channel, Settings
from alertd.engine.conditions import InstanceDown
from tests.engine.machine import FORGET_AFTER, RULES
from tests.engine.relay import Relay
from tests.engine.test_relay_machine import Engines

CROWD = tuple(f"crowd{number % 3}/{number}" for number in range(24))
SOME = st.lists(st.sampled_from(CROWD), min_size=1, max_size=24, unique=True)


class Troubled(Engines):
    """A cluster with a crowd on four leases."""

    @initialize(
        rules=RULES,
        wait=st.sampled_from(["0s", "5s"]),
        interval=st.sampled_from(["0s", "30s"]),
        above=st.sampled_from([1, 100]),
        has_standby=st.booleans(),
    )
    def start(self, rules: Any, wait: str, interval: str, above: int = 100, has_standby: bool = True) -> None:  # noqa: FBT001, FBT002
        """Begin with one instance and the crowd up."""
        told = {"flap": False, "forget_after": FORGET_AFTER, "storm": {"above": above, "within": "20s"}}
        self.fields: dict[str, Any] = {
            "group_wait": wait,
            "group_interval": interval,
            "settings": Settings.model_validate({**told, "registry": {"settle": "30s"}}),
            "channels": {"ops": Channel(), "mail": Channel()},
        }
        note(f"rules: {rules}, wait {wait}, interval {interval}, above {above}, standby {has_standby}")
        self.story = Relay(*rules, up=("apache/a",), has_standby=has_standby, **self.fields)
        self.story.put(*CROWD, leases=4)
        self.present.update(dict.fromkeys(("apache/a", *CROWD), b""))
        self.is_away = False

    @rule(few=SOME, every=st.sampled_from([0.0, 0.5, 2.0]), are_many=st.booleans())
    @precondition(lambda self: not self.has_gap)
    def lose_many(self, few: list[str], every: float, are_many: bool) -> None:  # noqa: FBT001
        """End the leases of some, or of all but some."""
        lost = [name for name in CROWD if name not in few] if are_many else few
        for name in lost:
            if name in self.present:
                self.lose(name, "expire")
                if every:
                    self.wait(every)

    @rule(back=SOME)
    def return_many(self, back: list[str]) -> None:
        """Let some return, on four leases again."""
        (self.story.found if self.has_gap else self.story.put)(*back, leases=4)
        self.present.update(dict.fromkeys(back, b""))

    @rule()
    @precondition(lambda self: not self.is_away)
    def hold(self) -> None:
        """Find that etcd was away."""
        self.story.hold()

    @rule(name=st.sampled_from(CROWD), how=st.sampled_from(["delete", "stop", "fail"]))
    @precondition(lambda self: not self.has_gap)
    def lose_for_certain(self, name: str, how: str) -> None:
        """Let one of the crowd go in a way that leaves no doubt, also if it is in doubt."""
        self.lose(name, how)

    @invariant()
    def what_is_doubted_is_not_judged(self) -> None:
        """Hold that nobody is to be told of a loss in doubt, unless they were; and that there is a doubt.

        In a gap nothing is judged yet, neither a return nor the loss after it.
        """
        if not self.is_begun or self.is_away or self.has_gap:
            return
        engine = self.story.engine
        for service in engine._registry.services.values():
            assert not service.doubted or engine._doubt.is_on
            for condition in service.conditions:
                for instance in service.doubted if isinstance(condition, InstanceDown) else ():
                    alert = condition.alerts.get(instance)
                    assert alert is None or not alert.holds or alert.is_told


TestTroubled = Troubled.TestCase
TestTroubled.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
