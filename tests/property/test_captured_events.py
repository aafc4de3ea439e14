"""What `capture` writes of an event, `try` reads as the event that the service would have received: with the same keys."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dedup_service.commands.captured_events import LEFT_OUT, captured_event, input_events
from dedup_service.core.events import Extraction, InputEvent
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.other_formats import FormatExtractor
from dedup_service.core.property_types import Encoded, Float, Timestamp, Ulong
from dedup_service.errors import UndeliverableError
from tests.property.test_property_types import CHARS, COMPOUND, DECIMALS, TYPED, read, with_property
from tests.unit.service.core.test_other_formats import captured_events as events_of_the_files
from wire.formats.capture import written
from wire.formats.minting import chosen_strategy

FILES = [param.values[2] for param in events_of_the_files()]
NOT_NUMBERS = st.sampled_from([float("nan"), float("inf"), -float("inf"), Float("nan"), Float("-inf")])
ENCODED = (COMPOUND | DECIMALS | st.binary(min_size=1)).map(Encoded)
VALUES = st.one_of(TYPED, CHARS, NOT_NUMBERS, ENCODED, st.binary(), st.text(), st.just("2026-01-01T00:00:00Z"))
NAMES = st.sampled_from(
    ["topic", "source", "type", "ce_type", "ts", "cloudEvents_id", "cloudEvents_source", "cloudEvents_time"]
)
PROPERTIES = st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=5)
ANNOTATIONS = st.dictionaries(
    st.sampled_from(["iothub-connection-device-id", "iothub-message-source", "dt-subject"]) | st.text(max_size=8),
    st.text() | st.integers(-(2**63), 2**63 - 1) | st.binary() | st.uuids(),
    max_size=4,
)
TEXTS = st.none() | st.sampled_from(["application/json", "gzip", "utf-8", "application/cloudevents-batch+json"]) | st.text()
IDS = st.none() | st.text() | st.binary() | st.uuids() | st.integers(0, 2**64 - 1).map(Ulong)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.just("2026-01-01T00:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abts"), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.one_of(
    st.binary(),
    JSON.map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: gzip.compress(json.dumps(value, indent=1).encode() + b"\n")),
    st.sampled_from(FILES).map(lambda event: event.body),
    st.sampled_from(FILES).map(lambda event: event.body + b"\n"),
)
EVENTS = st.builds(
    InputEvent,
    st.just("0"),
    st.just(1),
    st.just("1"),
    st.just(0),
    BODIES,
    st.sampled_from([True, True, True, False]),
    TEXTS,
    TEXTS,
    IDS,
    IDS,
    PROPERTIES,
    ANNOTATIONS,
    st.none() | st.text(),
    st.none() | st.integers(-(2**63), 2**63 - 1).map(Timestamp),
)
REAL = st.tuples(st.sampled_from(FILES), PROPERTIES).map(
    lambda both: InputEvent(
        "0",
        1,
        "1",
        0,
        both[0].body,
        content_type=both[0].content_type,
        content_encoding=both[0].content_encoding,
        application_properties={**both[1], **both[0].application_properties},
        annotations=both[0].annotations,
    )
)
EXTRACTORS: list[Callable[[InputEvent], Extraction]] = [
    CloudEventsExtractor(1_000_000).extract,
    *(
        FormatExtractor(name, json.dumps(options).encode(), chosen_strategy(identity), 1_000_000).extract
        for name, options, identity in [
            ("azure-iot-operations", {}, "source-time+value"),
            ("ignition", {}, "source-time"),
            ("kepware", {}, "time-bucket:1"),
            ("opc-publisher", {}, "source-time+value"),
            ("siemens", {"bare_ids": True}, "source-time"),
            ("sparkplug", {}, "source-time+value"),
            ("telegraf", {}, "source-time+value"),
            ("json", {"source": ["property:source"], "whole_body": True}, "content"),
            ("json", {"source": ["property:topic", "annotation:dt-subject"], "value": ["system:user-id"]}, "content"),
            ("json", {"source": ["text:x"], "time": "system:creation-time", "time_format": "ms"}, "source-time"),
            ("json", {"source": ["system:message-id"], "value": ["system:correlation-id"]}, "content"),
            ("json", {"source": ["text:x"], "time": "property:ts", "value": ["property:type", "/a"]}, "source-time+value"),
        ]
    ),
]


def through_a_file(event: InputEvent) -> InputEvent:
    (again,) = input_events(written([captured_event(event)]))
    return again


def exact(values: dict[str, Any]) -> dict[str, tuple[type, str]]:
    """With types; as text, since a number that is none does not equal itself."""
    return {name: (type(value), repr(value)) for name, value in values.items()}


def seen(event: InputEvent) -> dict[str, Any]:
    plain = ("body", "body_is_binary", "content_type", "content_encoding", "user_id", "creation_time")
    return {
        **{name: getattr(event, name) for name in plain},
        "ids": [(type(value), value) for value in (event.message_id, event.correlation_id)],
        "properties": exact(dict(event.application_properties)),
        "annotations": exact({name: value for name, value in event.annotations.items() if name not in LEFT_OUT}),
    }


def keys(extract: Callable[[InputEvent], Extraction], event: InputEvent) -> Any:
    try:
        found = extract(event)
    except UndeliverableError as error:
        return error.reason, error.detail
    readings = [(r.index, r.source, r.id, r.content_hash, r.time, r.sequence, r.epoch) for r in found.readings]
    return readings, found.bad, found.not_readings


@given(EVENTS)
def test_an_event_is_what_it_was(event: InputEvent) -> None:
    assert seen(through_a_file(event)) == seen(event)


@given(COMPOUND | DECIMALS)
def test_a_property_of_any_type_is_what_the_hub_delivered(encoded: bytes) -> None:
    event = read(with_property(encoded))
    assert seen(through_a_file(event)) == seen(event)


@given(EVENTS | REAL)
def test_its_readings_have_the_keys_that_the_service_gives_them(event: InputEvent) -> None:
    again = through_a_file(event)
    for extract in EXTRACTORS:
        assert keys(extract, again) == keys(extract, event)


def test_how_a_device_authenticates_is_left_out() -> None:
    annotations = dict.fromkeys(LEFT_OUT, "{secret}") | {"iothub-connection-device-id": "gw"}
    event = InputEvent("0", 1, "1", 0, b"{}", annotations=annotations, message_id=uuid.UUID(int=1))
    text = written([captured_event(event)])
    assert b"secret" not in text
    assert through_a_file(event).annotations == {"iothub-connection-device-id": "gw"}
