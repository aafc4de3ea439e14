"""Checkpoints and ownership through the SDK's public CheckpointStore interface: Azure Blob Storage, or SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from azure.eventhub.aio import CheckpointStore

from dedup_service.adapters.sdk_errors import unavailable
from dedup_service.core.balancing import Ownership
from dedup_service.core.progress import Position
from dedup_service.errors import UnavailableError

WHAT = "the checkpoint store"
UNKNOWN_TIME = 0
"""A checkpoint holds no enqueued time."""


class SdkCheckpoints:
    """One input hub and consumer group in a store that may serve many."""

    def __init__(self, store: CheckpointStore, namespace: str, hub: str, consumer_group: str) -> None:
        self._store = store
        self._scope = (namespace, hub, consumer_group)
        self._names = dict(zip(("fully_qualified_namespace", "eventhub_name", "consumer_group"), self._scope, strict=True))

    async def load(self) -> dict[str, Position]:
        with unavailable(WHAT):
            found = await self._store.list_checkpoints(*self._scope)
        return {
            str(item["partition_id"]): Position(int(item["sequence_number"]), item["offset"] or None, UNKNOWN_TIME)
            for item in found
        }

    async def save(self, partition_id: str, position: Position) -> None:
        checkpoint: dict[str, Any] = {
            **self._names,
            "partition_id": partition_id,
            "sequence_number": position.sequence_number,
            "offset": position.offset or "",
        }
        with unavailable(WHAT):
            await self._store.update_checkpoint(checkpoint)

    async def ownerships(self) -> list[Ownership]:
        with unavailable(WHAT):
            found = await self._store.list_ownership(*self._scope)
        return [_ownership(item) for item in found]

    async def claim_ownership(self, ownerships: Sequence[Ownership]) -> list[Ownership]:
        wanted = [
            {**self._names, "partition_id": o.partition_id, "owner_id": o.owner_id, "etag": o.etag} for o in ownerships
        ]
        with unavailable(WHAT):
            claimed = [_ownership(item) for item in await self._store.claim_ownership(wanted)]
        # The blob store returns an ownership that it failed to write as if it had; its etag tells.
        before = {o.partition_id: o.etag for o in ownerships}
        if any(o.etag == before[o.partition_id] for o in claimed):
            raise UnavailableError(WHAT, "an ownership could not be written", ambiguous=True)
        return claimed

    async def close(self) -> None:
        close = getattr(self._store, "close", None)
        if close is not None:
            await close()


def _ownership(item: Any) -> Ownership:
    etag = item.get("etag")
    # Azure quotes etags in one answer and not in the other.
    return Ownership(str(item["partition_id"]), str(item["owner_id"] or ""), etag.strip('"') if etag else None)
