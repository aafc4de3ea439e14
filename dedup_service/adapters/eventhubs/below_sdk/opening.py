"""Makes the SDK open links with no more connections than these, as fast as the hub answers; notice that a connection is cut
off; and tell that a receiver could not be opened.

By itself, it sleeps 50 ms after each of the ten frames of an opening. It takes an error of a receiver that is not open for
the error of one that was closed meanwhile: it keeps silent, and tries again for ever. So it is with every link that the hub
refuses: a consumer group that does not exist, a start position beyond the end, too many receivers. Event Hubs refuses as
AMQP wants it (1.0, 2.6.3), which is before the SDK takes the link for open.
"""

from __future__ import annotations

import asyncio
from typing import Any

from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.aio._transport._pyamqp_transport_async import PyamqpTransportAsync

NAP_SECONDS = 0.001
"""Between two looks whether a link is ready. Each look waits for a frame."""


def open_promptly(client: EventHubConsumerClient | EventHubProducerClient) -> None:
    """Makes the client's links, also those to the hub's management, ready as soon as the hub has answered."""
    client._amqp_transport = PromptTransport


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


def is_cut_off(client: EventHubProducerClient, partition_id: str) -> bool:
    """Whether the other end has closed the connection to this partition. The SDK would notice it by the next send, of which
    nobody would know then whether it arrived. Never over WebSocket, and never if the SDK's internals change."""
    handler = getattr(client._producers.get(partition_id), "_handler", None)
    transport = getattr(getattr(handler, "_connection", None), "_transport", None)
    reader, writer = getattr(transport, "reader", None), getattr(transport, "writer", None)
    if not isinstance(reader, asyncio.StreamReader) or not isinstance(writer, asyncio.StreamWriter):
        return False
    has_ended = getattr(reader, "_eof", False)  # `at_eof` would also want the heartbeats to be read
    return has_ended or reader.exception() is not None or writer.is_closing()


_receive: Any = PyamqpTransportAsync.receive_messages_async


class PromptTransport(PyamqpTransportAsync):
    """The SDK's transport, whose links are ready as soon as the hub has answered."""

    @staticmethod
    def create_send_client(**options: Any) -> Any:
        return _promptly(PyamqpTransportAsync.create_send_client(**options))

    @staticmethod
    def create_receive_client(**options: Any) -> Any:
        return _promptly(PyamqpTransportAsync.create_receive_client(**options))

    @staticmethod
    def create_mgmt_client(*given: Any, **options: Any) -> Any:
        create: Any = PyamqpTransportAsync.create_mgmt_client
        return _promptly(create(*given, **options))


def _promptly(handler: Any) -> Any:
    """The first question whether it is ready is answered once it is."""
    is_ready = handler.client_ready_async

    async def until_ready() -> bool:
        while not await is_ready():  # noqa: ASYNC110  # it reads a frame, and tells so
            await asyncio.sleep(NAP_SECONDS)
        handler.client_ready_async = is_ready
        return True

    handler.client_ready_async = until_ready
    return handler


class TellingTransport(PromptTransport):
    """That transport, whose receivers do not look closed when they could not be opened."""

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
