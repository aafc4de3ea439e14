"""AMQP 1.0 frames and performatives, as a broker reads and writes them.

Source: OASIS AMQP 1.0, parts 2 (transport) and 5 (security). Frames are encoded with every field present.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.amqp.codec import (
    FALSE,
    NULL,
    TRUE,
    AmqpDecodeError,
    Described,
    Symbol,
    Timestamp,
    Uint,
    Ulong,
    decode,
    described,
    encode,
    symbols,
)

PROTOCOL_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
EMPTY_FRAME = b"\x00\x00\x00\x08\x02\x00\x00\x00"

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_CHALLENGE, SASL_RESPONSE, SASL_OUTCOME = range(0x40, 0x45)

SENDER, RECEIVER = False, True  # the `role` field of attach and disposition

MAX_FRAME_SIZE = 65536
MIN_MAX_FRAME_SIZE = 512
SESSION_WINDOW = 2**31 - 1

_HEADER = struct.Struct(">IBBH")


class AmqpError(Exception):
    """An error that is reported to the peer; `condition` is a symbol such as `amqp:not-found`."""

    def __init__(self, condition: str, description: str, info: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = condition
        self.description = description
        self.info = info

    def encoded(self) -> bytes:
        info = encode({Symbol(name): value for name, value in self.info.items()}) if self.info else NULL
        return described(0x1D, [encode(Symbol(self.condition)), encode(self.description), info])


def frame(channel: int, body: bytes, frame_type: int = 0) -> bytes:
    return _HEADER.pack(len(body) + 8, 2, frame_type, channel) + body


def split_frames(buffer: bytearray, max_frame_size: int = MAX_FRAME_SIZE) -> Iterator[tuple[int, int, bytes]]:
    """Remove complete frames from the front of `buffer`; yield (type, channel, body). Raises AmqpError on bad framing."""
    position = 0
    try:
        while len(buffer) - position >= 8:
            size, offset, frame_type, channel = _HEADER.unpack_from(buffer, position)
            if not 8 <= size <= max_frame_size or not 8 <= offset * 4 <= size:
                raise AmqpError(
                    "amqp:connection:framing-error",
                    f"a frame of {size} bytes (data offset {offset}); at most {max_frame_size} bytes are allowed",
                )
            if len(buffer) - position < size:
                break
            body = bytes(buffer[position + offset * 4 : position + size])
            position += size
            yield frame_type, channel, body
    finally:
        del buffer[:position]


def parse(body: bytes) -> tuple[int, list[Any], bytes]:
    """Return (performative code, fields, payload). Raises AmqpDecodeError."""
    value, position = decode(body)
    if not isinstance(value, Described) or not isinstance(value.value, list) or not isinstance(value.descriptor, int):
        raise AmqpDecodeError("the frame does not hold a performative")
    return value.descriptor, value.value, body[position:]


def field(fields: list[Any], index: int, default: Any = None) -> Any:
    """Return a field, or `default` if the peer trimmed it or sent null."""
    value = fields[index] if index < len(fields) else None
    return default if value is None else value


def sasl_mechanisms() -> bytes:
    return frame(0, described(SASL_MECHANISMS, [symbols("ANONYMOUS", "EXTERNAL", "MSSBCBS")]), frame_type=1)


def sasl_outcome(code: int) -> bytes:
    return frame(0, described(SASL_OUTCOME, [b"\x50" + bytes((code,)), NULL]), frame_type=1)


def open_(container_id: str, idle_timeout_ms: int) -> bytes:
    fields = [
        encode(container_id),
        NULL,
        encode(Uint(MAX_FRAME_SIZE)),
        b"\x60\x0f\xff",
        encode(Uint(idle_timeout_ms)),
        NULL,
        NULL,
        NULL,
        NULL,
        encode({Symbol("product"): "sandbox hub"}),
    ]
    return frame(0, described(OPEN, fields))


def begin(channel: int, remote_channel: int) -> bytes:
    window = encode(Uint(SESSION_WINDOW))
    remote = b"\x60" + remote_channel.to_bytes(2, "big")
    return frame(channel, described(BEGIN, [remote, encode(Uint(0)), window, window, encode(Uint(255)), NULL, NULL, NULL]))


def attach(
    channel: int,
    *,
    name: str,
    handle: int,
    role: bool,
    source: bytes,
    target: bytes,
    max_message_size: int | None,
    properties: dict[Any, Any] | None = None,
) -> bytes:
    fields = [
        encode(name),
        encode(Uint(handle)),
        encode(role),
        b"\x50\x02" if role == RECEIVER else b"\x50\x01",
        b"\x50\x00",
        source,
        target,
        NULL,
        NULL,
        encode(Uint(0)),
        NULL if max_message_size is None else encode(Ulong(max_message_size)),
        NULL,
        NULL,
        encode(properties or {}),
    ]
    return frame(channel, described(ATTACH, fields))


def source_terminus(address: str | None, filters: Any = None) -> bytes:
    return described(0x28, [encode(address), *[NULL] * 6, encode(filters), NULL, NULL, NULL])


def target_terminus(address: str | None) -> bytes:
    return described(0x29, [encode(address), *[NULL] * 6])


def flow(
    channel: int,
    *,
    next_incoming_id: int,
    next_outgoing_id: int,
    handle: int | None,
    delivery_count: int,
    credit: int,
) -> bytes:
    window = encode(Uint(SESSION_WINDOW))
    link = [NULL] * 3 if handle is None else [encode(Uint(value)) for value in (handle, delivery_count, credit)]
    fields = [
        encode(Uint(next_incoming_id & 0xFFFFFFFF)),
        window,
        encode(Uint(next_outgoing_id & 0xFFFFFFFF)),
        window,
        *link,
        NULL,
        FALSE,
        FALSE,
        NULL,
    ]
    return frame(channel, described(FLOW, fields))


ACCEPTED = described(0x24, [])


def rejected(error: AmqpError) -> bytes:
    return described(0x25, [error.encoded()])


def disposition(channel: int, delivery_id: int, state: bytes) -> bytes:
    number = encode(Uint(delivery_id))
    return frame(channel, described(DISPOSITION, [TRUE, number, number, TRUE, state, NULL]))


def detach(channel: int, handle: int, error: AmqpError | None = None) -> bytes:
    return frame(channel, described(DETACH, [encode(Uint(handle)), TRUE, error.encoded() if error else NULL]))


def end(channel: int, error: AmqpError | None = None) -> bytes:
    return frame(channel, described(END, [error.encoded() if error else NULL]))


def close(error: AmqpError | None = None) -> bytes:
    return frame(0, described(CLOSE, [error.encoded() if error else NULL]))


class TransferEncoder:
    """Encodes the settled transfer frames of one link from a template, because this is the broker's hot path.

    The SDK keeps every distinct delivery tag forever, so all deliveries of a link share one.
    """

    def __init__(self, channel: int, handle: int) -> None:
        self._channel = channel
        start = b"\x00\x53\x14\xc0\x00\x0b" + encode(Uint(handle)) + b"\x70"
        tag_and_format = b"\xa0\x01\x00\x43" + TRUE
        rest = NULL * 5
        self._start = self._sized(start, tag_and_format + TRUE + rest)
        self._last = tag_and_format + FALSE + rest
        self._more = tag_and_format + TRUE + rest
        self.overhead = len(self._start) + 4 + len(self._last) + 8

    @staticmethod
    def _sized(start: bytes, tail: bytes) -> bytes:
        size = len(start) - 5 + 4 + len(tail)  # everything after the size byte of the list8
        return start[:4] + bytes((size,)) + start[5:]

    def frames(self, delivery_id: int, payload: bytes, max_frame_size: int) -> list[bytes]:
        room = max_frame_size - self.overhead
        number = (delivery_id & 0xFFFFFFFF).to_bytes(4, "big")
        if len(payload) <= room:
            return [self._frame(number, self._last, payload)]
        pieces = [payload[i : i + room] for i in range(0, len(payload), room)]
        return [
            *(self._frame(number, self._more, piece) for piece in pieces[:-1]),
            self._frame(number, self._last, pieces[-1]),
        ]

    def _frame(self, number: bytes, tail: bytes, payload: bytes) -> bytes:
        header = _HEADER.pack(self.overhead + len(payload), 2, 0, self._channel)
        return b"".join((header, self._start, number, tail, payload))


def timestamp(milliseconds: int) -> bytes:
    return encode(Timestamp(milliseconds))
