"""Markers in memory: the laws of marker.lua and its scripts in Python, for one shard."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from dedup_service.adapters.redis.marked import Generation, Generations
from dedup_service.core.claims import RESTORED, TERMS, pack, unpack
from dedup_service.core.leases import Tenure
from dedup_service.core.markers import Marker, ReadBack, RestoredEvent
from dedup_service.errors import ForgottenError
from dedup_service.ports import Clock
from tests.doubles.memory import MemoryClaims

FORGETFUL = -1


@dataclass
class StoredMarker:
    generation: int
    server: int
    since_ms: int
    fence: int = 0
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
    turns: dict[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def shown_id(self) -> int:
        return self.id if self.shows_id else 0

    def check(self, known: Generation | None, *, must_be_ready: bool = True, is_fenced: bool = False) -> None:
        """Raises ForgottenError, as a marked script refuses."""
        marker = self.marker
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

    def __init__(self, server: MemoryServer, *, rebuilds: bool = True) -> None:
        self.server = server
        self.generations = Generations("", 1)
        self._rebuilds = rebuilds

    @property
    def are_ready(self) -> bool:
        return self.generations.are_ready

    @property
    def known(self) -> Generation | None:
        known = self.generations.known(0)
        return known if known is not None and known.is_ready else None

    @property
    def tenure(self) -> Tenure:
        known = self.known
        return (known.number, known.fence) if known is not None else (0, 0)

    def check(self, known: Generation | None, *, must_be_ready: bool = True, is_fenced: bool = False) -> None:
        try:
            self.server.check(known, must_be_ready=must_be_ready, is_fenced=is_fenced)
        except ForgottenError:
            self.generations.forgot(0, known)
            raise

    def look_at(self) -> StoredMarker:
        server = self.server
        found, now_ms = server.marker, server.clock.now_ms()
        least = self.generations.least(0)
        if found is None or found.generation < least or not server._is_servers(found):
            number = max(found.generation + 1 if found else 1, least + 1, now_ms)
            fence, term = (found.fence, (found.term + 1) % TERMS) if found is not None else (0, 0)
            found = server.marker = StoredMarker(number, server.shown_id, now_ms, fence, term)
        server.claims.term = found.term
        server.claims.ledger.since_ms = found.since_ms
        found.is_ready = found.is_ready or not self._rebuilds
        return replace(found, read_back=dict(found.read_back))

    def saw(self, found: StoredMarker) -> list[Marker]:
        self.generations.saw(0, found.generation, found.fence, is_ready=found.is_ready)
        now_ms = self.server.clock.now_ms()
        return [Marker(0, found.generation, found.since_ms, now_ms, found.is_ready, found.read_back)]

    async def look(self) -> list[Marker]:
        return self.saw(self.look_at())

    async def distrust(self) -> None:
        try:
            self.check(self.known)
        except ForgottenError:
            return
        assert self.server.marker is not None
        self.server.marker.server = FORGETFUL

    async def fence(self, marker: Marker) -> int:
        return self.server.clock.now_ms() - marker.since_ms

    async def may_read(self, pod_id: str, partition_id: str, seconds: float) -> bool:
        now, turns = self.server.clock.monotonic(), self.server.turns
        holder, until = turns.get(partition_id, ("", 0.0))
        if until > now and holder != pod_id:
            return False
        turns[partition_id] = (pod_id, now + seconds)
        return True

    def _of(self, marker: Marker) -> Generation:
        known = self.generations.known(0)
        if known is None or known.number != marker.generation:
            raise ForgottenError("generation")
        return known

    async def restore(self, events: Sequence[RestoredEvent], markers: Collection[Marker]) -> int:
        for marker in markers:
            self.check(self._of(marker), must_be_ready=False)
        return sum(
            self._restore(key, claim, event.ends_ms)
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
        self.check(self._of(marker), must_be_ready=False)
        stored = self.server.marker
        assert stored is not None
        before = stored.read_back.get(partition_id)
        if before is None or before.to_ms > read_back.to_ms:
            stored.read_back[partition_id] = read_back
        stored.is_ready = stored.is_ready or all(partition in stored.read_back for partition in partitions)
