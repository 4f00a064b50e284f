"""Invariants 3 and 4 of the engine, under random stories.

Per channel, told firings and resolves pair; flapping and settled pair; and when all has come to rest, what was told
last is what is true. Events, gaps, reloads and the passing of time come in any order.
"""

from __future__ import annotations

from typing import Any

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alertd.config.schema import Channel, Settings
from alertd.model import AlertState, Cause, Kind, Notification, Transition
from tests.engine import story as stories

NAMES = ("apache/a", "apache/b", "apache/c", "pay/a")
FLAP = {"changes": 3, "within": "60s", "settle": "20s"}
FORGET_AFTER = "300s"
CONDITIONS: tuple[dict[str, Any], ...] = (
    {"instance": "down"},
    {"instance": "down", "cause": ["expired"]},
    {"instances": {"below": 2}},
    {"instances": {"below": "70%"}},
    {"instances": {"below": 1, "per": "zone"}},
    {"changes": {"above": 2, "within": "30s"}},
    {"distinct": {"field": "zone", "above": 1}},
    {"value": {"field": "load", "above": 4, "clear": 2}},
    {"malformed": True},
)
VALUES = (b"", b'{"zone": "eu", "load": 3}', b'{"zone": "us", "load": 5}', b'{"zone": "us", "load": 1}', b"{oops")


def some_rule(number: int, condition: dict[str, Any], held: str, kept: str, flap: bool) -> Any:  # noqa: FBT001
    """Return one rule of the random ruleset."""
    return stories.rule(
        f"r{number}",
        service="*",
        when=condition,
        for_=held,
        keep_firing_for=kept,
        flap=FLAP if flap else False,
    )


