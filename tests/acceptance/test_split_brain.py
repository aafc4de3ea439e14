"""Active-passive senders that are cut off from the witness: both send, and the clean stream is unaffected."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path

import pytest

from sandbox.audit.auditor import audit, read_clean_hub, read_hub, read_journal
from sandbox.hub.stand_in import StandIn
from sandbox.peers.azurite import storage_connection_string
from sandbox.peers.links import Link
from sandbox.peers.processes import free_port
from sandbox.plant.server import Plant, PlantOptions
from tests.support import hub
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess
from tests.support.senders import Reading, SenderProcess, ask_until, readings_of, sources

NAMES = ("edge-1", "edge-2")
SENDING = ("active", "alone", "yielding", "standing-in")


def senders_now(senders: list[SenderProcess]) -> list[str]:
    statuses = [(sender.environment["EDGE_REPLICA"], sender.status()) for sender in senders]
    return [name for name, status in statuses if status is not None and status["role"] in SENDING]


def key_of(reading: Reading) -> tuple[str, int]:
    source, _, data = reading
    return source.rpartition(";s=")[2], data["sequence"]


async def sent(stand_in: StandIn) -> dict[tuple[str, int], set[str]]:
    """Which replicas have sent each reading."""
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for event in await read_hub(stand_in.connection_string("telemetry"), "$Default"):
        for reading in readings_of(event):
            found[key_of(reading)].add(hub.properties(event)["cloudEvents_replica"].decode())
    return found


@pytest.mark.timeout(300)
async def test_a_split_brain_costs_copies_and_nothing_else(
    stand_in: StandIn, azurite: str, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    port = int(azurite.partition("BlobEndpoint=http://127.0.0.1:")[2].partition("/")[0])
    links = {name: await Link("127.0.0.1", port).start() for name in NAMES}
    journal = tmp_path / "journal"
    plant = Plant(PlantOptions(free_port(), journal, machines=1, wait_for_subscribers=len(NAMES)))
    await plant.start()
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace)
    senders = [
        SenderProcess(
            tmp_path,
            name,
            stand_in.connection_string("telemetry"),
            sources(plant, "sequence"),
            EDGE_HA="active-passive",
            EDGE_WITNESS=f"{storage_connection_string(f'http://127.0.0.1:{links[name].port}')};ContainerName={namespace}",
            EDGE_OVERLAP_SECONDS="30",
        )
        for name in NAMES
    ]
    machines = asyncio.create_task(plant.run())
    try:
        await ask_until(lambda: len(senders_now(senders)) == 1, "nobody holds the lease")
        first = senders_now(senders)[0]
        other = next(name for name in NAMES if name != first)
        links[first].cut()  # the active sender loses the witness: it continues alone, and the other takes the lease
        await ask_until(lambda: len(senders_now(senders)) == 2, "the other sender does not take the lease")
        links[other].cut()  # and now both are alone
        await ask_until(
            lambda: all((s.status() or {}).get("role") == "alone" for s in senders), "the senders are not both alone"
        )
        start = time.time_ns()
        await asyncio.sleep(3)
        end = time.time_ns()
        alone = {(source, number) for (source, _, number), at in read_journal(journal).items() if start <= at < end}
        assert len(alone) > 50
        async with asyncio.timeout(DEADLINE_SECONDS):  # while both are alone, both send
            while (found := await sent(stand_in)) and any(found.get(key) != set(NAMES) for key in alone):
                await asyncio.sleep(0.5)
        links[first].mend()
        links[other].mend()
        await ask_until(lambda: len(senders_now(senders)) == 1, "both senders still send")
        await plant.halt()
        await machines
        await ask_until(
            lambda: all((s.status() or {"spool": {"readings": 1}})["spool"]["readings"] == 0 for s in senders),
            "the spools are not emptied",
        )
        emitted = read_journal(journal)
        async with asyncio.timeout(60):
            while len({key for key, _ in await read_clean_hub(stand_in.connection_string("clean"), "dedup")}) < len(emitted):
                await asyncio.sleep(0.5)
        verdict = audit(emitted, await read_clean_hub(stand_in.connection_string("clean"), "dedup"))
        assert (verdict.lost, verdict.clean_duplicates, verdict.unknown) == (0, 0, 0)
        assert len(await sent(stand_in)) == len(emitted)
    finally:
        for process in (*(sender.process for sender in senders), service.process):
            process.kill()
            process.wait()
        for link in links.values():
            await link.stop()
        await plant.stop()
