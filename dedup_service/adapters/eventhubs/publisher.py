"""Sending to the clean hub and the dead-letter hub through the Event Hubs SDK.

The SDK's own retries are off, because they re-send silently. Every send has a time-out, because by default it has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from azure.eventhub import EventData, EventDataBatch
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.amqp import AmqpMessageProperties
from azure.eventhub.exceptions import AuthenticationError, EventDataSendError

from dedup_service.adapters.azure_errors import CALL_TIMEOUT_SECONDS, problem, unavailable
from dedup_service.adapters.eventhubs.below_sdk.amqp_types import encodable
from dedup_service.adapters.eventhubs.below_sdk.encoding import add_encoded, agrees_with_the_sdk
from dedup_service.adapters.eventhubs.below_sdk.native import CODEC
from dedup_service.adapters.eventhubs.below_sdk.opening import open_sender
from dedup_service.adapters.eventhubs.below_sdk.writing import writing_until
from dedup_service.adapters.eventhubs.producers import Producers
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.errors import PROCESSING_FAILED, TOO_LARGE, Dependency, UnavailableError, UndeliverableError
from dedup_service.ports.hubs import Permit

QUESTIONS_AT_ONCE = 16
"""A namespace answers 50 of them a second."""

UNKNOWN = "unknown-error"
PERMANENT = {
    "link:message-size-exceeded": TOO_LARGE,
    "decode-error": "refused",
    "invalid-field": "refused",
    "not-allowed": "refused",
    "not-implemented": "refused",
    "argument-error": "refused",
}
"""Conditions of a rejected send that no retry can cure, as the SDK names them, and the dead letter's reason for each."""


