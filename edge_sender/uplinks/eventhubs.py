"""Uplink directly to an Event Hub, for plants without an IoT Hub."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventDataSendError, EventHubError

from edge_sender.ports import Message, MessageRefusedError, UplinkError
from edge_sender.uplinks.line import Line
from edge_sender.uplinks.network import Network
from edge_sender.uplinks.reasons import reason
from wire.cloudevents import PROPERTY_PREFIX, REPLICA_ATTRIBUTE

logger = logging.getLogger(__name__)

GRACE_SECONDS = 0.5
"""By which the SDK's own time-out comes first, after which it connects anew. It counts from a message's turn."""


class EventHubsUplink:
    """The partition key is the replica, so that its events stay in order on one partition.

    There is no IoT Hub to state who sent an event, so the replica names itself (`cloudEvents_replica`).
    """

    def __init__(
        self, connection_string: str, replica: str, *, timeout_seconds: float, network: Network | None = None
    ) -> None:
        """Raises ValueError, whose message may hold the key, and OSError if the authorities can't be read."""
        self._client = EventHubProducerClient.from_connection_string(
            connection_string,
            retry_total=0,
            retry_backoff_factor=0,  # whoever sends tries again; even without retries, the SDK would pause before it tells
            auth_timeout=timeout_seconds,
            **(network or Network()).of_event_hubs(),
        )
        self._replica = replica
        self._line = Line(timeout_seconds)

    @property
    def timeout_seconds(self) -> float:
        return self._line.timeout_seconds

    @timeout_seconds.setter
    def timeout_seconds(self, seconds: float) -> None:
        self._line.timeout_seconds = seconds

    async def connect(self) -> None:
        async with self._in_time("can't connect"):
            await self._client.get_eventhub_properties()

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def send(self, message: Message) -> None:
        event = EventData(message.body)
        event.content_type = message.content_type
        if message.message_id is not None:
            event.message_id = message.message_id
        event.properties = dict(message.properties.items())
        event.properties[PROPERTY_PREFIX + REPLICA_ATTRIBUTE] = self._replica
        async with self._in_time("can't connect"):
            batch = await self._client.create_batch(partition_key=self._replica)
        try:
            batch.add(event)
        except ValueError as error:
            raise MessageRefusedError(str(error)) from error
        size = batch.size_in_bytes
        async with self._told("a send was not acknowledged"), self._line.passing(size, grace=GRACE_SECONDS):
            await self._client.send_batch(batch, timeout=self._line.seconds_for(size))

    @asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        """Raises UplinkError. The SDK would wait forever for a hub that accepts a connection and stays silent."""
        async with self._told(what), asyncio.timeout(self.timeout_seconds):
            yield

    @asynccontextmanager
    async def _told(self, what: str) -> AsyncIterator[None]:
        """Raises UplinkError."""
        try:
            yield
        except TimeoutError as error:
            raise UplinkError(f"{what} within {self.timeout_seconds:g} s") from error
        except (EventDataSendError, EventHubError) as error:
            raise UplinkError(f"{what}: {reason(error, error.message)}") from error

    async def close(self) -> None:
        try:
            async with self._in_time("the connection did not close"):
                await self._client.close()
        except UplinkError as error:
            logger.info("%s", error)
