"""The one place that orders effects, for one partition:

    receive → extract → claim → resolve → publish → dead-letter → confirm → finish (→ record and checkpoint)

- Claim before publish: of all copies of a reading only one origin holds the key.
- Resolve before publish: a copy that a predecessor may have published is looked up in the clean stream.
- Publish before confirm: a confirmed claim means "in the clean stream", so a crash in between leaves an unconfirmed claim,
  and the copy, read again, recognises itself.
- Confirm before finish: record and checkpoint never pass a reading that could still be lost.
- Duplicates finish at once: the winner's own partition does not move past the winner until it is published.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from dedup_service.core.claims import Verdict
from dedup_service.core.clean_events import CleanEvent, PublishFlags, clean_events, forwarded
from dedup_service.core.events import InputEvent, Origin, Reading
from dedup_service.core.leases import EndOffsets, Lease, LeaseRecord, NewestSample
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.core.progress import Progress
from dedup_service.errors import StoppingError
from dedup_service.ports import ClaimStore, CleanTail, Clock, Publisher
from dedup_service.processing.admission import Admission
from dedup_service.processing.claiming import Claimer
from dedup_service.processing.counting import DEAD_LETTER, dead_letter_example
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.resolving import Resolver
from dedup_service.processing.sending import CleanSender, Queue, send_dead_letters
from dedup_service.telemetry import Count, Telemetry
from dedup_service.waiting import Retrier

SLICE_BYTES = 4 * 1024 * 1024
"""Of bodies and readings that are handled at once."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    retention_ms: int
    forward_to: OutputPolicy | None
    """Of events that belong to no group (`unmatched: forward`); None where every group only observes."""
    dead_letter_partitions: list[str]


@dataclass(frozen=True, slots=True)
class PipelinePorts:
    claims: ClaimStore
    clean: Publisher | None
    """None where every group only observes."""
    tail: CleanTail | None
    """None where every group only observes."""
    dead_letters: Publisher | None
    """None: discarded by the operator's choice."""
    admission: Admission
    clock: Clock
    telemetry: Telemetry
    retrier: Retrier
    live: Callable[[], tuple[int, ...]]
    """The incarnations of all input hubs; nothing while they are not all known."""


@dataclass(frozen=True, slots=True)
class TakeoverState:
    """What an owner knows when it takes over."""

    lease: Lease
    incarnation: int
    horizon: int
    """Sequence numbers up to here may have been handled by a predecessor."""
    sample: EndOffsets
    """Inherited, or taken before the first send."""


