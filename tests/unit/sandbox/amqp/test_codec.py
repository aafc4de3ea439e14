"""The stand-in's AMQP codec, tested against the SDK's own and against garbage."""

from __future__ import annotations

import struct
import uuid
from typing import Any

import pytest
from azure.eventhub._pyamqp import _decode, _encode
from azure.eventhub._pyamqp.message import Message
from hypothesis import given
from hypothesis import strategies as st

from sandbox.amqp import performatives as amqp
from sandbox.amqp.codec import (
    AmqpDecodeError,
    Described,
    Int,
    Strings,
    Symbol,
    Timestamp,
    Uint,
    Ulong,
    decode,
    described,
    encode,
    skip,
    symbols,
)
from sandbox.amqp.messages import annotated, data_section, split, unpack

simple = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.uuids(),
    st.integers(-(2**31), 2**31 - 1).map(Int),
    st.integers(0, 2**32 - 1).map(Uint),
    st.integers(0, 2**64 - 1).map(Ulong),
    st.integers(-(2**63), 2**63 - 1).map(Timestamp),
    st.text("abc:.-", min_size=1, max_size=20).map(Symbol),
)
values = st.recursive(
    simple,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_what_is_encoded_is_decoded_and_skipped(value: Any) -> None:
    data = encode(value)
    assert decode(data) == (value, len(data))
    assert skip(data, 0) == len(data)


@given(simple)
def test_the_sdk_reads_what_the_stand_in_writes(value: Any) -> None:
    data = memoryview(encode(value))
    rest, read = _decode._DECODE_BY_CONSTRUCTOR[data[0]](data[1:])
    assert len(rest) == 0
    assert read == (value.encode() if isinstance(value, str) else value)


@given(st.lists(st.text(max_size=60), min_size=1))
def test_an_array_of_strings_is_one_to_the_sdk_too(items: list[str]) -> None:
    data = encode(Strings(items))
    assert data[0] == 0xF0  # a list starts with 0xD0, and the SDK for Go refuses a list of partitions
    assert decode(data) == (items, len(data))
    rest, read = _decode._DECODE_BY_CONSTRUCTOR[0xF0](memoryview(data)[1:])
    assert (len(rest), read) == (0, [item.encode() for item in items])


@given(
    st.dictionaries(st.text(min_size=1, max_size=9), st.one_of(st.text(), st.binary(), st.booleans(), st.integers(0, 99)))
)
def test_the_stand_in_reads_what_the_sdk_writes(properties: dict[str, Any]) -> None:
    encoded = bytearray()
    _encode.encode_payload(encoded, Message(data=[b"body"], application_properties=dict(properties.items())))
    message = split(bytes(encoded))
    assert bytes(message.bare).endswith(data_section(b"body"))
    again = _decode.decode_payload(memoryview(annotated({"x": 1}, message.bare)))
    assert {k.decode() if isinstance(k, bytes) else k: v for k, v in (again.application_properties or {}).items()} == {
        key: value.encode() if isinstance(value, str) else value for key, value in properties.items()
    }


@given(st.binary(max_size=200))
def test_garbage_is_an_error_and_nothing_else(data: bytes) -> None:
    for read in (lambda: decode(data), lambda: skip(data, 0), lambda: split(data), lambda: unpack(0x80013700, data)):
        try:
            read()
        except AmqpDecodeError:
            continue


@pytest.mark.parametrize(
    "data", [b"\x00" * 5000, b"\xc0\x02\x01" * 3000, b"\xd0" + struct.pack(">II", 9, 2**31) + b"\x40" * 5]
)
def test_nesting_and_counts_are_limited(data: bytes) -> None:
    with pytest.raises(AmqpDecodeError):
        decode(data)


def test_arrays_described_values_and_every_fixed_type() -> None:
    assert decode(symbols("a", "bc"))[0] == ["a", "bc"]
    assert decode(described(0x24, []))[0] == Described(0x24, [])
    samples = {
        b"\x50\x07": 7,
        b"\x51\xff": -1,
        b"\x60\x01\x00": 256,
        b"\x61\xff\xff": -1,
        b"\x71\xff\xff\xff\xff": -1,
        b"\x54\xfe": -2,
        b"\x55\xfd": -3,
        b"\x56\x01": True,
        b"\x72\x3f\x80\x00\x00": 1.0,
        b"\x73\x00\x00\x00\x41": "A",
        b"\x45": [],
        b"\xe0\x01\x00": [],
        b"\x98" + bytes(16): uuid.UUID(int=0),
    }
    for data, value in samples.items():
        assert decode(data) == (value, len(data))


def test_frames_are_split_as_they_arrive() -> None:
    stream = amqp.frame(0, b"one") + amqp.EMPTY_FRAME + amqp.frame(3, b"three", frame_type=1)
    buffer, frames = bytearray(), []
    for byte in stream:
        buffer.append(byte)
        frames += list(amqp.split_frames(buffer))
    assert frames == [(0, 0, b"one"), (0, 0, b""), (1, 3, b"three")]


@pytest.mark.parametrize(
    "header", [b"\x00\x00\x00\x07\x02\x00\x00\x00", b"\x7f\xff\xff\xff\x02\x00\x00\x00", b"GET / HTTP/1.1"]
)
def test_bytes_that_are_not_a_frame_are_an_error(header: bytes) -> None:
    with pytest.raises(amqp.AmqpError, match="framing-error"):
        list(amqp.split_frames(bytearray(header)))


def test_every_performative_has_all_its_fields() -> None:
    """The SDK indexes the fields without defaults."""
    terminus = amqp.source_terminus("a")
    attach = amqp.attach(0, name="n", handle=0, role=True, source=terminus, target=terminus, max_message_size=1)
    flow = amqp.flow(0, next_incoming_id=0, next_outgoing_id=0, handle=1, delivery_count=0, credit=1)
    frames = {
        amqp.open_("c", 1000): 10,
        amqp.begin(0, 0): 8,
        attach: 14,
        flow: 11,
        amqp.disposition(0, 1, amqp.ACCEPTED): 6,
        amqp.detach(0, 1): 3,
        amqp.end(0): 1,
        amqp.close(): 1,
    }
    for data, count in frames.items():
        _, fields = _decode.decode_frame(memoryview(data)[8:])
        assert len(fields) == count


@pytest.mark.parametrize("size", [0, 1, 450, 5000, 200_000])
def test_transfers_are_split_into_frames_that_fit(size: int) -> None:
    payload = bytes(size)
    frames = amqp.TransferEncoder(1, 2).frames(7, payload, 512)
    assert all(len(frame) <= 512 for frame in frames)
    decoded = [_decode.decode_frame(memoryview(frame)[8:])[1] for frame in frames]
    assert b"".join(bytes(fields[11]) for fields in decoded) == payload
    assert [fields[5] for fields in decoded] == [True] * (len(frames) - 1) + [False]
    assert {(fields[0], fields[1], len(fields)) for fields in decoded} == {(2, 7, 12)}


def test_a_batch_of_the_sdk_is_unpacked_into_its_events() -> None:
    inner = bytearray()
    _encode.encode_payload(inner, Message(data=[b"one"]))
    payload = data_section(bytes(inner)) * 3
    assert [message.bare for message in unpack(0x80013700, payload)] == [data_section(b"one")] * 3
