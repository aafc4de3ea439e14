"""Uplink straight to an Event Hub, for plants that have no IoT Hub."""

from __future__ import annotations

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventDataSendError, EventHubError

from edge_sender.ports import MessageRefusedError, UplinkError
from edge_sender.readings import PREFIX, Message


class EventHubsUplink:
    """Keyed by replica, so that a replica's events stay in order on one partition.

    There is no IoT Hub to say who sent an event, so the replica names itself (`cloudEvents_replica`).
    """

    def __init__(self, connection_string: str, replica: str, *, timeout_seconds: float) -> None:
        self._client = EventHubProducerClient.from_connection_string(
            connection_string, retry_total=0, auth_timeout=timeout_seconds
        )
        self._replica = replica
        self._timeout = timeout_seconds

    async def connect(self) -> None:
        try:
            await self._client.get_eventhub_properties()
        except EventHubError as error:
            raise UplinkError(f"can't connect: {error.message}") from error

    async def send(self, message: Message) -> None:
        event = EventData(message.body)
        event.content_type = message.content_type
        if message.message_id is not None:
            event.message_id = message.message_id
        event.properties = dict(message.properties.items())
        event.properties[f"{PREFIX}replica"] = self._replica
        try:
            batch = await self._client.create_batch(partition_key=self._replica)
            batch.add(event)
        except ValueError as error:
            raise MessageRefusedError(str(error)) from error
        except EventHubError as error:
            raise UplinkError(f"can't connect: {error.message}") from error
        try:
            await self._client.send_batch(batch, timeout=self._timeout)
        except (EventDataSendError, EventHubError) as error:
            raise UplinkError(f"a send was not acknowledged: {error.message}") from error

    async def close(self) -> None:
        await self._client.close()
