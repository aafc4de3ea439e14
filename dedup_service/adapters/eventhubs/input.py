"""The input hub, read through the Event Hubs SDK: one receiver for each owned partition.

The SDK's own load balancing is not used: it cancels handlers on ownership loss, swallows errors that callbacks raise, and
then idles for a cycle. Here the owner decides (partitions/assignment.py), and the SDK only receives.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType

from dedup_service.adapters.azure_errors import (
    CLOSE_TIMEOUT_SECONDS,
    close_quietly,
    is_cut_off,
    is_refused,
    is_shut_out,
    problem,
    unavailable,
)
from dedup_service.adapters.eventhubs.below_sdk.amqp_types import make_decoding_total, readable, readable_map
from dedup_service.adapters.eventhubs.below_sdk.decoding import agrees_with_the_sdk, decode
from dedup_service.adapters.eventhubs.below_sdk.opening import open_promptly, open_without_asking, tell_failed_opening
from dedup_service.adapters.eventhubs.below_sdk.receiving import receive_directly
from dedup_service.adapters.eventhubs.below_sdk.values import NotDecodableError
from dedup_service.core.claims import incarnation_of
from dedup_service.core.events import InputEvent
from dedup_service.core.property_types import MessageId, Timestamp, Ulong, text_of
from dedup_service.errors import Dependency, DependencyKind, ShutOutError, UnavailableError
from dedup_service.joined import Joined
from dedup_service.ports.hubs import HubInfo, PartitionReader, PartitionState, StartPosition

BEGINNING_OFFSET = "-1"
RETRY_INTERVAL_SECONDS = 1.0
"""The client's `load_balancing_interval`, which is only the pause between the SDK's own attempts here."""


class EventHubInput:
    """Raises UnavailableError from every method when the hub can't be reached.

    Each reader has a client of its own: a client refuses to receive from a partition while an earlier receive from it is
    still closing, and that one, when it has closed at last, removes the later one.
    """

    def __init__(
        self,
        connect: Callable[[], EventHubConsumerClient],
        namespace: str,
        name: str,
        *,
        prefetch: int,
        batch_size: int,
        kind: DependencyKind = DependencyKind.INPUT_HUB,
        reading: DependencyKind = DependencyKind.INPUT_HUB_READING,
    ) -> None:
        """`name` says which input this is, where there are several; `kind` and `reading`, what errors call it."""
        make_decoding_total()
        self.dependency = Dependency(kind, name)
        self._reading = reading
        self._receives_directly = agrees_with_the_sdk(to_input_event)
        self._connect = connect
        self._metadata = connect()
        open_promptly(self._metadata)
        self._namespace = namespace
        self._prefetch = prefetch
        self._batch_size = batch_size
        self._readers: set[EventHubReader] = set()
        self._info = Joined(self._ask_for_info)
        self._answer: tuple[float, HubInfo] | None = None
        """The last one, and when it was asked for, in seconds of the loop's clock."""

    async def info(self, max_age_seconds: float = 0.0) -> HubInfo:
        """All partitions of a pod ask, at its start all at once."""
        if self._answer is not None and asyncio.get_running_loop().time() - self._answer[0] < max_age_seconds:
            return self._answer[1]
        return await self._info.get()

    async def _ask_for_info(self) -> HubInfo:
        asked_at = asyncio.get_running_loop().time()
        async with unavailable(self.dependency):
            properties = await self._metadata.get_eventhub_properties()
        created_ms = int(properties["created_at"].timestamp() * 1000)
        info = HubInfo(
            incarnation=incarnation_of(self._namespace, str(properties["eventhub_name"]), created_ms),
            partition_ids=sorted(properties["partition_ids"], key=int),
        )
        self._answer = asked_at, info
        return info

    async def partition_state(self, partition_id: str) -> PartitionState:
        async with unavailable(self.dependency):
            properties = await self._metadata.get_partition_properties(partition_id)
        return PartitionState(
            first_sequence_number=properties["beginning_sequence_number"],
            last_sequence_number=properties["last_enqueued_sequence_number"],
            last_offset=str(properties["last_enqueued_offset"]),
            last_enqueued_ms=int(properties["last_enqueued_time_utc"].timestamp() * 1000),
        )

    def open(self, partition_id: str, start: StartPosition, owner_level: int | None) -> PartitionReader:
        client = self._connect()
        tell_failed_opening(client)
        open_without_asking(client, partition_id)
        if self._receives_directly:
            receive_directly(client, to_input_event)
        reader = EventHubReader(
            client,
            Dependency(self._reading, self.dependency.name, partition_id),
            partition_id,
            start,
            owner_level=owner_level,
            prefetch=self._prefetch,
            batch_size=self._batch_size,
        )
        self._readers.add(reader)
        reader.receiving.add_done_callback(lambda _: self._readers.discard(reader))
        return reader

    async def close(self) -> None:
        readers = tuple(self._readers)
        for reader in readers:
            reader.close()
        await asyncio.gather(*(reader.ended() for reader in readers))
        await close_quietly(self._metadata)


