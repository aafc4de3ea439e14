"""Batches of the edge: limits by count, size and age, and encodings."""

from __future__ import annotations

import json

import pytest

from edge_sender.buffering.batcher import Batcher, BatchLimits
from edge_sender.buffering.spool_values import Place, Rows
from edge_sender.identity.readings import Reading, make_reading, single
from edge_sender.identity.rules import parse_rules
from wire.ids import Sample
from wire.times import rfc3339


def reading(number: int, size: int = 10) -> Reading:
    sample = Sample("urn:a", 1_700_000_000_000_000_000 + number, {"sequence": number, "epoch": "e", "x": "x" * size})
    return make_reading(sample, parse_rules("sequence"), "t")


def ids(body: bytes) -> list[str]:
    return [item["id"] for item in json.loads(body)]


def test_a_batch_is_complete_by_count() -> None:
    batcher = Batcher(BatchLimits(3, 100_000, 1.0))
    assert batcher.add(reading(0), Place(5, 1, 7.0), 0) == []
    assert batcher.add(reading(1), Place(6, 1, 7.0), 0) == []
    (parcel,) = batcher.add(reading(2), Place(7, 1, 7.0), 0)
    assert ids(parcel.message.body) == [reading(n).attributes["id"] for n in range(3)]
    assert parcel.message.content_type == "application/cloudevents-batch+json"
    assert (parcel.rows, parcel.oldest) == (Rows(5, 7), Place(5, 1, 7.0))


def test_readings_without_rows_make_parcels_without_rows() -> None:
    assert Batcher(BatchLimits(1, 4096, 1.0)).add(reading(0), None, 0)[0].rows is None
    batcher = Batcher(BatchLimits(2, 4096, 1.0))
    batcher.add(reading(0), None, 0)
    assert batcher.add(reading(1), None, 0)[0].rows is None


def test_a_batch_never_exceeds_its_size_unless_one_reading_does() -> None:
    batcher = Batcher(BatchLimits(100, 2000, 1.0))
    parcels = [
        p for n in range(50) for p in batcher.add(reading(n, 300 if n != 20 else 5000), Place(n, 1, 7.0), 0)
    ] + batcher.flush()
    messages = [parcel.message for parcel in parcels]
    assert sum(m.readings for m in messages) == 50
    assert all(len(m.body) <= 2000 or m.readings == 1 for m in messages)


def test_a_batch_waits_no_longer_than_its_age() -> None:
    batcher = Batcher(BatchLimits(100, 100_000, 1.0))
    batcher.add(reading(0), Place(0, 1, 7.0), 10.0)
    batcher.add(reading(1), Place(1, 1, 7.0), 10.9)
    assert batcher.deadline == 11.0
    assert batcher.due(10.99) == []
    assert batcher.due(11.0)[0].message.readings == 2
    assert batcher.deadline is None


def test_single_readings_go_out_in_binary_mode() -> None:
    (parcel,) = Batcher(BatchLimits(1, 4096, 1.0)).add(reading(7), Place(1, 1, 7.0), 0)
    message = parcel.message
    assert message == single(reading(7))
    assert message.message_id == message.properties["cloudEvents_id"] == reading(7).attributes["id"]
    assert message.properties["cloudEvents_sequence"] == "00000000000000000007"
    assert message.properties["cloudEvents_sequenceepoch"] == "e"
    assert json.loads(message.body)["sequence"] == 7


def test_a_reading_has_the_same_payload_in_a_batch_and_singly() -> None:
    assert json.loads(reading(7).encoded)["data"] == json.loads(single(reading(7)).body)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_700_000_000_123_456_000, "2023-11-14T22:13:20.123456Z"),
        (1_700_000_000_123_456_700, "2023-11-14T22:13:20.123456700Z"),
    ],
)
def test_times_keep_every_digit(time_ns: int, text: str) -> None:
    assert rfc3339(time_ns) == text
