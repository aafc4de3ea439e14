"""Claiming the readings of a batch, and confirming those that are published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from dedup_service.admission import Admission
from dedup_service.core.claims import (
    OTHER_REPLICA,
    Verdict,
    judge,
    key_digests,
    new_claims,
    shard_of,
    unconfirmed_ttl_ms,
    unpack,
)
from dedup_service.core.groups import Group
from dedup_service.core.times import are_late, source_time_ms
from dedup_service.notes import CONFLICT, conflict_note
from dedup_service.ports import ClaimRequest, ClaimStore, Clock
from dedup_service.retrying import Retrying
from dedup_service.telemetry import Count, Telemetry
from dedup_service.work import EventWork

CLAIMS_PER_CALL = 1000
"""A script blocks Redis while it runs: about 6 ms for so many keys."""
KNOWN_SEQUENCES = 10_000
MAX_SEQUENCE = 2**53
"""Redis counts in doubles; a source that counts further is not watched for gaps."""


@dataclass(frozen=True, slots=True)
class Claiming:
    """Of one partition of one input hub."""

    claims: ClaimStore
    admission: Admission
    clock: Clock
    telemetry: Telemetry
    retrying: Retrying
    live: Callable[[], tuple[int, ...]]
    incarnation: int
    retention_ms: int
    shards: int

    async def claim(self, work: list[EventWork], in_doubt_up_to: int) -> None:
        """Gives every reading its verdict. Up to that sequence number an own unconfirmed claim may have been published."""
        numbers = await self._replica_numbers(work)
        now_ms = self.clock.now_ms()
        for item in work:
            if item.group is not None and item.extraction.readings:
                self._prepare(item, item.group, numbers[item.group.name, item.replica], now_ms)
        found = await self._in_chunks([request for item in work for request in item.requests])
        at = 0
        for item in work:
            in_doubt = item.event.sequence_number <= in_doubt_up_to
            own = found[at : at + len(item.requests)]
            at += len(own)
            item.verdicts = [
                judge(request.claim, claim, in_doubt=in_doubt) for request, claim in zip(item.requests, own, strict=True)
            ]
            if Verdict.CONFLICT in item.verdicts:
                self._settle_conflicts(item, own)

    async def _replica_numbers(self, work: list[EventWork]) -> dict[tuple[str, str], int]:
        """By group and replica. Who has sent nothing that may claim gets none."""
        return {
            (group, replica): await self.retrying.run(partial(self.claims.replica_number, group, replica))
            for group, replica in {
                (item.group.name, item.replica) for item in work if item.group is not None and item.extraction.readings
            }
        }

    def _prepare(self, item: EventWork, group: Group, number: int, now_ms: int) -> None:
        event = item.event
        if number == OTHER_REPLICA:
            item.replica = "other"
        enqueued_ms, scope, name, shards = event.enqueued_ms, group.claim_scope, group.name, self.shards
        readings = item.extraction.readings
        keys = key_digests(scope, readings)
        claims = new_claims(item.first_origin(self.incarnation), readings, number, enqueued_ms)
        late = are_late([reading.time for reading in readings], enqueued_ms, group.window_ms)
        ttl_ms, is_timed = unconfirmed_ttl_ms(enqueued_ms, now_ms, self.retention_ms), group.mode == "observe"
        item.requests = [
            ClaimRequest(
                shard_of(reading.source, shards) if shards > 1 else 0,
                key,
                claim,
                ttl_ms,
                name,
                number,
                reading.source,
                is_late,
                _sequence(reading.sequence),
                reading.epoch or "",
                source_time_ms(reading.time) if is_timed else None,
            )
            for reading, key, claim, is_late in zip(readings, keys, claims, late, strict=True)
        ]

    async def _in_chunks(self, requests: list[ClaimRequest]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for start in range(0, len(requests), CLAIMS_PER_CALL):
            chunk = requests[start : start + CLAIMS_PER_CALL]
            found += await self.retrying.run(partial(self.claims.claim, chunk, self.live()))
        return found

    def _settle_conflicts(self, item: EventWork, found: list[bytes | None]) -> None:
        for reading, verdict, claim in zip(item.extraction.readings, item.verdicts, found, strict=True):
            if verdict is Verdict.CONFLICT and claim is not None and item.group is not None:
                self.telemetry.note(CONFLICT, **conflict_note(item, item.group, reading, unpack(claim)))
        if item.group is not None and item.group.on_conflict == "dead-letter":
            self.admission.refuse_copies(item, CONFLICT, item.with_verdict(Verdict.CONFLICT), self.incarnation)

    async def confirm(self, work: list[EventWork], spread_ms: int, *, published_only: bool) -> None:
        """Keeps the claims of what is in the clean stream for their group's window and the present spread of lag."""
        by_window: dict[int, list[ClaimRequest]] = {}
        for item in work:
            if item.group is None or not (Verdict.WINNER in item.verdicts or Verdict.FOUND in item.verdicts):
                continue
            requests = by_window.setdefault(item.group.window_ms, [])
            for reading, request, verdict in zip(item.extraction.readings, item.requests, item.verdicts, strict=True):
                is_published = reading.index in item.published or not published_only
                if verdict is Verdict.FOUND or (verdict is Verdict.WINNER and is_published):
                    requests.append(request)
        for window_ms, requests in by_window.items():
            for start in range(0, len(requests), CLAIMS_PER_CALL):
                chunk = requests[start : start + CLAIMS_PER_CALL]
                lost = await self.retrying.run(partial(self.claims.confirm, chunk, window_ms + spread_ms))
                self.telemetry.add(Count.CLAIMS_LOST, lost)


@lru_cache(KNOWN_SEQUENCES)
def _sequence(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdecimal()):
        return None
    return number if (number := int(text)) < MAX_SEQUENCE else None
