"""The number of shards, which all pods that work at the same time have in common.

A claim that was made with one number of shards is not found with another. So a change of it is the same as if Redis had
forgotten: nobody makes claims until those with the other number hold no more leases, the markers of both are ended, and the
claims are read back from the clean stream (R12).
"""

from __future__ import annotations

import re

from dedup_service.adapters.redis.calls import RedisClient, Script, all_of
from dedup_service.adapters.redis.leases import at_work_key
from dedup_service.adapters.redis.marked import Generations, marker_key
from dedup_service.adapters.redis.unreadable import Report, report_all
from dedup_service.core.claims import HOME, MAX_SHARDS, claim_shards
from dedup_service.errors import ForgottenError


class Layout:
    def __init__(
        self,
        client: RedisClient,
        generations: Generations,
        namespace: str,
        configuration: str,
        lease_seconds: float,
        report: Report,
    ) -> None:
        self._generations = generations
        self._namespace = namespace.encode()
        self._at_work = at_work_key(namespace)
        self._configuration = configuration
        self._ttl_ms = int(lease_seconds * 1000)
        self._report = report
        self._agree = Script(client, "marker.lua", "at_work.lua", "layout.lua")
        self._end = Script(client, "marker.lua", "layout_end.lua")
        self._ended = Script(client, "layout_ended.lua")

    async def agree(self) -> None:
        """Raises ForgottenError while pods with another number are at work."""
        home, number = self._generations.key(HOME), self._generations.shards
        args = [number, self._configuration, self._ttl_ms, ""]
        must_wait, ending, unreadable = await self._agree([home, self._at_work], args)
        report_all(self._report, unreadable)
        self._generations.another_is_at_work = bool(must_wait)
        if must_wait:
            raise ForgottenError("shards of another number")
        if ending:
            await all_of([self._end_marker(key) for key in self._markers_of(ending)])
            (unreadable,) = await self._ended([home], [ending])
            report_all(self._report, unreadable)

    def _markers_of(self, ending: bytes) -> set[bytes]:
        """Those of all numbers in a text; that of the home was ended together with the change."""
        numbers = {int(found) for found in re.findall(rb"\d{1,9}", ending)} & set(range(1, MAX_SHARDS + 1))
        places = [(shard, number) for number in numbers for shard in claim_shards(number) if shard != HOME]
        return {marker_key(self._namespace, shard, number) for shard, number in places}

    async def _end_marker(self, key: bytes) -> None:
        (unreadable,) = await self._end([key], [""])
        report_all(self._report, unreadable)
