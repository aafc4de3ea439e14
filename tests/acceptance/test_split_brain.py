"""Active-passive, cut from each other and from the witness: both send, and the clean stream shows nothing of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from sandbox.azurite import storage_connection_string
from sandbox.demo.auditor import audit, read_clean_hub, read_journal
from sandbox.drill.links import Link
from sandbox.plant.server import Plant, PlantOptions
from sandbox.processes import free_port
from sandbox.server import StandIn
from tests.support import hub
from tests.support.processes import ServiceProcess
from tests.support.senders import SenderProcess, readings_of, sources, until

NAMES = ("edge-1", "edge-2")
SENDING = ("active", "alone", "yielding")


def senders_now(senders: list[SenderProcess]) -> list[str]:
    found = [(sender.environment["EDGE_REPLICA"], sender.status()) for sender in senders]
    return [name for name, status in found if status is not None and status["role"] in SENDING]


def spooled(sender: SenderProcess) -> int | None:
    status = sender.status()
    return None if status is None else int(status["spool"]["readings"])


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
        await until(lambda: len(senders_now(senders)) == 1, "nobody holds the lease")
        first = senders_now(senders)[0]
        other = next(name for name in NAMES if name != first)
        links[first].cut()  # the one that sends loses the witness: it goes on alone, and the other takes the lease
        await until(lambda: len(senders_now(senders)) == 2, "the other one does not take the lease")
        links[other].cut()  # and now both are alone
        both = [(sender.status() or {})["role"] for sender in senders]
        assert sorted(both) in (["active", "alone"], ["alone", "alone"])
        await asyncio.sleep(3)
        links[first].mend()
        links[other].mend()
        await until(lambda: len(senders_now(senders)) == 1, "they do not agree again")
        await plant.halt()
        await machines
        await until(
            lambda: all((s.status() or {"spool": {"readings": 1}})["spool"]["readings"] == 0 for s in senders), "spools"
        )
        emitted = read_journal(journal)
        async with asyncio.timeout(60):
            while len({key for key, _ in await read_clean_hub(stand_in.connection_string("clean"), "dedup")}) < len(emitted):
                await asyncio.sleep(0.5)
        verdict = audit(emitted, await read_clean_hub(stand_in.connection_string("clean"), "dedup"))
        assert (verdict.lost, verdict.clean_duplicates, verdict.unknown) == (0, 0, 0)
        service.process.kill()  # nobody else may read where it reads
        service.process.wait()
        sent = Counter(i for e in await hub.read_all(stand_in.connection_string("telemetry")) for _, i, _ in readings_of(e))
        assert max(sent.values()) >= 2  # there was a time with two senders
        assert len(sent) == len(emitted)
    finally:
        for process in (*(sender.process for sender in senders), service.process):
            process.kill()
            process.wait()
        for link in links.values():
            await link.stop()
        await plant.stop()
