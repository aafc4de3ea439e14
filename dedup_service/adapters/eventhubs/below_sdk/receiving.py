"""Receives through the SDK, but takes all frames that have arrived at once. The SDK reads each frame separately, with a
task, a lock and a time-out, wraps its message twice (decoding.py), and sleeps 50 ms between its passes.

Connection, authentication and link remain the SDK's. Only plain transfers of the link's events are taken from the bytes that
its connection has received. Any other frame is left there for the SDK to read as usual. Over WebSocket everything is left to
the SDK.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from azure.eventhub import EventData, TransportType
from azure.eventhub._pyamqp.aio import _receiver_async
from azure.eventhub._pyamqp.aio._transport_async import AsyncTransport
from azure.eventhub._pyamqp.performatives import TransferFrame
from azure.eventhub.aio import EventHubConsumerClient

from dedup_service.adapters.eventhubs.below_sdk.frames import EMPTY_FRAME_BYTES, Link, size_of_frame, transfer_at
from dedup_service.adapters.eventhubs.below_sdk.native import CODEC, PYTHON, Decode
from dedup_service.adapters.eventhubs.below_sdk.opening import PromptTransport
from dedup_service.adapters.eventhubs.below_sdk.values import NotDecodableError
from dedup_service.core.events import InputEvent

SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.25
"""How long to wait between fetches while the worker is busy; the pause doubles while nothing arrives."""
PLENTY_BYTES = 64 * 1024
"""After a fetch of so many bytes there is no pause: the connection holds back what exceeds this, so more is waiting."""
BATCH_BYTES = 4 * 1024 * 1024
"""No batch takes more events once it has this many bytes of bodies. Events may have 256 KB, or 1 MB."""
SDK_TURN_SECONDS = 10.0
"""How often the SDK gets a turn even while events are waiting, to renew the connection's token and answer heartbeats."""
NO_CHANNEL = -1
_FIRST_FRAME = TransferFrame(delivery_tag=b"")
"""Stands for the first frame of a message in parts, in case the SDK reads the last one: it wants to know the tag, and keeps
every different one for ever."""

ToInputEvent = Callable[[str, EventData], InputEvent]


def receive_directly(client: EventHubConsumerClient, to_input_event: ToInputEvent) -> None:
    """Makes the client's receivers deliver input events. `to_input_event` converts those that the SDK still decodes."""
    if client._config.transport_type != TransportType.Amqp:
        return

    class Transport(DirectTransport):
        convert = staticmethod(to_input_event)

    client._amqp_transport = Transport


class DirectTransport(PromptTransport):
    """That transport with a different way of receiving."""

    convert: ToInputEvent

    @staticmethod
    def create_receive_client(**options: Any) -> Any:
        """Turns off the SDK's keep-alive, which would read frames concurrently."""
        return PromptTransport.create_receive_client(**{**options, "keep_alive_interval": None})

    @classmethod
    async def receive_messages_async(
        cls, consumer: Any, batch: bool, max_batch_size: int, max_wait_time: float | None
    ) -> None:
        """Runs until an error, which ends the receiver; the reader then opens another one at its position."""
        receiver = _Receiver(consumer, max_batch_size, cls.convert)
        try:
            await consumer._open()
            while True:
                await receiver.receive()
                await receiver.hand_over()
        except Exception as error:  # noqa: BLE001  # the SDK classifies it, as in its own loop
            raise await consumer._handle_exception(error) from None
        finally:
            receiver.close()


