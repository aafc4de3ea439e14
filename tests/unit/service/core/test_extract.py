"""How events become readings, and how hostile ones are refused."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from dedup_service.core.events import Extraction, InputEvent, Reading
from dedup_service.core.extract import MAX_READINGS, CloudEventsExtractor
from dedup_service.errors import UndeliverableError
from tests.support.readings import batch_of, element, event, single, structured
from wire.cloudevents import BATCH_CONTENT_TYPE

extract = CloudEventsExtractor(max_decompressed_bytes=100_000).extract


def reason_of(bad: InputEvent) -> str:
    with pytest.raises(UndeliverableError) as caught:
        extract(bad)
    return caught.value.reason


def part(extraction: Extraction, index: int) -> bytes:
    assert extraction.container is not None
    return extraction.container.holding([index])[1:-1]


def test_a_single_event_is_one_reading_with_an_opaque_body() -> None:
    extraction = extract(single("7", b"\x00\xff not json"))
    assert [(r.index, r.source, r.id, r.raw) for r in extraction.readings] == [(0, "urn:a", "7", b"\x00\xff not json")]
    assert extraction.container is None


def test_the_prefix_of_the_amqp_binding_is_read_too() -> None:
    properties = {"cloudEvents:id": "7", "cloudEvents:source": "urn:a"}
    assert extract(event(b"x", application_properties=properties)).readings[0].id == "7"


def test_each_element_of_a_batch_keeps_its_bytes() -> None:
    odd = b'{ "id":"1",  "source":"urn:a", "data": 1.0e0, "x":"\\u00e4" }'
    extraction = extract(batch_of([odd, element("2")]))
    assert [reading.raw for reading in extraction.readings] == [odd, element("2")]
    assert part(extraction, 0) == odd


def test_a_bad_reading_removes_only_itself_from_its_batch() -> None:
    bad = [b"7", b'{"id":5,"source":"a"}', b'{"source":"a"}', b'{"id":"x"}', b'{"id":"\xff","source":"a"}']
    extraction = extract(batch_of([element("1"), *bad, element("2")]))
    assert [(reading.index, reading.id) for reading in extraction.readings] == [(0, "1"), (6, "2")]
    reasons = [(item.index, item.reason, part(extraction, item.index)) for item in extraction.bad]
    assert [reason for _, reason, _ in reasons] == [
        "unreadable-reading",
        "invalid-id",
        "missing-id",
        "missing-source",
        "unreadable-reading",
    ]
    assert [raw for _, _, raw in reasons] == bad


@pytest.mark.parametrize(
    "broken",
    [b'{"id":', b'{"id":"x" "source":1}', b"{nonsense}", b'{"a":"\\\\",}', b"NaN"],
    ids=lambda b: b[:20].decode(),
)
def test_broken_json_removes_only_its_own_element(broken: bytes) -> None:
    extraction = extract(batch_of([element("1"), broken, element("2")]))
    if broken == b'{"id":':  # an unclosed bracket swallows what follows it
        assert [reading.id for reading in extraction.readings] == ["1"]
    else:
        assert [reading.id for reading in extraction.readings] == ["1", "2"]
        assert [part(extraction, item.index) for item in extraction.bad] == [broken]


def test_a_deep_element_does_not_spoil_its_neighbours() -> None:
    """Whether it is read depends on Python: 3.11 reads 1,000 levels, 3.13 reads 10,000."""
    deep = b'{"id":"d","source":"urn:plant:a","data":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    extraction = extract(batch_of([element("1"), deep, element("2")]))
    read = [reading.id for reading in extraction.readings]
    assert [one for one in read if one != "d"] == ["1", "2"]
    assert len(read) + len(extraction.bad) == 3


def test_a_batch_that_was_cut_off_keeps_its_whole_readings() -> None:
    whole = batch_of([element("1"), element("2"), element("3", data="x" * 50)])
    extraction = extract(event(whole.body[:-30], content_type=BATCH_CONTENT_TYPE))
    assert [reading.id for reading in extraction.readings] == ["1", "2"]
    assert len(extraction.bad) == 1


def test_a_structured_event_is_one_reading() -> None:
    body = element("3", data={"a": 1})
    assert extract(structured(body)).readings[0].raw == body
    assert reason_of(structured(b"{}")) == "missing-id"


def test_content_is_the_data_and_not_the_attributes() -> None:
    one = extract(batch_of([b'{"id":"1","source":"a","time":"x","data":{"v":1}}'])).readings[0]
    other = extract(single("1", b'{"v":1}', source="a")).readings[0]
    assert one.content_hash == other.content_hash


def test_gzip_is_read_up_to_the_cap() -> None:
    body = json.dumps([{"id": "1", "source": "a"}]).encode()
    packed = event(gzip.compress(body), content_type=BATCH_CONTENT_TYPE, content_encoding="gzip")
    assert extract(packed).readings[0].raw == body[1:-1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(b"0" * 200_000), "decompressed-too-large"),
        (gzip.compress(b"[]")[:-4], "unreadable-body"),
        (b"no gzip", "unreadable-body"),
    ],
    ids=["bomb", "cut off", "not gzip"],
)
def test_a_hostile_gzip_body_is_refused(body: bytes, reason: str) -> None:
    assert reason_of(event(body, content_type=BATCH_CONTENT_TYPE, content_encoding="gzip")) == reason


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (event(b"x"), "no-key"),
        (event(b"x", body_is_binary=False), "body-not-binary"),
        (event(b"[{", content_type=BATCH_CONTENT_TYPE), "unreadable-body"),
        (event(b'{"id":"1"}', content_type=BATCH_CONTENT_TYPE), "unreadable-body"),
        (event(b"[" * 100_000, content_type=BATCH_CONTENT_TYPE), "unreadable-body"),
        (event(b"[]", content_type=BATCH_CONTENT_TYPE), "empty-batch"),
        (single(""), "missing-id"),
        (single(5), "invalid-id"),
        (single("x" * 10_000), "invalid-id"),
        (single("1", source=None), "missing-source"),
        (single("1", source=b"\xff"), "invalid-source"),
        (single("1", source="s" * 10_000), "invalid-source"),
    ],
)
def test_an_event_without_a_key_is_refused_with_its_reason(bad: InputEvent, reason: str) -> None:
    assert reason_of(bad) == reason


def test_an_event_of_a_known_format_says_which_setting_is_missing() -> None:
    sample = b'[{"NodeId": "ns=2;s=a", "Value": {"Value": 1}}]'
    for body in (sample, gzip.compress(sample)):
        with pytest.raises(UndeliverableError) as refused:
            extract(event(body, content_type="application/json"))
        assert (refused.value.reason, refused.value.looks_like) == ("no-key", "opc-publisher-samples")
        assert refused.value.detail == (
            "looks like OPC Publisher's Samples: set `format: opc-publisher` for this group in DEDUP_CONFIG_FILE"
        )
    with pytest.raises(UndeliverableError) as refused:
        extract(event(b"just text"))
    assert refused.value.looks_like is None


def test_more_readings_than_an_index_can_number_are_refused() -> None:
    body = b"[" + b",".join([b"0"] * (MAX_READINGS + 1)) + b"]"
    assert reason_of(event(body, content_type=BATCH_CONTENT_TYPE)) == "too-many-readings"


@pytest.mark.parametrize("value", [b"\x00", 2**70, 1.5, None, [1], {"a": 1}, True])
def test_properties_of_any_type_never_break_extraction(value: Any) -> None:
    properties = {"cloudEvents_id": "1", "cloudEvents_source": "a", "other": value}
    assert extract(event(b"x", application_properties=properties)).readings[0].id == "1"


def test_a_reading_can_be_cut_out_later_however_deep_it_is_nested_and_however_little_stack_is_left() -> None:
    def at_depth(frames: int, reading: Reading) -> bytes:
        return at_depth(frames - 1, reading) if frames else reading.raw

    for depth in range(1200, 0, -1):
        deep = b'{"id":"1","source":"s","data":' + b"[" * depth + b"]" * depth + b"}"
        extraction = extract(batch_of([deep, element("2")]))
        if len(extraction.readings) == 2:
            break
    assert [at_depth(50, reading) for reading in extraction.readings] == [deep, element("2")]


def test_the_decompressed_text_of_a_structured_event_is_counted() -> None:
    text = b'{"id":"1","source":"s","data":"' + b"x" * 90_000 + b'"}'
    extraction = extract(structured(gzip.compress(text), content_encoding="gzip"))
    assert extraction.text_bytes == len(text)
