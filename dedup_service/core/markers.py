"""How far back the claims in Redis are complete (R12), and which copies can be judged by them.

Each shard has a marker that names the server on which its claims are complete, and a generation. A shard that has forgotten
gets a new generation, under which the clean stream is read back, newest part first: `read back to T` means that every
reading which was published from T on is claimed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import shard_of
from dedup_service.core.events import Reading
from dedup_service.core.times import source_time_ms

BEGINNING_MS = 0
"""Read back to here: everything whose claim would not have ended is claimed, or the clean stream holds no more."""

MAX_PART_MS = 900_000
"""A reader that breaks off costs no more than this."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """How far one clean partition was read back."""

    to_ms: int
    """The clean hub's clock."""
    sequence_number: int
    """Of the first event from then on; everything from it on was read."""

    @property
    def is_all(self) -> bool:
        return self.to_ms <= BEGINNING_MS


NOTHING_TO_READ = ReadBack(BEGINNING_MS, 0)


@dataclass(frozen=True, slots=True)
class Marker:
    """One shard's marker, as Redis holds it."""

    shard: int
    generation: int
    """Rises whenever the shard is found to have forgotten."""
    since_ms: int
    """When that was, by the server's clock."""
    now_ms: int
    is_ready: bool
    """Whether claims may be made: the clean stream was read back to the horizon."""
    read_back: Mapping[str, ReadBack]
    """By clean partition."""
    holds_claims: bool = True
    """Else there is nothing to read back for it."""

    def read_back_of(self, partition: str) -> ReadBack | None:
        return self.read_back.get(partition) if self.holds_claims else NOTHING_TO_READ

    def read_back_to(self, partitions: Iterable[str]) -> int | None:
        """None while one of the partitions was not read at all."""
        found = [self.read_back_of(partition) for partition in partitions]
        if any(item is None for item in found):
            return None
        return max((item.to_ms for item in found if item is not None), default=BEGINNING_MS)

    def is_whole(self, partitions: Iterable[str]) -> bool:
        return self.is_ready and self.read_back_to(partitions) == BEGINNING_MS


@dataclass(frozen=True, slots=True)
class RestoredEvent:
    """Claims of readings that one clean event has published."""

    kept_until_ms: int
    """The end of the window."""
    ends_ms: int
    """When the claims end, by the spread of lag after the window."""
    sources: Sequence[str]
    keys: Sequence[bytes]
    claims: Sequence[bytes]
    """One for each reading."""


@dataclass(slots=True)
class Memory:
    """What this pod knows of all shards.

    A copy can be judged where its winner, if there is one, must have been published in the part that was read back: a
    reading can't be published before it was measured. So one without a time, or whose time can't be right, must wait for the
    whole. A clock that is ahead by more than it may be shows where a reading was enqueued before it can have been measured.
    """

    clean_partitions: Collection[str] = ()
    """Those that are read back; none where that is not done."""
    shards: int = 1
    clock_error_ms: int = 0
    """How far a machine's clock may be ahead of the clean hub's."""
    read_back_to: dict[int, int] = field(default_factory=dict)
    """By shard, in ms; without those that are not ready."""
    is_whole: bool = True
    progress: float = 1.0
    """The share of the window that is read back, of all clean partitions, in the shard that has least."""

    def forgot(self) -> None:
        """Some shard may have forgotten: nothing is judged until the markers were looked at."""
        self.is_whole, self.progress = False, 0.0
        self.read_back_to.clear()

    def saw(self, markers: Sequence[Marker], window_ms: int) -> None:
        backs = {m.shard: m.read_back_to(self.clean_partitions) for m in markers if m.is_ready}
        self.read_back_to = {shard: at_ms for shard, at_ms in backs.items() if at_ms is not None}
        self.is_whole = len(backs) == len(markers) and all(at_ms == BEGINNING_MS for at_ms in backs.values())
        self.progress = min((self._share(marker, window_ms) for marker in markers), default=1.0)

    def _share(self, marker: Marker, window_ms: int) -> float:
        """Partitions are read one after the other, so that the least of them would say nothing of the work that is done."""
        partitions = self.clean_partitions
        done = sum(_depth_ms(marker, partition, window_ms) for partition in partitions)
        return done / (window_ms * len(partitions)) if partitions else 1.0

    def can_judge(self, requests: Iterable[ClaimRequest]) -> bool:
        if self.is_whole:
            return True
        return all(self._can_judge(request, reading) for request in requests for reading in request.readings)

    def _can_judge(self, request: ClaimRequest, reading: Reading) -> bool:
        read_back_to = self.read_back_to.get(shard_of(reading.source, self.shards))
        if read_back_to is None or read_back_to <= BEGINNING_MS:
            return read_back_to is not None
        time_ms = source_time_ms(reading.time)
        if time_ms is None:
            return False
        measured_ms = time_ms - self.clock_error_ms  # at the earliest
        return read_back_to <= measured_ms <= request.enqueued_ms


def _depth_ms(marker: Marker, partition_id: str, window_ms: int) -> int:
    """How much of the window is read back in a partition."""
    done = marker.read_back_of(partition_id)
    if done is None:
        return 0
    return window_ms if done.is_all else min(window_ms, max(0, marker.since_ms - done.to_ms))


def _read_back_to(marker: Marker, partition_id: str) -> float:
    done = marker.read_back_of(partition_id)
    return float("inf") if done is None else done.to_ms


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a clean partition that is to be read back for some shards."""

    partition_id: str
    markers: Sequence[Marker]
    """Those of shards for which the same is to be read."""
    start_ms: int
    """The clean hub's clock."""
    stop: int | None
    """The sequence number from which on it was read; None for the end of the partition."""
    needed_from_ms: int
    """What was published before need not be known."""

    def read_to(self, sequence_number: int, *, is_all: bool = False) -> ReadBack:
        """How far the partition is read back when this part is. `is_all`: when there is nothing before it."""
        is_all = is_all or self.start_ms <= self.needed_from_ms
        return ReadBack(BEGINNING_MS if is_all else self.start_ms, sequence_number)


def next_part(markers: Iterable[Marker], partition_id: str, horizon_ms: int, window_ms: int) -> Part | None:
    """The part to read next for those shards of which least is read back: first to the horizon, which is so long before they
    forgot, then twice as far back each time, by MAX_PART_MS at most, and at last for the whole window. None when all was
    read."""
    lacking = [marker for marker in markers if _read_back_to(marker, partition_id) > BEGINNING_MS]
    if not lacking:
        return None
    least = max(lacking, key=lambda marker: _read_back_to(marker, partition_id))
    same = [m for m in lacking if m.read_back.get(partition_id) == least.read_back.get(partition_id)]
    since_ms = min(marker.since_ms for marker in same)
    done = least.read_back.get(partition_id)
    depth_ms = horizon_ms
    if done is not None:
        done_ms = max(since_ms - done.to_ms, 1)
        depth_ms = done_ms + min(done_ms, MAX_PART_MS)
    return Part(
        partition_id,
        same,
        since_ms - min(depth_ms, window_ms),
        None if done is None else done.sequence_number,
        since_ms - window_ms,
    )
