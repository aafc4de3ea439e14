"""What leaves the service: bytes unchanged, nothing forged, sources on their partitions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dedup_service.core.clean_events import PLAIN, CleanEvent, PublishFlags, clean_events
from dedup_service.core.containers import Batch
from dedup_service.core.dead_letters import dead_letter, dead_readings, truncated, undeliverable
from dedup_service.core.events import DEVICE_ID, IOTHUB_ENQUEUED_TIME, MODULE_ID, BadReading, Extraction
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.outgoing import OutputPolicy, halves, output_partition, ranges
from dedup_service.core.property_types import Timestamp
from dedup_service.core.structured import rendered
from tests.support.readings import batch_of, element, event, single
from wire.cloudevents import BATCH_CONTENT_TYPE

POLICY = OutputPolicy(["0", "1", "2", "3"], "source", "default")
ONE = OutputPolicy(["0"], "source", "default")
ORIGIN = "000000ab/0/0"
extract = CloudEventsExtractor(1000).extract


def cleaned(
    source_event: Any, winners: set[int], policy: OutputPolicy = ONE, flags: PublishFlags = PLAIN
) -> list[CleanEvent]:
    extraction = extract(source_event)
    if policy.content_mode == "structured":
        extraction, refused = rendered(source_event, extraction)
        assert not refused
    chosen = [reading for reading in extraction.readings if reading.index in winners]
    return clean_events(source_event, extraction, chosen, policy, ORIGIN, flags)


def test_an_event_whose_readings_all_win_is_byte_identical() -> None:
    whole = batch_of([element("1"), b'{"id" :"2","source":"urn:a"}'], content_encoding="utf-8", message_id="m")
    (clean,) = cleaned(whole, {0, 1})
    assert (clean.event.body, clean.event.content_type) == (whole.body, BATCH_CONTENT_TYPE)
    assert (clean.event.content_encoding, clean.event.message_id) == ("utf-8", "m")


def test_a_batch_with_duplicates_becomes_a_batch_of_its_winners_with_their_bytes() -> None:
    odd = b'{"id":"2" , "source":"urn:a","data":1.0}'
    (clean,) = cleaned(batch_of([element("1"), odd, element("3")]), {1, 2})
    assert clean.event.body == b"[" + odd + b"," + element("3") + b"]"
    assert clean.event.properties["dedup_indexes"] == "1-2"


def test_an_event_without_winners_is_not_published() -> None:
    assert cleaned(batch_of([element("1")]), set()) == []


def test_sources_keep_their_partition_and_a_batch_is_split_where_it_must_be() -> None:
    sources = [f"urn:{n}" for n in range(20)]
    cleans = cleaned(batch_of([element(str(n), source) for n, source in enumerate(sources)]), set(range(20)), POLICY)
    assert len({clean.output_partition for clean in cleans}) == len(cleans) > 1
    for clean in cleans:
        assert {output_partition(r.source, POLICY.partition_ids) for r in clean.readings} == {clean.output_partition}
        assert [item["source"] for item in json.loads(clean.event.body)] == [r.source for r in clean.readings]
    assert sorted(r.index for clean in cleans for r in clean.readings) == list(range(20))


def test_partitioning_by_group_splits_nothing() -> None:
    by_group = OutputPolicy(["0", "1", "2", "3"], "group", "default")
    assert len(cleaned(batch_of([element(str(n), f"urn:{n}") for n in range(20)]), set(range(20)), by_group)) == 1


def test_iot_hubs_annotations_survive_as_properties_and_the_origin_is_added() -> None:
    annotations = {DEVICE_ID: "edge-1", MODULE_ID: "m", IOTHUB_ENQUEUED_TIME: 5, "x-opt-offset": "9"}
    (clean,) = cleaned(event(b"[" + element("1") + b"]", content_type=BATCH_CONTENT_TYPE, annotations=annotations), {0})
    expected = {DEVICE_ID: "edge-1", MODULE_ID: "m", IOTHUB_ENQUEUED_TIME: 5, "dedup_origin": "000000ab/0/0"}
    assert dict(clean.event.properties) == {**expected, "dedup_indexes": "0"}
    assert type(clean.event.properties[IOTHUB_ENQUEUED_TIME]) is Timestamp


@pytest.mark.parametrize("name", ["dedup_origin", "DEDUP_late", "iothub-connection-device-id", "Table", "database", "Tags"])
def test_a_device_cannot_forge_the_properties_of_the_service_or_iot_hub_or_steer_ingestion(name: str) -> None:
    forged = event(
        b"x",
        application_properties={"cloudEvents_id": "1", "cloudEvents_source": "a", name: "forged", "own": 1},
        annotations={DEVICE_ID: "edge-1"},
    )
    (clean,) = cleaned(forged, {0})
    assert "forged" not in clean.event.properties.values()
    assert clean.event.properties["own"] == 1
    assert clean.event.properties[DEVICE_ID] == "edge-1"


def test_the_operator_can_allow_a_name_that_steers_ingestion() -> None:
    allowing = OutputPolicy(["0"], "source", "default", frozenset({"table"}))
    tabled = event(b"x", application_properties={"cloudEvents_id": "1", "cloudEvents_source": "a", "Table": "T"})
    assert cleaned(tabled, {0}, allowing)[0].event.properties["Table"] == "T"


def test_a_published_duplicate_carries_its_mark() -> None:
    (clean,) = cleaned(single(), {0}, flags=PublishFlags(duplicate=True))
    assert clean.event.properties["dedup_duplicate"] is True


def test_dead_letters_carry_reason_origin_and_body() -> None:
    letter = dead_letter(single("1", b"body"), "some-reason", "x" * 1000, frozenset(), ORIGIN)
    assert letter.body == b"body"
    assert letter.properties["dedup_reason"] == "some-reason"
    assert letter.properties["dedup_origin"] == "000000ab/0/0"
    assert len(letter.properties["dedup_detail"]) == 256


def test_bad_readings_of_a_batch_keep_their_bytes_in_the_dead_letter() -> None:
    container = Batch([b"6", b"7", b"8", b'{ "a":1}'])
    bad = [BadReading(1, "r"), BadReading(3, "r", "why")]
    letter = dead_readings(batch_of([]), container, "r", bad, frozenset(), ORIGIN)
    assert letter.properties["dedup_detail"] == "why"
    assert (letter.body, letter.properties["dedup_indexes"], letter.readings) == (b'[7,{ "a":1}]', "1,3", 2)


def test_a_dead_letter_shrinks_until_any_hub_accepts_it() -> None:
    (clean,) = cleaned(single("1", b"x" * 1000), {0})
    letter = undeliverable(clean, "too-large", "")
    sizes = []
    while letter.body:
        letter = truncated(letter)
        sizes.append(len(letter.body))
    assert sizes[0] == 500
    assert sizes[-1] == 0
    assert letter.properties["dedup_original_size"] == 1000
    assert set(truncated(letter).properties) <= {n for n in letter.properties if n.startswith("dedup_")}


@pytest.mark.parametrize(("indexes", "text"), [([], ""), ([3], "3"), ([0, 1, 2], "0-2"), ([0, 2, 3, 9], "0,2-3,9")])
def test_ranges(indexes: list[int], text: str) -> None:
    assert ranges(indexes) == text


def test_an_empty_extraction_gives_nothing() -> None:
    assert clean_events(single(), Extraction([]), [], ONE, ORIGIN) == []


def test_late_readings_are_marked_by_index_and_keep_their_mark_when_a_batch_is_split() -> None:
    (clean,) = cleaned(
        batch_of([element(str(n)) for n in range(4)]), {0, 1, 3}, flags=PublishFlags(late=frozenset({1, 2, 3}))
    )
    assert clean.event.properties["dedup_late"] == "1,3"
    first, second = halves(clean.event)
    assert (first.properties["dedup_indexes"], "dedup_late" in first.properties) == ("0", False)
    assert (second.properties["dedup_indexes"], second.properties["dedup_late"]) == ("1,3", "1,3")


STRUCTURED = OutputPolicy(["0"], "source", "default", content_mode="structured")


def structured(given: Any, flags: PublishFlags = PLAIN) -> list[dict[str, Any]]:
    (clean,) = cleaned(given, {0, 1, 2}, STRUCTURED, flags)
    assert (clean.event.content_type, clean.event.content_encoding) == (BATCH_CONTENT_TYPE, None)
    assert not [name for name in clean.event.properties if name.lower().startswith("cloudevents")]
    items: list[dict[str, Any]] = json.loads(clean.event.body)
    return items


def test_in_structured_mode_the_body_contains_everything() -> None:
    properties = {"cloudEvents_id": "1", "cloudEvents_source": "urn:a", "cloudEvents_time": "2026-01-01T00:00:00Z", "own": 1}
    given = event(b'{"v":1.0}', application_properties=properties, annotations={DEVICE_ID: "edge-1", MODULE_ID: "m"})
    assert structured(given, PublishFlags(late=frozenset({0}))) == [
        {
            "specversion": "1.0",
            "id": "1",
            "source": "urn:a",
            "time": "2026-01-01T00:00:00Z",
            "data": {"v": 1.0},
            "dedupdevice": "edge-1",
            "dedupmodule": "m",
            "dedupenqueuedtime": "2023-11-14T22:13:20.000Z",
            "deduplate": True,
            "dedupduplicate": False,
        }
    ]


def test_in_structured_mode_a_batch_keeps_the_attributes_of_its_events_except_forged_ones() -> None:
    elements = [b'{"id":"1","source":"urn:a","data":1e400,"x":"y","deduplate":true,"DedupDevice":"forged"}', element("2")]
    first, second = structured(batch_of(elements), PublishFlags(duplicate=True))
    assert (first["x"], first["dedupdevice"], first["deduplate"], first["dedupduplicate"]) == ("y", "edge-1", False, True)
    assert "DedupDevice" not in first
    assert second["id"] == "2"
