"""`python -m tests.bench [PART ...]`: measure, and print one table. Parts are the names in `PARTS`; none means all."""

from __future__ import annotations

import sys

from tests.bench import durable, engine, live, rest

PARTS = {
    "engine": engine.run,
    "throughput": live.throughput,
    "latency": live.latency,
    "start": live.start,
    "commands": live.commands,
    "mass": durable.mass,
    "outbox": durable.outbox,
    "takeover": durable.takeover,
    "rest": rest.rest,
}


def main() -> None:
    """Measure the parts named, or all."""
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        sys.exit(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}")
    print("| what | measured | target |\n|---|---|---|")
    for name in wanted:
        for what, figure, target in PARTS[name]():
            print(f"| {what} | {figure} | {target} |", flush=True)


if __name__ == "__main__":
    main()
