"""Markers in memory: the laws of marker.lua and its scripts in Python, where all shards of claims share a marker."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from dedup_service.adapters.redis.marked import Generation, Generations
from dedup_service.core.claims import HOME, RESTORED, TERMS, all_shards, claim_shards, pack, unpack
from dedup_service.core.leases import Tenure
from dedup_service.core.markers import Marker, ReadBack, RestoredEvent
from dedup_service.errors import ForgottenError
from dedup_service.ports.clock import Clock
from tests.doubles.memory import MemoryAtWork, MemoryClaims

FORGETFUL = -1


@dataclass
class StoredMarker:
    generation: int
    server: int
    since_ms: int
    fence: int = 0
    fenced_for: tuple[int, int] = (0, 0)
    """The number of shards, and the generation of theirs, for which that is the fence."""
    term: int = 0
    is_ready: bool = False
    calls: int = 0
    read_back: dict[str, ReadBack] = field(default_factory=dict)


@dataclass
class MemoryServer:
    """A server and what it stores beside claims and leases."""

    clock: Clock
    claims: MemoryClaims
    id: int = 1
    shows_id: bool = True
    marker: StoredMarker | None = None
    """The home's, which is also that of a single shard."""
    others: dict[int, StoredMarker] = field(default_factory=dict)
    """Those of several shards, by their number."""
    shards: int | None = None
    """The number that pods agree on."""
    ending: frozenset[int] = frozenset()
    """The numbers whose markers are to be ended."""
    turns: dict[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def shown_id(self) -> int:
        return self.id if self.shows_id else 0

    def marker_of(self, shards: int, shard: int) -> StoredMarker | None:
        return self.marker if shard == HOME else self.others.get(shards)

    def check(
        self,
        marker: StoredMarker | None,
        known: Generation | None,
        *,
        must_be_ready: bool = True,
        is_fenced: bool = False,
    ) -> None:
        """Raises ForgottenError, as a marked script refuses."""
        if known is None or marker is None or marker.generation != known.number or not self._is_servers(marker):
            raise ForgottenError("marker")
        if self.went_back(marker, known):
            marker.server = FORGETFUL
            raise ForgottenError("calls")
        marker.calls += 1
        if (must_be_ready and not marker.is_ready) or (is_fenced and marker.fence != known.fence):
            raise ForgottenError("not ready")
        known.calls = max(known.calls, marker.calls)

    def _is_servers(self, marker: StoredMarker) -> bool:
        return marker.server == self.shown_id

    def went_back(self, marker: StoredMarker, known: Generation) -> bool:
        return marker.calls < known.calls


class MemoryMarkers:
    """One pod's markers."""

    def __init__(
        self,
        server: MemoryServer,
        *,
        rebuilds: bool = True,
        shards: int = 1,
        configuration: str = "",
        at_work: MemoryAtWork | None = None,
        lease_seconds: float = 0.0,
    ) -> None:
        self.server = server
        self.generations = Generations("", shards)
        self.prefix = b"" if shards == 1 else b"%d " % shards
        """Of all keys: what is claimed with one number of shards is not found with another."""
        self._rebuilds = rebuilds
        self._configuration = configuration
        self._at_work = at_work or MemoryAtWork()
        self._lease_seconds = lease_seconds

    @property
    def are_ready(self) -> bool:
        return self.generations.are_ready

    @property
    def shards(self) -> int:
        return self.generations.shards

    @property
    def known(self) -> Generation | None:
        return self.known_of(HOME)

    def known_of(self, shard: int) -> Generation | None:
        known = self.generations.known(shard)
        return known if known is not None and known.is_ready else None

    @property
    def tenure(self) -> Tenure:
        known = self.known
        return (known.number, known.fence) if known is not None else (0, 0)

    def check(
        self, known: Generation | None, *, shard: int = HOME, must_be_ready: bool = True, is_fenced: bool = False
    ) -> None:
        marker = self.server.marker_of(self.shards, shard)
        try:
            self.server.check(marker, known, must_be_ready=must_be_ready, is_fenced=is_fenced)
        except ForgottenError:
            self.generations.forgot(shard, known)
            raise
        if marker is not None and shard in claim_shards(self.shards):
            self.server.claims.term = marker.term

    async def agree(self) -> frozenset[int]:
        """The numbers of shards whose markers are to be ended, as layout.lua names them."""
        server, now = self.server, self.server.clock.monotonic()
        is_same = server.shards == self.shards
        if is_same and not server.ending and self._at_work.configuration != self._configuration:
            return server.ending
        if not self._at_work.allows(self._configuration, now, self._lease_seconds):
            raise ForgottenError("shards of another number")
        if server.shards is not None and not is_same:
            server.ending |= {server.shards, self.shards}
            if server.marker is not None:
                server.marker.server = FORGETFUL
        server.shards = self.shards
        return server.ending

    async def end(self, shards: int) -> None:
        if shards in self.server.others:
            self.server.others[shards].server = FORGETFUL

    async def ended(self, shards: frozenset[int]) -> None:
        if self.server.ending == shards:
            self.server.ending = frozenset()

    def look_at(self) -> dict[int, StoredMarker]:
        """By shard."""
        return {shard: self._look_at(shard) for shard in all_shards(self.shards)}

    def _look_at(self, shard: int) -> StoredMarker:
        server = self.server
        found, now_ms = server.marker_of(self.shards, shard), server.clock.now_ms()
        least = self.generations.least(shard)
        if found is None or found.generation < least or not server._is_servers(found):
            number = max(found.generation + 1 if found else 1, least + 1, now_ms)
            fence, term = (found.fence, (found.term + 1) % TERMS) if found is not None else (0, 0)
            found = StoredMarker(number, server.shown_id, now_ms, fence=fence, term=term)
            if shard == HOME:
                server.marker = found
            else:
                server.others[self.shards] = found
        server.claims.term = found.term
        server.claims.ledger.since_ms = found.since_ms
        found.is_ready = found.is_ready or not self._rebuilds
        return replace(found, read_back=dict(found.read_back))

    def saw(self, found: dict[int, StoredMarker]) -> list[Marker]:
        for shard, seen in found.items():
            self.generations.saw(shard, seen.generation, seen.fence, is_ready=seen.is_ready)
        now_ms, own = self.server.clock.now_ms(), claim_shards(self.shards)
        return [
            Marker(shard, seen.generation, seen.since_ms, now_ms, seen.is_ready, seen.read_back, shard in own)
            for shard, seen in found.items()
        ]

    async def look(self) -> list[Marker]:
        ending = await self.agree()
        for shards in ending:
            await self.end(shards)
        await self.ended(ending)
        return self.saw(self.look_at())

    async def distrust(self) -> None:
        for shard in all_shards(self.shards):
            try:
                self.check(self.known_of(shard), shard=shard)
            except ForgottenError:
                continue
            marker = self.server.marker_of(self.shards, shard)
            assert marker is not None
            marker.server = FORGETFUL

    async def fence(self, marker: Marker) -> int:
        home = self.server.marker
        if marker.shard != HOME and home is not None and home.fenced_for != (self.shards, marker.generation):
            home.fence += 1
            home.fenced_for = (self.shards, marker.generation)
        return self.server.clock.now_ms() - marker.since_ms

    async def may_read(self, pod_id: str, partition_id: str, seconds: float) -> bool:
        now, turns = self.server.clock.monotonic(), self.server.turns
        holder, until = turns.get(partition_id, ("", 0.0))
        if until > now and holder != pod_id:
            return False
        turns[partition_id] = (pod_id, now + seconds)
        return True

    def _of(self, marker: Marker) -> Generation:
        known = self.generations.known(marker.shard)
        if known is None or known.number != marker.generation:
            raise ForgottenError("generation")
        return known

    async def restore(self, events: Sequence[RestoredEvent], markers: Collection[Marker]) -> int:
        for marker in markers:
            self.check(self._of(marker), shard=marker.shard, must_be_ready=False)
        return sum(
            self._restore(self.prefix + key, claim, event.ends_ms)
            for event in events
            for key, claim in zip(event.keys, event.claims, strict=True)
        )

    def _restore(self, key: bytes, claim: bytes, ends_ms: int) -> bool:
        now_ms, stored = self.server.clock.now_ms(), self.server.claims.stored
        if ends_ms <= now_ms:
            return False
        held, until = stored.get(key, (b"", 0))
        if until <= now_ms:
            ledger = self.server.claims.ledger
            ledger.forgotten_at_ms = ledger.since_ms
        if until > now_ms and unpack(held).origin == unpack(claim).origin:
            if held[0] != RESTORED:
                claim = pack(replace(unpack(held), confirmed=True))
            ends_ms = max(ends_ms, until)
        elif until > max(now_ms, ends_ms) and unpack(held).confirmed:
            return True
        stored[key] = (claim, ends_ms)
        return True

    async def note(self, marker: Marker, partition_id: str, read_back: ReadBack, partitions: Collection[str]) -> None:
        self.check(self._of(marker), shard=marker.shard, must_be_ready=False)
        stored = self.server.marker_of(self.shards, marker.shard)
        assert stored is not None
        before = stored.read_back.get(partition_id)
        if before is None or before.to_ms > read_back.to_ms:
            stored.read_back[partition_id] = read_back
        stored.is_ready = stored.is_ready or all(partition in stored.read_back for partition in partitions)
