"""A small constant load, and when it arrives in the clean stream."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.processes import DEADLINE_SECONDS

SOURCES = 50
"""Enough sources to have claims on every node of a cluster."""


class Pulse:
    """Sends readings to every partition all the time, and measures when one from each was published."""

    def __init__(self, stand_in: StandIn, copies: int = 1) -> None:
        self._copies = copies
        self._stand_in = stand_in
        self.partitions = [partition.id for partition in stand_in.namespace.hubs["telemetry"].partitions]
        self.sent: list[str] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        log = self._stand_in.namespace.hubs["telemetry"]
        while True:
            for partition in log.partitions:
                reading_id = f"{partition.id}-{len(self.sent)}"
                message = hub.encoded_single(reading_id, source=f"urn:plant:{len(self.sent) % SOURCES}")
                self.sent.append(reading_id)
                for copy in range(self._copies):
                    place = (int(partition.id) + copy) % len(log.partitions)
                    log.append([message], partition=log.partitions[place])
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until_all_beat(self) -> float:
        """Seconds until, for every input partition, a reading sent from now on is published."""
        started, first = time.monotonic(), len(self.sent)
        waiting = set(self.partitions)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while waiting:
                fresh = set(self.sent[first:])
                waiting -= {i.partition("-")[0] for i in self.published() if i in fresh}
                await asyncio.sleep(0.05)
        return time.monotonic() - started

    def _entries(self) -> list[tuple[int, str]]:
        hubs = self._stand_in.namespace.hubs
        return [(e.enqueued_ms, hub.encoded_id(e.message)) for p in hubs["clean"].partitions for e in p.entries]

    def published(self) -> list[str]:
        return [reading_id for _, reading_id in self._entries()]

    def longest_pause_seconds(self) -> float:
        """Longest time in which the clean stream received nothing from some input partition."""
        times: dict[str, list[int]] = {partition: [] for partition in self.partitions}
        for enqueued_ms, reading_id in sorted(self._entries()):
            times[reading_id.partition("-")[0]].append(enqueued_ms)
        return max(after - before for enqueued in times.values() for before, after in pairwise(enqueued)) / 1000


async def finished(pulse: Pulse) -> list[str]:
    await pulse.stop()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while set(pulse.published()) != set(pulse.sent):
            await asyncio.sleep(0.1)
    return pulse.published()