class EventHubPublisher:
    def __init__(
        self, connect: Callable[[], EventHubProducerClient], dependency: Dependency, *, send_timeout_seconds: float
    ) -> None:
        self._producers = Producers(connect)
        self._dependency = dependency
        self._timeout = send_timeout_seconds
        self._reopening: dict[str, asyncio.Task[None]] = {}
        self._encodes_itself = agrees_with_the_sdk(to_event_data)

    async def partition_ids(self) -> list[str]:
        async with unavailable(self._dependency):
            return sorted(await self._producers.metadata.get_partition_ids(), key=int)

    async def open(self, partition_ids: Sequence[str]) -> None:
        opened = await asyncio.gather(*(self._open(partition) for partition in partition_ids), return_exceptions=True)
        for error in opened:
            if isinstance(error, BaseException) and not isinstance(error, UnavailableError):
                raise error

    async def _open(self, partition_id: str) -> None:
        async with self._producers.lock(partition_id), unavailable(self._dependency):
            await open_sender(self._producers.of(partition_id), partition_id)

    def reopen(self) -> None:
        for partition in self._producers.cut_off():
            if partition not in self._reopening:
                self._reopening[partition] = asyncio.create_task(self._reopen(partition))

    async def _reopen(self, partition_id: str) -> None:
        try:
            await self.open([partition_id])
        finally:
            del self._reopening[partition_id]

    async def ends(self) -> dict[str, int]:
        client, at_once = self._producers.metadata, asyncio.Semaphore(QUESTIONS_AT_ONCE)

        async def end(partition_id: str) -> int:
            async with at_once:
                properties = await client.get_partition_properties(partition_id)
            return int(properties["last_enqueued_sequence_number"])

        async with unavailable(self._dependency):
            partitions = await client.get_partition_ids()
            numbers = await asyncio.gather(*map(end, partitions))
        return dict(zip(partitions, numbers, strict=True))

    async def publish(self, partition_id: str, events: Sequence[OutgoingEvent], permit: Permit | None = None) -> int:
        """The lock is taken here rather than inside the SDK, so that `permit` is called after all waiting. It is also called
        before connecting, which may take long: many may wait for the same partition of a hub that does not answer."""
        async with self._producers.lock(partition_id):
            try:
                return await self._send(partition_id, events, permit)
            except UndeliverableError:
                if len(events) == 1:
                    raise
                return await self._send(partition_id, events[:1], permit)  # so that the error is about this event alone

    async def _send(self, partition_id: str, events: Sequence[OutgoingEvent], permit: Permit | None) -> int:
        seconds = CALL_TIMEOUT_SECONDS if permit is None else permit(self._timeout)
        client = self._producers.of(partition_id)
        batch = await self._new_batch(client, partition_id, min(seconds, CALL_TIMEOUT_SECONDS))
        count = self._fill(batch, events)
        ends_at = asyncio.get_running_loop().time() + self._timeout
        if permit is not None:
            permit(self._timeout)
        try:
            async with asyncio.timeout_at(ends_at):
                with writing_until(client, partition_id, ends_at):
                    await client.send_batch(batch, timeout=self._timeout)
        except EventDataSendError as error:
            failure: UnavailableError | UndeliverableError = self._rejected(error)
        except AuthenticationError as error:
            failure = UnavailableError(self._dependency, problem(error))
        except Exception as error:  # noqa: BLE001  # also a defect of the SDK: the events are good, and may have been sent
            failure = UnavailableError(self._dependency, problem(error), ambiguous=True)
        else:
            return count
        if isinstance(failure, UnavailableError) and failure.ambiguous:
            self._producers.forget(partition_id)
        raise failure

    async def _new_batch(self, client: EventHubProducerClient, partition_id: str, seconds: float) -> EventDataBatch:
        try:
            async with unavailable(self._dependency, seconds):
                await open_sender(client, partition_id)
                return await client.create_batch(partition_id=partition_id)
        except UnavailableError:
            self._producers.forget(partition_id)
            raise

    def _fill(self, batch: EventDataBatch, events: Sequence[OutgoingEvent]) -> int:
        """Adds events while they fit, and returns how many. Raises UndeliverableError when the first can't be added."""
        for count, event in enumerate(events):
            try:
                is_added = self._add(batch, event)
            except UndeliverableError:
                if count == 0:
                    raise
                return count
            except Exception as error:  # encoding is pure: it fails because of this event, and will fail again
                if count == 0:
                    raise UndeliverableError(PROCESSING_FAILED, f"it can't be encoded: {problem(error)}") from error
                return count
            if not is_added:
                if count == 0:
                    detail = f"{len(event.body)} bytes, and {self._dependency} accepts {batch.max_size_in_bytes}"
                    raise UndeliverableError(TOO_LARGE, detail)
                return count
        return len(events)

    def _add(self, batch: EventDataBatch, event: OutgoingEvent) -> bool:
        """Returns False when the event does not fit."""
        if self._encodes_itself:
            return add_encoded(batch, CODEC.encode(event))
        data = to_event_data(event)
        try:
            batch.add(data)
        except ValueError:
            return False
        return True

    def _rejected(self, error: EventDataSendError) -> UnavailableError | UndeliverableError:
        condition = error.error or ""
        if condition in PERMANENT:
            return UndeliverableError(PERMANENT[condition], f"{self._dependency} refused it: {problem(error)}")
        # Without a condition, the link was lost before the hub answered: the events may have been stored.
        ambiguous = condition in ("", UNKNOWN)
        return UnavailableError(self._dependency, f"the send was refused: {problem(error)}", ambiguous=ambiguous)

    async def close(self) -> None:
        reopening = [*self._reopening.values()]
        for task in reopening:
            task.cancel()
        await asyncio.gather(*reopening, return_exceptions=True)
        await self._producers.close()


def to_event_data(event: OutgoingEvent) -> EventData:
    """Raises UndeliverableError for a property that the SDK can't encode."""
    data = EventData(event.body)
    data.raw_amqp_message.properties = AmqpMessageProperties(  # type: ignore[no-untyped-call]  # the SDK has no types here
        message_id=event.message_id,
        correlation_id=event.correlation_id,
        content_type=_symbol(event.content_type),
        content_encoding=_symbol(event.content_encoding),
    )
    data.properties = {name: encodable(name, value) for name, value in event.properties.items()}
    return data


def _symbol(text: str | None) -> str | None:
    """Content type and encoding are symbols, which are ASCII, but a sender may have written anything."""
    return None if text is None else text.encode("ascii", "replace").decode()
