"""One AMQP connection of the hub: handshake, heartbeats, sessions, and the links on them.

Everything runs in callbacks of the event loop; nothing here awaits. Source: OASIS AMQP 1.0, parts 2 and 5.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from sandbox.amqp import performatives as amqp
from sandbox.amqp.codec import NULL, AmqpDecodeError, Described
from sandbox.amqp.performatives import AmqpError, field
from sandbox.hub.amqp_face.traffic import HEARTBEAT, Traffic
from sandbox.hub.namespace import Grant

logger = logging.getLogger(__name__)

IDLE_TIMEOUT_SECONDS = 240.0
"""What Event Hubs announces."""
CLOSE_GRACE_SECONDS = 2.0


class Link(Protocol):
    """A link as its session sees it."""

    def on_flow(self, fields: list[Any]) -> None: ...
    def on_transfer(self, fields: list[Any], payload: bytes) -> None: ...
    def on_writable(self) -> None: ...
    def on_closed(self) -> None: ...


LinkFactory = Callable[["Session", list[Any]], None]
"""Handles an attach: adds a link to the session, or raises AmqpError to refuse it."""


class Session:
    def __init__(self, connection: Connection, channel: int, fields: list[Any]) -> None:
        self.connection = connection
        self.channel = channel
        self.links: dict[int, Link] = {}
        self.next_incoming_id = int(field(fields, 1, 0))
        self.next_outgoing_id = 0
        self.peer_window = int(field(fields, 2, 0))

    def write(self, *frames: bytes) -> None:
        self.connection.write(b"".join(frames))

    def dispatch(self, code: int, fields: list[Any], payload: bytes) -> None:
        if code == amqp.ATTACH:
            self._attach(fields)
        elif code == amqp.FLOW:
            self._flow(fields)
        elif code == amqp.TRANSFER:
            self.next_incoming_id += 1
            link = self.links.get(self._handle(fields))
            if link is not None:  # frames in flight when the link was detached are dropped
                link.on_transfer(fields, payload)
        elif code == amqp.DETACH:
            handle = self._handle(fields)
            if (link := self.links.pop(handle, None)) is not None:
                link.on_closed()
                self.write(amqp.detach(self.channel, handle))
        elif code != amqp.DISPOSITION:
            raise AmqpError("amqp:not-allowed", f"performative 0x{code:02x} is not allowed here")

    @staticmethod
    def _handle(fields: list[Any]) -> int:
        return int(field(fields, 0, 0))

    def _attach(self, fields: list[Any]) -> None:
        handle = int(field(fields, 1, 0))
        if handle in self.links:
            raise AmqpError("amqp:session:handle-in-use", f"handle {handle} is in use")
        try:
            self.connection.attach(self, fields)
        except AmqpError as error:
            self.refuse(fields, error)

    def refuse(self, fields: list[Any], error: AmqpError) -> None:
        """A link is refused by attaching it without the terminus that would be the hub's, and detaching it with the error
        (AMQP 1.0, 2.6.3)."""
        handle, role = int(field(fields, 1, 0)), bool(field(fields, 2, amqp.SENDER))
        self.links.pop(handle, None)
        self.write(
            amqp.attach(
                self.channel,
                name=str(field(fields, 0, "")),
                handle=handle,
                role=not role,
                source=amqp.source_terminus(address(fields, 5)) if role == amqp.SENDER else NULL,
                target=amqp.target_terminus(address(fields, 6)) if role == amqp.RECEIVER else NULL,
                max_message_size=None,
            ),
            amqp.detach(self.channel, handle, error),
        )

    def _flow(self, fields: list[Any]) -> None:
        next_incoming = field(fields, 0)
        base = self.next_outgoing_id if next_incoming is None else int(next_incoming)
        self.peer_window = base + int(field(fields, 1, 0)) - self.next_outgoing_id
        handle = field(fields, 4)
        links = [] if handle is None else [self.links.get(int(handle))]
        for link in links:
            if link is not None:
                link.on_flow(fields)
        for link in list(self.links.values()):
            link.on_writable()  # they may have been waiting for the session's window

    def detach(self, handle: int, error: AmqpError | None = None) -> None:
        if (link := self.links.pop(handle, None)) is not None:
            link.on_closed()
            self.write(amqp.detach(self.channel, handle, error))

    def send_flow(self, handle: int, delivery_count: int, credit: int) -> None:
        self.write(
            amqp.flow(
                self.channel,
                next_incoming_id=self.next_incoming_id,
                next_outgoing_id=self.next_outgoing_id,
                handle=handle,
                delivery_count=delivery_count,
                credit=credit,
            )
        )

    def close(self) -> None:
        for link in self.links.values():
            link.on_closed()
        self.links.clear()


def address(fields: list[Any], index: int) -> str | None:
    """The address in the source (index 5) or target (index 6) of an attach."""
    terminus = field(fields, index)
    if not isinstance(terminus, Described) or not isinstance(terminus.value, list):
        return None
    value = field(terminus.value, 0)
    return value if isinstance(value, str) else None


class Connection(asyncio.Protocol):
    def __init__(
        self, container_id: str, attach: LinkFactory, closed: Callable[[Connection], None], traffic: Traffic
    ) -> None:
        """`traffic` is that of all connections."""
        self._container_id = container_id
        self._closed = closed
        self._traffic = traffic
        self.attach = attach
        self.grants: dict[str, Grant] = {}
        """What tokens put on `$cbs` grant, by their resource."""
        self.max_frame_size = amqp.MIN_MAX_FRAME_SIZE
        self.writable = True
        self.local_port = 0
        """The stand-in's own port to which the client is connected."""
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._sessions: dict[int, Session] = {}
        self._ended: set[int] = set()
        self._expect = self._on_sasl_header
        self._opened = False
        self._heartbeat_seconds: float | None = None
        self._last_read = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._traffic.connections += 1
        self.local_port = (transport.get_extra_info("sockname") or ("", 0))[1]
        self._last_read = asyncio.get_running_loop().time()
        self._schedule(IDLE_TIMEOUT_SECONDS / 4)

    def data_received(self, data: bytes) -> None:
        self._last_read = asyncio.get_running_loop().time()
        self._buffer += data
        self._traffic.bytes_in += len(data)
        try:
            self._expect()
        except AmqpError as error:
            self._fail(error)
        except (AmqpDecodeError, ValueError, TypeError) as error:
            self._fail(AmqpError("amqp:decode-error", str(error)))

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        for session in self._sessions.values():
            for link in list(session.links.values()):
                link.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._closed(self)

    # --- handshake

    def _take_header(self) -> bytes | None:
        if len(self._buffer) < 8:
            return None
        header = bytes(self._buffer[:8])
        del self._buffer[:8]
        return header

    def _on_sasl_header(self) -> None:
        header = self._take_header()
        if header == amqp.SASL_HEADER:
            self.write(amqp.SASL_HEADER + amqp.sasl_mechanisms())
            self._expect = self._on_sasl_frame
            self._expect()
        elif header is not None:  # the protocol requires the right header in reply, and closing
            self.write(amqp.SASL_HEADER)
            self._hang_up()

    def _on_sasl_frame(self) -> None:
        for frame_type, _, body in amqp.split_frames(self._buffer, amqp.MIN_MAX_FRAME_SIZE):
            code, _, _ = amqp.parse(body)
            if frame_type != 1 or code != amqp.SASL_INIT:
                raise AmqpError("amqp:not-allowed", "expected sasl-init")
            self.write(amqp.sasl_outcome(0))
            self._expect = self._on_amqp_header
            break
        if self._expect == self._on_amqp_header:
            self._expect()

    def _on_amqp_header(self) -> None:
        header = self._take_header()
        if header == amqp.PROTOCOL_HEADER:
            self.write(amqp.PROTOCOL_HEADER)
            self._expect = self._on_frames
            self._expect()
        elif header is not None:
            self.write(amqp.PROTOCOL_HEADER)
            self._hang_up()

    # --- frames

    def _on_frames(self) -> None:
        for frame_type, channel, body in amqp.split_frames(self._buffer):
            if self._transport is None:
                return
            if frame_type != 0:
                raise AmqpError("amqp:connection:framing-error", f"frame type {frame_type} after the handshake")
            if body:
                self._on_performative(channel, *amqp.parse(body))
            else:
                self._traffic.frames_in[HEARTBEAT] += 1

    def _on_performative(self, channel: int, code: int, fields: list[Any], payload: bytes) -> None:
        self._traffic.frame(code)
        if code == amqp.OPEN:
            self._on_open(fields)
        elif code == amqp.CLOSE:
            self.write(amqp.close())
            self._hang_up()
        elif not self._opened:
            raise AmqpError("amqp:not-allowed", "the connection is not open")
        elif code == amqp.BEGIN:
            self._ended.discard(channel)
            self._sessions[channel] = Session(self, channel, fields)
            self.write(amqp.begin(channel, channel))
        elif channel in self._ended:
            return  # the SDK detaches its links after it has ended their session
        elif channel not in self._sessions:
            raise AmqpError("amqp:not-allowed", f"there is no session on channel {channel}")
        elif code == amqp.END:
            self._sessions.pop(channel).close()
            self._ended.add(channel)
            self.write(amqp.end(channel))
        else:
            self._dispatch(self._sessions[channel], code, fields, payload)

    def _dispatch(self, session: Session, code: int, fields: list[Any], payload: bytes) -> None:
        try:
            session.dispatch(code, fields, payload)
        except AmqpError as error:
            self._sessions.pop(session.channel, None)
            self._ended.add(session.channel)
            session.close()
            self.write(amqp.end(session.channel, error))

    def _on_open(self, fields: list[Any]) -> None:
        peer_max = int(field(fields, 2, 2**32 - 1))
        if peer_max < amqp.MIN_MAX_FRAME_SIZE:
            raise AmqpError("amqp:invalid-field", f"max-frame-size {peer_max} is below 512")
        self.max_frame_size = min(amqp.MAX_FRAME_SIZE, peer_max)
        peer_idle_ms = field(fields, 4)
        self._heartbeat_seconds = int(peer_idle_ms) / 2000 if peer_idle_ms else None
        self._opened = True
        self.write(amqp.open_(self._container_id, int(IDLE_TIMEOUT_SECONDS * 1000)))
        if self._heartbeat_seconds:
            self._schedule(self._heartbeat_seconds)

    # --- heartbeats and closing

    def _schedule(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0.05), self._on_timer, seconds)

    def _on_timer(self, seconds: float) -> None:
        if asyncio.get_running_loop().time() - self._last_read > IDLE_TIMEOUT_SECONDS:
            self._fail(AmqpError("amqp:resource-limit-exceeded", "no frame within the idle time-out"))
            return
        if self._heartbeat_seconds and self.writable:
            self.write(amqp.EMPTY_FRAME)
        self._schedule(seconds)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            self._traffic.bytes_out += len(data)

    def _fail(self, error: AmqpError) -> None:
        logger.info("closing a connection: %s", error)
        if self._opened:
            self.write(amqp.close(error))
        self._hang_up()

    def _hang_up(self) -> None:
        """Close once everything is written; a peer that never reads is cut off after a grace period."""
        transport = self._transport
        if transport is None:
            return
        self._buffer.clear()
        self._expect = self._ignore
        transport.close()
        asyncio.get_running_loop().call_later(CLOSE_GRACE_SECONDS, transport.abort)

    def _ignore(self) -> None:
        self._buffer.clear()

    def links(self) -> Iterator[Link]:
        for session in self._sessions.values():
            yield from session.links.values()

    def detach_links(self, chosen: Callable[[Link], AmqpError | None]) -> None:
        """Detach every link for which there is an error."""
        for session in tuple(self._sessions.values()):
            for handle, link in tuple(session.links.items()):
                if (error := chosen(link)) is not None:
                    session.detach(handle, error)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
