"""Every type of application properties that Event Hubs allows leaves the service as it came. The SDK's own codec is the
judge, for the types that it knows."""

from __future__ import annotations

import struct
import uuid
from typing import Any

import pytest
from azure.eventhub._pyamqp._decode import decode_payload
from azure.eventhub._pyamqp._encode import encode_payload
from azure.eventhub._pyamqp.message import Message
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.adapters.eventhubs.below_sdk.amqp_types import encodable, make_decoding_total
from dedup_service.adapters.eventhubs.below_sdk.decoding import decode
from dedup_service.adapters.eventhubs.below_sdk.encoding import encode
from dedup_service.core.events import InputEvent
from dedup_service.core.outgoing import kept_properties, outgoing
from dedup_service.core.property_types import (
    Byte,
    Char,
    Encoded,
    Float,
    Long,
    Short,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
    type_name,
)

make_decoding_total()  # for char and the decimals, which the SDK does not know by itself

ANNOTATIONS: dict[Any, Any] = {"x-opt-sequence-number": 1, "x-opt-offset": "1", "x-opt-enqueued-time": 1}


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


TYPES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "ubyte": integers(8, signed=False).map(Ubyte),
    "ushort": integers(16, signed=False).map(Ushort),
    "uint": integers(32, signed=False).map(Uint),
    "ulong": integers(64, signed=False).map(Ulong),
    "byte": integers(8, signed=True).map(Byte),
    "short": integers(16, signed=True).map(Short),
    "int": integers(32, signed=True),
    "long": integers(64, signed=True).map(Long),
    "float": st.floats(width=32, allow_nan=False).map(Float),
    "double": st.floats(allow_nan=False),
    "timestamp": integers(64, signed=True).map(Timestamp),
    "uuid": st.uuids(),
    "binary": st.binary(max_size=300),
    "string": st.text(max_size=300),
    "symbol": st.text(st.characters(codec="ascii"), max_size=300).map(Symbol),
}
"""Those that the SDK can encode."""
TYPED = st.one_of(*TYPES.values())
CHARS = st.characters(codec="utf-8").map(Char)


TEXT_KEYS = st.text(max_size=20).map(lambda text: encode_value(text))
DESCRIPTORS = st.sampled_from(["com.microsoft:uri", "com.microsoft:datetime-offset"]).map(
    lambda name: encode_value(Symbol(name))
)
"""As the Azure SDK for .NET describes a Uri and a DateTimeOffset."""
SIMPLE = (TYPED | CHARS).map(lambda value: encode_value(value))
DECIMALS = st.sampled_from([(0x74, 4), (0x84, 8), (0x94, 16)]).flatmap(
    lambda kind: st.binary(min_size=kind[1], max_size=kind[1]).map(lambda data: bytes((kind[0],)) + data)
)
"""The SDK can't read most of those of 128 bits, which the one for .NET sends."""
COMPOUND = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: b"\xd0" + counted(items)),
        st.lists(st.tuples(TEXT_KEYS, inner), max_size=3).map(
            lambda pairs: b"\xd1" + counted([part for pair in pairs for part in pair])
        ),
        st.tuples(DESCRIPTORS, inner).map(lambda both: b"\x00" + both[0] + both[1]),
        st.sampled_from([b"\xe0\x04\x02\x50\x01\x02", b"\x45"]),
    ),
    max_leaves=6,
)
"""Values of any type, encoded."""


def counted(items: list[bytes]) -> bytes:
    content = b"".join(items)
    return struct.pack(">II", len(content) + 4, len(items)) + content


def encode_value(value: Any) -> bytes:
    """A value as this service encodes it, taken out of a message."""
    message = encode(outgoing(blank({"p": value}), b"", None, None, {"p": value}, 1))
    start = message.index(b"\xa1\x01p") + 3
    return message[start : message.rindex(b"\x00\x53\x75")]


def blank(properties: dict[str, Any]) -> InputEvent:
    return InputEvent("0", 1, "1", 1, b"", application_properties=properties)


def annotated(message: bytes) -> bytes:
    return bytes(encode_payload(bytearray(), Message(message_annotations=ANNOTATIONS))) + message


def sent_by_the_sdk(properties: dict[str, Any]) -> bytes:
    """The message as a sender's SDK encodes it."""
    named: dict[Any, Any] = {name: encodable(name, value) for name, value in properties.items()}
    return bytes(encode_payload(bytearray(), Message(message_annotations=ANNOTATIONS, application_properties=named)))


