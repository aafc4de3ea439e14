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
from dedup_service.telemetry import Telemetry
from tests.doubles.board import MemoryPodBoard
from tests.doubles.memory import MemoryClaims, MemoryClock
from tests.support.groups import group_of

HOSTILE = "urn:<img src=x onerror=alert(1)>\u202e\x00💥"
REPORT = PodReport("1", 1, {"0": (7, 1, 1), "1": (-1, 0, 0)})
NOTE: dict[str, Any] = {"group": "presses", "replica": "edge-1", "enqueued_ms": 1, "bytes": 3}


@dataclass
class Plant:
    groups: list[Group] = field(default_factory=lambda: [group_of(name="presses", expected_replicas=3)])
    clock: MemoryClock = field(default_factory=lambda: MemoryClock(1_800_000_030_000))
    board: MemoryPodBoard = field(default_factory=MemoryPodBoard)
    telemetry: Telemetry = field(default_factory=Telemetry)
    claims: MemoryClaims = field(init=False)
    fleet: Fleet = field(init=False)
    sent: int = 0

    def __post_init__(self) -> None:
        self.claims = MemoryClaims(self.clock)
        self.fleet = Fleet(self.claims.ledger, self.board, self.groups, lambda: ["0", "1"], monotonic=self.clock.monotonic)

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
        await self.claims.claim(
            [ClaimRequest(group, replica, event, enqueued_ms, 60_000, 60_000, [reading], [key], frozenset())], (1,)
        )

    async def rebuild(self, *pods: RebuildProgress | None) -> None:
        """The pods, of which the first one owns the partitions, report that far a rebuild of claims."""
        for number, progress in enumerate(pods, 1):
            report = REPORT if number == 1 else PodReport("1", 1)
            await self.board.tell(f"pod-{number}", 2, msgspec.structs.replace(report, rebuild=progress), {})

    async def run(self, minutes: int = 5) -> None:
        """Readings of `minutes` minutes from three edges, of which the third dies halfway; then a conflict and examples."""
        for replica in range(3):
            await self.claims.replica_number("presses", f"edge-{replica}")
        for n in range(60 * minutes):
            for replica in range(3 if n < 30 * minutes else 2):
                await self.deliver(replica, str(n), f"urn:press-{n % 5}", sequence=n // 5 if n % 50 else None)
            self.clock.ms += 1000
        await self.deliver(0, "7", HOSTILE)
        await self.deliver(1, "7", HOSTILE, content=b"other")
        totals = {"COPIES|edge-0": 5, "IN_DOUBT|found": 1, "IN_DOUBT|expired": 2, "FORGOTTEN|": 1, "RESTORED|": 900}
        await self.board.tell("pod-1", 1, REPORT, totals)
        conflict = {"source": HOSTILE, "id": "7", "content": "ab", "winner_replicas": 1, "winner_enqueued_ms": 1}
        await self.board.add_examples("conflict", [{**NOTE, **conflict, "winner_content": "cd"}])
        await self.board.add_examples("dead-letter", [{**NOTE, "reason": "no-key", "origin": "1/0/7", "readings": 1}])