class Pipeline:
    """Handles the batches of one partition, one after the other, for as long as one lease lasts.

    `process` may not be cancelled: it is awaited on close.
    """

    def __init__(
        self,
        options: PipelineOptions,
        ports: PipelinePorts,
        state: TakeoverState,
        samples: NewestSample,
        spread_ms: Callable[[], int],
    ) -> None:
        self._options = options
        self._ports = ports
        self._lease = state.lease
        self._incarnation = state.incarnation
        self._horizon = state.horizon
        self._sample = state.sample
        self._samples = samples
        self._spread_ms = spread_ms
        self._attempted = -1
        """Up to here this process may itself have sent something, in a batch that it did not finish."""
        self.progress = Progress()
        self._claimer = Claimer(
            ports.claims,
            ports.admission,
            ports.clock,
            ports.telemetry,
            ports.retrier,
            ports.live,
            state.incarnation,
            options.retention_ms,
        )
        self._resolver = self._make_resolver(state)

    def _make_resolver(self, state: TakeoverState) -> Resolver | None:
        if self._ports.tail is None:
            return None
        return Resolver(
            self._ports.tail,
            self._ports.retrier,
            incarnation=state.incarnation,
            partition=int(state.lease.partition_id),
            inherited=state.sample,
        )

    @property
    def incarnation(self) -> int:
        return self._incarnation

    async def process(self, events: list[InputEvent]) -> None:
        """Returns when every event is finished.

        Raises HubRecreatedError, LeaseLostError or StoppingError; then nothing new is finished.
        """
        telemetry = self._ports.telemetry
        fresh = self.progress.fresh(events)
        telemetry.add(Count.REDELIVERED, len(events) - len(fresh))
        if not fresh:
            return
        for work in self._slices(fresh):
            await self._handle(work)

    def _slices(self, events: list[InputEvent]) -> Iterator[list[EventWork]]:
        """Extracted as far as memory is to be spent on: a few kilobytes of gzip can hold megabytes of readings."""
        work: list[EventWork] = []
        size = 0
        for event in events:
            item = self._ports.admission.admit(event, self._incarnation)
            work.append(item)
            size += len(event.body) + item.extraction.text_bytes
            if size >= SLICE_BYTES:
                yield work
                work, size = [], 0
        if work:
            yield work

    async def _handle(self, work: list[EventWork]) -> None:
        last = work[-1].event
        await self._claim(work)
        await self._resolve(work)
        self._attempted = last.sequence_number
        try:
            await self._publish(work)
            await self._send_dead_letters(work)
        except StoppingError:
            await self._confirm(work, published_only=True)
            raise
        await self._confirm(work)
        self._finish(last)
        self._count(work)

    async def give_up(self, event: InputEvent, error: Exception) -> None:
        """Dead-letter an event that this service fails on again and again, so that those behind it can go on."""
        work = EventWork(event, event.replica)
        self._ports.admission.refuse(work, "processing-failed", f"{type(error).__name__}: {error}", self._incarnation)
        await self._send_dead_letters([work])
        self._finish(event)
        self._count([work])

    # --- claim

    async def _claim(self, work: list[EventWork]) -> None:
        await self._claimer.claim(work, max(self._horizon, self._attempted))

    # --- resolve

    async def _resolve(self, work: list[EventWork]) -> None:
        """Copies in doubt may have been published, and only the clean stream can tell."""
        own: dict[str, set[Origin]] = {}
        publishing = [
            item
            for item in work
            if Verdict.IN_DOUBT in item.verdicts and item.group is not None and item.group.mode != "observe"
        ]
        doubtful = [(item, reading) for item in publishing for reading in item.with_verdict(Verdict.IN_DOUBT)]
        first = {item.output_partition(reading): (item, reading) for item, reading in reversed(doubtful)}
        await asyncio.gather(*(self._published(item, reading, own) for item, reading in first.values()))
        for item in (item for item in work if Verdict.IN_DOUBT in item.verdicts):
            for place, (reading, verdict) in enumerate(zip(item.extraction.readings, item.verdicts, strict=True)):
                if verdict is Verdict.IN_DOUBT:
                    is_found = item.origin(self._incarnation, reading) in await self._published(item, reading, own)
                    self._ports.telemetry.add(Count.IN_DOUBT, label="found" if is_found else "published")
                    item.verdicts[place] = Verdict.FOUND if is_found else Verdict.WINNER

    async def _published(self, item: EventWork, reading: Reading, own: dict[str, set[Origin]]) -> set[Origin]:
        """What the reading's output partition holds: by predecessors, or (`own`, looked up once a batch) by this process."""
        if self._resolver is None or item.group is None or item.group.mode == "observe":
            return set()
        partition = item.output_partition(reading)
        if item.event.sequence_number > self._attempted:
            return await self._resolver.by_predecessors(partition)
        if partition not in own:
            own[partition] = await self._resolver.since(self._sample, partition)
        return own[partition]

    # --- publish

    async def _publish(self, work: list[EventWork]) -> None:
        if self._ports.clean is None or self._resolver is None:
            return
        queues: dict[str, Queue] = {}
        for item in work:
            for clean in self._clean_events(item):
                queues.setdefault(clean.output_partition, []).append((item, clean))
        sender = CleanSender(
            self._ports.clean,
            self._ports.retrier,
            self._ports.telemetry,
            permit=lambda seconds: self._lease.require(self._ports.clock.monotonic(), seconds),
            published_now=partial(self._resolver.since, self._sample),
        )
        await sender.send(queues, self._incarnation)

    def _clean_events(self, item: EventWork) -> list[CleanEvent]:
        group, forward_to = item.group, self._options.forward_to
        if item.forwarded and forward_to is not None:
            return [forwarded(item.event, forward_to, self._incarnation)]
        if group is None or group.mode == "observe" or (group.mode == "drop" and Verdict.WINNER not in item.verdicts):
            return []
        late = item.request.late if item.request is not None else frozenset()
        winners = item.with_verdict(Verdict.WINNER)
        cleans = clean_events(item.event, item.extraction, winners, group.output, self._incarnation, PublishFlags(late))
        if group.mode == "mark":
            shown = (Verdict.DUPLICATE,) if group.on_conflict == "dead-letter" else (Verdict.DUPLICATE, Verdict.CONFLICT)
            flags = PublishFlags(late, duplicate=True)
            cleans += clean_events(
                item.event, item.extraction, item.with_verdict(*shown), group.output, self._incarnation, flags
            )
        return cleans

    async def _send_dead_letters(self, work: list[EventWork]) -> None:
        ports, partitions = self._ports, self._options.dead_letter_partitions
        if ports.dead_letters is not None:
            partition = partitions[int(self._lease.partition_id) % len(partitions)]
            await send_dead_letters(ports.dead_letters, partition, work, ports.retrier, ports.telemetry, self._incarnation)

    # --- confirm, finish, count

    async def _confirm(self, work: list[EventWork], *, published_only: bool = False) -> None:
        await self._claimer.confirm(work, self._spread_ms(), published_only=published_only)

    def _finish(self, last: InputEvent) -> None:
        """The record's sample is the newest one known now, before the next batch sends anything. Below the horizon it stays
        the inherited one: a predecessor may have sent what lies there."""
        self.progress.finish(last)
        if last.sequence_number >= self._horizon and self._samples.newest:
            self._sample = self._samples.newest
        self._lease.record = LeaseRecord(self.progress.finished, self._sample, self._incarnation)

    def _count(self, work: list[EventWork]) -> None:
        telemetry = self._ports.telemetry
        telemetry.add(Count.INPUT_EVENTS, len(work))
        verdicts: dict[str, Counter[Verdict]] = defaultdict(Counter)
        for item in work:
            if item.ignored is not None:
                telemetry.add(Count.IGNORED, label=item.ignored)
            for reason, letter in item.dead:
                telemetry.add(Count.DEAD_LETTERED, letter.readings, reason)
                telemetry.add_example(DEAD_LETTER, **dead_letter_example(item, reason, letter))
            verdicts[item.replica].update(item.verdicts)
        for replica, found in verdicts.items():
            telemetry.add(Count.COPIES, found.total(), replica)
            telemetry.add(Count.WINNERS, found[Verdict.WINNER], replica)
            telemetry.add(Count.DUPLICATES, found[Verdict.DUPLICATE] + found[Verdict.CONFLICT], replica)
            telemetry.add(Count.CONFLICTS, found[Verdict.CONFLICT], replica)
            telemetry.add(Count.REPLAYS, found[Verdict.REPLAY] + found[Verdict.FOUND])
