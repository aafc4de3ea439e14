"""Observing pods beside publishing ones that read with the same consumer group, as in a rolling update or a roll-back."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub.aio import EventHubProducerClient

from dedup_service.partitions import takeover
from dedup_service.telemetry import Count
from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.senders import meanwhile
from tests.support.service import RunningService, running_service

QUICK = {
    "lease_seconds": 3.0,
    "lease_interval_seconds": 0.3,
    "send_timeout_seconds": 2.0,
    "checkpoint_interval_seconds": 0.5,
}
OBSERVING = {"mode": "observe", "output_connection_string": None, "dead_letter_connection_string": None}
SOME = 40


class Plant:
    """Sends each reading twice, to two partitions."""

    def __init__(self, stand_in: StandIn) -> None:
        self.sent = 0
        self._to = stand_in.connection_string("telemetry")

    async def run(self) -> None:
        async with EventHubProducerClient.from_connection_string(self._to) as producer:
            while True:
                for partition in (self.sent % 4, (self.sent + 1) % 4):
                    await producer.send_batch([hub.single(str(self.sent))], partition_id=str(partition))
                self.sent += 1
                await asyncio.sleep(0.02)

    async def more(self) -> None:
        """Waits until it has sent some more."""
        target = self.sent + SOME
        async with asyncio.timeout(60):
            while self.sent < target:
                await asyncio.sleep(0.02)


async def seen_more(service: RunningService) -> None:
    await service.until_events(service.count(Count.INPUT_EVENTS) + SOME)


async def published(stand_in: StandIn) -> list[int]:
    events = await hub.read_all(stand_in.connection_string("clean"))
    return [int(event.properties[b"cloudEvents_id"]) for event in events]


@pytest.mark.parametrize("names", [("plant", "plant"), ("observing", "publishing")], ids=["one-namespace", "two"])
async def test_publishing_goes_before_observing_and_goes_on_where_publishing_ended(
    stand_in: StandIn,
    redis_url: str,
    tmp_path: Path,
    namespace: str,
    names: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(takeover, "CLOCKS_APART_MS", 0)
    plant = Plant(stand_in)
    observing, publishing = (namespace + name for name in names)

    def service(name: str, **more: Any) -> Any:
        return running_service(stand_in, redis_url, tmp_path, name, **QUICK, **more)

    async with service(observing, **OBSERVING) as observer:
        async with meanwhile(plant.run()):
            await seen_more(observer)
            async with service(publishing) as first:
                await seen_more(first)
                observed = observer.count(Count.INPUT_EVENTS)
                await plant.more()
                await seen_more(first)
                assert observer.count(Count.INPUT_EVENTS) == observed  # nothing is taken from those that publish
            await seen_more(observer)
        async with service(publishing) as second:
            last = plant.sent - 1
            async with asyncio.timeout(60):
                while last not in await published(stand_in):
                    await asyncio.sleep(0.2)
            await second.until(lambda: second.count(Count.INPUT_EVENTS) > SOME)
    ids = Counter(await published(stand_in))
    assert set(ids.values()) == {1}
    assert ids.keys() >= set(range(min(ids), plant.sent))
    assert min(ids) > 0  # what came before publishing began was only observed
