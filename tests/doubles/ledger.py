"""The ledger in memory: the laws of accounting.lua in Python."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dedup_service.core.accounting import (
    MAX_SOURCES,
    SOURCE_SECONDS,
    Counts,
    Gap,
    SourceHistory,
    bucket_of,
    sequence_number,
    total,
)
from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import NO_CONTENT, OTHER_NAME, OTHER_REPLICA, Claim, key_digest, unpack
from dedup_service.core.overview import ReplicaSeen
from dedup_service.core.times import source_time_ms
from dedup_service.ports.accounting import SourceSeen, StoredClaim

if TYPE_CHECKING:
    from tests.doubles.memory import MemoryClaims

MAX_GAPS, MAX_EPOCHS, MAX_TIMES, MAX_BACK, MAX_JUMP = 64, 3, 128, 1000, 1_000_000
KEEP_MINUTES, KEEP_HOURS = 70, 26


@dataclass(slots=True)
class Epoch:
    """What was received of one epoch of a source's sequence."""

    name: str
    next: int
    start: int
    gaps: list[Gap] = field(default_factory=list)
    forgotten: int = 0
    generation_since: int = 0

    def follow(self, number: int, now_ms: int, generation_since: int) -> tuple[int, int]:
        """(how many more numbers are missing, how many missing ones arrived)"""
        if self.generation_since != generation_since:
            self.next, self.start = max(self.next, number + 1), 0
            self.generation_since = generation_since
            return 0, self._fill(number)
        if number < self.next:
            filled = self._fill(number)
            return (0 if filled else self._extend_back(number, now_ms)), filled
        opened, first = number - self.next, self.next
        self.next = number + 1
        if opened > MAX_JUMP:
            self.start = number
            return 0, 0
        if opened:
            self.gaps.append(Gap(self.name, first, number - 1, now_ms))
        self._forget_oldest()
        return opened, 0

    def _extend_back(self, number: int, now_ms: int) -> int:
        if not self.name or number >= self.start or self.start - number > MAX_BACK:
            return 0
        opened = self.start - number - 1
        if opened:
            self.gaps.insert(0, Gap(self.name, number + 1, self.start - 1, now_ms))
        self.start = number
        self._forget_oldest()
        return opened

    def _forget_oldest(self) -> None:
        if len(self.gaps) > MAX_GAPS:
            oldest = self.gaps.pop(0)
            self.forgotten += oldest.last - oldest.first + 1

    def _fill(self, number: int) -> int:
        for gap in self.gaps:
            if gap.first <= number <= gap.last:
                rest = [(gap.first, number - 1), (number + 1, gap.last)]
                parts = [Gap(self.name, first, last, gap.found_ms) for first, last in rest if first <= last]
                place = self.gaps.index(gap)
                self.gaps[place : place + 1] = parts
                return 1
        return 0


@dataclass(frozen=True, slots=True)
class Copy:
    """One reading of a claim request."""

    group: str
    replica: int
    source: str
    key: bytes
    claim: bytes
    ttl_ms: int
    confirmed_ttl_ms: int
    late: bool
    sequence: int | None
    epoch: str
    time_ms: int | None


def copies_of(request: ClaimRequest) -> list[Copy]:
    return [
        Copy(
            request.group,
            request.replica,
            reading.source,
            key,
            claim,
            request.ttl_ms,
            request.confirmed_ttl_ms,
            reading.index in request.late,
            sequence_number(reading.sequence),
            reading.epoch or "",
            source_time_ms(reading.time) if request.is_timed else None,
        )
        for reading, key, claim in zip(request.readings, request.keys, request.claims_of(request.readings), strict=True)
    ]


@dataclass(slots=True)
class Recent:
    """What a replica sent of a source: the content of its last copy, and times and contents of its last winners."""

    content: bytes = b""
    winners: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=MAX_TIMES))


