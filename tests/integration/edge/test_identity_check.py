"""Which identity strategies suit a plant that stamps each subscription separately, with 10 % jitter."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from edge_sender.bootstrap import make_sender
from edge_sender.config.settings import load
from edge_sender.identity.judging import Problem
from sandbox.peers.processes import free_port
from sandbox.plant.server import Plant, PlantOptions
from sandbox.plant.sources import PACES, QUANTITIES
from sandbox.plant.stamping import Stamping
from tests.doubles.uplink import ListUplink
from tests.support.senders import sources, until

CHECK_SECONDS = 8
BUCKETS = ",".join(f"*/{name}=time-bucket:{1 / pace}" for name, pace in zip(QUANTITIES, PACES, strict=True))
VIBRATION = ",".join(f"*press-{n}/vibration=time-bucket:{1 / pace}" for n, pace in enumerate((20, 20, 10, 10), start=1))
RULES = {"source-time": "source-time", "time-bucket": f"{VIBRATION},{BUCKETS}", "sequence": "sequence", "content": "content"}
MATCHED_SHARE = 0.999


@pytest.mark.parametrize("identity", RULES)
async def test_the_check_of_one_replica_predicts_whether_the_ids_of_two_agree(tmp_path: Path, identity: str) -> None:
    plant = Plant(PlantOptions(free_port(), stamping=Stamping(phase=0.0, jitter=0.1), wait_for_subscribers=2, seed=3))
    await plant.start()
    uplinks = [ListUplink(), ListUplink()]
    senders = []
    for uplink, check_seconds in zip(uplinks, (CHECK_SECONDS, 0), strict=True):
        settings = load(
            sources=sources(plant, RULES[identity]),
            spool_path="memory",
            http_port=0,
            identity_check_seconds=check_seconds,
            batch_max_readings=50,
        )
        senders.append(make_sender(settings, settings.sources_document(), uplink))
    stop = asyncio.Event()
    check = senders[0].sources[0].check
    assert check is not None
    running = [asyncio.create_task(senders[0].run(stop, check.run())), asyncio.create_task(senders[1].run(stop))]
    machines = asyncio.create_task(plant.run())
    await until(lambda: check.unjudged is None, "the check does not end", 60)
    await plant.halt()
    await machines
    await until(lambda: all(s.counters.readings.total() >= plant.emitted for s in senders), "readings are missing")
    stop.set()
    await asyncio.gather(*running)
    await plant.stop()

    one, two = (uplink.ids() for uplink in uplinks)
    matched = sum(two[key] == reading_id for key, reading_id in one.items()) / len(one)
    problems = Counter(finding.problem for verdict in check.verdicts for finding in verdict.findings)
    merged: dict[tuple[str, str], int] = defaultdict(int)
    for (source, _), reading_id in one.items():
        merged[source, reading_id] += 1
    assert len(one) == len(two) == plant.emitted > 500
    assert max(merged.values()) == 1  # no two readings of a source share an id
    if identity == "source-time":
        assert matched < 0.1
        assert problems[Problem.NOT_DETERMINISTIC] > 0
    else:
        assert matched >= MATCHED_SHARE
        assert not problems
