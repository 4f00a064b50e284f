"""The outbox under everything at once: targets fail and recover, daemons die and take over at any moment.

Each target of a channel, and of each fallback, sees per alert a beginning and then its end, and finally what is true.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.delivery.outbox_world import Memory, World, rules

LABELS = {"ops": ("ops #1", "ops #2"), "mail": ("mail #1",), "sms": ("sms #1",)}
ALL = tuple(label for labels in LABELS.values() for label in labels)
GROUPS = {"g": ("a", "b", "d"), "h": ("c",)}
OWN = [("ops", "ops #1"), ("ops", "ops #2"), ("mail", "mail #1")]
"""The channels that the engine tells, and their targets."""

MOSTLY = st.sampled_from([True, True, False])
labels = st.sampled_from([*ALL, "ops #1", "mail #1"])
channels = st.sampled_from(["ops", "ops", "ops", "mail"])
some_alerts = st.sampled_from(
    [
        ("g", ("a",)),
        ("g", ("a",)),
        ("g", ("b",)),
        ("g", ("a", "b")),
        ("g", ("a", "d")),
        ("g", ("b", "d")),
        ("h", ("c",)),
    ]
)
some_of_all = st.sampled_from([("a",), ("a", "b"), ("a", "c"), ("b", "c", "d")])


class OutboxMachine(RuleBasedStateMachine):
    """Random days of an outbox. Only beginnings are refused: who refuses an end cannot be told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(rules({"ops": "mail", "mail": "sms", "sms": None}), LABELS)
        self.refused: set[str] = set()

    # --- the engine and etcd -----------------------------------------------------------------------------------------

    @rule(channel=channels, news=some_alerts, are_written=MOSTLY)
    def decide(self, channel: str, news: tuple[str, tuple[str, ...]], *, are_written: bool) -> None:
        """Let something begin or end."""
        self.world.turn(channel, *news)
        if are_written:
            self.world.write_all()

    @rule(channel=channels, group=st.sampled_from(["g", "g", "h"]), are_written=MOSTLY)
    def remind(self, channel: str, group: str, *, are_written: bool) -> None:
        """Tell again what fires."""
        self.world.remind(channel, group, GROUPS[group])
        if are_written:
            self.world.write_all()

    @rule(channel=channels, alerts=some_of_all, are_written=MOSTLY)
    def digest(self, channel: str, alerts: tuple[str, ...], *, are_written: bool) -> None:
        """Let something begin or end in a storm, whatever groups it belongs to."""
        self.world.digest(channel, alerts)
        if are_written:
            self.world.write_all()

    @rule(news=some_alerts, channel=channels, is_turned=st.booleans())
    def decide_while_writing(self, channel: str, news: tuple[str, tuple[str, ...]], *, is_turned: bool) -> None:
        """Let something begin or end while documents are being written, so without it."""
        written = self.world.write_together()
        self.world.turn(channel, *news)
        for name in reversed(written) if is_turned else written:
            self.world.release(name)

    @rule()
    def write(self) -> None:
        """Write everything."""
        self.world.write_all()

    @rule()
    def write_slowly(self) -> None:
        """Write what there is; what says so comes later, or never."""
        self.world.write_together()

    @rule(is_turned=st.booleans())
    def release(self, *, is_turned: bool) -> None:
        """Say that it was written."""
        for name in sorted(self.world.late, reverse=is_turned):
            self.world.release(name)

    # --- targets -----------------------------------------------------------------------------------------------------

    @rule(label=labels)
    def start(self, label: str) -> None:
        """Ask a target."""
        self.world.start(label)

    @rule(label=labels, outcome=st.sampled_from(["taken", "failed", "failed", "refused"]))
    def finish(self, label: str, outcome: str) -> None:
        """Let it answer."""
        box = self.world.box(label)
        if not box.is_sending:
            return
        told = box.queue[0][0]
        if outcome == "refused" and all(entry.kind == "firing" for entry in told.entries):
            self.refused |= {f"{label} {told.channel} {entry.alert.id}" for entry in told.entries}
            self.world.finish(label, "HTTP 400", is_final=True)
        else:
            self.world.finish(label, "HTTP 503" if outcome == "failed" else "")

    @rule(label=labels, times=st.integers(1, 4))
    def fail_again(self, label: str, times: int) -> None:
        """Let it fail several times in a row."""
        for _ in range(times):
            self.world.hear()
            if self.world.box(label).queue:
                self.world.start(label)
                self.world.finish(label, "HTTP 503")

    @rule(label=labels)
    def break_down(self, label: str) -> None:
        """Let it fail for long enough that somebody else is told."""
        self.world.hear()
        self.world.write_all()
        self.fail_again(label, 3)
        self.world.hear()
        self.world.write_all()

    @rule(label=labels)
    def recover(self, label: str) -> None:
        """Let it take all that waits there."""
        box = self.world.box(label)
        for _ in range(len(box.queue)):
            self.world.start(label)
            self.world.finish(label)
            self.world.hear()

    @rule()
    def hear(self) -> None:
        """Let the daemon hear of it."""
        self.world.hear()

    @rule(seconds=st.sampled_from([1.0, 50.0, 130.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass; nobody is to be woken again for what is over by then."""
        self.world.pass_time(seconds)
        due = self.world.outbox.next_deadline()
        assert due is None or due > self.world.now.mono

    @rule(label=labels)
    def change_address(self, label: str) -> None:
        """Let a reload give it another address."""
        self.world.change_address(label)

    @rule(error=st.sampled_from(["", "HTTP 503"]))
    def end_retired(self, error: str) -> None:
        """Let what was under way at an address that is gone end."""
        self.world.end_retired(error)

    # --- daemons -----------------------------------------------------------------------------------------------------

    @rule()
    def crash(self) -> None:
        """Let the daemon die; what only it knew is lost, and another takes over."""
        self.world.begin()

    @rule()
    def lose(self) -> None:
        """Let the daemon lose its leadership and win it back, with attempts under way."""
        self.world.lose()

    @rule()
    def regain(self) -> None:
        """Let the daemon lose its leadership and win it back before another has led."""
        self.world.regain()

    # --- what holds --------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """At the end all targets work again: all know what is true, and nothing is left to tell."""
        world = self.world
        world.deliver_all()
        assert len(world.outbox) == 0
        assert world.contents() == []
        for channel, fallback, alert in world.owed():
            assert world.memory[channel, alert].fires, f"{fallback} is owed the end of {alert}, which is over"
        for (label, channel), begun in world.books.begun.items():
            for alert, episode in begun.items():
                known = world.memory.get((channel, alert), Memory())
                assert (known.fires, known.episode) == (True, episode), f"{label} believes that {alert} fires"
        for channel, label in OWN:
            for (told, alert), known in world.memory.items():
                if told == channel:
                    self._check_own(label, channel, alert, known)

    def _check_own(self, label: str, channel: str, alert: str, known: Memory) -> None:
        books = self.world.books
        ended = known.episode - known.fires
        assert sorted(books.ends.get((label, channel), {}).get(alert, [])) == list(range(1, ended + 1))
        if known.fires and f"{label} {channel} {alert}" not in self.refused:
            assert books.begun[label, channel][alert] == known.episode


OutboxMachine.TestCase.settings = settings(max_examples=400, stateful_step_count=50, deadline=None)
TestOutbox = OutboxMachine.TestCase
