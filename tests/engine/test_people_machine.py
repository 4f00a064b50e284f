"""The right people, once: the engine with routes, mutes, acknowledgements and storms under random stories.

Whatever comes in whatever order: per channel a firing is told once until its end is told; nothing goes out of what is
muted, and no reminder of what somebody has taken on; `muted` always says what holds; and when all has come to rest,
each channel was told last what is true, and somebody was told of all that fires and nothing mutes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from alertd.config.schema import Channel, Settings
from alertd.model import AlertState, Match, Silence
from alertd.window import Window
from tests.engine import story as stories
from tests.engine.machine import FORGET_AFTER, NAMES, RULES, Cluster
from tests.engine.witness import View, Witness

WINDOWS = {"often": Window("*/10 * * * *", 180), "seldom": Window("0 */6 * * *", 3600)}
MATCHES: tuple[dict[str, str], ...] = (
    {"service": "apache"},
    {"service": "p*"},
    {"instance": "a"},
    {"rule": "r0"},
    {"severity": "critical"},
    {"zone": "eu"},
    {"rule": "r1", "service": "apache"},
)
MATCH = st.sampled_from(MATCHES)
NOT = st.sampled_from([{}, {}, {"instance": "b"}, {"zone": "us"}])
DURING = st.sampled_from([(), (), (), ("often",)])
CHANNELS = ("ops", "mail", "boss", "ceo")
STEPS = (
    (),
    ({"after": "33s", "channels": ["boss"]},),
    ({"after": "20s", "channels": ["boss"]}, {"after": "90s", "channels": ["ceo", "boss"]}),
)
TIMES = {
    "group_wait": st.sampled_from(["0s", "5s", "20s"]),
    "group_interval": st.sampled_from(["0s", "30s"]),
    "repeat_interval": st.sampled_from(["47s", "300s", "999d"]),
    "group_by": st.sampled_from([("rule", "service"), ("service",), (), ("zone",), ("rule", "instance")]),
    "escalate": st.sampled_from(STEPS),
}
ROUTES = st.tuples(
    st.lists(
        st.builds(
            stories.route,
            match=st.one_of(MATCH, st.just({"cause": "expired"})),
            not_=NOT,
            during=DURING,
            channels=st.sampled_from([None, ("ops",), ("mail",), ("mail", "boss")]),
            continue_=st.booleans(),
            **TIMES,
        ),
        max_size=3,
    ),
    st.builds(stories.default_route, channels=st.sampled_from([None, ("ops",)]), **TIMES),
).map(lambda parts: (*parts[0], parts[1]))
INHIBITIONS = st.lists(
    st.builds(
        lambda if_, mute, equal: stories.inhibition(if_, mute, *equal),
        MATCH,
        MATCH,
        st.sampled_from([(), ("service",), ("zone",), ("service", "instance")]),
    ),
    max_size=2,
).map(tuple)


def make_silence(
    number: int, match: dict[str, str], unless: dict[str, str], until: float | None, names: tuple[str, ...]
) -> Silence:
    """Return a silence; without an end it lasts while a window is open."""
    end = None if until is None else stories.instant(until).wall
    meant = Match({key: (text,) for key, text in match.items()}, {key: (text,) for key, text in unless.items()})
    return Silence(f"code{number}", meant, end, names if until else ("often",), source=f"x.yaml:{number}")


CODED = st.lists(
    st.builds(make_silence, st.integers(0, 1), MATCH, NOT, st.sampled_from([None, 60, 500, 3000]), DURING),
    max_size=2,
    unique_by=lambda silence: silence.id,
).map(tuple)
SETUP = st.fixed_dictionaries(
    {
        "routes": ROUTES,
        "inhibit": INHIBITIONS,
        "silences": CODED,
        "storm": st.sampled_from([{"above": 1000}, {"above": 1, "within": "30s"}, {"above": 2, "within": "10s"}]),
        "resolve_muted": st.booleans(),
        "spared": st.sampled_from([(), (), ("mail",), ("ops", "boss")]),
        "absent": st.sampled_from([(), (), (), ("mail",)]),
    }
)


def fields_of(setup: dict[str, Any]) -> dict[str, Any]:
    """Return what a story takes for a random setup; no route names a channel that is not there."""
    given = {"flap": False, "forget_after": FORGET_AFTER, "storm": setup["storm"]}
    there = [name for name in CHANNELS if name not in setup["absent"]]

    def known(route: Any) -> Any:
        channels = route.channels and tuple(name for name in route.channels if name in there)
        return route.model_copy(update={"channels": channels or None})

    return {
        "routes": tuple(map(known, setup["routes"])),
        "inhibit": setup["inhibit"],
        "silences": setup["silences"],
        "windows": WINDOWS,
        "settings": Settings.model_validate({**given, "resolve_muted": setup["resolve_muted"]}),
        "channels": {name: Channel(send_resolved=name not in setup["spared"]) for name in there},
    }


class People(Cluster):
    """One engine with random routes and mutes, random events, and people who silence and acknowledge."""

    @initialize(rules=RULES, setup=SETUP)
    def start(self, rules: Any, setup: dict[str, Any]) -> None:
        """Begin with one instance up, and tell of new ones."""
        self.laws, self.fields = rules, fields_of(setup)
        self.ledger.spared |= set(setup["spared"])
        note(f"rules: {rules}\nfields: {self.fields}")
        self.story = stories.Story(*rules, up=("apache/a",), make=Witness, **self.fields)
        self.present["apache/a"] = b""

    # --- what can happen ---------------------------------------------------------------------------------------------

    @rule(
        rules=st.none() | RULES, setup=SETUP, parts=st.sets(st.sampled_from(["routes", "inhibit", "silences", "rest"]))
    )
    def reload(self, rules: Any, setup: dict[str, Any], parts: set[str]) -> None:
        """Change the rules, the routes, what mutes, or the channels and settings."""
        fresh = fields_of(setup)
        if parts >= {"rest", "routes"}:
            parts = parts | {"settings", "channels"}
        elif "routes" in parts and fresh["channels"].keys() != self.fields["channels"].keys():
            parts = parts - {"routes"}
        self.laws = rules or self.laws
        self.fields = {name: fresh[name] if name in parts else value for name, value in self.fields.items()}
        note(f"rules: {self.laws}\nfields: {self.fields}")
        self.told_in_pairs()
        self.ledger.spared |= {name for name, each in self.fields["channels"].items() if not each.send_resolved}
        self.story.reload(*self.laws, **self.fields)
        self.told_in_pairs()
        self.ledger.strike(self.fields["channels"])

    @rule(
        number=st.integers(0, 2),
        match=MATCH,
        lasts=st.sampled_from([30, 100, 400]),
        during=DURING,
        until_resolved=st.booleans(),
    )
    def silence(self, number: int, match: dict[str, str], lasts: float, during: Any, until_resolved: bool) -> None:  # noqa: FBT001
        """Silence something."""
        until = self.story.now.wall + timedelta(seconds=lasts)
        meant = Match({key: (text,) for key, text in match.items()})
        silence = Silence(f"s{number}", meant, until, during, until_resolved)
        self.story.actions += self.story.engine.silence(silence, self.story.now)

    @rule(number=st.integers(0, 2))
    def lift(self, number: int) -> None:
        """End a silence."""
        self.story.lift(f"s{number}")

    @rule(pick=st.integers(0, 9), lasts=st.sampled_from([40, 200]))
    def ack(self, pick: int, lasts: float) -> None:
        """Take on an alert."""
        targets = sorted(self.story.alerts)
        if targets:
            self.story.ack(targets[pick % len(targets)], seconds=lasts)

    @rule(pick=st.integers(0, 9))
    def unack(self, pick: int) -> None:
        """Take it back."""
        targets = sorted(self.story.alerts)
        if targets:
            self.story.unack(targets[pick % len(targets)])

    @rule(name=st.sampled_from(NAMES), whole=st.booleans())
    def forget(self, name: str, whole: bool) -> None:  # noqa: FBT001
        """Forget an instance, or all of a service's, that are gone."""
        service, instance = name.split("/")
        self.story.forget(service, None if whole else instance)

    @rule(by=st.sampled_from([-7200, -90, 45, 900, 86400]))
    @precondition(lambda self: not self.has_gap)
    def step_wall(self, by: float) -> None:
        """Set the wall clock; it is seen within a minute."""
        self.story.step_wall(by)
        for seconds in (0, 61):
            self.wait(seconds)
            self.story.actions += self.story.engine.advance(self.story.now)

    # --- what must hold ----------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Come to rest, and then to peace: without silences and inhibitions nothing is kept back."""
        if not self.may_rest:
            return
        if self.has_gap:
            self.synced()
        for number in range(3):
            self.lift(number)
        self.rest()
        self.fields |= {"inhibit": (), "silences": ()}
        self.story.reload(*self.laws, **self.fields)
        self.rest()
        unsettled = {key for key in self.ledger.flapping if key[0] not in self.ledger.spared}
        assert not unsettled, f"a flapping was never settled: {unsettled}"

    def rest(self) -> None:
        """Wait until all is told that is to be told: at most the waits of all that may follow one another."""
        self.wait(131)
        for _ in range(9):
            self.told_in_pairs()
            if not self.what_is_wrong():
                break
            self.wait(37)
        wrong = self.what_is_wrong()
        assert not wrong, wrong

    def what_is_wrong(self) -> str:
        """Return how what was told last differs from what is true."""
        view = View.of(self.story.engine, self.truth, self.story.now.wall)
        firing = {key for key, alert in view.alerts.items() if alert.state is AlertState.FIRING}
        muted = set(view.muted())
        kept_back = (
            bool(self.fields["inhibit"] or self.fields["silences"]) and not self.fields["settings"].resolve_muted
        )
        told = {key for key in self.ledger.firing if key[0] not in self.ledger.spared}
        stale = {key for key in told if key[1] not in firing}
        if stale and not kept_back:
            return f"still told as firing: {stale}"
        untold = firing - muted - {alert_id for _, alert_id in self.ledger.firing | self.ledger.flapping}
        return f"nobody was told of {[view.alerts[key].target for key in untold]}" if untold else ""

    @property
    def truth(self) -> Any:
        """What the witness knows."""
        return self.story.engine.truth  # type: ignore[attr-defined]


TestPeople = People.TestCase
TestPeople.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
