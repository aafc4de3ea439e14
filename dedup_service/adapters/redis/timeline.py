"""The timeline in Redis: one value for all pods, which is replaced as a whole."""

from __future__ import annotations

import uuid
from typing import Any, cast

from dedup_service.adapters.redis.calls import RedisClient, Script
from dedup_service.adapters.redis.unreadable import Report, log_unreadable, read, readable, report_all
from dedup_service.core.timeline import Timeline, decode, encode
from dedup_service.ports.pods import StoredTimeline

NEVER_WRITTEN = b""


class RedisTimelineStore:
    def __init__(self, client: RedisClient, *, namespace: str, report: Report = log_unreadable) -> None:
        self._client = client
        self._report = report
        self._key = f"{namespace}{{0}}board:timeline"
        self._replace = Script(client, "timeline.lua")

    async def load(self, known: StoredTimeline | None = None) -> StoredTimeline:
        if known is not None:
            found = await self._ask(self._client.hget(self._key, "version"), None)
            if known.version == (found or NEVER_WRITTEN):
                return known
        version, content = await self._ask(self._client.hmget(self._key, ["version", "content"]), [None, None])
        timeline: Timeline | None = readable(decode, self._report, self._key, content, None)
        return StoredTimeline(version or NEVER_WRITTEN, timeline)

    async def _ask(self, answer: Any, default: Any) -> Any:
        return await read(self._client, self._report, self._key, cast("Any", answer), default)

    async def replace(self, known: StoredTimeline, timeline: Timeline) -> StoredTimeline | None:
        version = uuid.uuid4().hex.encode()
        arguments = [known.version, version, encode(timeline)]
        is_replaced, unreadable = await self._replace([self._key.encode()], arguments)
        report_all(self._report, unreadable)
        return StoredTimeline(version, timeline) if is_replaced else None
