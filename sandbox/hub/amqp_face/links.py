"""The links of the hub: events in, events out, and the request/response pair of `$cbs` and `$management`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from sandbox.amqp import performatives as amqp
from sandbox.amqp.codec import AmqpDecodeError, Symbol, Timestamp
from sandbox.amqp.messages import DELIVERY_ANNOTATIONS, Request, read_request, section, symbolic, unpack
from sandbox.amqp.performatives import AmqpError, TransferEncoder, field
from sandbox.hub.amqp_face.connection import Session
from sandbox.hub.log import Entry, Hub, Partition, now_ms
from sandbox.hub.namespace import LISTEN, SEND
from sandbox.hub.throttling import Throughput

INCOMING_CREDIT = 1000
THROTTLED = (
    "The request was terminated because the entity is being throttled. Error code : 50002. "
    "Please wait 4 seconds and try again."
)
PUMP_EVENTS = 256
PUMP_BYTES = 256 * 1024
"""How much is written before checking again whether the socket accepts more."""


class Incoming:
    """Assembles transfers of one link into deliveries and settles them. Subclasses define what a delivery does."""

    def __init__(self, session: Session, handle: int, max_message_size: int) -> None:
        self.session = session
        self.handle = handle
        self._max_message_size = max_message_size
        self._credit = 0
        self._delivery_count = 0
        self._payload = bytearray()
        self._size = 0
        self._delivery_id = 0
        self._message_format = 0
        self._settled = False
        self._in_delivery = False

    def start(self) -> None:
        self._top_up()

    def _top_up(self) -> None:
        if self._credit <= INCOMING_CREDIT // 2:
            self._credit = INCOMING_CREDIT
            self.session.send_flow(self.handle, self._delivery_count, self._credit)

    def on_transfer(self, fields: list[Any], payload: bytes) -> None:
        if not self._in_delivery:
            self._in_delivery = True
            self._delivery_id = int(field(fields, 1, 0))
            self._message_format = int(field(fields, 3, 0))
            self._settled = False
        self._settled = self._settled or bool(field(fields, 4, False))
        self._size += len(payload)
        if self._size <= self._max_message_size:
            self._payload += payload
        if field(fields, 9, False):
            self._finish()
        elif not field(fields, 5, False):
            self._deliver()

    def _finish(self) -> None:
        self._payload = bytearray()
        self._size = 0
        self._in_delivery = False
        self._delivery_count += 1
        self._credit -= 1

    def _deliver(self) -> None:
        payload, delivery_id, size, settled = bytes(self._payload), self._delivery_id, self._size, self._settled
        self._finish()
        try:
            self._limit(delivery_id, size)
            self.accept(self._message_format, payload)
            state = amqp.ACCEPTED
        except AmqpDecodeError as error:
            state = amqp.rejected(AmqpError("amqp:decode-error", str(error)))
        except AmqpError as error:
            state = amqp.rejected(error)
        if not settled:
            self.settle(delivery_id, state)
        self._top_up()

    def _limit(self, delivery_id: int, size: int) -> None:
        if size > (limit := self._max_message_size):
            text = (
                f"The received message (delivery-id:{delivery_id}, size:{size} bytes) exceeds the limit ({limit} bytes) "
                "currently allowed on the link."
            )
            raise AmqpError("amqp:link:message-size-exceeded", text)

    def settle(self, delivery_id: int, state: bytes) -> None:
        self.session.write(amqp.disposition(self.session.channel, delivery_id, state))

    def accept(self, message_format: int, payload: bytes) -> None:
        """Handle a complete delivery. Raises AmqpError or AmqpDecodeError, which reject it."""
        raise NotImplementedError

    def on_flow(self, fields: list[Any]) -> None:
        if field(fields, 9, False):
            self.session.send_flow(self.handle, self._delivery_count, self._credit)

    def on_writable(self) -> None:
        """Nothing to do: dispositions are small and wait in the transport's buffer."""

    def on_closed(self) -> None:
        self._payload.clear()


class EventsIn(Incoming):
    """A producer's link: its deliveries are appended to the log."""

    needs = SEND

    def __init__(
        self,
        session: Session,
        handle: int,
        hub: Hub,
        partition: Partition | None,
        node: str,
        throughput: Throughput | None,
    ) -> None:
        super().__init__(session, handle, hub.max_message_size)
        self.hub = hub
        self.node = node
        self._partition = partition
        self._faults = hub.faults
        self._throughput = throughput

    def on_transfer(self, fields: list[Any], payload: bytes) -> None:
        if self._faults.dropped_transfers:
            self._faults.dropped_transfers -= 1
            self.session.connection.abort()
        else:
            super().on_transfer(fields, payload)

    def accept(self, message_format: int, payload: bytes) -> None:
        if self._faults.refuse is not None:
            raise AmqpError(self._faults.refuse, "refused by an injected fault")
        messages = unpack(message_format, payload)
        if self._throughput is not None and not self._throughput.admits(len(messages), len(payload), time.monotonic()):
            raise AmqpError("com.microsoft:server-busy", THROTTLED)
        self.hub.append(messages, partition=self._partition)

    def settle(self, delivery_id: int, state: bytes) -> None:
        faults = self._faults
        if faults.lost_acks and state == amqp.ACCEPTED:
            faults.lost_acks -= 1
        elif faults.late_ack_seconds and random.random() < faults.late_ack_share:
            asyncio.get_running_loop().call_later(faults.late_ack_seconds, super().settle, delivery_id, state)
            if faults.on_late_ack is not None and state == amqp.ACCEPTED:
                faults.on_late_ack(self.session.connection.local_port)
        else:
            super().settle(delivery_id, state)