@dataclass(slots=True)
class MemoryLedger:
    claims: MemoryClaims
    max_sources: int = MAX_SOURCES
    since_ms: int = 0
    """Of the marker."""
    forgotten_at_ms: int = 0
    """The last `since_ms` at which claims were missing."""
    counts: dict[tuple[str, str, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """("minute", "hour" or "source <source>", group, number of the minute or hour) → counts"""
    accounted: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    seen: dict[str, dict[int, tuple[int, int]]] = field(default_factory=lambda: defaultdict(dict))
    known_sources: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    epochs: dict[tuple[str, str], list[Epoch]] = field(default_factory=lambda: defaultdict(list))
    recent: dict[tuple[str, str, int], dict[int, Recent]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Recent))
    )
    """(group, source, number of the hour) → replica → what it sent"""

    def count(self, copy: Copy, held: Claim | None) -> None:
        mine = unpack(copy.claim)
        partition = (mine.origin.incarnation, mine.origin.partition)
        place = (mine.origin.sequence_number, mine.origin.index)
        if place <= self.accounted.get(partition, (-1, -1)):
            return
        self.accounted[partition] = place
        now_ms = self.claims.clock.now_ms()
        last = self.seen[copy.group].get(copy.replica, (0, 0))[0]
        self.seen[copy.group][copy.replica] = (max(last, mine.enqueued_ms), now_ms)
        is_listed = self._lists(copy, now_ms)
        winner_ms = mine.enqueued_ms if held is None else held.enqueued_ms
        if not is_listed:
            copy = replace(copy, sequence=None)
        counted = self._winner(copy, winner_ms) if held is None else self._duplicate(copy, mine, held)
        is_counted_now = held is not None and (held.restored or held.replicas & mine.replicas)
        keys = self._keys(copy, mine.enqueued_ms if is_counted_now else winner_ms)
        if not is_listed:
            keys = [("beyond" if kind.startswith("source ") else kind, of, number) for kind, of, number in keys]
        elif keys and keys[-1][0].startswith("source"):
            self._compare(copy, mine, held, keys[-1])
        for key in keys:
            for name, number in counted.items():
                if name[0] != "h" or key[0] in ("minute", "hour"):
                    self.counts[key][name] += number

    def _lists(self, copy: Copy, now_ms: int) -> bool:
        """Whether the source is counted by itself."""
        known = self.known_sources[copy.group]
        if copy.source not in known:
            for source in [name for name, at in known.items() if at < now_ms - SOURCE_SECONDS * 1000]:
                del known[source]
        if copy.source in known or len(known) < self.max_sources:
            known[copy.source] = now_ms
            return True
        return False

    def _keys(self, copy: Copy, winner_ms: int) -> list[tuple[str, str, int]]:
        now_ms, keys = self.claims.clock.now_ms(), []
        minute, hour = winner_ms // 60_000, winner_ms // 3_600_000
        if minute > now_ms // 60_000 - KEEP_MINUTES:
            keys.append(("minute", copy.group, minute))
        if hour > now_ms // 3_600_000 - KEEP_HOURS:
            keys.append(("hour", copy.group, hour))
            keys.append((f"source {copy.source}", copy.group, hour))
        return keys

    def _winner(self, copy: Copy, winner_ms: int) -> Counter[str]:
        opened, filled = self._follow(copy)
        counted = Counter({f"f{copy.replica}": 1, f"o{copy.replica}": 1, "r1": 1, "g+": opened, "g-": filled})
        counted[f"l{copy.replica}"] = int(copy.late)
        return counted

    def _compare(self, copy: Copy, mine: Claim, held: Claim | None, key: tuple[str, str, int]) -> None:
        """With what the replica sent last, and with what the other ones did."""
        by_replica, counts = self.recent[copy.group, copy.source, key[2]], self.counts[key]
        own = by_replica[copy.replica]
        if held is None or not (held.restored or held.replicas & mine.replicas):
            counts[f"{'u' if held is None else 'v'}{copy.replica}"] += own.content == mine.content
            own.content = mine.content
        if held is None and copy.time_ms is not None:
            others = [item for replica, other in by_replica.items() if replica != copy.replica for item in other.winners]
            if others:
                counts[f"n:{bucket_of(min(abs(copy.time_ms - at) for at, _ in others))}"] += 1
            offsets = [copy.time_ms - at for at, content in others if content == mine.content[:2]]
            if offsets:
                counts[f"m{copy.replica}:{bucket_of(min(offsets, key=lambda offset: (abs(offset), -offset)))}"] += 1
            own.winners.append((copy.time_ms, mine.content[:2]))

    def _duplicate(self, copy: Copy, mine: Claim, held: Claim) -> Counter[str]:
        counted: Counter[str] = Counter()
        n, replicas = copy.replica, held.replicas.bit_count()
        if held.replicas & mine.replicas:
            counted[f"s{n}"] += 1
        elif held.restored:
            counted[f"b{n}"] += 1
            counted["g+"], counted["g-"] = self._follow(copy)
        else:
            counted[f"d{n}"] += 1
            counted[f"r{replicas}"] -= 1
            counted[f"r{replicas + 1}"] += 1
            if replicas == 1:
                counted[f"o{held.replicas.bit_length() - 1}"] -= 1
            counted[f"h{n}:{bucket_of(mine.enqueued_ms - held.enqueued_ms)}"] += 1
        counted[f"x{n}"] += held.content not in (mine.content, NO_CONTENT)
        return counted

    def _follow(self, copy: Copy) -> tuple[int, int]:
        if copy.sequence is None:
            return 0, 0
        epochs = self.epochs[copy.group, copy.source]
        for epoch in epochs:
            if epoch.name == copy.epoch:
                return epoch.follow(copy.sequence, self.claims.clock.now_ms(), self.since_ms)
        start = 0 if 0 < self.forgotten_at_ms == self.since_ms else copy.sequence
        epochs.insert(0, Epoch(copy.epoch, copy.sequence + 1, start, generation_since=self.since_ms))
        del epochs[MAX_EPOCHS:]
        return 0, 0

    # --- queries

    async def now_ms(self) -> int:
        return self.claims.clock.now_ms()

    async def minutes(self, group: str, numbers: Sequence[int], names: Sequence[str] | None = None) -> list[Counts]:
        found: list[Counts] = [self.counts.get(("minute", group, number), {}) for number in numbers]
        return [{name: n for name, n in counts.items() if names is None or name in names} for counts in found]

    async def hours(self, group: str, numbers: Sequence[int]) -> Counts:
        return total(self.counts.get(("hour", group, number), {}) for number in numbers)

    async def replicas(self, group: str) -> list[ReplicaSeen]:
        names = sorted((number, name) for (of, name), number in self.claims.numbers.items() if of == group)
        if OTHER_REPLICA in self.seen[group]:
            names.append((OTHER_REPLICA, OTHER_NAME))
        return [ReplicaSeen(name, number, *self.seen[group].get(number, (0, 0))) for number, name in names]

    async def sources(self, group: str, start: str = "", limit: int | None = None, contains: str = "") -> list[SourceSeen]:
        known = sorted(self.known_sources[group].items())
        return [SourceSeen(source, at) for source, at in known if source >= start and contains in source][:limit]

    async def counted_together(self, group: str, hours: Sequence[int]) -> Counts:
        return total(self.counts.get(("beyond", group, hour), {}) for hour in hours)

    async def source_counts(self, group: str, source: str, hours: Sequence[int]) -> Counts:
        return total(self.counts.get((f"source {source}", group, hour), {}) for hour in hours)

    async def counts_of(self, group: str, sources: Sequence[str], hours: Sequence[int]) -> list[Counts]:
        return [await self.source_counts(group, source, hours) for source in sources]

    async def gaps(self, group: str, start: str = "", limit: int | None = None) -> list[tuple[str, SourceHistory]]:
        histories = await self.histories(
            group, sorted(source for of, source in self.epochs if of == group and source >= start)
        )
        return [(source, history) for source, history in histories.items() if history.missing][:limit]

    async def histories(self, group: str, sources: Sequence[str]) -> dict[str, SourceHistory]:
        return {
            source: SourceHistory([gap for epoch in found for gap in epoch.gaps], sum(epoch.forgotten for epoch in found))
            for source in sources
            if (found := self.epochs.get((group, source)))
        }

    async def forgot_ms(self) -> int | None:
        return self.forgotten_at_ms or None

    async def find(self, claim_scope: str, source: str, reading_id: str) -> StoredClaim | None:
        digest, now_ms = key_digest(claim_scope, source, reading_id), self.claims.clock.now_ms()
        claim, expiry_ms = self.claims.stored.get(digest, (b"", 0))
        return StoredClaim(unpack(claim), expiry_ms - now_ms) if expiry_ms > now_ms else None
