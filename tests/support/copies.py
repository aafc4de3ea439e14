"""What is counted of a plant that delivers copies of readings, one by one, to the claims in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from dedup_service.core.accounting import Counts
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import key_digest
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash
from dedup_service.core.group_report import Deployment
from dedup_service.core.times import rfc3339
from tests.doubles.memory import MemoryClaims, MemoryClock

GROUP, SOURCE = "g", "urn:a"
NOW_MS = 1_767_225_600_000
REPLICAS = {0: "edge-0", 1: "edge-1", 2: "edge-2"}
DEPLOYMENT = Deployment("plant-7", "observe", "observe")


@dataclass
class Copies:
    is_observed: bool = True
    claims: MemoryClaims = field(default_factory=lambda: MemoryClaims(MemoryClock(NOW_MS)))
    numbers: dict[int, int] = field(default_factory=dict)

    async def deliver(self, replica: int, reading_id: str, time_ms: int | None, value: object, source: str = SOURCE) -> None:
        self.numbers[replica] = number = self.numbers.get(replica, -1) + 1
        time = None if time_ms is None else rfc3339(time_ms)
        reading = Reading(0, source, reading_id, [], content_hash(str(value).encode()), time)
        keys, event = [key_digest(GROUP, source, reading_id)], Origin(1, replica, number, 0)
        request = ClaimRequest(
            GROUP, replica, event, NOW_MS, 60_000, 60_000, [reading], keys, frozenset(), is_timed=self.is_observed
        )
        await self.claims.claim([request], (1,))

    async def counts(self, source: str = SOURCE) -> Counts:
        return await self.claims.ledger.source_counts(GROUP, source, [NOW_MS // 3_600_000])
