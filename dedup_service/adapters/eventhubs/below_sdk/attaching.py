"""Tries whether a partition can be read. Through the SDK's public interface nothing tells a receiver to which nothing was
sent from one that is not connected yet, so a try would have to wait for an event, or for a guessed time."""

from __future__ import annotations

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

TURNS = 2
"""How often the SDK waits for a frame (0.2 s) once the link is open. The hub refuses a link by opening it and detaching it
right afterwards."""


async def try_to_attach(client: EventHubConsumerClient, partition_id: str) -> None:
    """Opens a receiver without an epoch at the end of the partition, which disturbs nobody, and closes it.

    Raises the SDK's errors.
    """
    consumer = client._create_consumer(client._consumer_group, partition_id, "@latest", _ignore, prefetch=1)
    try:
        await consumer._open()
        for _ in range(TURNS):
            await consumer._handler.do_work_async(batch=1)  # type: ignore[union-attr]  # it is open
    except Exception as error:  # noqa: BLE001  # the SDK classifies it, as in its own loop
        raise await consumer._handle_exception(error) from None
    finally:
        await consumer.close()


async def _ignore(_: PartitionContext, event: EventData) -> None:
    """Nothing is read."""
