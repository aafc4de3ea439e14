"""The HTTP application on in-memory ports, with data of a plant: three replicas, one of them silent, and hostile names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import FastAPI

from dedup_service.api.app import create_app
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import key_digest
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash
from dedup_service.core.groups import Group
from dedup_service.core.pod_report import PodReport
from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.metrics import create_registry
from dedup_service.observability.status import OVERVIEW_EVERY, Status
from dedup_service.observability.timeline import TimelineKeeper
from dedup_service.telemetry import Count, PartitionFigures, Telemetry
from tests.doubles.board import MemoryPodBoard
from tests.doubles.memory import MemoryClaims, MemoryClock
from tests.doubles.timeline import MemoryTimelineStore
from tests.support.groups import group_of

HOSTILE = "urn:<img src=x onerror=alert(1)>\u202e\x00💥"
PARTITIONS = {"0": PartitionFigures(7, 1, 1), "1": PartitionFigures()}
REPORT = PodReport("1", 1)
COUNTED = (
    (Count.COPIES, 5, "edge-0"),
    (Count.IN_DOUBT, 1, "found"),
    (Count.IN_DOUBT, 2, "expired"),
    (Count.FORGOTTEN, 1, ""),
    (Count.RESTORED, 900, ""),
)
NOTE: dict[str, Any] = {"group": "presses", "replica": "edge-1", "enqueued_ms": 1, "bytes": 3}


@dataclass
class Plant:
    groups: list[Group] = field(default_factory=lambda: [group_of(name="presses", expected_replicas=3)])
    clock: MemoryClock = field(default_factory=lambda: MemoryClock(1_800_000_030_000))
    telemetry: Telemetry = field(default_factory=Telemetry)
    timeline_store: MemoryTimelineStore = field(default_factory=MemoryTimelineStore)
    board: MemoryPodBoard = field(init=False)
    claims: MemoryClaims = field(init=False)
    fleet: Fleet = field(init=False)
    status: Status = field(init=False)
    """Of the pod `pod-1`, which owns the partitions."""
    sent: int = 0

    def __post_init__(self) -> None:
        self.board, self.claims = MemoryPodBoard(self.clock.now_ms), MemoryClaims(self.clock)
        monotonic = self.clock.monotonic
        self.fleet = Fleet(
            self.claims.ledger, self.board, self.timeline_store, self.groups, lambda: list(PARTITIONS), monotonic=monotonic
        )
        keeper = TimelineKeeper("pod-1", self.timeline_store, self.fleet, monotonic)
        self.status = Status("pod-1", self.board, self.fleet, self.telemetry, keeper, monotonic)
        self.telemetry.partitions, self.telemetry.started_ms = dict(PARTITIONS), 1

    def app(self, token: str | None = None, *, remark: str = "") -> FastAPI:
        registry = create_registry(self.telemetry, lambda: None)
        return create_app(
            registry, self.fleet, alive=lambda: True, not_ready=lambda: None, token=token, remark=lambda: remark
        )

    async def deliver(
        self, replica: int, reading_id: str, source: str = "urn:a", *, content: bytes = b"", sequence: int | None = None
    ) -> None:
        group = self.groups[0].name
        await self.claims.replica_number(group, f"edge-{replica}")
        self.sent += 1
        told = None if sequence is None else str(sequence)
        reading = Reading(0, source, reading_id, [], content_hash(content), None, told)
        key, enqueued_ms = key_digest(group, source, reading_id), self.clock.now_ms() + 20 * replica
        event = Origin(1, replica, self.sent, 0)
        request = ClaimRequest(group, replica, event, enqueued_ms, 60_000, 60_000, [reading], [key], frozenset())
        (found,) = await self.claims.claim([request], (1,))
        self.telemetry.finished(group, copies=1, readings=int(found is None), duplicates=int(found is not None))

    async def rebuild(self, *pods: RebuildProgress | None) -> None:
        """The pods, of which the first one owns the partitions, report that far a rebuild of claims."""
        self.telemetry.rebuild = pods[0]
        for number, progress in enumerate(pods[1:], 2):
            await self.board.tell(f"pod-{number}", 2, msgspec.structs.replace(REPORT, rebuild=progress), {})
        await self.report()

    async def report(self) -> None:
        """The pod reports, and looks at the whole deployment."""
        await self.status.tell()
        await self.status.look()

    async def run(self, minutes: int = 5) -> None:
        """Readings of `minutes` minutes from three edges, of which the third dies halfway; then a conflict and examples."""
        await self.report()
        for replica in range(3):
            await self.claims.replica_number("presses", f"edge-{replica}")
        for n in range(60 * minutes):
            for replica in range(3 if n < 30 * minutes else 2):
                await self.deliver(replica, str(n), f"urn:press-{n % 5}", sequence=n // 5 if n % 50 else None)
            await self.status.tell()
            if n % OVERVIEW_EVERY == 0:
                await self.status.look()
            self.clock.ms += 1000
        await self.deliver(0, "7", HOSTILE)
        await self.deliver(1, "7", HOSTILE, content=b"other")
        for count, number, label in COUNTED:
            self.telemetry.add(count, number, label)
        await self.report()
        conflict = {"source": HOSTILE, "id": "7", "content": "ab", "winner_replicas": 1, "winner_enqueued_ms": 1}
        await self.board.add_examples("conflict", [{**NOTE, **conflict, "winner_content": "cd"}])
        await self.board.add_examples("dead-letter", [{**NOTE, "reason": "no-key", "origin": "1/0/7", "readings": 1}])
