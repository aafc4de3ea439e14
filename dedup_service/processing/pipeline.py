"""The one place that orders effects, for one partition:

    receive → extract → limit → claim → resolve → say how far → publish → dead-letter → confirm → finish
    (→ record and checkpoint)

- Limit before claim: what a replica sends beyond its limits never silences another replica's copy.
- Claim before publish: of all copies of a reading only one origin holds the key.
- Resolve before publish: a copy that a predecessor may have published is looked up in the clean stream.
- Say how far before publish: the next owner looks up what this one may have begun to send, and nothing beyond.
- Publish before confirm: a confirmed claim means "in the clean stream", so a crash in between leaves an unconfirmed claim,
  and the copy, read again, recognises itself.
- Confirm before finish: record and checkpoint never pass a reading that could still be lost.
- Duplicates finish at once: the winner's own partition does not move past the winner until it is published.
- Claiming also keeps claims: a repetition prolongs one that is confirmed, and has no effect but this.
"""

from __future__ import annotations

from collections.abc import Iterator

from dedup_service.core.events import InputEvent
from dedup_service.core.leases import LeaseRecord, TakeoverState
from dedup_service.core.progress import Progress
from dedup_service.core.retention import Retention
from dedup_service.errors import StoppingError
from dedup_service.processing.beginning import Beginning
from dedup_service.processing.claiming import Claimer
from dedup_service.processing.counting import count_finished
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.limiting import Limiter
from dedup_service.processing.resolving import Resolver
from dedup_service.processing.sending import CleanSender, send_dead_letters
from dedup_service.processing.shared import Shared
from dedup_service.telemetry import Count
from dedup_service.waiting import Retrier

SLICE_BYTES = 4 * 1024 * 1024
"""Upper bound on the bytes of bodies and readings that are handled at once, give or take one event."""
SLICE_HELD_SECONDS = 1.0
"""Bounds likewise for how long events are held at once, since each waits for all of its slice."""


class Pipeline:
    """Handles the batches of one partition, one after the other, for as long as one lease lasts.

    `process` must not be cancelled: it is awaited on close (R7).
    """

    def __init__(
        self, shared: Shared, retrier: Retrier, state: TakeoverState, retention: Retention, beginning: Beginning
    ) -> None:
        ports = shared.ports
        self._shared = shared
        self._retrier = retrier
        self._lease = state.lease
        self.incarnation = state.incarnation
        self._generation = state.generation
        self._log = state.log
        self.progress = Progress(state.finished)
        self._limiter = Limiter(shared, retrier)
        self._claimer = Claimer(shared, retrier, retention)
        self._beginning = beginning
        self._resolver = Resolver(shared, retrier, state)
        self._sender: CleanSender | None = None
        if ports.clean is not None:
            self._sender = CleanSender(ports.clean, shared, retrier, self._resolver, state.lease)

    async def process(self, events: list[InputEvent]) -> None:
        """Returns when every event is finished.

        Raises HubRecreatedError, LeaseLostError or StoppingError; then nothing new is finished.
        """
        fresh = self.progress.fresh(events)
        self._shared.ports.telemetry.add(Count.REDELIVERED, len(events) - len(fresh))
        for work in self._slices(fresh):
            self._retrier.raise_if_stopping()
            await self._limiter.wait(work)
            await self._handle(work)

    def _slices(self, events: list[InputEvent]) -> Iterator[list[EventWork]]:
        """Extracts only as many events at a time as memory allows: a few kilobytes of gzip can hold megabytes of
        readings."""
        work: list[EventWork] = []
        size, held = 0, 0.0
        for event in events:
            item = self._admitted(event)
            if item.held_seconds and work and held + item.held_seconds >= SLICE_HELD_SECONDS:
                yield work
                work, size, held = [], 0, 0.0
            work.append(item)
            size += len(event.body) + item.extraction.text_bytes
            held += item.held_seconds
            if size >= SLICE_BYTES:
                yield work
                work, size, held = [], 0, 0.0
        if work:
            yield work

    async def _handle(self, work: list[EventWork]) -> None:
        last = work[-1].event
        await self._claimer.claim(work, self._resolver.in_doubt_up_to)
        await self._resolver.resolve(work)
        self._resolver.attempt(last)
        await self._beginning.reach(last.sequence_number)
        try:
            await self._publish(work)
            await self._send_dead_letters(work)
        except StoppingError:
            await self._claimer.confirm(work, published_only=True)
            raise
        await self._claimer.confirm(work)
        self._finish(last)
        count_finished(work, self._shared.ports.telemetry)

    def _admitted(self, event: InputEvent) -> EventWork:
        try:
            item = self._shared.admission.admit(event, self._log)
            self._limiter.limit(item)
        except Exception as error:  # noqa: BLE001  # see give_up
            item = EventWork(event, self._log, event.replica)
            self._shared.give_up(item, error)
        return item

    async def _publish(self, work: list[EventWork]) -> None:
        if self._sender is not None:
            await self._sender.send(work)

    async def _send_dead_letters(self, work: list[EventWork]) -> None:
        ports, partitions = self._shared.ports, self._shared.dead_letter_partitions
        if ports.dead_letters is not None:
            partition = partitions[int(self._lease.partition_id) % len(partitions)]
            await send_dead_letters(ports.dead_letters, partition, work, self._retrier, ports.telemetry)

    def _finish(self, last: InputEvent) -> None:
        """What the next owner needs is written with the next renewal of the lease."""
        self.progress.finish(last)
        self._resolver.finish(last, self._shared.newest_sample.end_offsets)
        self._lease.record = LeaseRecord(
            self.progress.finished, self._resolver.sample, self.incarnation, self._resolver.rule, self._generation
        )
