"""Sending to the clean hub and the dead-letter hub through the Event Hubs SDK.

The SDK's own retries are off, since it re-sends silently, and every send has a time-out, since by default it has none.
"""

from __future__ import annotations

from collections.abc import Sequence

from azure.eventhub import EventData, EventDataBatch
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.amqp import AmqpMessageProperties
from azure.eventhub.exceptions import AuthenticationError, EventDataSendError

from dedup_service.adapters.amqp_types import encodable
from dedup_service.adapters.sdk_errors import SDK_ERRORS, problem, unavailable
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.errors import UnavailableError, UndeliverableError

SIZE_EXCEEDED = "amqp:link:message-size-exceeded"
UNKNOWN = "amqp:unknown-error"


class EventHubPublisher:
    def __init__(self, client: EventHubProducerClient, what: str, *, send_timeout_seconds: float) -> None:
        self._client = client
        self._what = what
        self._timeout = send_timeout_seconds

    @classmethod
    def from_connection_string(cls, connection_string: str, what: str, *, send_timeout_seconds: float) -> EventHubPublisher:
        client = EventHubProducerClient.from_connection_string(connection_string, retry_total=0)
        return cls(client, what, send_timeout_seconds=send_timeout_seconds)

    async def partition_ids(self) -> list[str]:
        with unavailable(self._what):
            return sorted(await self._client.get_partition_ids(), key=int)

    async def publish(self, partition_id: str, events: Sequence[OutgoingEvent]) -> int:
        with unavailable(self._what):
            batch = await self._client.create_batch(partition_id=partition_id)
        count = self._fill(batch, events)
        try:
            await self._client.send_batch(batch, timeout=self._timeout)
        except EventDataSendError as error:
            raise self._rejected(error) from error
        except SDK_ERRORS as error:
            ambiguous = not isinstance(error, AuthenticationError)
            raise UnavailableError(self._what, problem(error), ambiguous=ambiguous) from error
        return count

    def _fill(self, batch: EventDataBatch, events: Sequence[OutgoingEvent]) -> int:
        """How many events fit. Raises UndeliverableError when not even the first does."""
        for count, event in enumerate(events):
            try:
                batch.add(to_event_data(event))
            except ValueError as error:
                if count == 0:
                    detail = f"{len(event.body)} bytes, and {self._what} takes {batch.max_size_in_bytes}"
                    raise UndeliverableError("too-large", detail) from error
                return count
        return len(events)

    def _rejected(self, error: EventDataSendError) -> UnavailableError | UndeliverableError:
        condition = getattr(error.details, "condition", b"")
        name = condition.decode() if isinstance(condition, bytes) else str(condition)
        if name == SIZE_EXCEEDED:
            return UndeliverableError("too-large", f"{self._what} refused it")
        # Without a condition the link went away before the hub answered: the events may be in it.
        return UnavailableError(self._what, f"the send was refused ({name or UNKNOWN})", ambiguous=name in ("", UNKNOWN))

    async def close(self) -> None:
        await self._client.close()


def to_event_data(event: OutgoingEvent) -> EventData:
    data = EventData(event.body)
    data.raw_amqp_message.properties = AmqpMessageProperties(  # type: ignore[no-untyped-call]  # the SDK has no types here
        message_id=event.message_id,
        correlation_id=event.correlation_id,
        content_type=event.content_type,
        content_encoding=event.content_encoding,
    )
    data.properties = {name: encodable(value) for name, value in event.properties.items()}
    return data
