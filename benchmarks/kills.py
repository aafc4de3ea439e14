"""What five SIGKILLs do to the service and to its peers: readings that are lost, and readings that are there twice."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from benchmarks.baselines import running_process
from benchmarks.events import Load, input_log
from benchmarks.jetstream import STREAM, Nats
from benchmarks.peer_stage import options, running_nats
from benchmarks.stage import (
    DEADLINE_SECONDS,
    POLL_SECONDS,
    Hub,
    Log,
    Server,
    environment,
    running_hub,
    start_service,
    until_shared,
)
from dedup_service.adapters.eventhubs.below_sdk.decoding import decode

KILLED = Load(20_000)
KILLS, LOOK_SECONDS = 5, 0.005
SERVICE, NATS = "dedup-service", "NATS JetStream"
NAIVE = {"naive consumer": "single", "naive consumer, pipelined": "pipelined"}
"""The ways to ask Redis, by name."""

Harm = tuple[int, int]
"""How many readings are lost, and how many are in the clean stream more than once."""


def harm_of(load: Load, found: Counter[str]) -> Harm:
    return load.readings - len(found), sum(1 for times in found.values() if times > 1)


def clean_ids(hub: Hub) -> Counter[str]:
    found: Counter[str] = Counter()
    for partition in hub.stand_in.namespace.hubs["clean"].partitions:
        for entry in partition.entries:
            event = decode(partition.id, entry.message, 0, len(entry.message))
            single = event.application_properties.get("cloudEvents_id")
            found.update([single] if single else [item["id"] for item in json.loads(event.body)])
    return found


async def killed_peer(
    load: Load, command: list[str], variables: dict[str, str], progress: Callable[[], Awaitable[int]]
) -> None:
    """Kills it each time a seventh more of the readings is claimed or stored, and lets the last one finish."""
    for number in range(1, KILLS + 1):
        async with running_process(command, variables) as peer:
            peer.begin()
            while await progress() < number * load.readings // (KILLS + 2):
                await asyncio.sleep(LOOK_SECONDS)
    async with running_process(command, variables) as peer:
        peer.begin()
        await peer.took()


async def kill_naive(load: Load, log: Log, redis: Server, way: str) -> Harm:
    redis.clear()
    async with running_hub(len(log)) as hub:
        hub.fill(log)

        async def claimed() -> int:
            return redis.keys()

        with options(hub, redis) as variables:
            await killed_peer(load, ["benchmarks.naive", way], variables, claimed)
        return harm_of(load, clean_ids(hub))


async def kill_jetstream(load: Load, log: Log, redis: Server, program: str) -> Harm:
    async with running_hub(len(log)) as hub, running_nats(program) as nats:
        hub.fill(log)
        asking = await Nats.connect(nats.port)

        async def state(name: str) -> int:
            return int((await asking.ask(f"STREAM.INFO.{STREAM}", {}))["state"].get(name, 0))

        with options(hub, redis, nats, by_key=True) as variables:
            await killed_peer(load, ["benchmarks.jetstream"], variables, partial(state, "messages"))
        distinct, stored = await state("num_subjects"), await state("messages")
        await asking.close()
        return load.readings - distinct, stored - distinct


async def kill_service(load: Load, log: Log, redis: Server) -> Harm:
    redis.clear()
    with tempfile.TemporaryDirectory() as folder:
        async with running_hub(len(log)) as hub:
            hub.fill(log)
            variables = environment(hub, redis.url, Path(folder), {})
            for number in range(1, KILLS + 1):
                service = await start_service(variables)
                while hub.published() < number * load.readings // (KILLS + 2):
                    await asyncio.sleep(LOOK_SECONDS)
                await service.kill()
            service = await start_service(variables)
            await until_shared([service], len(log))
            while hub.published() < load.readings or await service.metric("dedup_partition_lag_seconds"):
                await asyncio.sleep(POLL_SECONDS)
            await service.kill()
            return harm_of(load, clean_ids(hub))


async def harm(redis: Server, program: str | None) -> dict[str, Harm]:
    log = input_log(KILLED)
    async with asyncio.timeout(len(NAIVE) * DEADLINE_SECONDS):
        found = {SERVICE: await kill_service(KILLED, log, redis)}
        for name, way in NAIVE.items():
            found[name] = await kill_naive(KILLED, log, redis, way)
        if program is not None:
            found[NATS] = await kill_jetstream(KILLED, log, redis, program)
    return found