class EventHubReader:
    """Passes batches from the SDK's callback to `read`, one at a time. While the worker processes one, the receiver collects
    the next. The worker is never inside the callback, so the SDK can't cancel it."""

    def __init__(
        self,
        client: EventHubConsumerClient,
        reading: Dependency,
        partition_id: str,
        start: StartPosition,
        *,
        owner_level: int | None,
        prefetch: int,
        batch_size: int,
    ) -> None:
        self._client = client
        self._reading = reading
        self._partition_id = partition_id
        self._batches: asyncio.Queue[Sequence[EventData | InputEvent] | UnavailableError] = asyncio.Queue(maxsize=1)
        self._failure: UnavailableError | None = None
        """Kept here too, in case nobody takes it from the queue."""
        position, inclusive = _sdk_position(start)
        self._receive = partial(
            client.receive_batch,
            self._on_batch,
            partition_id=partition_id,
            owner_level=owner_level,
            prefetch=prefetch,
            max_batch_size=batch_size,
            starting_position=position,
            starting_position_inclusive=inclusive,
            on_error=self._on_error,
        )
        self.receiving = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._receive()
        finally:
            await close_quietly(self._client)

    async def _on_batch(self, _: PartitionContext, events: Sequence[EventData | InputEvent]) -> None:
        """Returns once the worker has taken the events."""
        if events:
            await self._batches.put(events)
            await self._batches.join()

    async def _on_error(self, _: PartitionContext | None, error: Exception) -> None:
        """Ends the reader at the first error: by itself, the SDK would retry without a pause while the hub is away."""
        asyncio.get_running_loop().call_soon(self.receiving.cancel)
        kind = ShutOutError if is_shut_out(error) else UnavailableError
        self._failure = kind(self._reading, problem(error), refused=is_refused(error), cut_off=is_cut_off(error))
        await self._batches.put(self._failure)

    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        try:
            item = await asyncio.wait_for(self._batches.get(), max_wait_seconds)
            self._batches.task_done()
        except TimeoutError:
            if not self.receiving.done():
                return []
            ended = UnavailableError(self._reading, f"receiving from partition {self._partition_id} ended")
            raise self._failure or ended from None
        if isinstance(item, UnavailableError):
            raise item
        return [event if isinstance(event, InputEvent) else to_input_event(self._partition_id, event) for event in item]

    def close(self) -> None:
        self.receiving.cancel()

    async def ended(self) -> None:
        await asyncio.wait({self.receiving}, timeout=CLOSE_TIMEOUT_SECONDS)


def _sdk_position(start: StartPosition) -> tuple[str | int | datetime, bool]:
    """The position, and whether it is inclusive."""
    if start.sequence_number is not None:
        return start.sequence_number, True
    if start.enqueued_ms is not None:
        return datetime.fromtimestamp(start.enqueued_ms / 1000, UTC), True
    return BEGINNING_OFFSET, False


def to_input_event(partition_id: str, event: EventData) -> InputEvent:
    """An event that the SDK has received. What it makes of an event does not tell its types apart, and so the event is
    decoded from its bytes. One that can't be decoded is delivered as it is, with its annotations alone, to be dead-lettered.
    """
    payload = getattr(event._message, "payload", None)  # see make_decoding_total
    if payload is None:
        return _as_the_sdk_decodes(partition_id, event)
    try:
        return decode(partition_id, payload, 0, len(payload))
    except NotDecodableError:
        return _input_event(partition_id, event.raw_amqp_message, body=payload, body_is_binary=False)


def _input_event(partition_id: str, message: AmqpAnnotatedMessage, **fields: Any) -> InputEvent:
    annotations = readable_map(message.annotations)
    return InputEvent(
        partition_id=partition_id,
        sequence_number=int(annotations["x-opt-sequence-number"]),
        offset=str(annotations["x-opt-offset"]),
        enqueued_ms=int(annotations["x-opt-enqueued-time"]),
        annotations=annotations,
        **fields,
    )


def _as_the_sdk_decodes(partition_id: str, event: EventData) -> InputEvent:
    message = event.raw_amqp_message
    properties = message.properties
    body, is_binary = _body(message)
    return _input_event(
        partition_id,
        message,
        body=body,
        body_is_binary=is_binary,
        content_type=text_of(properties.content_type) if properties else None,
        content_encoding=text_of(properties.content_encoding) if properties else None,
        message_id=_message_id(properties.message_id) if properties else None,
        correlation_id=_message_id(properties.correlation_id) if properties else None,
        application_properties=readable_map(message.application_properties),
        user_id=text_of(properties.user_id) if properties else None,
        creation_time=_timestamp(properties.creation_time) if properties else None,
    )


def _body(message: AmqpAnnotatedMessage) -> tuple[bytes, bool]:
    """The bytes of the data sections and True. Of any other body False, and its text, since its bytes are not known here."""
    content: Any = message.body
    if content is None:  # how the SDK presents a message without a body section
        return b"", True
    if message.body_type == AmqpMessageBodyType.DATA:
        sections = list(content)
        if all(isinstance(section, bytes) for section in sections):
            return b"".join(sections), True
        content = sections
    return content if isinstance(content, bytes) else repr(content).encode(), False


def _timestamp(value: Any) -> Timestamp | None:
    return Timestamp(value) if isinstance(value, int) else None


def _message_id(value: Any) -> MessageId | None:
    if isinstance(value, int):
        return Ulong(value)
    return value if isinstance(value, uuid.UUID) else readable(value)
