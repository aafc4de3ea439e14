"""What other senders send becomes readings with the edge's ids, and what is left of a body still reads in its own format."""

from __future__ import annotations

import gc
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.commands.captured_events import input_events
from dedup_service.core.events import InputEvent, Reading
from dedup_service.core.other_formats import FormatExtractor
from dedup_service.errors import UndeliverableError
from wire.formats.minting import chosen_strategy
from wire.formats.registry import DEFAULT_STRATEGIES

FILES = Path(__file__).parents[3] / "vectors" / "formats"
SHAPE = {"readings": "/*", "source": ["/tag"], "time": "/ts", "value": ["/value"]}
FORMATS: dict[str, tuple[str, Any]] = {
    "aio": ("azure-iot-operations", {}),
    "ignition": ("ignition", {}),
    "json": ("json", {"readings": "/channels/*", "source": ["body:/recorder", "@key"], "time": "body:/scanned"}),
    "kepware": ("kepware", {}),
    "opcpub": ("opc-publisher", {}),
    "siemens": ("siemens", {"bare_ids": True}),
    "sparkplug": ("sparkplug", {}),
    "telegraf": ("telegraf", {}),
    "wrappers": ("json", {"inside": "", **SHAPE, "readings": "", "time_format": "ms"}),
}


def extractor(name: str, options: Any = None, identity: str | None = None) -> FormatExtractor:
    strategy = chosen_strategy(identity or DEFAULT_STRATEGIES.get(name, "source-time+value"))
    return FormatExtractor(name, json.dumps(options or {}).encode(), strategy, 1_000_000)


def event(body: bytes, **fields: Any) -> InputEvent:
    return InputEvent("0", 7, "0", 1_700_000_000_000, body, **fields)


def captured_events() -> list[Any]:
    params = []
    for file in sorted(FILES.glob("*.json")):
        given = next(settings for name, settings in FORMATS.items() if file.stem.startswith(name))
        events = enumerate(input_events(file.read_bytes()))
        params += [pytest.param(*given, item, id=f"{file.stem}-{number}") for number, item in events]
    return params


def keys(readings: list[Reading]) -> list[tuple[str, str, bytes]]:
    return [(reading.source, reading.id, reading.content_hash) for reading in readings]


@pytest.mark.parametrize(("name", "options", "item"), captured_events())
def test_what_is_left_of_a_body_holds_just_the_readings_that_were_kept(name: str, options: Any, item: InputEvent) -> None:
    extract = extractor(name, options).extract
    try:
        extraction = extract(item)
    except UndeliverableError:  # there is nothing to be cut
        return
    container = extraction.container
    assert container is not None
    for gone in extraction.readings if len(extraction.readings) > 1 else []:
        kept = [reading for reading in extraction.readings if reading is not gone]
        body = container.holding([reading.index for reading in kept])
        again = extract(
            msgspec.structs.replace(
                item, body=body, content_type=container.content_type, content_encoding=container.content_encoding
            )
        )
        assert keys(again.readings) == keys(kept)
        assert again.bad == []


def test_the_ids_are_those_of_the_edge() -> None:
    """The key that docs/formats/telegraf.md shows for this reading, made by the algorithm of docs/identity.md."""
    (item,) = [param.values[2] for param in captured_events() if param.id == "telegraf-a-0"]
    readings = extractor("telegraf", {"timestamp_units": "ns"}).extract(item).readings
    assert keys(readings)[0][:2] == (r"opcua,id=ns\=2;s\=Temperature", "bdbd7e9938f1e613e3597e44758a5e53")


def values(*items: dict[str, Any]) -> InputEvent:
    return event(json.dumps(list(items)).encode())


def test_a_reading_that_can_not_have_a_key_does_not_spoil_its_neighbours() -> None:
    good = {"tag": "a", "ts": "2026-01-01T00:00:00Z", "value": 1}
    extraction = extractor("json", SHAPE).extract(values(good, {"tag": "b", "value": 2}, {"ts": "x"}, {**good, "ts": "x"}))
    assert [reading.index for reading in extraction.readings] == [0]
    reasons = [(bad.index, bad.reason) for bad in extraction.bad]
    assert reasons == [(1, "without-time"), (2, "no-source"), (3, "unreadable-time")]
    assert all(bad.detail for bad in extraction.bad)
    container = extraction.container
    assert container is not None
    assert json.loads(container.holding([1, 3])) == [{"tag": "b", "value": 2}, {**good, "ts": "x"}]


