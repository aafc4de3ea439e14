"""Decodes and encodes the usual events in C, where native.c was compiled, and all others in Python.

native.c makes no decisions: it comes to the same result as decoding.py and encoding.py, or to none, and then they are asked.
At the start it is tried on a sample. Where it comes to another result, or was not compiled because there is no compiler,
Python does everything.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

from azure.eventhub._pyamqp._encode import encode_payload

from dedup_service.adapters.eventhubs.below_sdk import decoding, encoding
from dedup_service.adapters.eventhubs.below_sdk.frames import SAMPLE_LINK, events_at, sample_frames
from dedup_service.core.events import InputEvent
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.property_types import Long, Timestamp

try:
    from dedup_service.adapters.eventhubs.below_sdk import _native as compiled
except ImportError:
    compiled = None  # type: ignore[assignment]  # see codec_of


Decode = Callable[[str, bytes, int, int], InputEvent]


class Codec(NamedTuple):
    decode: Decode
    """Raises NotDecodableError."""
    encode: Callable[[OutgoingEvent], bytes]
    """Raises UndeliverableError."""
    events: Callable[[str, bytes, int, int, int, int, int], tuple[list[InputEvent], int]]
    """See frames.events_at. It may stop earlier."""
    is_native: bool = False


PYTHON = Codec(decoding.decode, encoding.encode, events_at)


def codec_of(module: ModuleType | None) -> Codec:
    """The codec with this compiled module, or Python's alone."""
    if module is None or not _agrees(module):
        return PYTHON
    in_c, encode_in_c = module.decode, module.encode

    def decode(partition_id: str, data: bytes, at: int, end: int) -> InputEvent:
        event: InputEvent | None = in_c(partition_id, data, at, end)
        return decoding.decode(partition_id, data, at, end) if event is None else event

    def encode(event: OutgoingEvent) -> bytes:
        message: bytes | None = encode_in_c(
            event.body,
            event.message_id,
            event.correlation_id,
            event.content_type,
            event.content_encoding,
            event.properties,
        )
        return encoding.encode(event) if message is None else message

    return Codec(decode, encode, module.events, is_native=True)


def _agrees(module: ModuleType) -> bool:
    """Whether the module decodes and encodes a sample by itself, to the same result as Python."""
    try:
        module.configure(InputEvent, Timestamp, Long)
        payload = bytes(encode_payload(bytearray(), decoding.SAMPLE))
        event = decoding.decode("0", payload, 0, len(payload))
        properties = {**event.application_properties, "time": event.creation_time, "long": Long(2**40)}
        own = (event.message_id, event.correlation_id, event.content_type, event.content_encoding, properties)
        back = encoding.encode(
            OutgoingEvent(event.body, event.content_type, event.content_encoding, *own[:2], properties, 1)
        )
        frames = "0", sample_frames(payload), 1, 3, 2**20, *SAMPLE_LINK
        same_events = repr(module.events(*frames)) == repr(events_at(*frames))
        same_event = repr(module.decode("0", b"?" + payload, 1, 1 + len(payload))) == repr(event)
        return same_event and same_events and module.encode(event.body, *own) == back
    except Exception:  # noqa: BLE001  # compiled for another version of any part, it may fail in any way
        return False


CODEC = codec_of(compiled)
