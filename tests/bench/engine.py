"""The engine alone, on one core, with events built beforehand."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

from alertd.collector import settle_memory
from alertd.config.schema import Rule, Ruleset, Settings
from alertd.engine.core import Engine
from alertd.model import EventKind, KeyEvent
from tests.bench import crowd
from tests.engine.story import PREFIX, instant, ruleset

ROUNDS = 5
BATCH = 500
Row = tuple[str, str, str]


def make_rules(number: int, services: int) -> list[Rule]:
    """Return rules of every common kind, each naming its own share of the services exactly."""
    conditions: list[dict[str, object]] = [
        {"when": {"instances": {"below": 2}}, "for": "30s"},
        {"when": {"instance": "down"}, "for": "45s"},
        {"when": {"instances": {"below": "50%"}}},
        {"when": {"instance": "down", "cause": ["failing"]}},
    ]
    share = max(1, services // number)
    rules = []
    for index in range(number):
        names = [f"s{(index * share + offset) % services:04}" for offset in range(share)]
        rules.append(Rule.model_validate({"name": f"r{index}", "service": names, **conditions[index % 4]}))
    return rules


def make_keys(instances: int, services: int) -> list[bytes]:
    """Return the keys of a cluster, its services interleaved."""
    return [
        f"/services/s{index % services:04}/10.0.{index // 250}.{index % 250}".encode() for index in range(instances)
    ]


def make_value(key: bytes) -> bytes:
    """Return a usual value, about 80 bytes."""
    name = key.rpartition(b"/")[2].decode()
    return f'{{"host": "core-{name}", "ipv4_addr": "{name}", "port": 8080, "zone": "eu"}}'.encode()


def start(rules: Ruleset, keys: Sequence[bytes]) -> Engine:
    """Return an engine that has judged its first listing."""
    engine = Engine(rules, PREFIX)
    engine.open_gap(instant(0))
    for begin in range(0, len(keys), 10_000):
        page = [KeyEvent(EventKind.FOUND, key, make_value(key), 7, 1) for key in keys[begin : begin + 10_000]]
        engine.feed(page, instant(0))
    engine.close_gap(instant(0))
    return engine


def feed_all(engine: Engine, events: Sequence[KeyEvent], at: float) -> float:
    """Feed events in batches as they come from a watch; return events/s."""
    began = perf_counter()
    for begin in range(0, len(events), BATCH):
        engine.feed(events[begin : begin + BATCH], instant(at))
    return len(events) / (perf_counter() - began)


def rates(instances: int, services: int, rules: int) -> tuple[float, float]:
    """Return (unchanged refreshes/s, transitions/s), each the median of rounds over all instances.

    The time of transitions includes the deadlines and notifications that follow from them.
    """
    keys = make_keys(instances, services)
    engine = start(
        ruleset(*make_rules(rules, services), group_wait="5s", group_interval="1m", settings=Settings()), keys
    )
    refreshes = [KeyEvent(EventKind.PUT, key, make_value(key), 7, 2 + n) for n, key in enumerate(keys)]
    down = [KeyEvent(EventKind.EXPIRE, key, b"", 7, 2 + n) for n, key in enumerate(keys)]
    settle_memory()
    refreshed, moved = [], []
    for turn in range(ROUNDS):
        at = 1000.0 * (turn + 1)
        refreshed.append(feed_all(engine, refreshes, at))
        began = perf_counter()
        feed_all(engine, down, at + 10)
        feed_all(engine, refreshes, at + 20)
        engine.advance(instant(at + 900))
        moved.append(2 * instances / (perf_counter() - began))
    gc.unfreeze()
    return median(refreshed), median(moved)


def floor(instances: int) -> float:
    """Return look-ups/s of a bare dict with a compare: what growth costs by caches alone."""
    keys = make_keys(instances, 1000)
    held = {key: make_value(key) for key in keys}
    asked = [KeyEvent(EventKind.PUT, key, make_value(key), 7, 2) for key in keys]
    settle_memory()
    found = []
    for _ in range(ROUNDS):
        began = perf_counter()
        for event in asked:
            if held.get(event.key) != event.value:
                raise AssertionError
        found.append(len(asked) / (perf_counter() - began))
    gc.unfreeze()
    return median(found)


def growth(of: Callable[[int], float]) -> float:
    """Return how much slower an event is with 1,000,000 instances than with 1,000."""
    return of(1_000) / of(1_000_000)


def run() -> list[Row]:
    """Return the rows of the table: what, figure, target."""
    refreshes, moves = rates(100_000, 1_000, 100)
    bare = growth(floor)
    grown = growth(lambda instances: rates(instances, min(1_000, instances // 10), 100)[0])
    few, many = rates(50_000, 5_000, 10)[1], rates(50_000, 5_000, 5_000)[1]
    return [
        (
            "engine: unchanged refreshes/s (100,000 instances, 1,000 services, 100 rules)",
            f"{refreshes:,.0f}",
            "≥ 1,000,000",
        ),
        ("engine: transitions/s (same)", f"{moves:,.0f}", "≥ 150,000"),
        (
            "engine: a refresh at 1,000,000 / at 1,000 instances, over the same of a bare dict",
            f"{grown / bare:.2f}",
            "≤ 1.5",
        ),
        ("engine: a transition with 5,000 / with 10 rules", f"{few / many:.2f}", "≤ 1.3"),
        *crowd.rows(),
    ]
