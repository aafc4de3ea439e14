"""Gives Redis back what it forgot (R12), together with the other pods:

    look at the markers → fence → read the clean stream back, newest part first → note how far → claims are made again

- Fence before reading: a verdict of before may still be on its way to a send. When all leases of before have ended, whatever
  was sent by them is in the clean stream, and nothing of it can be added.
- Restore before note: what is noted as read is claimed.
- Every step may be repeated by any pod at any time; none needs to know who began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dedup_service.core.markers import NOTHING_TO_READ, Marker, Memory, Part, ReadBack, next_part
from dedup_service.errors import Dependency, DependencyKind, ForgottenError, UnavailableError
from dedup_service.ports.claims import Markers
from dedup_service.ports.clock import Clock
from dedup_service.rebuild.past import Past
from dedup_service.rebuild.reading_back import ReadingBack
from dedup_service.rebuild.reports import Reports, generations_of
from dedup_service.rebuild.turns import Turns
from dedup_service.telemetry import Telemetry

REDIS = Dependency(DependencyKind.REDIS)
ROUND_SECONDS = 0.25
MAX_READERS = 4
CLOSE_SECONDS = 2.0
"""How long to wait for readers that were cancelled during a network call."""


@dataclass(frozen=True, slots=True)
class RebuildOptions:
    lease_seconds: float
    window_ms: int
    """The longest of all groups."""
    horizon_ms: Callable[[], int]
    """Back to how long ago the clean stream is read before claims are made again."""
    spread_ms: Callable[[], int]
    """By how much claims outlive their window."""


@dataclass(slots=True)
class Seen:
    """A shard's generation, since this pod saw it first."""

    generation: int
    at: float
    """Monotonic seconds."""


