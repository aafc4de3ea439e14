"""Reads one part of one clean partition, and claims again what it holds. No more than a few batches of it are in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dedup_service.core.events import InputEvent
from dedup_service.core.markers import Marker, Part, ReadBack, RestoredEvent
from dedup_service.errors import Dependency, DependencyKind, ShutOutError, UnavailableError
from dedup_service.ports.claims import ClaimStore, Markers
from dedup_service.ports.clock import Clock
from dedup_service.ports.hubs import CleanTail, PartitionState, StartPosition
from dedup_service.rebuild.published import Published, PublishedReader, UnknownReadingsError
from dedup_service.telemetry import Count, Telemetry

CLAIMS_PER_CALL = 1000
"""A script blocks Redis while it runs."""
WAIT_SECONDS = 1.0
SILENCE_SECONDS = 10.0
"""After so long without an event, although some must come, the reader is given up."""
READING = Dependency(DependencyKind.CLEAN_HUB_READING)


@dataclass(slots=True)
class ReadingBack:
    tail: CleanTail
    claims: ClaimStore
    markers: Markers
    published: PublishedReader
    clock: Clock
    telemetry: Telemetry

    async def read(self, part: Part, spread_ms: int, keep: Callable[[], Awaitable[object]]) -> ReadBack:
        """Returns how far the partition is read back then. `spread_ms`: by how much claims outlive their window. `keep` is
        called with every batch.

        Raises UnavailableError; ForgottenError when one of the shards has forgotten again.
        """
        state = await self.tail.partition_state(part.partition_id)
        stop = part.stop if part.stop is not None else state.last_sequence_number + 1
        if state.first_sequence_number >= stop:  # nothing is kept of it
            self._report_expired(part, state, state.last_enqueued_ms)
            return part.read_to(stop, is_all=True)
        if state.last_enqueued_ms < part.start_ms:
            return part.read_to(stop)
        first = await self._first_restored(part, stop, spread_ms, keep)
        is_all = first.sequence_number <= state.first_sequence_number
        if is_all:
            self._report_expired(part, state, first.enqueued_ms)
        return part.read_to(min(first.sequence_number, stop), is_all=is_all)

    async def _first_restored(
        self, part: Part, stop: int, spread_ms: int, keep: Callable[[], Awaitable[object]]
    ) -> InputEvent:
        """Restores what is before the sequence number `stop`. Returns the first event from the part's start on."""
        start, first = StartPosition(enqueued_ms=part.start_ms), None
        reader, by_force = self.tail.open_reader(part.partition_id, start), False
        heard_at = self.clock.monotonic()
        try:
            while True:
                try:
                    events = await reader.read(WAIT_SECONDS)
                except ShutOutError:
                    if by_force:
                        raise
                    reader, by_force = self.tail.open_reader(part.partition_id, start, by_force=True), True
                    continue
                if not events:
                    self._require_progress(heard_at)
                    continue
                heard_at, first = self.clock.monotonic(), first or events[0]
                await self._restore([event for event in events if event.sequence_number < stop], part.markers, spread_ms)
                await keep()
                if events[-1].sequence_number >= stop - 1:
                    return first
        finally:
            reader.close()

    def _require_progress(self, heard_at: float) -> None:
        if self.clock.monotonic() - heard_at >= SILENCE_SECONDS:
            raise UnavailableError(READING, f"no event within {SILENCE_SECONDS:.0f} s, although some are there")

    async def _restore(self, events: Sequence[InputEvent], markers: Sequence[Marker], spread_ms: int) -> None:
        call: list[RestoredEvent] = []
        size, numbers = 0, dict[tuple[str, str], int]()
        for event in events:
            for piece in await self._claims_in(event, spread_ms, numbers):
                call.append(piece)
                size += len(piece.keys)
                if size >= CLAIMS_PER_CALL:
                    await self._send(call, markers)
                    call, size = [], 0
        if call:
            await self._send(call, markers)

    async def _send(self, call: Sequence[RestoredEvent], markers: Sequence[Marker]) -> None:
        self.telemetry.add(Count.RESTORED, await self.markers.restore(call, markers))

    async def _claims_in(
        self, event: InputEvent, spread_ms: int, numbers: dict[tuple[str, str], int]
    ) -> Sequence[RestoredEvent]:
        try:
            published = self.published.read(event)
            return [] if published is None else await self._claims_of(published, spread_ms, numbers)
        except UnknownReadingsError as error:
            self.telemetry.not_restored(event.partition_id, event.sequence_number, str(error))
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  # anybody may write to the clean hub; the others must be restored
            self.telemetry.worker_failed(event.partition_id, error)
            self.telemetry.not_restored(event.partition_id, event.sequence_number, type(error).__name__)
        return []

    async def _claims_of(
        self, published: Published, spread_ms: int, numbers: dict[tuple[str, str], int]
    ) -> list[RestoredEvent]:
        """`numbers`: of the replicas that were met, by group and name."""
        name = (published.group.name, published.replica)
        number = numbers.get(name)
        if number is None:
            number = numbers[name] = await self.claims.replica_number(*name)
        kept_until_ms = published.enqueued_ms + published.group.window_ms
        sources, keys = [reading.source for reading in published.readings], published.keys()
        claims = published.claims(number)
        return [
            RestoredEvent(kept_until_ms, kept_until_ms + spread_ms, sources[piece], keys[piece], claims[piece])
            for piece in (slice(at, at + CLAIMS_PER_CALL) for at in range(0, len(keys), CLAIMS_PER_CALL))
        ]

    def _report_expired(self, part: Part, state: PartitionState, since_ms: int) -> None:
        """What the clean hub has dropped can't be remembered."""
        if state.first_sequence_number > 0 and since_ms > part.needed_from_ms:
            self.telemetry.clean_stream_expired(part.partition_id, since_ms - part.needed_from_ms)