def test_copies_with_one_time_and_two_values_are_conflicts_only_if_the_value_is_not_in_the_id() -> None:
    one, other = ({"tag": "a", "ts": "2026-01-01T00:00:00Z", "value": value} for value in (1, 2))
    for identity, is_conflict in (("source-time", True), ("source-time+value", False)):
        extract = extractor("json", SHAPE, identity).extract
        first, second = (extract(values(item)).readings[0] for item in (one, other))
        assert (first.id == second.id) is is_conflict
        assert first.content_hash != second.content_hash
        assert extract(values({**one, "value": 1.0, "extra": 3})).readings[0].content_hash == first.content_hash


def test_what_was_compressed_stays_compressed() -> None:
    readings = [{"tag": str(n), "ts": "2026-01-01T00:00:00Z", "value": 1} for n in range(3)]
    body = gzip.compress(json.dumps(readings).encode())
    extraction = extractor("json", SHAPE).extract(event(body, content_type="application/json+gzip"))
    container = extraction.container
    assert container is not None
    assert container.content_type == "application/json+gzip"
    assert json.loads(gzip.decompress(container.holding([1]))) == [readings[1]]


def test_a_body_of_another_shape_is_refused_and_one_that_says_it_is_no_reading_is_not() -> None:
    with pytest.raises(UndeliverableError, match="shape") as caught:
        extractor("telegraf").extract(event(b'{"hello":"world"}'))
    assert caught.value.reason == "other-shape"
    extraction = extractor("opc-publisher").extract(event(b'{"MessageType":"ua-metadata","MetaData":{}}'))
    assert (extraction.readings, extraction.bad, extraction.not_readings) == ([], [], ["metadata"])


def test_sequences_of_the_source_are_counted() -> None:
    shape = {"readings": "/*", "source": ["/tag"], "sequence": "/n", "epoch": "/start"}
    extraction = extractor("json", shape, "sequence").extract(values({"tag": "a", "n": 7, "start": "x"}))
    assert [(reading.epoch, reading.sequence) for reading in extraction.readings] == [("x", "7")]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.data())
def test_positions_that_name_channels_do_not_move(channels: list[int], data: st.DataObject) -> None:
    shape = {"readings": "/rows/*/*", "source": ["1#", "@key"], "time": "body:/ts", "value": []}
    rows = [[10 * row + channel for channel in range(count)] for row, count in enumerate(channels)]
    extract = extractor("json", shape).extract
    body = json.dumps({"ts": "2026-01-01T00:00:00Z", "rows": rows}).encode()
    if not any(channels):
        return
    extraction = extract(event(body))
    kept = data.draw(st.sets(st.sampled_from([reading.index for reading in extraction.readings]), min_size=1))
    container = extraction.container
    assert container is not None
    again = extract(event(container.holding(sorted(kept)))).readings
    assert keys(again) == [
        key for reading, key in zip(extraction.readings, keys(extraction.readings), strict=True) if reading.index in kept
    ]


@pytest.mark.parametrize(("length", "tag"), [(1, "t"), (300, "t"), (1, "t" * 1500)])
def test_an_extraction_keeps_no_more_than_it_says(length: int, tag: str) -> None:
    """Pipelines bound their memory by it, and the values of a body take many times as much as its text."""
    shape = {**SHAPE, "readings": "/rows/*"}
    rows = [{"tag": f"{tag}{n}", "ts": "2026-01-01T00:00:00Z", "value": [float(n)] * length} for n in range(500)]
    extract = extractor("json", shape).extract
    given_event = event(json.dumps({"rows": rows}).encode())
    extract(given_event)  # fills what is kept once
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        extraction = extract(given_event)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(extraction.readings) == 500
    assert kept <= extraction.text_bytes
