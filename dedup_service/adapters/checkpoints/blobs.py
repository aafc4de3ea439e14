"""Checkpoints through the SDK's public CheckpointStore interface: Azure Blob Storage.

The blobs have the SDK's own format, from which KEDA's scaler reads the lag. The SDK's ownership blobs are not used, since
the leases in Redis say who works on which partition.
"""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.eventhub.aio import CheckpointStore

from dedup_service.adapters.azure_errors import unavailable
from dedup_service.core.progress import Position
from dedup_service.errors import Dependency, DependencyKind

DEPENDENCY = Dependency(DependencyKind.CHECKPOINTS)
UNKNOWN_TIME = 0
"""A checkpoint holds no enqueued time."""


class SdkCheckpoints:
    """The checkpoints of one input hub and consumer group, in a store that may serve many."""

    def __init__(self, store: CheckpointStore, namespace: str, hub: str, consumer_group: str) -> None:
        self._store = store
        self._scope = (namespace, hub, consumer_group)
        self._names = dict(zip(("fully_qualified_namespace", "eventhub_name", "consumer_group"), self._scope, strict=True))

    async def load(self) -> dict[str, Position]:
        async with unavailable(DEPENDENCY):
            checkpoints = await self._store.list_checkpoints(*self._scope)
        return {
            str(item["partition_id"]): Position(int(item["sequence_number"]), str(item["offset"]), UNKNOWN_TIME)
            for item in checkpoints
        }

    async def save(self, partition_id: str, position: Position) -> None:
        checkpoint: dict[str, Any] = {
            **self._names,
            "partition_id": partition_id,
            "sequence_number": position.sequence_number,
            "offset": position.offset,
        }
        async with unavailable(DEPENDENCY):
            await self._store.update_checkpoint(checkpoint)

    async def close(self) -> None:
        close = getattr(self._store, "close", None)
        if close is not None:
            await close()


async def create_container(store: Any) -> str:
    """Creates the store's container if it is missing, for which the SDK has no public interface. Raises UnavailableError."""
    async with unavailable(DEPENDENCY):
        try:
            await store._container_client.create_container()
        except ResourceExistsError:
            return "the checkpoint container already exists"
        finally:
            await store.close()
    return "the checkpoint container was created"
