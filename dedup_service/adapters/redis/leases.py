"""Leases in Redis: one hash for each input partition, one sorted set of live pods, one sample."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from dedup_service.adapters.redis.calls import RedisClient, Script, call
from dedup_service.core.leases import EndOffsets, Lease, LeaseRecord, Renewal

NOT_HELD = ("", b"")


def scope_prefix(namespace: str, kind: str, hub: str) -> str:
    """How keys of this kind begin that belong to the input hub of this name (`namespace/hub`)."""
    scope = hashlib.blake2b(hub.lower().encode(), digest_size=4).hexdigest()
    return f"{namespace}{{0}}{kind}:{scope}"


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
    ) -> None:
        self._client = client
        self._partition_ids = list(partition_ids)
        self._ttl_seconds = ttl_seconds
        self._monotonic = monotonic
        self._pods = scope_prefix(namespace, "pods", scope).encode()
        self._leases = scope_prefix(namespace, "lease", scope)
        self._partitions = scope_prefix(namespace, "partitions", scope)
        self._sample = f"{namespace}{{0}}sample".encode()
        self._renew = Script(client, "lease_renew.lua")
        self._take = Script(client, "lease_take.lua")
        self._write = Script(client, "lease_write.lua")

    def _lease(self, partition_id: str) -> bytes:
        return f"{self._leases}:{partition_id}".encode()

    def add_partitions(self, partition_ids: Sequence[str]) -> None:
        self._partition_ids += partition_ids

    async def known_at_first(self, incarnation: int, partition_ids: Sequence[str]) -> frozenset[str]:
        key = f"{self._partitions}:{incarnation:08x}".encode()
        await call(self._client, self._client.set(key, json.dumps(list(partition_ids)), nx=True))
        stored = await call(self._client, cast("Any", self._client.get(key)))
        return frozenset(json.loads(stored)) if stored else frozenset(partition_ids)

    @property
    def _ttl_ms(self) -> int:
        return int(self._ttl_seconds * 1000)

    async def renew(self, pod_id: str, held: Sequence[Lease]) -> Renewal:
        asked_at = self._monotonic()
        mine = {lease.partition_id: lease for lease in held}
        records = {lease.partition_id: lease.record for lease in held}
        args: list[Any] = [pod_id, self._ttl_ms]
        partitions = tuple(self._partition_ids)
        for partition in partitions:
            lease, record = mine.get(partition), records.get(partition)
            args += NOT_HELD if lease is None else (lease.epoch, b"" if record is None else record.encode())
        keys = [self._pods, self._sample, *(self._lease(partition) for partition in partitions)]
        pods, sample, states = await self._renew(keys, args)
        by_state: dict[bytes, list[str]] = {}
        for partition, state in zip(partitions, states, strict=True):
            by_state.setdefault(state, []).append(partition)
        for partition in by_state.get(b"held", []):
            mine[partition].renewed(asked_at, self._ttl_seconds)
            mine[partition].written = records[partition]
        lost = by_state.get(b"lost", [])
        for partition in lost:
            mine[partition].is_lost = True
        return Renewal(
            pods=[pod.decode() for pod in pods],
            free=by_state.get(b"free", []),
            lost=lost,
            sample=json.loads(sample) if sample else None,
        )

    async def take(self, pod_id: str, partition_id: str) -> Lease | None:
        asked_at = self._monotonic()
        answer = await self._take([self._lease(partition_id)], [pod_id, self._ttl_ms])
        if not answer:
            return None
        epoch, record = answer
        inherited = LeaseRecord.decode(record) if record else None
        return Lease(partition_id, int(epoch), asked_at + self._ttl_seconds, inherited)

    async def write(self, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        args = [lease.epoch, record.encode(), int(release)]
        is_mine = bool(await self._write([self._lease(lease.partition_id)], args))
        lease.is_lost = lease.is_lost or not is_mine or release
        return is_mine

    async def leave(self, pod_id: str) -> None:
        await call(self._client, self._client.zrem(self._pods, pod_id))

    async def may_sample(self, interval_seconds: float) -> bool:
        turn = self._sample + b":turn"
        return bool(await call(self._client, self._client.set(turn, b"1", nx=True, px=int(interval_seconds * 1000))))

    async def save_sample(self, sample: EndOffsets) -> None:
        await call(self._client, self._client.set(self._sample, json.dumps(dict(sample))))
