"""The markers in Redis: on which server the claims of each shard are complete, and how they are made so again (R12)."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Collection, Sequence

from dedup_service.adapters.redis.calls import RedisClient, Script, all_of
from dedup_service.adapters.redis.layout import Layout
from dedup_service.adapters.redis.lua_constants import CLAIM_CONSTANTS, lua
from dedup_service.adapters.redis.marked import Generations, MarkedScript
from dedup_service.adapters.redis.shards import shard_prefix
from dedup_service.adapters.redis.unreadable import Report, log_unreadable, report_all, text
from dedup_service.core.claims import HOME, TERMS, all_shards, claim_shards, shards_of
from dedup_service.core.markers import Marker, ReadBack, RestoredEvent
from dedup_service.errors import ForgottenError

READ_BACK = b"back:"
_HEAD = struct.Struct(">HIHIH").pack
"""Until when the claims of a clean event are needed, and when they end, in ms (6 bytes each), and how many there are."""


class RedisMarkers:
    def __init__(
        self,
        client: RedisClient,
        generations: Generations,
        *,
        namespace: str,
        rebuilds: bool,
        report: Report = log_unreadable,
        configuration: str = "",
        lease_seconds: float = 0.0,
    ) -> None:
        """`rebuilds`: False where claims may be made at once after Redis forgot. `configuration`: what pods that work at the
        same time must have in common (RedisLeases), which the number of shards belongs to."""
        self._generations = generations
        self._namespace = namespace.encode()
        self._rebuilds = rebuilds
        self._report = report
        self._look = Script(client, "marker.lua", "marker_look.lua")
        self._distrust = MarkedScript(Script(client, "marker.lua", "distrust.lua"), generations)
        self._fence = Script(client, "fence.lua")
        self._turn = Script(client, "turn.lua")
        self._layout = Layout(client, generations, namespace, configuration, lease_seconds, report)
        restore = Script(client, "marker.lua", "restore.lua", head=lua(CLAIM_CONSTANTS))
        self._restore = MarkedScript(restore, generations, rebuilds=True)
        self._read_back = MarkedScript(Script(client, "marker.lua", "read_back.lua"), generations, rebuilds=True)

    @property
    def are_ready(self) -> bool:
        return self._generations.are_ready

    async def look(self) -> list[Marker]:
        """What this pod knows changes for all shards at once: its memory (core/markers.py) must change with it."""
        await self._layout.agree()
        found = await all_of([self._look_at(shard) for shard in all_shards(self._generations.shards)])
        for marker, fence in found:
            self._generations.saw(marker.shard, marker.generation, fence, is_ready=marker.is_ready)
        return [marker for marker, _ in found]

    async def _look_at(self, shard: int) -> tuple[Marker, int]:
        key = self._generations.key(shard)
        at_once = "0" if self._rebuilds else "1"
        now_ms, answer, unreadable = await self._look([key], [at_once, self._generations.least(shard), TERMS, ""])
        report_all(self._report, unreadable)
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        number, since_ms, fence = (int(fields[name]) for name in (b"generation", b"since", b"fence"))
        is_ready = fields.get(b"ready") == b"1"
        holds_claims = shard in claim_shards(self._generations.shards)
        return Marker(shard, number, since_ms, now_ms, is_ready, _read_back(fields), holds_claims), fence

    async def distrust(self) -> None:
        await all_of([self._distrust_shard(shard) for shard in all_shards(self._generations.shards)])

    async def _distrust_shard(self, shard: int) -> None:
        try:
            await self._distrust(shard, [], [])
        except ForgottenError:
            return  # that is known already

    async def fence(self, marker: Marker) -> int:
        if marker.shard == HOME:
            return marker.now_ms - marker.since_ms
        ago_ms, unreadable = await self._fence([self._generations.key(HOME)], [marker.shard, marker.generation])
        report_all(self._report, unreadable)
        return int(ago_ms)

    async def may_read(self, pod_id: str, partition_id: str, seconds: float) -> bool:
        key = self._prefix(HOME) + b"reading:" + partition_id.encode()
        is_mine, unreadable = await self._turn([key], [pod_id, int(seconds * 1000)])
        report_all(self._report, unreadable)
        return bool(is_mine)

    def _prefix(self, shard: int) -> bytes:
        return shard_prefix(self._namespace, shard, self._generations.shards)

    async def restore(self, events: Sequence[RestoredEvent], markers: Collection[Marker]) -> int:
        async def restore_in(marker: Marker, keys: list[bytes], records: list[bytes]) -> int:
            written, unreadable = await self._restore(marker.shard, keys, [b"".join(records)], marker.generation)
            report_all(self._report, unreadable)
            return int(written)

        parts = self._by_shard(events, [marker.shard for marker in markers])
        return sum(await all_of([restore_in(marker, *parts[marker.shard]) for marker in markers if parts[marker.shard][0]]))

    def _by_shard(
        self, events: Sequence[RestoredEvent], shards: Collection[int]
    ) -> dict[int, tuple[list[bytes], list[bytes]]]:
        """The keys and the records of each shard."""
        parts: dict[int, tuple[list[bytes], list[bytes]]] = {shard: ([], []) for shard in shards}
        for event in events:
            for shard, places in self._places(event).items():
                if shard in parts:
                    keys, records = parts[shard]
                    prefix = self._prefix(shard)
                    keys += [prefix + event.keys[place] for place in places]
                    records.append(_head_of(event, len(places)))
                    records += [event.claims[place] for place in places]
        return parts

    def _places(self, event: RestoredEvent) -> dict[int, Sequence[int]]:
        """By shard, the places of its readings in the event."""
        if self._generations.shards == 1:
            return {HOME: range(len(event.keys))}
        shard_by_source, places = shards_of(self._generations.shards), defaultdict[int, list[int]](list)
        for place, source in enumerate(event.sources):
            places[shard_by_source[source]].append(place)
        return dict(places)

    async def note(self, marker: Marker, partition_id: str, read_back: ReadBack, partitions: Collection[str]) -> None:
        args = [partition_id, read_back.to_ms, read_back.sequence_number, *partitions]
        (unreadable,) = await self._read_back(marker.shard, [], args, marker.generation)
        report_all(self._report, unreadable)


def _head_of(event: RestoredEvent, count: int) -> bytes:
    kept_ms, ends_ms = event.kept_until_ms, event.ends_ms
    return _HEAD(kept_ms >> 32, kept_ms & 0xFFFFFFFF, ends_ms >> 32, ends_ms & 0xFFFFFFFF, count)


def _read_back(fields: dict[bytes, bytes]) -> dict[str, ReadBack]:
    """What is unreadable counts as not read."""
    found = {}
    for name, value in fields.items():
        if name.startswith(READ_BACK) and (match := re.fullmatch(rb"(\d{1,16}) (-?\d{1,16})", value)):
            found[text(name.removeprefix(READ_BACK))] = ReadBack(int(match[1]), int(match[2]))
    return found
