"""Makes the SDK tell that a receiver could not be opened. By itself, it takes an error of a receiver that is not open for
the error of one that was closed meanwhile: it keeps silent, and tries again for ever.

So it is with every link that the hub refuses: a consumer group that does not exist, a start position beyond the end, too
many receivers. Event Hubs refuses as AMQP wants it (1.0, 2.6.3), which is before the SDK takes the link for open.
"""

from __future__ import annotations

from typing import Any

from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.aio._transport._pyamqp_transport_async import PyamqpTransportAsync


def tell_failed_opening(client: EventHubConsumerClient) -> None:
    """Makes the client's receivers report these errors to `on_error`, like any other."""
    client._amqp_transport = TellingTransport


def open_without_asking(client: EventHubConsumerClient, partition_id: str) -> None:
    """Makes the client open a receiver of this partition at once. By itself it first asks the hub for all partitions, on a
    connection of its own, only to look whether this one is among them, which the hub says anyhow."""

    async def this_one() -> list[str]:
        return [partition_id]

    client.get_partition_ids = this_one  # type: ignore[method-assign]  # of this client alone


_receive: Any = PyamqpTransportAsync.receive_messages_async


class TellingTransport(PyamqpTransportAsync):
    """The SDK's transport, whose receivers do not look closed when they could not be opened."""

    @staticmethod
    async def receive_messages_async(consumer: Any, batch: bool, max_batch_size: int, max_wait_time: float | None) -> None:
        open_it = consumer._open

        async def opened() -> None:
            try:
                await open_it()
            except Exception:
                consumer.running = True  # until the SDK's own handling of the error, which follows, closes it
                raise

        consumer._open = opened
        try:
            await _receive(consumer, batch, max_batch_size, max_wait_time)
        finally:
            consumer._open = open_it