RULES = st.lists(
    st.builds(
        some_rule,
        st.just(0),
        st.sampled_from(CONDITIONS),
        st.sampled_from(["0s", "7s", "40s"]),
        st.sampled_from(["0s", "9s"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
).map(lambda rules: tuple(rule.model_copy(update={"name": f"r{number}"}) for number, rule in enumerate(rules)))


class Engine(RuleBasedStateMachine):
    """One engine, random events, and the two ledgers of what each channel was told."""

    def __init__(self) -> None:
        super().__init__()
        self.present: dict[str, bytes] = {}
        self.read = 0
        self.firing: set[tuple[str, str]] = set()
        self.flapping: set[tuple[str, str]] = set()
        self.ids: set[str] = set()
        self.has_gap = False

    @initialize(rules=RULES, wait=st.sampled_from(["0s", "5s"]), interval=st.sampled_from(["0s", "30s"]))
    def start(self, rules: Any, wait: str, interval: str) -> None:
        """Begin with one instance up."""
        self.fields = {
            "group_wait": wait,
            "group_interval": interval,
            "settings": Settings.model_validate({"flap": False, "forget_after": FORGET_AFTER}),
            "channels": {"ops": Channel(targets=()), "mail": Channel(targets=())},
        }
        note(f"rules: {rules}, wait {wait}, interval {interval}")
        self.story = stories.Story(*rules, up=("apache/a",), **self.fields)
        self.present["apache/a"] = b""

    # --- what can happen ---------------------------------------------------------------------------------------------

    @rule(by=st.sampled_from([0.5, 3, 10, 31, 100, 400]))
    def wait(self, by: float) -> None:
        """Let time pass."""
        self.story.at(self.story.now.mono - 1000 + by)

    @rule(name=st.sampled_from(NAMES), value=st.sampled_from(VALUES))
    def put(self, name: str, value: bytes) -> None:
        """Let an instance be there."""
        (self.story.found if self.has_gap else self.story.put)(name, raw=value)
        self.present[name] = value

    @rule(name=st.sampled_from(NAMES), how=st.sampled_from(["expire", "delete", "miss", "stop", "fail"]))
    def lose(self, name: str, how: str) -> None:
        """Let an instance go, in one of the ways."""
        if self.has_gap:
            how = "miss"
        getattr(self.story, how)(name)
        if how == "fail":
            self.present[name] = b"failing"
        else:
            self.present.pop(name, None)

    @rule(name=st.sampled_from(NAMES), times=st.integers(2, 6), every=st.sampled_from([0.0, 1.0, 8.0]))
    @precondition(lambda self: not self.has_gap)
    def flip(self, name: str, times: int, every: float) -> None:
        """Let an instance go up and down quickly, and end down."""
        for _ in range(times):
            self.put(name, b"")
            self.wait(every)
            self.lose(name, "expire")
            self.wait(every)

    @rule()
    @precondition(lambda self: not self.has_gap)
    def gap(self) -> None:
        """Cut the watch; a listing begins."""
        self.story.gap()
        self.has_gap = True

    @rule()
    @precondition(lambda self: self.has_gap)
    def synced(self) -> None:
        """Complete the listing."""
        self.story.synced()
        self.has_gap = False

    @rule(rules=RULES)
    @precondition(lambda self: not self.has_gap)
    def reload(self, rules: Any) -> None:
        """Change the rules."""
        note(f"rules: {rules}")
        self.story.reload(*rules, **self.fields)

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def told_in_pairs(self) -> None:
        """Hold that a firing is told again only after its end was told; so is a flapping."""
        if not hasattr(self, "story"):
            return
        actions, read = self.story.actions, self.read
        self.read = len(actions)
        for action in actions[read:]:
            if isinstance(action, Notification):
                self.enter(action)

    def enter(self, sent: Notification) -> None:
        """Enter a notification in the ledgers."""
        assert sent.id not in self.ids, f"an id was used twice: {sent}"
        self.ids.add(sent.id)
        for kind, alert in sent.entries:
            key = (sent.channel, alert.id)
            if kind is Kind.FIRING:
                assert key not in self.firing, f"{alert.target} told as firing twice"
                assert key not in self.flapping, f"{alert.target} told as firing while flapping"
                self.firing.add(key)
            elif kind is Kind.FLAPPING:
                assert key not in self.flapping, f"{alert.target} told as flapping twice"
                self.flapping.add(key)
            elif kind is Kind.SETTLED:
                assert key in self.flapping, f"{alert.target} settled, but never told as flapping"
                self.flapping.discard(key)
                self.firing.discard(key)
                if alert.state is AlertState.FIRING:
                    self.firing.add(key)
            else:
                self.firing.discard(key)
                self.flapping.discard(key)

    @invariant()
    def view_is_what_happened(self) -> None:
        """Hold that an instance is believed to be there exactly when the events say so."""
        if hasattr(self, "story"):
            believed = {key.removeprefix(stories.PREFIX).decode() for key in self.story.engine.present_keys()}
            assert believed == set(self.present)

    def teardown(self) -> None:
        """Come to rest: then what was told last is what is true, on each channel."""
        if not hasattr(self, "story"):
            return
        if self.has_gap:
            self.synced()
        self.wait(130)
        self.told_in_pairs()
        for _ in range(5):  # what is forgotten at the last moment is told a little later
            if not self.is_true():
                self.wait(37)
                self.told_in_pairs()
        assert self.flapping == set(), "a flapping was never settled"
        assert self.is_true()

    def is_true(self) -> bool:
        """Whether each channel was told last of exactly what fires."""
        firing = {alert.id for alert in self.story.engine.alerts() if alert.state is AlertState.FIRING}
        return all({alert for name, alert in self.firing if name == channel} == firing for channel in ("ops", "mail"))


def test_a_transition_names_each_cause_it_may_have() -> None:
    """Guards the machine itself: its steps do reach transitions of every cause."""
    story = stories.Story(up=("s/a",)).expire("s/a").up("s/a").delete("s/a").up("s/a").fail("s/a").up("s/a").stop("s/a")
    story.up("s/a", "s/b").miss("s/a")
    causes = {action.cause for action in story.actions if isinstance(action, Transition)}
    assert causes == set(Cause)


TestEngine = Engine.TestCase
TestEngine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