class _Receiver:
    """Receives while the worker processes earlier events, until there are as many as may be handed over at once."""

    def __init__(self, consumer: Any, batch_size: int, convert: ToInputEvent) -> None:
        self._consumer = consumer
        self._events: deque[Any] = consumer._message_buffer
        """Input events, and messages that the SDK itself has read."""
        self._counted, self._bytes = 0, 0
        """How many of these were counted, and their bytes."""
        self._batch_size = batch_size
        self._convert = convert
        self._loop = asyncio.get_running_loop()
        self._handing: asyncio.Future[None] | None = None
        self._sdk_is_due = 0.0
        self._pause = SHORTEST_PAUSE_SECONDS

    @property
    def _is_full(self) -> bool:
        return len(self._events) >= self._batch_size or self._bytes >= BATCH_BYTES

    def _count(self) -> None:
        """Counts what was received since the last time."""
        new = len(self._events) - self._counted
        self._bytes += sum(map(_size_of, islice(reversed(self._events), new)))
        self._counted += new

    async def receive(self) -> None:
        """Fetches more events; none when there are enough, or when the SDK found something else."""
        if self._loop.time() >= self._sdk_is_due:
            await self._let_sdk_work()
            self._count()
        if self._is_full:
            return
        handler, prefetch = self._consumer._handler, self._consumer._prefetch
        if handler._link.current_link_credit <= prefetch // 2:
            await handler._link.flow(link_credit=prefetch)
        room = BATCH_BYTES - self._bytes
        taken = take(handler, self._events, self._consumer._partition, self._convert, room)
        if taken:
            self._pause = 0.0 if taken >= PLENTY_BYTES else SHORTEST_PAUSE_SECONDS
            await asyncio.sleep(0)  # the socket may have more, and the worker may be ready
        elif not self._events or _has_whole_frame(handler):
            await self._let_sdk_work()
        self._count()

    async def _let_sdk_work(self) -> None:
        """Lets the SDK read a frame, or briefly wait for one; it also answers heartbeats and renews the connection's token.
        The answer to a renewal arrives behind the events on their way. So when no more events are wanted, all of those are
        read, but no new credit is given."""
        handler = self._consumer._handler
        if self._is_full:
            if await handler.client_ready_async():
                frames = max(1, handler._link.current_link_credit)
                await handler._connection.listen(wait=handler._socket_timeout, batch=frames)
        elif not await handler.do_work_async(batch=1):
            raise ConnectionError("the receiver was shut down")
        self._sdk_is_due = self._loop.time() + SDK_TURN_SECONDS

    async def hand_over(self) -> None:
        """Passes the events to the worker once it has taken the previous ones; until then, more may arrive."""
        if self._handing is not None and self._handing.done():
            self._handing.result()
            self._handing = None
        if not self._events:
            return
        if self._handing is None:
            self._handing = asyncio.ensure_future(self._consumer._on_event_received(self._next_batch()))
            await asyncio.sleep(0)
        else:
            await asyncio.wait({self._handing}, timeout=SDK_TURN_SECONDS if self._is_full else self._pause)
            self._pause = min(max(2 * self._pause, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

    def _next_batch(self) -> list[InputEvent]:
        batch: list[Any] = []
        size = 0
        while self._events and len(batch) < self._batch_size and size < BATCH_BYTES:
            batch.append(self._events.popleft())
            size += _size_of(batch[-1])
        self._counted -= len(batch)
        self._bytes -= size
        return [item if isinstance(item, InputEvent) else self._converted(item) for item in batch]

    def _converted(self, message: Any) -> InputEvent:
        return self._convert(self._consumer._partition, EventData._from_message(message))

    def close(self) -> None:
        self._events.clear()
        if self._handing is not None:
            self._handing.cancel()


def _size_of(item: Any) -> int:
    return len(item.body if isinstance(item, InputEvent) else item.payload)


def take(
    handler: Any, events: deque[InputEvent], partition_id: str, convert: ToInputEvent, room_bytes: int = BATCH_BYTES
) -> int:
    """Moves plain transfer frames from the front of the received bytes to `events`, until they had `room_bytes`. Returns how
    many bytes they had.

    A message in parts is collected where the SDK collects it, so that either may read the next part."""
    connection, link = handler._connection, handler._link
    buffer = _received_bytes(handler)
    if not buffer or link.remote_handle is None or not _is_between_frames(connection._transport):
        return 0
    data, at, taken, messages = bytes(buffer), 0, 0, 0
    session = link._session
    name = Link(_channel_of(connection, session), link.remote_handle)
    room = session.incoming_window - 1  # the last one is left to the SDK, which then renews the window
    while taken < room and at < room_bytes:
        if not link._received_payload:
            found, at = CODEC.events(partition_id, data, at, room - taken, room_bytes, *name)
            events.extend(found)
            taken, messages = taken + len(found), messages + len(found)
        frame = transfer_at(data, at, name) if taken < room and at < room_bytes else None
        if frame is None:
            break
        payload, at, is_continued = frame
        taken += 1
        if is_continued:
            _keep_part(link, data[payload:at])
        else:
            decode = CODEC.decode if link._received_payload else PYTHON.decode  # the codec has stopped at a whole message
            whole = bytes(link._received_payload) + data[payload:at]
            link._received_payload = bytearray()
            events.append(_event(partition_id, whole, decode, convert))
            messages += 1
    if taken:
        del buffer[:at]
        connection._transport.reader._maybe_resume_transport()
        session.next_incoming_id += taken
        session.remote_outgoing_window -= taken
        session.incoming_window -= taken
        link.delivery_count += messages
        link.current_link_credit -= messages
        connection._last_frame_received_time = handler._last_activity_timestamp = time.time()
    return at


def _channel_of(connection: Any, session: Any) -> int:
    """The channel of the session's frames; NO_CHANNEL, which no frame has, if there is none."""
    return next((channel for channel, other in connection._incoming_endpoints.items() if other is session), NO_CHANNEL)


def _keep_part(link: Any, part: bytes) -> None:
    if not link._received_payload:
        link._first_frame = _FIRST_FRAME
    link._received_payload.extend(part)


def _received_bytes(handler: Any) -> bytearray | None:
    """Bytes received, not yet parsed."""
    buffer: bytearray | None = getattr(getattr(handler._connection._transport, "reader", None), "_buffer", None)
    return buffer


def _has_whole_frame(handler: Any) -> bool:
    """Whether a whole frame is waiting, which `take` has left to the SDK. For an incomplete one it is better to wait, since
    `take` may accept it then."""
    buffer = _received_bytes(handler)
    return buffer is not None and len(buffer) >= EMPTY_FRAME_BYTES and size_of_frame(buffer) <= len(buffer)


def _is_between_frames(transport: Any) -> bool:
    """Whether the SDK holds no part of a frame, and nobody else is reading. Never over WebSocket, which frames
    differently."""
    if not isinstance(transport, AsyncTransport) or transport.socket_lock.locked():
        return False
    kept = transport._read_buffer
    return kept.getbuffer().nbytes == kept.tell()


def _event(partition_id: str, payload: bytes, decode: Decode, convert: ToInputEvent) -> InputEvent:
    try:
        return decode(partition_id, payload, 0, len(payload))
    except NotDecodableError:
        message = _receiver_async.decode_payload(memoryview(payload))  # type: ignore[attr-defined]  # see make_decoding_total
        return convert(partition_id, EventData._from_message(message))
