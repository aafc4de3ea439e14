"""Events encoded here decode to the same as those that the SDK would have sent."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from azure.eventhub import EventDataBatch
from azure.eventhub._pyamqp._decode import decode_payload
from hypothesis import assume, given
from hypothesis import strategies as st

from dedup_service.adapters.eventhubs.below_sdk import encoding
from dedup_service.adapters.eventhubs.below_sdk.encoding import (
    DATA,
    add_encoded,
    agrees_with_the_sdk,
)
from dedup_service.adapters.eventhubs.below_sdk.native import PYTHON
from dedup_service.adapters.eventhubs.publisher import EventHubPublisher, to_event_data
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.errors import UNSUPPORTED_PROPERTY, Dependency, DependencyKind, UndeliverableError
from tests.support.native import native_codec

CLEAN_HUB = Dependency(DependencyKind.CLEAN_HUB)

Encode = Callable[[OutgoingEvent], bytes]
in_both_ways = pytest.mark.parametrize("encode", [PYTHON.encode, native_codec().encode], ids=["python", "native"])

LIMIT = 1024 * 1024
TEXTS = st.text(max_size=300)
NAMES = st.text(min_size=1, max_size=300)
VALUES = st.one_of(
    TEXTS, st.binary(max_size=300), st.booleans(), st.none(), st.floats(allow_nan=False), st.integers(-(2**63), 2**64 - 1)
)
EVENTS = st.builds(
    OutgoingEvent,
    body=st.binary(max_size=600),
    content_type=st.none() | TEXTS,
    content_encoding=st.none() | TEXTS,
    message_id=st.none() | TEXTS,
    correlation_id=st.none() | TEXTS,
    properties=st.dictionaries(NAMES, VALUES, max_size=20),
    readings=st.just(1),
)


def by_the_sdk(event: OutgoingEvent) -> EventDataBatch:
    batch = EventDataBatch(max_size_in_bytes=LIMIT)
    batch.add(to_event_data(event))
    return batch


def decoded(batch: EventDataBatch) -> Any:
    message: Any = batch._message
    return decode_payload(memoryview(bytes(message[DATA][0])))


@in_both_ways
@given(event=EVENTS)
def test_the_event_that_arrives_is_the_same(encode: Encode, event: OutgoingEvent) -> None:
    ours, theirs = EventDataBatch(max_size_in_bytes=LIMIT), by_the_sdk(event)
    assert add_encoded(ours, encode(event))
    mine, its = decoded(ours), decoded(theirs)
    assert mine.properties == its.properties
    assert (mine.application_properties or {}) == (its.application_properties or {})
    assert list(mine.data) == list(its.data)
    assert len(ours) == len(theirs) == 1


@in_both_ways
@given(event=EVENTS, room=st.integers(-20, 20))
def test_a_batch_never_holds_more_than_it_may(encode: Encode, event: OutgoingEvent, room: int) -> None:
    payload = encode(event)
    full = EventDataBatch(max_size_in_bytes=LIMIT)
    assert add_encoded(full, payload)
    assume(full.size_in_bytes + room > 0)  # the SDK replaces a limit of 0 by its own
    batch = EventDataBatch(max_size_in_bytes=full.size_in_bytes + room)
    assert add_encoded(batch, payload) is (room >= 0)
    assert batch.size_in_bytes <= batch.max_size_in_bytes
    assert len(batch) == (room >= 0)


@in_both_ways
@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object(), "\ud800", [1], {"TYPE": "LONG", "VALUE": 1}])
def test_a_value_that_has_no_encoding_is_refused_by_name_and_type(encode: Encode, value: Any) -> None:
    event = OutgoingEvent(b"", None, None, None, None, {"fine": 1, "odd": value}, 1)
    with pytest.raises(UndeliverableError, match="unsupported-property: application property 'odd' has the AMQP type"):
        encode(event)


def publisher() -> EventHubPublisher:
    return EventHubPublisher(lambda: pytest.fail("nothing is sent"), CLEAN_HUB, send_timeout_seconds=1.0)


def test_own_encoding_is_used_with_this_sdk_and_not_with_one_that_is_built_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert agrees_with_the_sdk(to_event_data)
    monkeypatch.setattr(encoding, "DATA", 4)
    assert not agrees_with_the_sdk(to_event_data)


@pytest.mark.parametrize("encodes_itself", [True, False])
def test_a_publisher_fills_a_batch_either_way(encodes_itself: bool) -> None:
    made = publisher()
    made._encodes_itself = encodes_itself
    events = [OutgoingEvent(b"x" * 100, None, None, None, None, {"n": n, "id": uuid.UUID(int=n)}, 1) for n in range(100)]
    batch = EventDataBatch(max_size_in_bytes=3000)
    count = made._fill(batch, events)
    assert 10 < count < 30
    assert len(batch) == count


@pytest.mark.parametrize("encodes_itself", [True, False])
def test_an_event_that_can_not_be_encoded_does_not_hold_up_those_before_it(encodes_itself: bool) -> None:
    made = publisher()
    made._encodes_itself = encodes_itself
    good, bad = (OutgoingEvent(b"x", None, None, None, None, {"n": value}, 1) for value in (1, [1]))
    batch = EventDataBatch(max_size_in_bytes=3000)
    assert made._fill(batch, [good, bad]) == 1
    with pytest.raises(UndeliverableError) as caught:
        made._fill(batch, [bad])
    assert caught.value.reason == UNSUPPORTED_PROPERTY
