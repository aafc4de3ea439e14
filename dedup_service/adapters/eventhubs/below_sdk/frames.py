"""AMQP frames that a connection has received: where the messages of plain transfers lie in their bytes, and the events in
them.

Source: AMQP 1.0, parts 2.3 (frames) and 2.7.5 (transfer).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from azure.eventhub._pyamqp._encode import encode_frame
from azure.eventhub._pyamqp.performatives import TransferFrame

from dedup_service.adapters.eventhubs.below_sdk.decoding import decode
from dedup_service.adapters.eventhubs.below_sdk.values import NotDecodableError
from dedup_service.core.events import InputEvent

AMQP_FRAME, EMPTY_FRAME_BYTES = 0x00, 8
TRANSFER = 0x14
LIST, LONG_LIST = 0xC0, 0xD0
TRUE, BOOLEAN, BINARY = 0x41, 0x56, 0xA0
UINTS = (0x43, 0x52, 0x70)
HANDLE, MORE = 0, 5
"""Indexes of the transfer fields that name the link, and that say that the message continues in the next frame."""
_FIELD_SIZES = {0x40: 0, 0x41: 0, 0x42: 0, 0x43: 0, 0x44: 0, 0x50: 1, 0x52: 1, 0x53: 1, 0x56: 1, 0x70: 4, 0x80: 8}
_frame_header = struct.Struct(">IBBH").unpack_from
_size = struct.Struct(">I").unpack_from


class Link(NamedTuple):
    """What the hub's frames call a link."""

    channel: int
    handle: int


def size_of_frame(data: bytes | bytearray) -> int:
    """Of the frame with which these bytes begin; there are four at least."""
    return int(_size(data)[0])


def transfer_at(data: bytes, at: int, link: Link) -> tuple[int, int, bool] | None:
    """Where the message of the link's transfer at this place begins, or its next part, where the frame ends, and whether the
    message continues in the next frame. None for any other frame, and for one that is not there as a whole."""
    if len(data) - at <= EMPTY_FRAME_BYTES:
        return None
    size, offset, kind, channel = _frame_header(data, at)
    end = at + size
    if size <= EMPTY_FRAME_BYTES or end > len(data) or kind != AMQP_FRAME or channel != link.channel:
        return None
    try:
        payload = _payload(data, at + 4 * offset, link.handle)
    except (IndexError, struct.error):  # its sizes are wrong: what that means is the SDK's to say
        return None
    return None if payload is None else (payload[0], end, payload[1])


def _payload(data: bytes, at: int, handle: int) -> tuple[int, bool] | None:
    if data[at + 2] != TRANSFER:
        return None
    code = data[at + 3]
    if code == LIST:
        count, field_at, payload = data[at + 5], at + 6, at + 5 + data[at + 4]
    elif code == LONG_LIST:
        count, field_at, payload = _size(data, at + 8)[0], at + 12, at + 8 + _size(data, at + 4)[0]
    else:
        return None
    if count == 0:
        return None
    is_continued = False
    for number in range(min(count, MORE + 1)):
        code = data[field_at]
        size = 1 + data[field_at + 1] if code == BINARY else _FIELD_SIZES.get(code)
        if size is None:
            return None
        if number == HANDLE:
            if code not in UINTS or _uint(data, field_at) != handle:
                return None
        elif number == MORE:
            is_continued = code == TRUE or (code == BOOLEAN and bool(data[field_at + 1]))
        field_at += 1 + size
    return payload, is_continued


def _uint(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + 1 : at + 1 + _FIELD_SIZES[data[at]]], "big")


def events_at(
    partition_id: str, data: bytes, at: int, most: int, until: int, channel: int, handle: int
) -> tuple[list[InputEvent], int]:
    """Decodes the messages that lie in one transfer each, from this place on: at most so many, none of which begins at
    `until` or behind it. Stops before any other frame, and before a message that can't be decoded. Returns where it stopped,
    too."""
    events: list[InputEvent] = []
    link = Link(channel, handle)
    while len(events) < most and at < until:
        found = transfer_at(data, at, link)
        if found is None or found[2]:
            break
        try:
            events.append(decode(partition_id, data, found[0], found[1]))
        except NotDecodableError:
            break
        at = found[1]
    return events, at


SAMPLE_LINK = Link(channel=5, handle=300)


def sample_frames(payload: bytes) -> bytes:
    """A byte, two transfers of this message, and the first part of a third one."""
    frames = b"?"
    for number, more in enumerate((False, False, True)):
        transfer = TransferFrame(SAMPLE_LINK.handle, number, b"t" * number, 0, True, more, payload=payload)
        head, body = encode_frame(transfer)
        frames += head + SAMPLE_LINK.channel.to_bytes(2, "big") + bytes(body or b"")
    return frames