@dataclass(slots=True)
class Rebuilder:
    pod_id: str
    memory: Memory
    markers: Markers
    reading_back: ReadingBack
    clock: Clock
    telemetry: Telemetry
    options: RebuildOptions
    past: Past
    _turns: Turns = field(init=False)
    _untold: set[int] = field(default_factory=set)
    """Shards that have forgotten something, if there was anything."""
    _seen: dict[int, Seen] = field(default_factory=dict)
    """By shard."""
    _reading: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _reports: Reports | None = None

    def __post_init__(self) -> None:
        self._turns = Turns(self.pod_id, self.markers, self.clock, self.telemetry)

    async def run(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                await self.round()
                await self.clock.sleep(ROUND_SECONDS)
        finally:
            await self._stop_reading()

    async def _stop_reading(self) -> None:
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        if reading:
            await asyncio.wait(reading, timeout=CLOSE_SECONDS)

    async def round(self) -> None:
        """Does what can be done now. Makes no call while everything is remembered."""
        if not self.markers.are_ready:
            self.memory.forgot()
        if self.memory.is_whole and self._reports is None and not self._untold:
            return
        try:
            markers = await self.markers.look()
            self.memory.saw(markers, self._needed_ms)  # at once: claims go by both
            await self._work(markers)
        except ForgottenError:
            return  # the next round looks again
        except UnavailableError as error:
            self.telemetry.unavailable(error.dependency, error.problem)
        except Exception as error:  # noqa: BLE001  # a defect must not end the rebuild: the next round tries again
            self.telemetry.worker_failed("rebuild", error)
        else:
            self.telemetry.available(REDIS)

    @property
    def _needed_ms(self) -> int:
        """What was published longer ago need not be known, since its claims would have ended."""
        return self.options.window_ms + self.options.spread_ms()

    async def _work(self, markers: Sequence[Marker]) -> None:
        lacking = [marker for marker in markers if not marker.is_whole(self.memory.clean_partitions)]
        self._see(markers)
        if lacking or self._untold:
            await self.past.ask()
            self._tell_what_was_forgotten()
        fenced = [marker for marker in lacking if await self._is_fenced(marker)]
        self._report(lacking, is_read=bool(fenced))
        await self._note_again(fenced)
        parts = self._next_parts(fenced)
        self._turns.keep_pauses({part.partition_id for part in parts})
        for part in parts:
            partition = part.partition_id
            is_free = partition not in self._reading and len(self._reading) < MAX_READERS
            if is_free and await self._turns.may_begin(partition):
                self._reading[partition] = asyncio.create_task(self._read(part))

    def _next_parts(self, markers: Sequence[Marker]) -> list[Part]:
        """The newest first: claims may be made when every partition is read back to the horizon."""
        horizon_ms, needed_ms = self.options.horizon_ms(), self._needed_ms
        parts = [next_part(markers, partition, horizon_ms, needed_ms) for partition in self.memory.clean_partitions]
        return sorted((part for part in parts if part is not None), key=lambda part: -part.start_ms)

    async def _note_again(self, markers: Sequence[Marker]) -> None:
        """Where nothing is left to read but it is not ready: it holds no claims, or whoever noted it waited for a partition
        that is no output any more."""
        partitions = self.memory.clean_partitions
        for marker in markers:
            if partitions and not marker.is_ready and marker.read_back_to(partitions) is not None:
                first = next(iter(partitions))
                awaited = partitions if marker.holds_claims else [first]
                await self.markers.note(marker, first, marker.read_back_of(first) or NOTHING_TO_READ, awaited)

    async def _is_fenced(self, marker: Marker) -> bool:
        """Whether all leases of before have ended, by the clock of Redis and by this pod's own."""
        if marker.is_ready or marker.read_back or not self.past.has_worked:
            return True
        ago_seconds = await self.markers.fence(marker) / 1000
        seen_seconds = self.clock.monotonic() - self._seen[marker.shard].at
        return min(ago_seconds, seen_seconds) >= self.options.lease_seconds

    async def _read(self, part: Part) -> None:
        partition = part.partition_id
        try:
            read_back = await self._read_back(part, partial(self._turns.keep, partition))
            for marker in part.markers:
                await self.markers.note(marker, partition, read_back, self.memory.clean_partitions)
            await self._turns.end(partition)
        except ForgottenError:
            pass  # the next round looks again
        except UnavailableError as error:
            await self._turns.decline(partition, error)
        except Exception as error:  # noqa: BLE001  # a defect; another round, or another pod, tries again
            self.telemetry.worker_failed(partition, error)
            await self._turns.decline(partition)
        finally:
            self._reading.pop(partition, None)

    async def _read_back(self, part: Part, keep: Callable[[], Awaitable[object]]) -> ReadBack:
        if all(marker.now_ms - marker.since_ms >= self._needed_ms for marker in part.markers):
            return part.read_to(0, is_all=True)  # whatever was claimed before this marker has ended
        return await self.reading_back.read(part, self.options.spread_ms(), keep)

    # --- what people see

    def _see(self, markers: Sequence[Marker]) -> None:
        """Which shards have forgotten. A pod that has just started sees that too, where it finds a rebuild under way."""
        for marker in markers:
            seen = self._seen.get(marker.shard)
            if seen is None or seen.generation != marker.generation:
                if seen is not None or not marker.is_ready:
                    self._untold.add(marker.shard)
                self._seen[marker.shard] = Seen(marker.generation, self.clock.monotonic())

    def _tell_what_was_forgotten(self) -> None:
        if self._untold and self.past.has_published:
            self.telemetry.redis_forgot(sorted(self._untold), rebuilds=bool(self.memory.clean_partitions))
        if self.past.has_published is not None:
            self._untold.clear()

    def _report(self, lacking: Sequence[Marker], *, is_read: bool) -> None:
        if lacking:
            if self._reports is None or not self._reports.are_on(lacking):
                self._reports = Reports(self.clock, self.telemetry, generations_of(lacking))
            self._reports.saw(lacking, self.memory.progress, is_read=is_read)
        elif self._reports is not None:
            self._reports.end()
            self._reports = None
