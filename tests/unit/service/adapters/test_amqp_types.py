"""AMQP types that the SDK does not decode or encode by itself, and that are supported here."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure.eventhub import EventData, EventDataBatch
from azure.eventhub._pyamqp import _decode

from dedup_service.adapters.eventhubs.below_sdk.amqp_types import (
    CHAR,
    DECIMAL32,
    DECIMAL64,
    encodable,
    make_decoding_total,
    readable,
    readable_map,
)
from dedup_service.adapters.eventhubs.publisher import to_event_data
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.property_types import Char, Encoded, Long, Timestamp
from dedup_service.errors import UNSUPPORTED_PROPERTY, UndeliverableError


def decode(data: bytes) -> Any:
    rest, value = _decode._DECODE_BY_CONSTRUCTOR[data[0]](memoryview(data)[1:])
    assert len(rest) == 0
    return value


def test_the_sdk_cannot_encode_whole_numbers_above_31_bits_by_itself() -> None:
    event = EventData(b"x")
    event.properties = {"n": 2**31}
    with pytest.raises(ValueError, match="int invalid"):
        EventDataBatch(max_size_in_bytes=1000).add(event)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (bytes([CHAR]) + b"\x00\x00\x00A", b"A"),
        (bytes([DECIMAL32]) + b"1234", b"1234"),
        (bytes([DECIMAL64]) + b"12345678", b"12345678"),
    ],
)
def test_the_missing_types_are_decoded(data: bytes, value: bytes) -> None:
    make_decoding_total()
    assert decode(data) == value


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**64 - 1, 1.5, "ä", b"\xff", uuid.UUID(int=1), Timestamp(5)],
)
def test_the_sdk_can_encode_these_as_well(value: Any) -> None:
    event = OutgoingEvent(b"x", None, None, None, None, {"p": value}, 1)
    batch = EventDataBatch(max_size_in_bytes=1000)
    batch.add(to_event_data(event))
    assert len(batch) == 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([1], "list"),
        ({"a": 1}, "dict"),
        (Char("c"), "char"),
        (Encoded(b"\x74abcd"), "decimal32"),
        (Encoded(b"\x00\xa3\x01a\x40"), "described"),
    ],
)
def test_what_the_sdk_can_not_encode_is_refused_by_name_and_type_and_never_sent_as_the_text_of_an_object(
    value: Any, kind: str
) -> None:
    event = OutgoingEvent(b"x", None, None, None, None, {"fine": 1, "odd": value}, 1)
    with pytest.raises(UndeliverableError) as caught:
        to_event_data(event)
    assert caught.value.reason == UNSUPPORTED_PROPERTY
    assert "'odd'" in caught.value.detail
    assert kind in caught.value.detail


def test_text_becomes_str_and_other_bytes_stay() -> None:
    assert readable(b"\xc3\xa4") == "ä"
    assert readable(b"\xff") == b"\xff"
    assert readable_map({b"a": b"b", "c": 1}) == {"a": "b", "c": 1}
    assert readable_map(None) == {}


def test_small_numbers_stay_plain() -> None:
    assert encodable("n", 5) == 5
    assert encodable("n", 2**40) == {"TYPE": "LONG", "VALUE": 2**40}
    assert encodable("n", 2**63) == {"TYPE": "ULONG", "VALUE": 2**63}
    assert encodable("n", Long(5)) == {"TYPE": "LONG", "VALUE": 5}