def with_property(encoded: bytes) -> bytes:
    return annotated(b"\x00\x53\x74\xd1" + counted([b"\xa1\x01p", encoded]) + b"\x00\x53\x75\xa0\x00")


def passed_on(event: InputEvent) -> bytes:
    return annotated(encode(outgoing(event, event.body, None, None, kept_properties(event, frozenset()), 1)))


def read(message: bytes) -> InputEvent:
    return decode("0", message, 0, len(message))


def exact(properties: Any) -> dict[str, tuple[type, Any]]:
    return {name: (type(value), value) for name, value in properties.items()}


@given(properties=st.dictionaries(st.text(min_size=1, max_size=20), TYPED, max_size=10))
def test_what_an_sdk_sends_keeps_its_types_from_end_to_end(properties: dict[str, Any]) -> None:
    event = read(sent_by_the_sdk(properties))
    assert exact(event.application_properties) == exact(properties)
    message = encode(outgoing(event, b"", None, None, event.application_properties, 1))
    assert exact(read(annotated(message)).application_properties) == exact(properties)


@given(properties=st.dictionaries(st.text(min_size=1, max_size=20), TYPED, max_size=10))
def test_a_receiving_sdk_finds_in_the_published_event_what_it_finds_in_the_one_that_was_sent(
    properties: dict[str, Any],
) -> None:
    original = sent_by_the_sdk(properties)
    published = encode(outgoing(read(original), b"", None, None, properties, 1))
    theirs, ours = (decode_payload(memoryview(message)).application_properties or {} for message in (original, published))
    assert exact(ours) == exact(theirs)


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_told_by_the_name_that_amqp_gives_it(name: str) -> None:
    @given(TYPES[name])
    def check(value: Any) -> None:
        assert type_name(value) == name

    check()


@given(char=CHARS)
def test_a_char_stays_a_char(char: Char) -> None:
    event = read(with_property(b"\x73" + char.encode("utf-32-be")))
    assert exact(event.application_properties) == {"p": (Char, char)}
    assert passed_on(event) == with_property(b"\x73" + char.encode("utf-32-be"))


@given(encoded=DECIMALS | COMPOUND)
def test_every_value_is_passed_on_with_its_type_and_unchanged(encoded: bytes) -> None:
    message = with_property(encoded)
    event = read(message)
    value = event.application_properties["p"]
    assert isinstance(value, Encoded) == (encoded[0] in (0x00, 0x45, 0x74, 0x84, 0x94, 0xD0, 0xD1, 0xE0))
    assert read(passed_on(event)).application_properties == event.application_properties
    if isinstance(value, Encoded):
        assert passed_on(event) == message


@pytest.mark.parametrize(
    ("encoded", "name"),
    [
        (b"\xa1\x01\xff", "string"),
        (b"\xb1\x00\x00\x00\x01\xff", "string"),
        (b"\xa3\x01\xe4", "symbol"),
        (b"\x73\x00\x00\xd8\x00", "char"),
        (b"\x73\xff\xff\xff\xff", "char"),
    ],
)
def test_malformed_text_is_passed_on_unchanged(encoded: bytes, name: str) -> None:
    event = read(with_property(encoded))
    assert type_name(event.application_properties["p"]) == name
    assert passed_on(event) == with_property(encoded)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"\x41", True),
        (b"\x42", False),
        (b"\x56\x01", True),
        (b"\x56\x00", False),
        (b"\x43", Uint(0)),
        (b"\x52\xff", Uint(255)),
        (b"\x44", Ulong(0)),
        (b"\x53\xff", Ulong(255)),
        (b"\x54\xff", -1),
        (b"\x55\xff", Long(-1)),
    ],
)
def test_the_short_forms_of_a_type_are_that_type(encoded: bytes, value: Any) -> None:
    assert exact(read(with_property(encoded)).application_properties) == {"p": (type(value), value)}


@pytest.mark.parametrize("message_id", ["m", b"\xff", b"text", uuid.UUID(int=1), Ulong(2**64 - 1), None])
def test_a_message_id_keeps_its_type_and_is_never_the_text_of_an_object(message_id: Any) -> None:
    event = InputEvent("0", 1, "1", 1, b"", message_id=message_id, correlation_id=message_id)
    again = read(passed_on(event))
    assert (again.message_id, type(again.message_id)) == (message_id, type(message_id))
    assert again.correlation_id == message_id
