"""The timeline's store in memory; the real one is dedup_service/adapters/redis/timeline.py."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dedup_service.core.timeline import Timeline
from dedup_service.ports.pods import StoredTimeline


@dataclass(slots=True)
class MemoryTimelineStore:
    stored: StoredTimeline = field(default_factory=lambda: StoredTimeline(b"", None))
    replaced: int = 0

    async def load(self, known: StoredTimeline | None = None) -> StoredTimeline:
        found = known if known is not None and known.version == self.stored.version else self.stored
        await asyncio.sleep(0)  # others go on before the answer is here, as with the real one
        return found

    async def replace(self, known: StoredTimeline, timeline: Timeline) -> StoredTimeline | None:
        if known.version != self.stored.version:
            return None
        self.replaced += 1
        self.stored = StoredTimeline(str(self.replaced).encode(), timeline)
        return self.stored
