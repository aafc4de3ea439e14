"""Opens links with one connection each and without a question, and makes the SDK tell that a receiver could not be opened.

By itself, the SDK takes an error of a receiver that is not open for the error of one that was closed meanwhile: it keeps
silent, and tries again for ever. So it is with every link that the hub refuses: a consumer group that does not exist, a
start position beyond the end, too many receivers. Event Hubs refuses as AMQP wants it (1.0, 2.6.3), which is before the SDK
takes the link for open.
"""

from __future__ import annotations

from typing import Any

from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.aio._transport._pyamqp_transport_async import PyamqpTransportAsync


def tell_failed_opening(client: EventHubConsumerClient) -> None:
    """Makes the client's receivers report these errors to `on_error`, like any other."""
    client._amqp_transport = TellingTransport


def open_without_asking(client: EventHubConsumerClient | EventHubProducerClient, partition_id: str) -> None:
    """Makes the client open a link of this partition at once. By itself it first asks the hub for all partitions, on a
    connection of its own, only to look whether this one is among them, which the hub says anyhow."""

    async def this_one() -> list[str]:
        return [partition_id]

    client.get_partition_ids = this_one  # type: ignore[method-assign]  # of this client alone


async def open_sender(client: EventHubProducerClient, partition_id: str) -> None:
    """Connects before the send, whose short time-out is for the send alone: a connection that takes longer than that would
    otherwise restart indefinitely. The SDK has no public way to do it; if its internals change, this does nothing.

    The client is of this partition alone."""
    start = getattr(client, "_start_producer", None)
    if start is None:
        return
    open_without_asking(client, partition_id)
    await start(partition_id, None)
    producer = client._producers.get(partition_id)
    opening = getattr(producer, "_open", None)
    if opening is not None:
        await opening()
        _learn_size(client, producer)


def _learn_size(client: Any, producer: Any) -> None:
    """How large a batch may be, the hub says of each link. By itself, the SDK opens another link to learn it, on another
    connection, which it keeps: every pod would hold two for each partition."""
    size_of = getattr(client._amqp_transport, "get_remote_max_message_size", None)
    handler = getattr(producer, "_handler", None)
    if size_of is not None and handler is not None and hasattr(client, "_max_message_size_on_link"):
        client._max_message_size_on_link = size_of(handler) or client._max_message_size_on_link


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
