"""What pods tell each other, and what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from dedup_service.core.accounting import Counts
from dedup_service.core.pod_report import PodReport
from dedup_service.core.timeline import Timeline


@dataclass(frozen=True, slots=True)
class PodStatus:
    pod: str
    report: PodReport


@dataclass(frozen=True, slots=True)
class RedisMemory:
    used_bytes: int
    limit_bytes: int
    """maxmemory, or the machine's memory; 0 when neither is known."""
    evicted_keys: int


@dataclass(frozen=True, slots=True)
class SharedContent:
    """What one pod has made for all."""

    content: bytes | None
    """The latest; None where there is none."""
    is_mine_to_make: bool
    """Whether the caller is the one who makes the next."""


class PodBoard(Protocol):
    """What the pods report to each other, so that each of them can answer for all."""

    async def tell(
        self,
        pod_id: str,
        number: int,
        report: PodReport,
        increments: Mapping[str, int],
        recognised: Mapping[str, int] = MappingProxyType({}),
        flow: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Replaces this pod's report, and adds to the deployment's totals, to what was `recognised` in the present hour, and
        to what was finished (`flow`, core/flow.py) in the present slot. Idempotent for one pod and number, which rises."""
        ...

    async def leave(self, pod_id: str) -> None: ...

    async def pods(self) -> list[PodStatus]:
        """Those that reported within the last few seconds, by name."""
        ...

    async def totals(self) -> dict[str, int]: ...

    async def recognised(self, hours: Sequence[int]) -> Counts:
        """What was recognised in these hours, numbered since the epoch (core/unknown_formats.py); kept for about a day."""
        ...

    async def flow(self, group: str, minutes: Sequence[int]) -> list[Counts]:
        """What was finished in each minute, numbered since the epoch (`slots_of` in core/flow.py); kept for about an hour.
        Nothing is added to a minute that is over, by the ledger's clock."""
        ...

    async def shared(self, name: str, fresh_ms: int, turn_ms: int) -> SharedContent:
        """What was last shared under this name. Where that is older than `fresh_ms`, it is one caller's turn to make the
        next, until that is shared or `turn_ms` have passed."""
        ...

    async def share(self, name: str, content: bytes, keep_ms: int, rest_ms: int = 0) -> None:
        """Shares this with all pods for `keep_ms`, and ends the turn; the next one begins after `rest_ms`. Idempotent."""
        ...

    async def add_examples(self, kind: str, examples: Sequence[Mapping[str, Any]]) -> None:
        """Keeps some recent examples of what was counted. Not idempotent."""
        ...

    async def examples(self, kind: str) -> list[dict[str, Any]]:
        """Newest first, 200 at most."""
        ...

    async def memory(self) -> RedisMemory: ...


@dataclass(frozen=True, slots=True)
class StoredTimeline:
    version: bytes
    """Another one after each replacement; empty where none was ever written."""
    timeline: Timeline | None
    """None where there is none that can be read."""


class TimelineStore(Protocol):
    """What happened to the deployment, the same for all pods (core/timeline.py)."""

    async def load(self, known: StoredTimeline | None = None) -> StoredTimeline:
        """`known` itself while nothing else is stored; asking for that costs next to nothing."""
        ...

    async def replace(self, known: StoredTimeline, timeline: Timeline) -> StoredTimeline | None:
        """None when something else than `known` is stored: then nothing is replaced. An ambiguous failure may have replaced
        it; load it again."""
        ...
