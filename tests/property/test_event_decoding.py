"""Events decoded here equal those that the SDK would have delivered, but for the types of their application properties
(test_property_types.py)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from azure.eventhub import EventData
from azure.eventhub._pyamqp._decode import decode_payload
from azure.eventhub._pyamqp.aio import _receiver_async
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.adapters.eventhubs.below_sdk import decoding
from dedup_service.adapters.eventhubs.below_sdk.amqp_types import make_decoding_total
from dedup_service.adapters.eventhubs.below_sdk.decoding import agrees_with_the_sdk
from dedup_service.adapters.eventhubs.below_sdk.native import PYTHON
from dedup_service.adapters.eventhubs.below_sdk.values import NotDecodableError
from dedup_service.adapters.eventhubs.input import to_input_event
from dedup_service.core.events import InputEvent
from dedup_service.core.property_types import Timestamp as OwnTimestamp
from sandbox.amqp.codec import Symbol, Timestamp, Ulong, described, encode
from sandbox.amqp.messages import (
    APPLICATION_PROPERTIES,
    DELIVERY_ANNOTATIONS,
    FOOTER,
    HEADER,
    annotated,
    data_section,
    properties_section,
    section,
)
from tests.support.native import native_codec

Decode = Callable[[str, bytes, int, int], InputEvent]
in_both_ways = pytest.mark.parametrize("decode", [PYTHON.decode, native_codec().decode], ids=["python", "native"])

TEXTS = st.text(max_size=300)
NAMES = st.text(min_size=1, max_size=300)
ASCII = st.text(st.characters(codec="ascii"), min_size=1, max_size=300)
SYMBOLS = ASCII.map(Symbol)
NOT_TEXT = st.binary(max_size=20).map(lambda data: b"\xff" + data)
"""Of other bytes, the SDK does not say whether they are text."""
SIMPLE = st.one_of(
    TEXTS,
    SYMBOLS,
    st.binary(max_size=300),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**40).map(Timestamp),
    st.uuids(),
)
TIMESTAMPS = st.integers(-(2**63), 2**63 - 1).map(Timestamp)
VALUES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=5
)
MAPS = st.dictionaries(NAMES, VALUES, max_size=12)
HUB = {"x-opt-sequence-number": 2**33, "x-opt-offset": "77", "x-opt-enqueued-time": Timestamp(1_700_000_000_000)}


def messages() -> st.SearchStrategy[bytes]:
    """Messages as hubs deliver them: annotations first, then what the sender wrote."""
    properties = st.fixed_dictionaries(
        {
            "message_id": st.none() | TEXTS | NOT_TEXT | st.uuids() | st.integers(0, 2**63).map(Ulong),
            "correlation_id": st.none() | TEXTS,
            "content_type": st.none() | SYMBOLS,
            "content_encoding": st.none() | SYMBOLS,
            "creation_time": st.none() | TIMESTAMPS,
        }
    ).map(lambda named: properties_section(**named))
    application = MAPS.map(lambda named: section(APPLICATION_PROPERTIES, named))
    bodies = st.lists(st.binary(max_size=600), min_size=1, max_size=3).map(
        lambda parts: b"".join(data_section(part) for part in parts)
    )
    bare = st.tuples(st.just(b"") | properties, st.just(b"") | application, bodies).map(b"".join)
    return st.tuples(st.dictionaries(ASCII, VALUES, max_size=12), bare).map(
        lambda both: annotated({**both[0], **HUB}, both[1])
    )


def by_the_sdk(payload: bytes) -> InputEvent:
    """As with an SDK whose events do not keep their bytes."""
    make_decoding_total()
    return to_input_event("3", EventData._from_message(decode_payload(memoryview(payload))))


def received(payload: bytes) -> InputEvent:
    """As the SDK delivers an event that it has received itself, over WebSocket for example."""
    make_decoding_total()
    message = _receiver_async.decode_payload(memoryview(payload))  # type: ignore[attr-defined]  # patched by make_decoding_total
    return to_input_event("3", EventData._from_message(message))


def without_properties(event: InputEvent) -> InputEvent:
    return msgspec.structs.replace(event, application_properties=dict.fromkeys(event.application_properties))


@in_both_ways
@given(payload=messages(), before=st.binary(max_size=20), behind=st.binary(max_size=20))
def test_the_delivered_event_is_the_same(decode: Decode, payload: bytes, before: bytes, behind: bytes) -> None:
    data = before + payload + behind
    event = decode("3", data, len(before), len(before) + len(payload))
    assert without_properties(event) == without_properties(by_the_sdk(payload))
    assert event == msgspec.structs.replace(received(payload), annotations=event.annotations)


@in_both_ways
@given(value=TIMESTAMPS | TEXTS | st.integers(0, 2**40) | st.binary())
def test_a_creation_time_is_a_timestamp_or_none(decode: Decode, value: Any) -> None:
    payload = annotated(HUB, properties_section(message_id="m", creation_time=value) + data_section(b"x"))
    expected = OwnTimestamp(value) if type(value) is Timestamp else None
    for event in (decode("3", payload, 0, len(payload)), received(payload)):
        assert (event.message_id, event.creation_time) == ("m", expected)
        assert type(event.creation_time) is type(expected)


@in_both_ways
@given(payload=messages(), cut=st.integers(1, 300))
def test_a_truncated_message_is_left_to_the_sdk_unless_it_is_whole_again(decode: Decode, payload: bytes, cut: int) -> None:
    """It is whole again after a cut between two data sections, for instance."""
    rest = payload[: max(0, len(payload) - cut)]
    try:
        event = decode("3", rest, 0, len(rest))
    except NotDecodableError:
        return
    assert without_properties(event) == without_properties(by_the_sdk(rest))


@in_both_ways
@given(data=st.binary(max_size=200))
def test_nonsense_is_left_to_the_sdk(decode: Decode, data: bytes) -> None:
    with pytest.raises(NotDecodableError):
        decode("3", data, 0, len(data))


@in_both_ways
@pytest.mark.parametrize(
    "odd", [described(HEADER, [encode(True)]), section(DELIVERY_ANNOTATIONS, {Symbol("a"): 1})], ids=["header", "delivery"]
)
def test_sections_that_are_not_in_every_event_are_passed_over(decode: Decode, odd: bytes) -> None:
    properties = section(APPLICATION_PROPERTIES, {"t": Timestamp(5)})
    payload = odd + annotated(HUB, properties + data_section(b"x")) + section(FOOTER, {Symbol("f"): 1})
    event = decode("3", payload, 0, len(payload))
    assert (event.body, event.application_properties) == (b"x", {"t": 5})
    assert type(event.application_properties["t"]) is OwnTimestamp


@in_both_ways
@pytest.mark.parametrize("value", ["text", 5, [1, "a"], {"a": 1}])
def test_a_body_that_is_not_data_is_delivered_as_it_is_encoded(decode: Decode, value: Any) -> None:
    encoded = encode(value)
    payload = annotated(HUB, b"\x00\x53\x77" + encoded)
    for event in (decode("3", payload, 0, len(payload)), received(payload)):
        assert (event.body, event.body_is_binary) == (encoded, False)


@in_both_ways
@pytest.mark.parametrize(
    "malformed",
    [
        b"\x00\x53\x75\x45",
        section(APPLICATION_PROPERTIES, {}) + b"\x00\x53\x75\x40",
        b"\x00\x53\x74\xc1\x05\x02\xa1\x01d\xff" + data_section(b"x"),
        b"\x00\x53\x74\xc1\x06\x02\xa1\x01\xff\x40" + data_section(b"x"),
    ],
    ids=["a list for data", "null for data", "an unknown type", "a name that is not text"],
)
def test_an_event_that_can_not_be_decoded_is_delivered_with_its_bytes(decode: Decode, malformed: bytes) -> None:
    payload = annotated(HUB, malformed)
    with pytest.raises(NotDecodableError):
        decode("3", payload, 0, len(payload))
    event = received(payload)
    assert (event.body, event.body_is_binary, event.sequence_number) == (payload, False, 2**33)
    assert not event.application_properties


@in_both_ways
def test_names_that_a_sender_makes_up_do_not_fill_the_memory(decode: Decode) -> None:
    for number in range(3):
        made_up: dict[Any, Any] = {str(uuid.UUID(int=number * 10_000 + n)): n for n in range(900)}
        payload = annotated(HUB, section(APPLICATION_PROPERTIES, made_up) + data_section(b"x"))
        assert decode("3", payload, 0, len(payload)).application_properties == made_up
    assert len(decoding._names) <= decoding.MAX_NAMES


def test_own_decoding_is_used_with_this_sdk_and_not_with_one_that_is_built_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert agrees_with_the_sdk(to_input_event)
    monkeypatch.setattr(decoding, "CONTENT_TYPE", 7)
    assert not agrees_with_the_sdk(to_input_event)


@in_both_ways
def test_an_event_that_nests_too_deeply_is_left_to_the_sdk_and_gets_through(decode: Decode) -> None:
    nested = b"\x40"
    for _ in range(4000):
        nested = b"\xd0" + (len(nested) + 4).to_bytes(4, "big") + b"\x00\x00\x00\x01" + nested
    name = encode("deep")
    pairs = name + nested
    properties = b"\x00\x53\x74\xd1" + (len(pairs) + 4).to_bytes(4, "big") + b"\x00\x00\x00\x02" + pairs
    payload = annotated(HUB, properties + data_section(b"x"))
    with pytest.raises(NotDecodableError):
        decode("3", payload, 0, len(payload))
    make_decoding_total()
    message = _receiver_async.decode_payload(memoryview(payload))  # type: ignore[attr-defined]  # patched by make_decoding_total
    assert to_input_event("3", EventData._from_message(message)).sequence_number == 2**33
