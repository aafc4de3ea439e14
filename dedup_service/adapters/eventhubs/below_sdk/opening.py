"""Makes the SDK open links with no more connections than these, and tell that a receiver could not be opened.

By itself, it takes an error of a receiver that is not open for the error of one that was closed meanwhile: it keeps silent,
and tries again for ever. So it is with every link that the hub refuses: a consumer group that does not exist, a start
position beyond the end, too many receivers. Event Hubs refuses as AMQP wants it (1.0, 2.6.3), which is before the SDK takes
the link for open.
"""

from __future__ import annotations

from typing import Any

from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.aio._transport._pyamqp_transport_async import PyamqpTransportAsync


def tell_failed_opening(client: EventHubConsumerClient) -> None:
    """Makes the client's receivers report these errors to `on_error`, like any other."""
    client._amqp_transport = TellingTransport


def open_without_asking(client: EventHubConsumerClient | EventHubProducerClient, partition_id: str) -> None:
    """Makes the client open a link to this partition at once. By itself it first asks the hub for all partitions, on a
    connection of its own, only to look whether this one is among them, which the hub says anyhow."""

    async def this_one() -> list[str]:
        return [partition_id]

    client.get_partition_ids = this_one  # type: ignore[method-assign]  # of this client alone


async def open_sender(client: EventHubProducerClient, partition_id: str) -> None:
    """Opens the client's link to this partition before the send, whose short time-out is for the send alone: a connection
    that takes longer than that would otherwise restart indefinitely. What the link says of the largest message holds for the
    client, which by itself would open another link, to the hub as a whole, on a connection of its own, to learn that.

    The SDK has no public way to do it; if its internals change, this does nothing.
    """
    start = getattr(client, "_start_producer", None)
    if start is None:
        return
    await start(partition_id, None)
    producer: Any = client._producers.get(partition_id)
    opening = getattr(producer, "_open", None)
    if opening is None:
        return
    await opening()
    most = getattr(producer, "_max_message_size_on_link", None)
    if most and hasattr(client, "_max_message_size_on_link"):
        client._max_message_size_on_link = most


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
