"""What was counted of copies, readings and sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dedup_service.core.accounting import Counts, SourceHistory
from dedup_service.core.claims import Claim
from dedup_service.core.overview import ReplicaSeen


@dataclass(frozen=True, slots=True)
class SourceSeen:
    source: str
    processed_ms: int


@dataclass(frozen=True, slots=True)
class StoredClaim:
    claim: Claim
    ttl_ms: int


class Ledger(Protocol):
    """What the claim store has counted for the whole deployment: every pod reads the same. See core/accounting.py."""

    async def now_ms(self) -> int:
        """The clock of processed times, in ms since the epoch."""
        ...

    async def minutes(self, group: str, numbers: Sequence[int], names: Sequence[str] | None = None) -> list[Counts]:
        """Counts of each minute, numbered since the epoch; kept for about an hour. `names`: only these of them."""
        ...

    async def hours(self, group: str, numbers: Sequence[int]) -> Counts:
        """Counts of these hours together, numbered since the epoch; kept for about a day."""
        ...

    async def replicas(self, group: str) -> list[ReplicaSeen]:
        """In the order of their numbers."""
        ...

    async def sources(self, group: str, start: str = "", limit: int | None = None, contains: str = "") -> list[SourceSeen]:
        """Those seen within a day with this text in their names, by name: from `start` on, and at most `limit`."""
        ...

    async def source_counts(self, group: str, source: str, hours: Sequence[int]) -> Counts: ...

    async def counts_of(self, group: str, sources: Sequence[str], hours: Sequence[int]) -> list[Counts]:
        """The same for several sources, in their order. Redis is kept busy by all of them at once."""
        ...

    async def counted_together(self, group: str, hours: Sequence[int]) -> Counts:
        """Counts of all sources beyond the limit, of which nothing is known one by one."""
        ...

    async def gaps(self, group: str, start: str = "", limit: int | None = None) -> list[tuple[str, SourceHistory]]:
        """Sources with missing numbers, by name: from `start` on, and at most `limit`."""
        ...

    async def histories(self, group: str, sources: Sequence[str]) -> dict[str, SourceHistory]:
        """Of those of these sources that number their readings."""
        ...

    async def forgot_ms(self) -> int | None:
        """When Redis was last found to have forgotten claims, and with them what was counted before; None when it has
        forgotten nothing that the clean stream shows."""
        ...

    async def find(self, claim_scope: str, source: str, reading_id: str) -> StoredClaim | None: ...
