"""Whether throughput holds when the window, partitions, replicas or bodies grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from benchmarks.draining import drain
from benchmarks.events import Load, input_log
from benchmarks.results import Curve, Section, at_least
from benchmarks.rounds import Measured, Round, Took, alternate
from benchmarks.stage import Log, Server, running_valkey

BASE = Load(40_000)
CLAIMS = (10_000, 1_000_000, 5_000_000)
PARTITIONS, REPLICAS, BODIES = (1, 4, 32), (2, 3, 5), (100, 4096)
COLUMNS = ["", "CPU µs/copy", "copies/s", "copies/s ÷ first row", "Redis CPU µs", "cores used"]


async def growth(rounds: int) -> list[Section]:
    with running_valkey() as redis:
        return [
            await claims_in_the_window(redis, rounds),
            await _grow("partitions", redis, rounds, [(n, replace(BASE, partitions=n)) for n in PARTITIONS]),
            await _grow("replicas", redis, rounds, [(n, replace(BASE, replicas=n, partitions=8)) for n in REPLICAS]),
            await _grow("bytes of a body", redis, rounds, [(n, replace(BASE, body_bytes=n)) for n in BODIES]),
        ]


async def claims_in_the_window(redis: Server, rounds: int) -> Section:
    log = input_log(BASE)
    configurations: dict[str, Round] = {str(n): partial(_drain_with, log, redis, n) for n in CLAIMS}
    results = await alternate(configurations, 1.0, rounds)
    section = _section("claims in the window", CLAIMS, results)
    smallest, largest = results[str(CLAIMS[0])], results[str(CLAIMS[-1])]
    section.targets.append(
        at_least("copies/s with 5 million claims ÷ with 10 thousand", 0.9, largest.rate() / smallest.rate())
    )
    return section


async def _drain_with(log: Log, redis: Server, claims: int) -> Took:
    return await drain(log, redis, claims_before=claims)


async def _grow(what: str, redis: Server, rounds: int, loads: Sequence[tuple[int, Load]]) -> Section:
    logs = {n: input_log(load) for n, load in loads}
    configurations: dict[str, Round] = {str(n): partial(drain, log, redis) for n, log in logs.items()}
    return _section(what, [n for n, _ in loads], await alternate(configurations, 1.0, rounds))


def _section(what: str, values: Sequence[int], results: dict[str, Measured]) -> Section:
    title = f"Growth: {what}"
    section = Section(
        title,
        "Single readings; three replicas, 100-byte bodies and 4 partitions unless stated; 8 partitions for 2 to 5 replicas.",
        [what, *COLUMNS[1:]],
    )
    for value in values:
        measured = results[str(value)]
        ratio = measured.rate() / results[str(values[0])].rate()
        section.rows.append(
            [float(value), measured.cpu_us(), measured.rate(), ratio, measured.redis_cpu_us(), measured.busy()]
        )
    rates = {"copies per second": [results[str(value)].rate() for value in values]}
    name = what.replace(" ", "-")
    section.curves.append(Curve(name, title, what, "copies/s", list(values), rates, logarithmic=True))
    return section
