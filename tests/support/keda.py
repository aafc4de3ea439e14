"""The lag that KEDA's azure-eventhub scaler would see, computed as it does with `checkpointStrategy: blobMetadata`.

Source: pkg/scalers/azure_eventhub_scaler.go and pkg/scalers/azure/azure_eventhub_checkpoint.go of kedacore/keda.
"""

from __future__ import annotations

from azure.core.exceptions import ResourceNotFoundError
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore


async def lag(hub: str, consumer_group: str, azurite: str, container: str) -> dict[str, int]:
    """Unprocessed events by partition."""
    by_partition: dict[str, int] = {}
    async with (
        EventHubConsumerClient.from_connection_string(hub, consumer_group) as client,
        BlobCheckpointStore.from_connection_string(azurite, container) as store,
    ):
        for partition in await client.get_partition_ids():
            state = await client.get_partition_properties(partition)
            namespace = client._address.hostname.partition("/")[0]
            blob = f"{namespace}/{client.eventhub_name}/{consumer_group.lower()}/checkpoint/{partition}"
            by_partition[partition] = await _unprocessed(state, store, blob)
    return by_partition


async def _unprocessed(state: dict[str, int], store: BlobCheckpointStore, blob: str) -> int:
    last = state["last_enqueued_sequence_number"]
    if last == -1:
        return 0
    try:
        properties = await store._container_client.get_blob_client(blob).get_blob_properties()
    except ResourceNotFoundError:  # without a checkpoint, all that the hub keeps counts
        return last + 1 - state["beginning_sequence_number"]
    finished = int(properties.metadata["sequencenumber"])
    assert finished <= last, "KEDA would take this for a circular buffer that has wrapped"
    return last - finished
