"""Leases in Redis: one hash for each input partition, one sorted set of live pods, one sample."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from dedup_service.adapters.redis.calls import RedisClient, Script, call
from dedup_service.adapters.redis.marked import Generations, MarkedScript
from dedup_service.adapters.redis.unreadable import Report, log_unreadable, read, readable, report_all, text
from dedup_service.core.claims import HOME
from dedup_service.core.leases import PRESENT, EndOffsets, Lease, LeaseRecord, Presence, Renewal, all_lost, still_held
from dedup_service.errors import ForgottenError

NOT_HELD = ("", b"", "")
LEASE_SCRIPT = ("marker.lua", "marker_ready.lua", "marker_fence.lua")
_partitions = msgspec.json.Decoder(list[str]).decode
_sample = msgspec.json.Decoder(dict[str, int] | None).decode


def scope_prefix(namespace: str, kind: str, hub: str) -> str:
    """How keys of this kind begin that belong to the input hub of this name (`namespace/hub`)."""
    scope = hashlib.blake2b(hub.lower().encode(), digest_size=4).hexdigest()
    return f"{namespace}{{0}}{kind}:{scope}"


def at_work_key(namespace: str) -> bytes:
    """Where the configuration stands whose pods may hold leases."""
    return f"{namespace}{{0}}configuration".encode()


class RedisLeases:
    """The leases of one input hub, which `scope` names. All keys are in one slot: `<namespace>{0}…`."""

    def __init__(
        self,
        client: RedisClient,
        *,
        namespace: str,
        scope: str,
        partition_ids: list[str],
        ttl_seconds: float,
        monotonic: Callable[[], float],
        report: Report = log_unreadable,
        generations: Generations | None = None,
        configuration: str = "",
    ) -> None:
        """`generations`: what is known of the markers; None for leases without them. `configuration`: what pods that work at
        the same time must have in common; empty where they need nothing."""
        self._client = client
        self._generations = generations
        self._partition_ids = list(partition_ids)
        self._ttl_seconds = ttl_seconds
        self._monotonic = monotonic
        self._report = report
        self._pods = scope_prefix(namespace, "pods", scope).encode()
        self._leases = scope_prefix(namespace, "lease", scope)
        self._partitions = scope_prefix(namespace, "partitions", scope)
        self._began = scope_prefix(namespace, "began", scope).encode()
        self._progress = scope_prefix(namespace, "progress", scope).encode()
        self._sample = f"{namespace}{{0}}sample".encode()
        self._recent = self._sample + b":recent"
        self._configuration = configuration
        self._at_work = at_work_key(namespace)
        self._renew, self._take, self._write = (
            MarkedScript(Script(client, *LEASE_SCRIPT, *parts), generations, is_fenced=True)
            for parts in (
                ("at_work.lua", "lease_begun.lua", "lease_renew.lua"),
                ("at_work.lua", "lease_take.lua"),
                ("lease_begun.lua", "lease_write.lua"),
            )
        )

    def _lease(self, partition_id: str) -> bytes:
        return f"{self._leases}:{partition_id}".encode()

    def add_partitions(self, partition_ids: Sequence[str]) -> None:
        self._partition_ids += partition_ids

    async def known_at_first(self, incarnation: int, partition_ids: Sequence[str]) -> frozenset[str]:
        key = f"{self._partitions}:{incarnation:08x}".encode()
        await call(self._client, self._client.set(key, json.dumps(list(partition_ids)), nx=True))
        stored = await read(self._client, self._report, key, cast("Any", self._client.get(key)), None)
        return frozenset(readable(_partitions, self._report, key, stored, list(partition_ids)))

    @property
    def _ttl_ms(self) -> int:
        return int(self._ttl_seconds * 1000)

    async def renew(self, pod_id: str, held: Sequence[Lease], presence: Presence = PRESENT) -> Renewal:
        asked_at = self._monotonic()
        mine = {lease.partition_id: lease for lease in still_held(held, self._renew.tenure(HOME))}
        records = {partition: lease.record for partition, lease in mine.items()}
        begun = {partition: lease.begun for partition, lease in mine.items()}
        ago_ms = "" if presence.progressed_ago is None else round(presence.progressed_ago * 1000)
        args: list[Any] = [pod_id, self._ttl_ms, int(presence.takes_part), ago_ms, self._configuration]
        partitions = tuple(self._partition_ids)
        for partition in partitions:
            lease, record = mine.get(partition), records.get(partition)
            args += NOT_HELD if lease is None else (lease.epoch, b"" if record is None else record.encode(), _news(lease))
        leases = [self._lease(partition) for partition in partitions]
        keys = [self._pods, self._progress, self._sample, self._at_work, *leases]
        try:
            must_wait, pods, others_ms, sample, states, unreadable = await self._renew(HOME, keys, args)
        except ForgottenError:
            return all_lost(held, must_wait=self._generations is not None and self._generations.another_is_at_work)
        report_all(self._report, unreadable)
        if must_wait:
            return all_lost(held, must_wait=True)
        by_state: dict[bytes, list[str]] = {}
        for partition, state in zip(partitions, states, strict=True):
            by_state.setdefault(state, []).append(partition)
        for partition in by_state.get(b"held", []):
            mine[partition].renewed(asked_at, self._ttl_seconds)
            mine[partition].written = records[partition]
            mine[partition].begun_is_written(begun[partition])
        for partition in by_state.get(b"lost", []):
            mine[partition].is_lost = True
        return Renewal(
            pods=[text(pod) for pod in pods],
            free=by_state.get(b"free", []),
            lost=[lease.partition_id for lease in held if lease.is_lost],
            sample=readable(_sample, self._report, self._sample, sample or None, None),
            others_progressed_ago=int(others_ms) / 1000 if others_ms else float("inf"),
        )

    async def take(self, pod_id: str, partition_id: str) -> Lease | None:
        asked_at, tenure = self._monotonic(), self._take.tenure(HOME)
        try:
            epoch, record, begun, is_current, unreadable = await self._take(
                HOME, [self._lease(partition_id), self._at_work], [pod_id, self._ttl_ms, self._configuration]
            )
        except ForgottenError:
            return None
        report_all(self._report, unreadable)
        if not epoch:
            return None
        key = self._lease(partition_id)
        inherited: LeaseRecord | None = readable(LeaseRecord.decode, self._report, key, record or None, None)
        return Lease(
            partition_id,
            int(epoch),
            asked_at + self._ttl_seconds,
            inherited,
            tenure=tenure,
            inherited_is_current=bool(is_current),
            inherited_begun=int(begun) if begun else None,
        )

    async def write(self, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        if not still_held([lease], self._write.tenure(HOME)):
            return False
        begun = lease.begun
        args = [lease.epoch, record.encode(), int(release), _news(lease)]
        try:
            written, unreadable = await self._write(HOME, [self._lease(lease.partition_id)], args)
        except ForgottenError:
            lease.is_lost = True
            return False
        report_all(self._report, unreadable)
        is_mine = bool(written)
        lease.is_lost = lease.is_lost or not is_mine or release
        if is_mine:
            lease.written = record
            lease.begun_is_written(begun)
        return is_mine

    async def began_ms(self, now_ms: int) -> int:
        await call(self._client, self._client.set(self._began, str(now_ms), nx=True))
        stored = await read(self._client, self._report, self._began, cast("Any", self._client.get(self._began)), None)
        return readable(int, self._report, self._began, stored, now_ms)

    async def leave(self, pod_id: str) -> None:
        await read(self._client, self._report, self._pods, self._client.zrem(self._pods, pod_id), 0)

    async def may_sample(self, interval_seconds: float) -> bool:
        turn = self._sample + b":turn:%d" % int(interval_seconds * 1000)
        return bool(await call(self._client, self._client.set(turn, b"1", nx=True, px=int(interval_seconds * 1000))))

    async def save_sample(self, sample: EndOffsets, recent_seconds: float) -> None:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(self._sample, json.dumps(dict(sample)))
        pipeline.set(self._recent, b"1", px=int(recent_seconds * 1000))
        await call(self._client, pipeline.execute())

    async def recent_sample(self) -> EndOffsets | None:
        sample, is_recent = await call(self._client, cast("Any", self._client.mget(self._sample, self._recent)))
        return readable(_sample, self._report, self._sample, sample, None) if is_recent else None


def _news(lease: Lease) -> str:
    """How far the owner may begin, unless that is known to be written."""
    return str(lease.begun) if lease.begun > lease.begun_written else ""
