"""The one place that orders effects, for one partition:

    receive → extract → claim → publish → dead-letter → confirm → finish (→ checkpoint, by the worker)

- Claim before publish: of all copies of a reading only one origin holds the key.
- Publish before confirm: a confirmed claim means "in the clean stream", so a crash in between leaves an unconfirmed claim,
  and the copy, read again, recognises itself.
- Confirm before finish: the checkpoint never passes a reading that could still be lost.
- Duplicates finish at once: the winner's own partition is not checkpointed past the winner until it is published.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dedup_service.core.claims import (
    OTHER_REPLICA,
    Verdict,
    judge,
    key_digest,
    new_claim,
    shard_of,
    unconfirmed_ttl_ms,
)
from dedup_service.core.events import MESSAGE_SOURCE, Extraction, InputEvent, Origin, Reading
from dedup_service.core.outgoing import (
    CleanEvent,
    OutgoingEvent,
    OutputPolicy,
    clean_events,
    dead_letter,
    dead_readings,
    forwarded,
    marked,
    origin_text,
    truncated,
    undeliverable,
)
from dedup_service.core.progress import Progress
from dedup_service.errors import StoppingError, UndeliverableError
from dedup_service.ports import ClaimRequest, ClaimStore, Clock, Extractor, Publisher
from dedup_service.retrying import Retrying
from dedup_service.telemetry import Count, Telemetry

CLAIMS_PER_CALL = 1000
"""A script blocks Redis while it runs: about 2 ms for so many keys."""
TELEMETRY_SOURCE = "Telemetry"


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    group: str
    mode: str
    """`drop`: publish winners; `mark`: publish duplicates too, marked; `observe`: publish nothing."""
    unmatched: str
    """What happens to events that are no telemetry: `ignore`, `forward` or `dead-letter`."""
    window_ms: int
    retention_ms: int
    shards: int
    output: OutputPolicy
    dead_letter_partitions: list[str]


@dataclass(frozen=True, slots=True)
class PipelinePorts:
    claims: ClaimStore
    clean: Publisher | None
    """None in mode `observe`."""
    dead_letters: Publisher | None
    """None: discarded by the operator's choice."""
    extractor: Extractor
    clock: Clock
    telemetry: Telemetry
    retrying: Retrying


@dataclass(slots=True)
class EventWork:
    """An input event on its way through the pipeline."""

    event: InputEvent
    replica: str
    extraction: Extraction = field(default_factory=lambda: Extraction([]))
    requests: list[ClaimRequest] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    dead: list[tuple[str, OutgoingEvent]] = field(default_factory=list)
    """(reason, dead letter)"""
    forwarded: bool = False
    published: set[int] = field(default_factory=set)
    """Indexes of readings that the clean hub has acknowledged."""

    def with_verdict(self, *verdicts: Verdict) -> list[Reading]:
        return [r for r, v in zip(self.extraction.readings, self.verdicts, strict=True) if v in verdicts]


