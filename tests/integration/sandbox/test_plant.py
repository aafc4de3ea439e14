"""The plant as servers in the field are: a redundant pair, samples for each subscription, machines that drop out."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from sandbox.audit.auditor import read_journal
from sandbox.peers.processes import free_port
from sandbox.plant.machine_server import NAMESPACE_URI
from sandbox.plant.server import APPLICATION_URI, Plant, PlantOptions
from sandbox.plant.sources import BAD_NO_COMMUNICATION
from sandbox.plant.stamping import Stamping
from tests.support.plc import Reading, reading
from tests.support.senders import until

READ = {"namespace_uri": NAMESPACE_URI, "payload": "json"}
PAIR = {**READ, "server_uri": APPLICATION_URI}


@asynccontextmanager
async def running(**given: Any) -> AsyncIterator[Plant]:
    plant = Plant(PlantOptions(free_port(), machines=1, **given))
    await plant.start()
    emitting = asyncio.create_task(plant.run())
    try:
        yield plant
    finally:
        await plant.halt()
        await emitting
        await plant.stop()


def telegrams(gateway: Reading) -> dict[tuple[str, int], tuple[int | None, float]]:
    """Time and value by source and counter."""
    return {
        (sample.source, sample.data["sequence"]): (sample.time_ns, sample.data["value"])
        for sample in gateway.intake.samples
        if sample.data.get("sequence") is not None
    }


async def test_two_gateways_of_a_pair_lose_nothing_when_its_first_server_goes_away_and_comes_back(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with (
        running(second_port=free_port(), journal=journal, wait_for_subscribers=2) as plant,
        reading(*plant.endpoints, **PAIR) as one,
        reading(*plant.endpoints[::-1], **PAIR) as two,
    ):
        await until(lambda: len(telegrams(one)) > 20 and len(telegrams(two)) > 20, "nothing is emitted")
        assert [gateway.source.place for gateway in (one, two)] == plant.endpoints
        restarting = asyncio.create_task(plant.restart_first(away_seconds=1))
        await until(lambda: one.source.is_up and one.source.place == plant.endpoints[1], "it does not fail over")
        await restarting
        before = len(telegrams(one))
        await until(lambda: len(telegrams(one)) > before + 20, "it is not read any more")
        await plant.halt()
        emitted = {(source, number) for source, _, number in read_journal(journal)}
        seen = [{(uri.rpartition("=")[2], number) for uri, number in telegrams(gateway)} for gateway in (one, two)]
        await until(lambda: len(telegrams(two)) == len(emitted), "the other gateway has lost readings")
        assert two.source.place == plant.endpoints[1]
        assert {uri.partition("#")[0] for uri, _ in telegrams(one) | telegrams(two)} == {APPLICATION_URI}
        assert seen[0] <= emitted
        assert dict(one.tally.fail_overs) == {"unreachable": 1}
        shared = telegrams(one).keys() & telegrams(two).keys()
        assert all(telegrams(one)[key] == telegrams(two)[key] for key in shared)


async def test_a_server_that_samples_for_each_subscription_gives_two_gateways_other_times_and_values() -> None:
    async with (
        running(stamping=Stamping(samples=True), seed=1, wait_for_subscribers=2) as plant,
        reading(plant.endpoint, **READ) as one,
        reading(plant.endpoint, **READ) as two,
    ):
        await until(lambda: len(telegrams(one)) > 20 and len(telegrams(two)) > 20, "nothing is emitted")
        a, b = telegrams(one), telegrams(two)
    both = a.keys() & b.keys()
    assert len(both) > 10
    assert all(a[key][0] != b[key][0] for key in both)
    assert sum(a[key][1] != b[key][1] for key in both) > len(both) / 2


async def test_machines_drop_out_with_bursts_of_bad_statuses_and_count_on_afterwards(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with (
        running(drop_out_seconds=3.0, journal=journal, wait_for_subscribers=1) as plant,
        reading(plant.endpoint, **READ) as gateway,
    ):

        def vibration() -> list[int]:
            """The statuses of the fast sensor's readings."""
            samples = [sample for sample in gateway.intake.samples if sample.source.endswith("/vibration")]
            return [sample.data.get("status", 0) for sample in samples]

        def bursts() -> int:
            found = vibration()
            return sum(now == 0 and before != 0 for before, now in pairwise(found))

        def bad() -> Counter[str]:
            """How many readings without a value it had, by source."""
            samples = gateway.intake.samples
            return Counter(sample.source.rpartition("=")[2] for sample in samples if sample.data.get("status"))

        await until(lambda: bursts() >= 2, "no machine comes back")
        await plant.halt()
        await until(lambda: bad() == plant.dropped_out, "what the plant has counted is not what is read")
    assert set(vibration()) == {0, BAD_NO_COMMUNICATION}
    assert max(len(part) for part in "".join("x" if status else " " for status in vibration()).split()) > 5
    numbers = sorted(number for uri, number in telegrams(gateway) if uri.endswith("/vibration"))
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    counted = [line for line in lines if line["sequence"] is not None]
    assert len(lines) > len(counted) == len(read_journal(journal))
    dropped_out = Counter(line["source"] for line in lines if line["status"] == BAD_NO_COMMUNICATION)
    total = dropped_out.total()
    assert total == len(lines) - len(counted)
    assert plant.summary() == {"emitted": len(lines), "dropped_out": total, "by_source": dict(dropped_out)}
