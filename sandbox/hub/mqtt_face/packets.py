"""MQTT 3.1.1 packets, as a broker reads and writes them. Whatever a client sends is checked: any breach is an MqttError.

Source: OASIS MQTT 3.1.1, chapters 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK = range(1, 10)
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(10, 15)

LEVEL = 4
"""The protocol level of MQTT 3.1.1."""
MAX_PACKET_BYTES = 512 * 1024
ACCEPTED, NOT_AUTHORIZED = 0, 5
"""Return codes of CONNACK."""
REFUSED = 0x80
"""The code of a subscription that was not granted."""
PING_RESPONSE = bytes((PINGRESP << 4, 0))


class MqttError(Exception):
    """The client broke the protocol, or a rule of IoT Hub; its connection is closed. The text says how."""


@dataclass(frozen=True, slots=True)
class Packet:
    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    packet_id: int = 0
    duplicate: bool = False

    def encoded(self) -> bytes:
        flags = (8 if self.duplicate else 0) | self.qos << 1 | int(self.retain)
        number = struct.pack(">H", self.packet_id) if self.qos else b""
        return _packet(PUBLISH, flags, _string(self.topic) + number + self.payload)


@dataclass(frozen=True, slots=True)
class Connect:
    client_id: str
    clean: bool
    keep_alive_seconds: int
    will: Publish | None
    user_name: str
    password: str


class _Body:
    """Reads the fields of a packet's body, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self.at : self.at + count]
        if len(taken) != count:
            raise MqttError("a packet ends in the middle of a field")
        self.at += count
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError:
            raise MqttError("a string is not UTF-8") from None

    def rest(self) -> bytes:
        return self.take(len(self._data) - self.at)

    @property
    def is_at_end(self) -> bool:
        return self.at >= len(self._data)


def split(buffer: bytearray) -> Iterator[Packet]:
    """Remove complete packets from the front of `buffer`. Raises MqttError."""
    while len(buffer) >= 2:
        size, at = 0, 1
        while True:
            if at > 4:
                raise MqttError("the length of a packet has more than four bytes")
            if at >= len(buffer):
                return
            size |= (buffer[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if not buffer[at - 1] & 0x80:
                break
        if size > MAX_PACKET_BYTES:
            raise MqttError(f"a packet of {size} bytes; at most {MAX_PACKET_BYTES} are allowed")
        if len(buffer) < at + size:
            return
        head, body = buffer[0], bytes(buffer[at : at + size])
        del buffer[: at + size]
        yield Packet(head >> 4, head & 0x0F, body)


def read_connect(packet: Packet) -> Connect:
    body = _Body(packet.body)
    if packet.kind != CONNECT or packet.flags or body.text() != "MQTT":
        raise MqttError("the first packet is not a CONNECT of MQTT")
    level, flags, keep_alive = body.number(1), body.number(1), body.number(2)
    if level != LEVEL:
        raise MqttError(f"protocol level {level}; this is MQTT 3.1.1, which is level {LEVEL}")
    if flags & 1:
        raise MqttError("a reserved flag of CONNECT is set")
    client_id, will = body.text(), None
    if flags & 0x04:
        will = Publish(body.text(), body.binary(), flags >> 3 & 3, bool(flags & 0x20))
    user_name = body.text() if flags & 0x80 else ""
    password = body.text() if flags & 0x40 else ""
    return Connect(client_id, bool(flags & 0x02), keep_alive, will, user_name, password)


def read_publish(packet: Packet) -> Publish:
    body, qos = _Body(packet.body), packet.flags >> 1 & 3
    if qos == 3:
        raise MqttError("a PUBLISH with QoS 3")
    topic = body.text()
    number = body.number(2) if qos else 0
    return Publish(topic, body.rest(), qos, bool(packet.flags & 1), number, bool(packet.flags & 8))


def read_subscribe(packet: Packet) -> tuple[int, list[tuple[str, int]]]:
    """The packet's number, and the topic filters with the QoS that is asked for."""
    body = _Body(packet.body)
    number, filters = body.number(2), []
    while not body.is_at_end:
        filters.append((body.text(), body.number(1)))
    if packet.flags != 2 or not filters or any(qos > 2 for _, qos in filters):
        raise MqttError("a malformed SUBSCRIBE")
    return number, filters


def read_unsubscribe(packet: Packet) -> tuple[int, list[str]]:
    body = _Body(packet.body)
    number, filters = body.number(2), []
    while not body.is_at_end:
        filters.append(body.text())
    if packet.flags != 2 or not filters:
        raise MqttError("a malformed UNSUBSCRIBE")
    return number, filters


def read_number(packet: Packet) -> int:
    """The number of the packet that a PUBACK acknowledges."""
    return _Body(packet.body).number(2)


def connack(code: int, *, session_present: bool = False) -> bytes:
    return _packet(CONNACK, 0, bytes((session_present, code)))


def puback(number: int) -> bytes:
    return _packet(PUBACK, 0, struct.pack(">H", number))


def suback(number: int, codes: list[int]) -> bytes:
    return _packet(SUBACK, 0, struct.pack(">H", number) + bytes(codes))


def unsuback(number: int) -> bytes:
    return _packet(UNSUBACK, 0, struct.pack(">H", number))


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _packet(kind: int, flags: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (128 if size else 0))
        if not size:
            return bytes((kind << 4 | flags,)) + bytes(length) + body
