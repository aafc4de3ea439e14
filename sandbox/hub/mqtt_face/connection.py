"""One device's connection: the handshake, keep-alive, and the packets. What they mean is decided by the face.

Everything runs in callbacks of the event loop; nothing here awaits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from math import isfinite
from typing import Protocol

from sandbox.hub import certificates, sas
from sandbox.hub.mqtt_face import packets
from sandbox.hub.mqtt_face.packets import MqttError, Packet, Publish

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 30.0
"""How long a client may wait with its CONNECT."""
LONGEST_KEEP_ALIVE_SECONDS = 1767.0
"""IoT Hub closes a silent connection after 29 min 27 s, whatever the client asked for."""


class Session(Protocol):
    """Whose connection it is, and what it subscribed to."""

    @property
    def name(self) -> str: ...
    @property
    def filters(self) -> dict[str, int]: ...
    def subscribe(self, topic_filter: str, qos: int) -> int:
        """The QoS that is granted, or REFUSED."""
        ...


class Face(Protocol):
    """What a connection needs of the hub, or of the provisioning service."""

    def face_of(self, connect: packets.Connect) -> Face:
        """Which of the two this client wants."""
        ...

    def log_in(self, connection: MqttConnection, connect: packets.Connect) -> tuple[Session, float, bool]:
        """The session, the token's expiry (s since the epoch), and whether there was such a session. Raises SasError."""

    def wait(self, publish: Publish) -> float:
        """Seconds that a message has to wait before it is handled. Raises MqttError."""

    def publish(self, connection: MqttConnection, publish: Publish) -> None:
        """Raises MqttError."""

    def acknowledged(self, connection: MqttConnection, number: int) -> None: ...
    def subscribed(self, connection: MqttConnection) -> None: ...
    def left(self, connection: MqttConnection, will: Publish | None) -> None: ...


class MqttConnection(asyncio.Protocol):
    def __init__(self, face: Face) -> None:
        self.session: Session | None = None
        self.certificate: certificates.ClientCertificate | None = None
        self.model_id: str | None = None
        self._face = face
        self._will: Publish | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._silence: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._silence_seconds = CONNECT_SECONDS
        self._waiting: deque[Publish] = deque()
        """What a throttled hub has not handled yet, oldest first."""

    # --- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.certificate = certificates.of_client(transport)
        self._heard()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._heard()
        try:
            if self.session is None and self._buffer[0] != packets.CONNECT << 4:
                raise MqttError("the first packet is not a CONNECT")
            for packet in packets.split(self._buffer):
                if self._transport is None or self._transport.is_closing():
                    return
                self._on_packet(packet)
        except MqttError as error:
            self.close(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._silence, self._expiry):
            if timer is not None:
                timer.cancel()
        self._transport = None
        self._waiting.clear()
        if self.session is not None:
            self._face.left(self, self._will)

    # --- timers

    def _heard(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        loop = asyncio.get_running_loop()
        self._silence = loop.call_later(self._silence_seconds, self.close, "silent for longer than its keep-alive allows")

    # --- packets

    def _on_packet(self, packet: Packet) -> None:
        if self.session is None:
            self._on_connect(packets.read_connect(packet))
        elif packet.kind == packets.PUBLISH:
            self._on_publish(packets.read_publish(packet))
        elif packet.kind == packets.PUBACK:
            self._face.acknowledged(self, packets.read_number(packet))
        elif packet.kind == packets.SUBSCRIBE:
            self._on_subscribe(self.session, packet)
        elif packet.kind == packets.UNSUBSCRIBE:
            number, filters = packets.read_unsubscribe(packet)
            for topic_filter in filters:
                self.session.filters.pop(topic_filter, None)
            self.write(packets.unsuback(number))
        elif packet.kind == packets.PINGREQ:
            self.write(packets.PING_RESPONSE)
        elif packet.kind == packets.DISCONNECT:
            self._will = None
            self.close(None)
        else:
            raise MqttError(f"a packet of type {packet.kind} is not allowed here")

    def _on_connect(self, connect: packets.Connect) -> None:
        self._face = self._face.face_of(connect)
        try:
            session, expiry, is_old = self._face.log_in(self, connect)
        except sas.SasError as error:
            self.write(packets.connack(packets.NOT_AUTHORIZED))
            self.close(f"refused {connect.client_id!r}: {error}")
            return
        self.session, self._will = session, connect.will
        asked = 1.5 * connect.keep_alive_seconds or LONGEST_KEEP_ALIVE_SECONDS
        self._silence_seconds = min(asked, LONGEST_KEEP_ALIVE_SECONDS)
        self._heard()
        if isfinite(expiry):
            remaining = min(max(0.0, expiry - time.time()), 7 * 86_400)
            self._expiry = asyncio.get_running_loop().call_later(remaining, self.close, "its token has expired")
        self.write(packets.connack(packets.ACCEPTED, session_present=is_old))
        self._face.subscribed(self)

    def _on_publish(self, publish: Publish) -> None:
        if publish.qos == 2:
            raise MqttError("IoT Hub does not support QoS 2")
        wait = self._face.wait(publish)
        if wait or self._waiting:
            self._waiting.append(publish)
            asyncio.get_running_loop().call_later(wait, self._handle_oldest)
        else:
            self._handle(publish)

    def _handle_oldest(self) -> None:
        if not self._waiting:  # the connection was closed
            return
        try:
            self._handle(self._waiting.popleft())
        except MqttError as error:
            self.close(str(error))

    def _handle(self, publish: Publish) -> None:
        self._face.publish(self, publish)
        if publish.qos:
            self.write(packets.puback(publish.packet_id))

    def _on_subscribe(self, session: Session, packet: Packet) -> None:
        number, filters = packets.read_subscribe(packet)
        self.write(packets.suback(number, [session.subscribe(topic_filter, qos) for topic_filter, qos in filters]))
        self._face.subscribed(self)

    # --- writing and closing

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self, reason: str | None) -> None:
        """Closes once everything is written; `reason` is logged."""
        if self._transport is None or self._transport.is_closing():
            return
        if reason is not None:
            name = self.session.name if self.session is not None else "a client"
            logger.warning("closing the connection of %s: %s", name, reason)
        self._buffer.clear()
        self._waiting.clear()
        self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
