"""The service beside what else deduplicates the same log: how much CPU each takes, and what five SIGKILLs do to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial

from benchmarks.baselines import loop, running_process
from benchmarks.draining import drain
from benchmarks.events import Load, input_log
from benchmarks.kills import KILLED, NAIVE, NATS, SERVICE, Harm, harm
from benchmarks.peer_stage import options, running_nats
from benchmarks.results import Cell, Section
from benchmarks.rounds import Measured, Round, Took, alternate
from benchmarks.stage import Hub, Log, Server, running_hub, running_valkey

LOADS = {"single readings": Load(40_000), "batches of 20": Load(200_000, batch=20)}
RECEIVE, FORWARD = "bare receive loop", "bare receive → send loop"


async def naive(log: Log, redis: Server, way: str) -> Took:
    redis.clear()
    async with running_hub(len(log)) as hub:
        with options(hub, redis) as variables:
            return await _measured(hub, log, ["benchmarks.naive", way], variables, redis.cpu)


async def jetstream(log: Log, redis: Server, program: str) -> Took:
    async with running_hub(len(log)) as hub, running_nats(program) as nats:
        with options(hub, redis, nats) as variables:
            return await _measured(hub, log, ["benchmarks.jetstream"], variables, nats.cpu)


async def _measured(
    hub: Hub, log: Log, command: list[str], variables: dict[str, str], store_cpu: Callable[[], float]
) -> Took:
    async with running_process(command, variables) as peer:
        hub.fill(log)
        before = store_cpu()
        peer.begin()
        took = await peer.took()
        return Took(took.events, took.seconds, took.cpu, store_cpu() - before)


async def peers(rounds: int) -> Section:
    section = Section(
        "Peers: the same log, three copies of each reading",
        "CPU per copy, alternating, medians; store: Redis, or the NATS server, which also holds the clean stream. Five "
        f"SIGKILLs of the process at work on {KILLED.readings:,} single readings: how many of them are lost, and how many "
        "are in the clean stream more than once.",
        ["", "CPU µs", "store µs", "together", "copies/s", "÷ receive", "÷ send", "lost", "doubled"],
    )
    program = shutil.which("nats-server")
    if program is None:
        section.conditions += " NATS was not measured: nats-server is not installed."
    with running_valkey() as redis:
        done = await harm(redis, program)
        for name, load in LOADS.items():
            log = input_log(load)
            ways: dict[str, Round] = {
                RECEIVE: partial(loop, "receive", log),
                FORWARD: partial(loop, "forward", log),
                SERVICE: partial(drain, log, redis),
                **{naive_name: partial(naive, log, redis, way) for naive_name, way in NAIVE.items()},
            }
            if program is not None:
                ways[NATS] = partial(jetstream, log, redis, program)
            results = await alternate(ways, load.copies / sum(map(len, log.values())), rounds)
            section.rows += [_row(name, way, results, done if load.batch == 1 else {}) for way in ways]
    return section


def _row(load: str, way: str, results: dict[str, Measured], done: dict[str, Harm]) -> list[Cell]:
    measured, has_store = results[way], way not in (RECEIVE, FORWARD)
    cpu, store = measured.cpu_us(), measured.redis_cpu_us() if has_store else 0.0
    lost, doubled = done.get(way, (None, None))
    together = cpu + store
    ratios = [together / results[base].cpu_us() for base in (RECEIVE, FORWARD)]
    return [f"{load}: {way}", cpu, store if has_store else None, together, measured.rate(), *ratios, lost, doubled]