class Requests(Incoming):
    """The client's sending side of `$cbs` or `$management`."""

    def __init__(self, session: Session, handle: int, node: str, answer: Callable[[Request], None]) -> None:
        super().__init__(session, handle, max_message_size=64 * 1024)
        self.node = node
        self._answer = answer

    def accept(self, message_format: int, payload: bytes) -> None:
        self._answer(read_request(payload))


class Outgoing:
    """Credit and transfer ids of a link towards the client."""

    def __init__(self, session: Session, handle: int) -> None:
        self.session = session
        self.handle = handle
        self.credit = 0
        self._delivery_count = 0
        self._encoder = TransferEncoder(session.channel, handle)

    def on_flow(self, fields: list[Any]) -> None:
        count = int(field(fields, 5, 0))
        self.credit = count + int(field(fields, 6, 0)) - self._delivery_count
        self.on_writable()
        if field(fields, 8, False) and self.credit > 0:  # drain: use up the credit
            self._delivery_count += self.credit
            self.credit = 0
            self.session.send_flow(self.handle, self._delivery_count, 0)
        elif field(fields, 9, False):
            self.session.send_flow(self.handle, self._delivery_count, self.credit)

    def may_send(self) -> bool:
        return self.credit > 0 and self.session.peer_window > 0 and self.session.connection.writable

    def encode(self, payload: bytes) -> list[bytes]:
        session = self.session
        frames = self._encoder.frames(session.next_outgoing_id, payload, session.connection.max_frame_size)
        session.next_outgoing_id += len(frames)
        session.peer_window -= len(frames)
        self._delivery_count += 1
        self.credit -= 1
        return frames

    def on_transfer(self, fields: list[Any], payload: bytes) -> None:
        raise AmqpError("amqp:not-allowed", "a transfer on a receiving link")

    def on_writable(self) -> None:
        raise NotImplementedError

    def on_closed(self) -> None:
        """Nothing to release."""


class Responses(Outgoing):
    """The client's receiving side of `$cbs` or `$management`; answers wait for credit."""

    def __init__(self, session: Session, handle: int, node: str, target: str | None) -> None:
        super().__init__(session, handle)
        self.node = node
        self.target = target
        self._waiting: list[bytes] = []

    def send(self, payload: bytes) -> None:
        self._waiting.append(payload)
        self.on_writable()

    def on_writable(self) -> None:
        while self._waiting and self.may_send():
            self.session.write(*self.encode(self._waiting.pop(0)))


class EventsOut(Outgoing):
    """A consumer's link: sends the log from a position on, as fast as credit, window and socket allow."""

    needs = LISTEN

    def __init__(
        self,
        session: Session,
        handle: int,
        hub: Hub,
        partition: Partition,
        node: str,
        position: int,
        *,
        epoch: int | None,
        name: str | None,
        runtime_metrics: bool,
        throughput: Throughput | None,
        released: Callable[[EventsOut], None],
    ) -> None:
        super().__init__(session, handle)
        self.epoch = epoch
        self.name = name
        """By which the client wants to be known in messages."""
        self.hub = hub
        self.node = node
        self._partition = partition
        self._position = position
        self._runtime_metrics = runtime_metrics
        self._throughput = throughput
        self._slowed: asyncio.TimerHandle | None = None
        self._released = released
        partition.listeners.add(self.on_writable)

    def on_writable(self) -> None:
        while self.may_send():
            entries = self._partition.read(self._position, min(self.credit, self.session.peer_window, PUMP_EVENTS))
            if not entries or self._is_slowed():
                return
            self._write(entries)

    def _is_slowed(self) -> bool:
        """Whether the throughput units are used up for the moment. Continues by itself."""
        if self._throughput is None:
            return False
        wait = self._throughput.egress_wait(time.monotonic())
        if wait and self._slowed is None:
            self._slowed = asyncio.get_running_loop().call_later(wait, self._go_on)
        return wait > 0

    def _go_on(self) -> None:
        self._slowed = None
        self.on_writable()

    def _write(self, entries: list[Entry]) -> None:
        """Write about PUMP_BYTES: what a slow client has not read yet waits in the log, not in its connection's buffer."""
        metrics = self._metrics() if self._runtime_metrics else {}
        prefix = section(DELIVERY_ANNOTATIONS, metrics) if metrics else b""
        frames: list[bytes] = []
        events = size = 0
        for entry in entries:
            if size >= PUMP_BYTES:
                break
            if entry.delivery_annotations:
                own = section(DELIVERY_ANNOTATIONS, {**symbolic(entry.delivery_annotations), **metrics})
                frames += self.encode(own + entry.message)
            else:
                frames += self.encode(prefix + entry.message)
            events += 1
            size += len(entry.message)
            self._position = entry.sequence_number + 1
        if self._throughput is not None:
            self._throughput.left(events, size, time.monotonic())
        self.session.write(*frames)

    def _metrics(self) -> dict[Symbol, Any]:
        partition = self._partition
        metrics = {
            "last_enqueued_sequence_number": partition.last_sequence_number,
            "last_enqueued_offset": str(partition.last_offset),
            "last_enqueued_time_utc": Timestamp(partition.last_enqueued_ms),
            "runtime_info_retrieval_time_utc": Timestamp(now_ms()),
        }
        return {Symbol(key): value for key, value in metrics.items()}

    def steal(self, by: str) -> None:
        text = f"New receiver {by} is created hence current receiver with epoch '{self.epoch}' is getting disconnected."
        self.session.detach(self.handle, AmqpError("amqp:link:stolen", text))

    def on_closed(self) -> None:
        self._partition.listeners.discard(self.on_writable)
        if self._slowed is not None:
            self._slowed.cancel()
        self._released(self)