class Pipeline:
    """Handles the batches of one partition, one after the other. `process` may not be cancelled: it is awaited on close."""

    def __init__(
        self,
        options: PipelineOptions,
        ports: PipelinePorts,
        incarnation: int,
        *,
        horizon: int,
        spread_ms: Callable[[], int],
    ) -> None:
        self._options = options
        self._ports = ports
        self._incarnation = incarnation
        self._horizon = horizon
        """Sequence numbers up to here may have been handled by a predecessor."""
        self._spread_ms = spread_ms
        self.progress = Progress()

    async def process(self, events: list[InputEvent]) -> None:
        """Returns when every event is finished.

        Raises HubRecreatedError, or StoppingError; then nothing new is finished.
        """
        telemetry = self._ports.telemetry
        fresh = self.progress.fresh(events)
        telemetry.add(Count.REDELIVERED, len(events) - len(fresh))
        if not fresh:
            return
        work = [self._extract(event) for event in fresh]
        await self._claim(work)
        try:
            await self._publish(work)
            await self._send_dead_letters(work)
        except StoppingError:
            await self._confirm(work, published_only=True)
            raise
        await self._confirm(work)
        self.progress.finish(fresh[-1])
        self._count(work)

    # --- extract

    def _extract(self, event: InputEvent) -> EventWork:
        work = EventWork(event, event.replica)
        source = event.annotations.get(MESSAGE_SOURCE, TELEMETRY_SOURCE)
        if source != TELEMETRY_SOURCE:
            self._unmatched(work, f"message source is {source}")
            return work
        try:
            work.extraction = self._ports.extractor.extract(event)
        except UndeliverableError as error:
            self._add_dead_letter(work, error.reason, error.detail)
            return work
        by_reason: dict[str, list[int]] = {}
        for position, bad in enumerate(work.extraction.bad):
            by_reason.setdefault(bad.reason, []).append(position)
        for reason, positions in by_reason.items():
            chosen = [work.extraction.bad[i] for i in positions]
            letter = dead_readings(event, reason, chosen, self._options.output, self._incarnation)
            work.dead.append((reason, letter))
        return work

    def _unmatched(self, work: EventWork, detail: str) -> None:
        self._ports.telemetry.add(Count.IGNORED, label="not-telemetry")
        if self._options.unmatched == "dead-letter":
            self._add_dead_letter(work, "not-telemetry", detail)
        work.forwarded = self._options.unmatched == "forward"

    def _add_dead_letter(self, work: EventWork, reason: str, detail: str) -> None:
        letter = dead_letter(work.event, reason, detail, self._options.output, self._incarnation)
        work.dead.append((reason, letter))

    # --- claim

    async def _claim(self, work: list[EventWork]) -> None:
        for item in work:
            if item.extraction.readings:
                await self._prepare_claims(item)
        requests = [request for item in work for request in item.requests]
        found = await self._in_chunks(requests)
        answers = iter(found)
        for item in work:
            in_doubt = item.event.sequence_number <= self._horizon
            item.verdicts = [judge(request.claim, next(answers), in_doubt=in_doubt) for request in item.requests]
        await self._resolve(work)

    async def _prepare_claims(self, item: EventWork) -> None:
        options, event = self._options, item.event
        number = await self._ports.retrying.run(partial(self._ports.claims.replica_number, options.group, item.replica))
        if number == OTHER_REPLICA:
            item.replica = "other"
        ttl_ms = unconfirmed_ttl_ms(event.enqueued_ms, self._ports.clock.now_ms(), options.retention_ms)
        partition = int(event.partition_id)
        item.requests = [
            ClaimRequest(
                shard=shard_of(reading.source, options.shards),
                key=key_digest(options.group, reading.source, reading.id),
                claim=new_claim(
                    Origin(self._incarnation, partition, event.sequence_number, reading.index),
                    reading,
                    number,
                    event.enqueued_ms,
                ),
                ttl_ms=ttl_ms,
            )
            for reading in item.extraction.readings
        ]

    async def _in_chunks(self, requests: list[ClaimRequest]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for start in range(0, len(requests), CLAIMS_PER_CALL):
            chunk = requests[start : start + CLAIMS_PER_CALL]
            found += await self._ports.retrying.run(partial(self._ports.claims.claim, chunk, (self._incarnation,)))
        return found

    async def _resolve(self, work: list[EventWork]) -> None:
        """Copies in doubt may have been published by a predecessor, and only the clean stream can tell.

        It is not asked yet: they are published again. At least once, never lost.
        """
        for item in work:
            doubtful = item.verdicts.count(Verdict.IN_DOUBT)
            if doubtful:
                self._ports.telemetry.add(Count.IN_DOUBT, doubtful)
                item.verdicts = [Verdict.WINNER if v is Verdict.IN_DOUBT else v for v in item.verdicts]

    # --- publish

    async def _publish(self, work: list[EventWork]) -> None:
        if self._ports.clean is None:
            return
        queues: dict[str, list[tuple[EventWork, CleanEvent]]] = {}
        for item in work:
            for clean in self._clean_events(item):
                queues.setdefault(clean.output_partition, []).append((item, clean))
        sends = [self._send_clean(self._ports.clean, partition, queue) for partition, queue in queues.items()]
        # Not a TaskGroup: one partition that gives up must not cancel another's send half-way.
        for result in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _clean_events(self, item: EventWork) -> list[CleanEvent]:
        output = self._options.output
        if item.forwarded:
            return [forwarded(item.event, output, self._incarnation)]
        if not item.requests:
            return []
        winners = item.with_verdict(Verdict.WINNER)
        cleans = clean_events(item.event, item.extraction, winners, output, self._incarnation)
        if self._options.mode == "mark":
            duplicates = item.with_verdict(Verdict.DUPLICATE, Verdict.CONFLICT)
            cleans += marked(clean_events(item.event, item.extraction, duplicates, output, self._incarnation))
        return cleans

    async def _send_clean(self, publisher: Publisher, partition: str, queue: list[tuple[EventWork, CleanEvent]]) -> None:
        while queue:
            try:
                sent = await self._send(publisher, partition, [clean.event for _, clean in queue])
            except UndeliverableError as error:
                item, clean = queue.pop(0)
                item.dead.append((error.reason, undeliverable(clean, error.reason, error.detail)))
                continue
            for item, clean in queue[:sent]:
                item.published.update(reading.index for reading in clean.readings)
                self._ports.telemetry.add(Count.CLEAN_EVENTS)
                self._ports.telemetry.add(Count.CLEAN_READINGS, clean.event.readings)
            del queue[:sent]

    async def _send(self, publisher: Publisher, partition: str, events: Sequence[OutgoingEvent]) -> int:
        return await self._ports.retrying.run(partial(publisher.publish, partition, events))

    # --- dead letters

    async def _send_dead_letters(self, work: list[EventWork]) -> None:
        letters = [(item.event, reason, letter) for item in work for reason, letter in item.dead]
        partitions = self._options.dead_letter_partitions
        partition = partitions[int(work[0].event.partition_id) % len(partitions)] if partitions else ""
        publisher = self._ports.dead_letters
        while letters and publisher is not None:
            try:
                sent = await self._send(publisher, partition, [letter for _, _, letter in letters])
            except UndeliverableError:
                event, reason, letter = letters[0]
                self._ports.telemetry.dead_letter_truncated(origin_text(event, self._incarnation), len(letter.body))
                letters[0] = (event, reason, truncated(letter))
                continue
            del letters[:sent]

    # --- confirm and count

    async def _confirm(self, work: list[EventWork], *, published_only: bool = False) -> None:
        won = [
            request
            for item in work
            for reading, request, verdict in zip(item.extraction.readings, item.requests, item.verdicts, strict=True)
            if verdict is Verdict.WINNER and (reading.index in item.published or not published_only)
        ]
        ttl_ms = self._options.window_ms + self._spread_ms()
        for start in range(0, len(won), CLAIMS_PER_CALL):
            chunk = won[start : start + CLAIMS_PER_CALL]
            lost = await self._ports.retrying.run(partial(self._ports.claims.confirm, chunk, ttl_ms))
            self._ports.telemetry.add(Count.CLAIMS_LOST, lost)

    def _count(self, work: list[EventWork]) -> None:
        telemetry = self._ports.telemetry
        telemetry.add(Count.INPUT_EVENTS, len(work))
        for item in work:
            for reason, letter in item.dead:
                telemetry.add(Count.DEAD_LETTERED, letter.readings, reason)
            if not item.verdicts:
                continue
            telemetry.seen(item.replica, item.event.enqueued_ms)
            telemetry.add(Count.COPIES, len(item.verdicts), item.replica)
            conflicts = item.verdicts.count(Verdict.CONFLICT)
            telemetry.add(Count.WINNERS, item.verdicts.count(Verdict.WINNER), item.replica)
            telemetry.add(Count.DUPLICATES, item.verdicts.count(Verdict.DUPLICATE) + conflicts, item.replica)
            telemetry.add(Count.CONFLICTS, conflicts, item.replica)
            telemetry.add(Count.REPLAYS, item.verdicts.count(Verdict.REPLAY))
