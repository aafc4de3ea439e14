"""Captured messages of OPC Publisher: copies from several gateways are the same readings, and nothing else is one."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.wire.formats.captured import contents, found, keys, messages, parts
from wire.formats.messages import NotReading, Refused
from wire.formats.opc_publisher import OpcPublisher
from wire.times import parse_rfc3339

PLAIN = OpcPublisher(constant="", heartbeats=False)
PLANT = OpcPublisher(constant="urn:plant:press", heartbeats=False)
WITH_HEARTBEATS = OpcPublisher(constant="urn:plant:press")


@pytest.mark.parametrize(
    ("form", "names", "copies", "distinct"),
    [
        (PLAIN, ["opcpub-pubsub-a", "opcpub-pubsub-b", "opcpub-pubsub-c"], [6, 6, 5], 6),
        (PLAIN, ["opcpub-pubsub-array"], [4], 4),
        (PLAIN, ["opcpub-keyframe-a", "opcpub-keyframe-b", "opcpub-keyframe-c"], [5, 4, 3], 5),
        (PLAIN, ["opcpub-not-readings"], [0], 0),
        (PLANT, ["opcpub-headerless"], [6], 6),
        (WITH_HEARTBEATS, ["opcpub-samples-a", "opcpub-samples-b"], [4, 4], 3),
        (PLAIN, ["opcpub-samples-full"], [4], 3),
        (PLAIN, ["opcpub-samples-legacy"], [3], 3),
        (PLAIN, ["opcpub-reversible-gzip"], [2], 2),
    ],
)
def test_copies_of_all_gateways_are_the_same_readings(
    form: OpcPublisher, names: list[str], copies: list[int], distinct: int
) -> None:
    assert [len(found(form, name)) for name in names] == copies
    assert len(keys(found(form, *names))) == distinct


def test_events_are_the_same_by_their_id_and_time() -> None:
    names = ["opcpub-event-a", "opcpub-event-b", "opcpub-event-c"]
    assert [len(found(PLAIN, name)) for name in names] == [3, 3, 2]
    events = found(PLAIN, *names)
    assert len(contents(events)) == 3
    assert len(keys(events)) == 3, "copies agree on what is compared, in all shapes"
    assert {event.source for event in events} == {"#press/press-events"}
    assert events[0].data == {"EventId": "cHJlc3MtMDAwMQ==", "Time": "2026-03-02T08:15:30.700000Z"}


def test_a_heartbeat_whose_time_the_gateway_invents_is_the_only_reading_that_is_not_one() -> None:
    """There is nothing in such a message that tells it apart: the page says how to switch it off."""
    names = ["opcpub-samples-a", "opcpub-samples-b", "opcpub-samples-c"]
    readings = keys(found(WITH_HEARTBEATS, *names))
    invented = parse_rfc3339("2026-03-02T08:15:40.2131Z")
    assert len([key for key in readings if key[1] != invented]) == 3
    assert len(readings) == 4


def test_without_the_option_a_status_of_the_gateway_is_a_status() -> None:
    assert len(keys(found(PLANT, "opcpub-samples-b"))) == 4
    assert [one.is_repetition for one in found(WITH_HEARTBEATS, "opcpub-samples-b")] == [False, False, True, False]


def test_a_heartbeat_that_says_so_is_a_repetition() -> None:
    assert [one.is_repetition for one in found(PLAIN, "opcpub-samples-full")] == [False, True, False, False]


def test_what_is_no_reading_passes_under_its_name() -> None:
    assert parts(PLAIN, "opcpub-not-readings") == [
        NotReading((), "metadata"),
        NotReading(("Messages", 0), "keep-alive"),
        NotReading((), "runtime-state"),
    ]


def test_a_field_without_value_and_time_is_no_reading() -> None:
    not_readings = [part for part in parts(PLAIN, "opcpub-keyframe-a") if isinstance(part, NotReading)]
    assert not_readings == [NotReading(("Messages", 2, "Payload", "Broken"), "no-value")]


def test_values_without_time_are_refused_one_by_one() -> None:
    refused = [part for part in parts(PLANT, "opcpub-headerless") if isinstance(part, Refused)]
    assert Counter(part.reason for part in refused) == {"without-time": 5}


def test_samples_that_name_no_server_are_refused() -> None:
    """A node's name may be the same on all servers of one type."""
    assert {part.reason for part in parts(PLAIN, "opcpub-samples-a") if isinstance(part, Refused)} == {"no-source"}
    assert not found(PLAIN, "opcpub-samples-a")


def test_the_members_that_name_the_server_are_constants_and_give_the_source() -> None:
    values = found(PLAIN, "opcpub-pubsub-array")
    assert [one.source for one in values] == [
        "urn:press-plc:server#press/1000/Temperature",
        "urn:press-plc:server#press/1000/Position",
        "urn:press-plc:server#press/1000/Pressure",
        "urn:press-plc:server#press/1000/urn:example:press%23s=Serial",
    ]
    assert [one.value for one in values] == [
        {"value": 21.5, "status": 0},
        {"value": {"X": 1.5, "Name": "upper"}, "status": 0},
        {"value": None, "status": 0x80310000},
        {"value": "9007199254740993", "status": 0},
    ]
    constants = [part for part in parts(PLAIN, "opcpub-pubsub-array") if isinstance(part, NotReading)]
    assert [part.place[-1] for part in constants if part.what == "constant"] == ["EndpointUrl", "ApplicationUri"] * 2


def test_a_server_named_by_cloud_events_gives_the_source() -> None:
    [reading] = PLAIN.read(messages("wrappers")[0])
    assert reading.place == ("Payload", "Temperature")
    assert getattr(reading, "source", None) == "urn:press-plc:server#/press-1/Temperature"
