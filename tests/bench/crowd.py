"""What one more alert costs the engine where much fires already, and much routes, silences and inhibits."""

from __future__ import annotations

import gc
from datetime import timedelta
from statistics import median
from time import perf_counter

from alertd.collector import settle_memory
from alertd.config.schema import Channel, Inhibition, Route, Ruleset
from alertd.engine.core import Engine
from alertd.model import Ack, EventKind, KeyEvent, Match, Silence
from tests.engine.story import EPOCH, PREFIX, inhibition, instant, route, rule, ruleset

SERVICES = 1_000
PROBES = 1_000
VALUE = b'{"rack": "r7", "host": "core01"}'
TIMES = {"group_wait": "5s", "group_interval": "1m"}


def make_routes(number: int) -> tuple[Route, ...]:
    """Return routes by label and by glob, none of which is taken, and the default one."""
    matches = [{"team": f"t{n}"} if n % 2 else {"service": f"shop{n}-*"} for n in range(number - 1)]
    return (*(route(match=match, channels="ops", **TIMES) for match in matches), route(default=True, **TIMES))


def make_silences(number: int) -> tuple[Silence, ...]:
    """Return silences of an instance, of a label, and one in ten of a glob; none matches."""

    def match(n: int) -> dict[str, tuple[str, ...]]:
        if n % 10 == 0:
            return {"service": (f"db{n}-*",)}
        return {"service": (f"shop{n}",), "instance": ("a",)} if n % 2 else {"rule": ("lost",), "rack": (f"k{n}",)}

    end = EPOCH + timedelta(days=30)
    return tuple(Silence(f"s{n}", Match(match(n)), end, source=f"x.yaml:{n}") for n in range(number))


def make_inhibitions(number: int) -> tuple[Inhibition, ...]:
    """Return inhibitions of the rule that fires, by other rules that do not."""
    return tuple(inhibition({"rule": f"few{n}"}, {"rule": "lost", "rack": f"k{n}"}, "service") for n in range(number))


def start(rules: Ruleset, names: list[str], firing: int) -> Engine:
    """Return an engine that knows of instances, all of which have been lost once, and of which the first still are."""
    engine = Engine(rules, PREFIX)
    engine.open_gap(instant(0))
    engine.feed([event(EventKind.FOUND, name, 1) for name in names], instant(0))
    engine.close_gap(instant(0))
    engine.feed([event(EventKind.EXPIRE, name, 2) for name in names], instant(10))
    engine.advance(instant(100))
    engine.feed([event(EventKind.PUT, name, 3) for name in names[firing:]], instant(200))
    engine.advance(instant(900))
    return engine


def event(kind: EventKind, name: str, revision: int) -> KeyEvent:
    """Return an event of an instance."""
    return KeyEvent(kind, PREFIX + name.encode(), b"" if kind is EventKind.EXPIRE else VALUE, 7, revision)


def time_one(engine: Engine, names: list[str]) -> float:
    """Return the median microseconds from a loss to its alert, judged, muted or not, and in its groups."""
    events = [[event(EventKind.EXPIRE, name, 10 + n)] for n, name in enumerate(names)]
    now = instant(1000)
    settle_memory()
    took = []
    for batch in events:
        began = perf_counter()
        engine.feed(batch, now)
        took.append(perf_counter() - began)
    gc.unfreeze()
    return median(took) * 1e6


def judged_among(firing: int) -> float:
    """Return the microseconds of one more alert beside `firing`, 100 routes, 1,000 silences and 200 inhibitions."""
    names = [f"s{n % SERVICES:04}/i{n}" for n in range(firing)] + [f"p{n:04}/a" for n in range(PROBES)]
    rules = ruleset(
        rule("lost", "*"),
        routes=make_routes(100),
        silences=make_silences(1_000),
        inhibit=make_inhibitions(200),
        channels={"ops": Channel(), "mail": Channel()},
    )
    engine = start(rules, names, firing)
    if engine.counts["alerts"] != firing:
        raise AssertionError
    return time_one(engine, names[firing:])


def judged_against(inhibiting: int) -> float:
    """Return the microseconds of one more alert that an inhibition mutes, on whose other side `inhibiting` stand."""
    names = [f"s{n:05}/a" for n in range(inhibiting)] + [f"s{n * 7 % inhibiting:05}/b{n}" for n in range(PROBES)]
    rules = ruleset(
        rule("few", "*", when={"instances": {"above": 0}}),
        rule("lost", "*"),
        inhibit=(inhibition({"rule": "few"}, {"rule": "lost"}, "service"),),
        **TIMES,
    )
    names += [f"s{n:05}/c" for n in range(inhibiting)]
    engine = start(rules, names, 0)
    if engine.counts["alerts"] != inhibiting:
        raise AssertionError
    took = time_one(engine, names[inhibiting : inhibiting + PROBES])
    if sum(alert.muted is not None for alert in engine.alerts()) != PROBES:
        raise AssertionError
    return took


def taken_on(number: int, firing: int) -> tuple[float, float]:
    """Return the seconds that `number` acknowledgements take beside `firing` alerts, and a fifth as many silences.

    Each ends at another time; a silence is of one service, and matches the alerts of that.
    """
    names = [f"s{n % SERVICES:04}/i{n}" for n in range(firing)]
    engine = start(ruleset(rule("lost", "*"), **TIMES), names, firing)
    now = instant(1000)
    acks = [
        Ack(alert_id, "ann", "", now.wall, now.wall + timedelta(hours=8, seconds=n))
        for n, alert_id in enumerate(list(engine.alert_ids())[:number])
    ]
    silences = [
        Silence(f"s{n}", Match({"service": (f"s{n % SERVICES:04}",)}), now.wall + timedelta(hours=8, seconds=n))
        for n in range(number // 5)
    ]
    settle_memory()
    began = perf_counter()
    for ack in acks:
        engine.acknowledge(ack, now)
    between = perf_counter()
    for silence in silences:
        engine.silence(silence, now)
    ended = perf_counter()
    gc.unfreeze()
    if sum(alert.acknowledged is not None for alert in engine.alerts()) != number:
        raise AssertionError
    return between - began, ended - between


def rows() -> list[tuple[str, str, str]]:
    """Return the rows of the table: what, figure, target."""
    few, many = judged_among(100), judged_among(10_000)
    acks, silences = taken_on(5_000, 10_000)
    return [
        (
            "engine: one more alert, p50 (10,000 fire, 100 routes, 1,000 silences, 200 inhibitions)",
            f"{many:.0f} µs",
            "≤ 50 µs",
        ),
        ("engine: the same with 10,000 / with 100 that fire", f"{many / few:.2f}", "about 1"),
        (
            "engine: one more alert, muted, p50 (1 inhibition, 10,000 inhibiting)",
            f"{judged_against(10_000):.0f} µs",
            "≤ 104 µs",
        ),
        ("engine: 5,000 acknowledgements (10,000 fire)", f"{acks:.2f} s", "≤ 0.5 s"),
        ("engine: 1,000 silences of a service each (10,000 fire)", f"{silences:.2f} s", "≤ 0.5 s"),
    ]
