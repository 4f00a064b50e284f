"""What the state machines share: a small cluster that random events happen to, and the ledger of what was told.

The ledger holds invariants 3 and 4 for each channel: a firing is told again only after its end was told, flapping and
settled pair, no id is used twice.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alertd.model import AlertState, Kind, Notification
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


def some_rule(condition: dict[str, Any], held: str, kept: str, flap: bool, severity: str) -> Any:  # noqa: FBT001
    """Return one rule of a random ruleset."""
    return stories.rule(
        "r",
        service="*",
        when=condition,
        for_=held,
        keep_firing_for=kept,
        flap=FLAP if flap else False,
        severity=severity,
    )


RULES = st.lists(
    st.builds(
        some_rule,
        st.sampled_from(CONDITIONS),
        st.sampled_from(["0s", "7s", "40s"]),
        st.sampled_from(["0s", "9s"]),
        st.booleans(),
        st.sampled_from(["warning", "critical"]),
    ),
    min_size=1,
    max_size=3,
).map(lambda rules: tuple(rule.model_copy(update={"name": f"r{number}"}) for number, rule in enumerate(rules)))


_GOES_ON = (Kind.REMINDER, Kind.SETTLED)
"""What may only be told to those who were told before."""


class Ledger:
    """By (channel, alert id), what was told and not taken back: that it fires, that it flaps.

    Of `spared` channels, which (at some time) want no resolve, a firing may be followed by the next.
    """

    def __init__(self) -> None:
        self.spared: set[str] = set()
        self.firing: set[tuple[str, str]] = set()
        self.flapping: set[tuple[str, str]] = set()
        self.ids: set[str] = set()
        self._struck: set[tuple[str, str]] = set()

    def strike(self, channels: Container[str]) -> None:
        """Close the books of all channels but these: should one return, it may hear how what it knew went on."""
        for book in (self.firing, self.flapping):
            gone = {key for key in book if key[0] not in channels}
            book.difference_update(gone)
            self._struck |= gone

    def enter(self, sent: Notification) -> None:
        """Enter a message; fail if it should not have been sent."""
        assert sent.id not in self.ids, f"an id was used twice: {sent}"
        self.ids.add(sent.id)
        for kind, alert in sent.entries:
            self._enter((sent.channel, alert.id), kind, f"{alert.target} at {stories.seconds(sent.at)}", alert.state)

    def _enter(self, key: tuple[str, str], kind: Kind, what: str, state: AlertState) -> None:
        fires = state is AlertState.FIRING
        if key in self._struck:
            self._struck.discard(key)
            (self.flapping if kind is Kind.SETTLED else self.firing).update([key] if kind in _GOES_ON else ())
        if key[0] in self.spared and kind in (Kind.FIRING, Kind.ESCALATED, Kind.FLAPPING):
            self.firing.discard(key)
            self.flapping.discard(key)
        if kind in (Kind.FIRING, Kind.ESCALATED):
            assert key not in self.firing, f"{what} told as firing twice"
            assert key not in self.flapping, f"{what} told as firing while flapping"
            assert fires, f"{what} told as firing, and does not"
            self.firing.add(key)
        elif kind is Kind.REMINDER:
            assert key in self.firing - self.flapping, f"{what} was reminded of, but not told of"
            assert fires, f"{what} was reminded of, and does not fire"
        elif kind is Kind.FLAPPING:
            assert key not in self.flapping, f"{what} told as flapping twice"
            self.flapping.add(key)
        else:
            assert kind is not Kind.SETTLED or key in self.flapping, f"{what} settled, but never told as flapping"
            assert kind is Kind.SETTLED or not fires, f"{what} told as over, and fires"
            self.firing.discard(key)
            self.flapping.discard(key)
            if fires:
                self.firing.add(key)


class Cluster(RuleBasedStateMachine):
    """Four instances, and an engine that watches them; what is watched for is up to those that inherit."""

    story: stories.Story

    def __init__(self) -> None:
        super().__init__()
        self.present: dict[str, bytes] = {}
        self.ledger = Ledger()
        self.has_gap = False
        self._read = 0

    @property
    def is_begun(self) -> bool:
        """Whether the first rule, which makes the engine, has run."""
        return hasattr(self, "story")

    @property
    def may_rest(self) -> bool:
        """Whether there is anything to bring to an end: not if something has gone wrong already."""
        return self.is_begun and sys.exc_info()[0] is None

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

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def told_in_pairs(self) -> None:
        """Hold that a firing is told again only after its end was told; so is a flapping."""
        if self.is_begun:
            actions, read = self.story.actions, self._read
            self._read = len(actions)
            for action in actions[read:]:
                if isinstance(action, Notification):
                    self.ledger.enter(action)

    @invariant()
    def view_is_what_happened(self) -> None:
        """Hold that an instance is believed to be there exactly when the events say so."""
        if self.is_begun:
            believed = {key.removeprefix(stories.PREFIX).decode() for key in self.story.engine.present_keys()}
            assert believed == set(self.present)
