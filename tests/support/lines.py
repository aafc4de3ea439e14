"""A plant with three replicas that are late by different times, and what an auditor sees of it in the clean hub alone."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from dedup_service.core.times import rfc3339
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, section
from sandbox.hub.stand_in import StandIn
from tests.support import hub

LATE_SECONDS = (0.0, 0.15, 0.6)
TICK_SECONDS = 0.05
SOURCES = 40
"""Enough to have claims in every shard."""
DEADLINE_SECONDS = 60.0


def _reading(reading_id: str, source: str, measured_ms: int) -> BareMessage:
    properties = {
        "cloudEvents_id": reading_id,
        "cloudEvents_source": source,
        "cloudEvents_time": rfc3339(measured_ms),
    }
    return BareMessage({}, section(APPLICATION_PROPERTIES, properties) + data_section(b"{}"))


@dataclass
class Line:
    """Measures all the time. Each replica has a partition of its own."""

    stand_in: StandIn
    held_back: int | None = None
    """The replica whose copies stay in its spool until they are released."""
    sent: list[str] = field(default_factory=list)
    _waiting: list[tuple[float, int, BareMessage]] = field(default_factory=list)
    _spool: list[BareMessage] = field(default_factory=list)
    _ends: bool = False
    _seen: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Of each clean partition, when each event was enqueued, and its reading."""

    def __post_init__(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._ends or self._waiting:
            now = time.monotonic()
            if not self._ends:
                self._measure(now)
            due = [item for item in self._waiting if item[0] <= now]
            self._waiting = [item for item in self._waiting if item[0] > now]
            for _, replica, message in due:
                self._send(replica, [message])
            await asyncio.sleep(TICK_SECONDS)

    def _measure(self, now: float) -> None:
        for _ in range(3):
            reading_id = str(len(self.sent))
            message = _reading(reading_id, f"urn:{len(self.sent) % SOURCES}", time.time_ns() // 1_000_000)
            self.sent.append(reading_id)
            self._waiting += [(now + late, replica, message) for replica, late in enumerate(LATE_SECONDS)]

    def _send(self, replica: int, messages: list[BareMessage]) -> None:
        if replica == self.held_back:
            self._spool += messages
            return
        log = self.stand_in.namespace.hubs["telemetry"]
        for message in messages:
            log.append([message], partition=log.partitions[replica])

    def release(self) -> int:
        """The held back replica sends its backlog. Returns how many readings that are."""
        replica, backlog = self.held_back, self._spool
        self.held_back, self._spool = None, []
        assert replica is not None
        self._send(replica, backlog)
        return len(backlog)

    def _clean(self) -> list[tuple[int, str]]:
        """Each event is decoded once, since the service shares this process."""
        for partition in self.stand_in.namespace.hubs["clean"].partitions:
            seen = self._seen.setdefault(partition.id, [])
            seen += [(e.enqueued_ms, hub.encoded_id(e.message)) for e in islice(partition.entries, len(seen), None)]
        return [item for seen in self._seen.values() for item in seen]

    def published(self) -> int:
        return len(self._clean())

    async def until_published(self, more: int) -> None:
        target = self.published() + more
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.published() < target:
                await asyncio.sleep(0.05)

    async def until_it_goes_on(self) -> float:
        """Seconds until a reading that is measured from now on is published."""
        started, first = time.monotonic(), len(self.sent)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not any(int(reading_id) >= first for _, reading_id in self._clean()):
                await asyncio.sleep(0.05)
        return time.monotonic() - started

    async def end(self) -> None:
        self._ends = True
        await self._task

    def lost(self) -> set[str]:
        return set(self.sent) - {reading_id for _, reading_id in self._clean()}

    def doubled(self) -> list[str]:
        return [reading_id for reading_id, count in Counter(i for _, i in self._clean()).items() if count > 1]
