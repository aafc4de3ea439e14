"""Every shape of a message of OPC Publisher, one by one, as its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from wire.formats.messages import Found, Message, NotReading, Part, Refused
from wire.formats.opc_publisher import OpcPublisher
from wire.formats.opc_values import MAX_DEPTH, Reason, What, canonical, source_name, source_time, status_code

T1 = "2026-03-02T08:15:30.1234567Z"
T1_NS = 1_772_439_330_123_456_700
PLANT = OpcPublisher(constant="urn:plant")
GROUP = {"MessageType": "ua-data", "DataSetWriterGroup": "g"}
VALUE = {"Value": 21.5, "SourceTimestamp": T1}
EVENT = {"EventId": "AQID", "Time": T1, "Message": "m"}


def read(body: Any, form: OpcPublisher = PLANT, properties: dict[str, Any] | None = None) -> list[Part]:
    return list(form.read(Message(json.dumps(body).encode(), "application/json", properties or {})))


def write(payload: Any, kind: str = "ua-deltaframe", **members: Any) -> dict[str, Any]:
    return {"DataSetWriterName": "w", "MessageType": kind, "Payload": payload} | members


def reading(place: tuple[str | int, ...], source: str, value: Any = 21.5, status: Any = 0) -> Found:
    agreed = {"value": value, "status": status}
    return Found(place, source, agreed, T1_NS, agreed | {"time": T1})


def an_event(place: tuple[str | int, ...], source: str) -> Found:
    identity = {"EventId": "AQID", "Time": "2026-03-02T08:15:30.123456700Z"}
    return Found(place, source, {"EventId": "AQID", "Message": "m"}, T1_NS, identity, is_event=True)


CONTAINERS = {
    "network message": (GROUP | {"Messages": [write({"T": VALUE})]}, ("Messages", 0, "Payload", "T"), "urn:plant#g/w/T"),
    "array of them": ([GROUP | {"Messages": [write({"T": VALUE})]}], (0, "Messages", 0, "Payload", "T"), "urn:plant#g/w/T"),
    "one message": (GROUP | {"Messages": write({"T": VALUE})}, ("Messages", "Payload", "T"), "urn:plant#g/w/T"),
    "no data set header": (GROUP | {"Messages": [{"T": VALUE}]}, ("Messages", 0, "T"), "urn:plant#g//T"),
    "3.0 group": (write({"T": VALUE}, WriterGroupName="g"), ("Payload", "T"), "urn:plant#g/w/T"),
    "no network header": (write({"T": VALUE}), ("Payload", "T"), "urn:plant#/w/T"),
    "array without header": ([write({"T": VALUE})], (0, "Payload", "T"), "urn:plant#/w/T"),
    "no header": ({"T": VALUE}, ("T",), "urn:plant#//T"),
    "array of data sets": ([{"T": VALUE}], (0, "T"), "urn:plant#//T"),
    "key frame": (write({"T": VALUE}, "ua-keyframe"), ("Payload", "T"), "urn:plant#/w/T"),
    "no kind": ({"Payload": {"T": VALUE}, "MetaDataVersion": {}}, ("Payload", "T"), "urn:plant#//T"),
    "sample": ({"NodeId": "n", "Value": VALUE, "EndpointUrl": "opc.tcp://h"}, (), "urn:plant#n"),
    "array of samples": ([{"NodeId": "n", "Value": VALUE}], (0,), "urn:plant#n"),
    "flat sample of 2.5": ({"NodeId": "n", **VALUE}, (), "urn:plant#n"),
    "sample that names its server": ({"NodeId": "n", "Value": VALUE, "ApplicationUri": "urn:s"}, (), "urn:s#n"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_of_values(name: str) -> None:
    body, place, source = CONTAINERS[name]
    assert read(body) == [reading(place, source)]


EVENTS = {
    "element of Messages": (GROUP | {"Messages": [write(EVENT, "ua-event")]}, ("Messages", 0), "urn:plant#g/w"),
    "the only message": (GROUP | {"Messages": write(EVENT, "ua-event")}, (), "urn:plant#g/w"),
    "array without header": ([write(EVENT, "ua-condition")], (0,), "urn:plant#/w"),
    "writer with type": (write(EVENT, "ua-event", DataSetWriterName="w|AlarmType"), (), "urn:plant#/w"),
    "server in it": (write(EVENT | {"ApplicationUri": {"Value": "urn:s"}}, "ua-event"), (), "urn:s#/w"),
    "wrapped": (write({name: {"Value": field} for name, field in EVENT.items()}, "ua-event"), (), "urn:plant#/w"),
    "reversible": (
        write(EVENT | {"EventId": {"Value": {"Type": "ByteString", "Body": "AQID"}}}, "ua-event"),
        (),
        "urn:plant#/w",
    ),
    "sample": ({"NodeId": "i=2253", "Value": EVENT}, (), "urn:plant#i=2253"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_containers_of_events(name: str) -> None:
    body, place, source = EVENTS[name]
    assert read(body) == [an_event(place, source)]


NOT_READINGS = {
    "keep-alive": (write({}, "ua-keepalive"), "keep-alive"),
    "keep-alive without Payload": ({"MessageType": "ua-keepalive", "SequenceNumber": 8}, "keep-alive"),
    "metadata": ({"MessageType": "ua-metadata", "MetaData": {}}, "metadata"),
    "state": ({"MessageType": "RestartAnnouncement", "MessageVersion": 1}, "runtime-state"),
    "discovery": ({"MessageType": "ua-application"}, "discovery"),
    "no message": ([], "empty"),
    "no data set": ({}, "empty"),
    "no messages": (GROUP | {"Messages": []}, "empty"),
    "no field": (write({}), "empty"),
    "event of a gateway": (write(EVENT | {"EventId": "aaaaaaaa-0000-4000-8000-00000000000a"}, "ua-event"), "model-change"),
    "sample without value": ({"NodeId": "n", "Value": {"StatusCode": {"Code": 0x80310000}}}, "no-value"),
}


@pytest.mark.parametrize("name", NOT_READINGS)
def test_what_is_no_reading(name: str) -> None:
    body, what = NOT_READINGS[name]
    assert read(body) == [NotReading((), what)]


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ("application/x-runtimestate-message-v2-json", "runtime-state"),
        ("application/x-writergroup-diagnostics-message-v2-json", "diagnostics"),
        ("application/x-discovery-message-v2-json", "discovery"),
    ],
)
@pytest.mark.parametrize("name", ["$$MessageSchema", "$$ContentType", "iothub-message-schema"])
def test_schemas_that_hold_no_readings(schema: str, what: str, name: str) -> None:
    assert read({"T": VALUE}, properties={name: schema}) == [NotReading((), what)]
    assert read({"T": VALUE}, properties={name.lower(): schema.encode()}) == [NotReading((), what)]


REFUSED = {
    "bare value": (22, (), "without-time"),
    "raw value": ({"T": 22}, ("T",), "without-time"),
    "server's time only": ({"T": {"Value": 1, "ServerTimestamp": T1}}, ("T",), "without-time"),
    "null time": ({"T": {"Value": 1, "SourceTimestamp": "0001-01-01T00:00:00Z"}}, ("T",), "without-time"),
    "sample with a raw value": ({"NodeId": "n", "Value": 22}, (), "without-time"),
    "no time": ({"T": {"Value": 1, "SourceTimestamp": "yesterday"}}, ("T",), "unreadable-time"),
    "leap second": ({"T": {"Value": 1, "SourceTimestamp": "2016-12-31T23:59:60Z"}}, ("T",), "unreadable-time"),
    "long name": ({"n" * 2048: VALUE}, ("n" * 2048,), "source-too-long"),
    "long name, encoded": ({"é" * 400: VALUE}, ("é" * 400,), "source-too-long"),
    "long writer of an event": (write(EVENT, "ua-event", DataSetWriterName="w" * 2048), (), "source-too-long"),
    "long node": ({"NodeId": "n" * 2048, "Value": VALUE}, (), "source-too-long"),
    "a number as time": ({"T": {"Value": 1, "SourceTimestamp": 17}}, ("T",), "unreadable-time"),
    "no status": ({"T": VALUE | {"StatusCode": [1]}}, ("T",), "unreadable-status"),
    "event without id": (write({"Time": T1}, "ua-event"), (), "no-event-id"),
    "event with an id that is no text": (write(EVENT | {"EventId": 5}, "ua-event"), (), "no-event-id"),
    "event without time": (write({"EventId": "AQID"}, "ua-event"), (), "without-time"),
    "array in array": ([[]  , [1]], (1,), "unknown-shape"),
    "no Messages": (GROUP, (), "unknown-shape"),
    "a message that is no object": (GROUP | {"Messages": [5]}, ("Messages", 0), "unknown-shape"),
    "a payload that is no object": (write([1]), (), "unknown-shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    body, place, reason = REFUSED[name]
    assert (place, reason) in [(part.place, part.reason) for part in read(body) if isinstance(part, Refused)]
    assert not [part for part in read(body) if isinstance(part, Found)]


@pytest.mark.parametrize("content_type", ["application/opcua+uadp", "application/avro", "application/avro+gzip"])
def test_binary_encodings_are_refused(content_type: str) -> None:
    [part] = PLANT.read(Message(b"{}", content_type))
    assert isinstance(part, Refused)
    assert part.reason == "binary-encoding"


def test_a_schema_of_samples_makes_every_object_one() -> None:
    [part] = read({"T": VALUE}, properties={"$$MessageSchema": "application/x-monitored-item-json-v1"})
    assert isinstance(part, Refused)
    assert part.reason == "no-node"


def test_constants_stand_beside_values() -> None:
    assert read(write({"T": VALUE, "Site": {"Value": "north"}, "Line": 4})) == [
        reading(("Payload", "T"), "urn:plant#/w/T"),
        NotReading(("Payload", "Site"), "constant"),
        NotReading(("Payload", "Line"), "constant"),
    ]


def test_names_of_the_server_are_no_values_in_raw_data_sets_either() -> None:
    raw = {"T": 22, "EndpointUrl": "opc.tcp://h", "ApplicationUri": "urn:s"}
    assert [part for part in read(raw) if isinstance(part, NotReading)] == [
        NotReading(("EndpointUrl",), "constant"),
        NotReading(("ApplicationUri",), "constant"),
    ]


def test_events_are_compared_without_what_each_gateway_or_server_on_the_way_adds() -> None:
    added = {"EndpointUrl": {"Value": "opc.tcp://h"}, "ReceiveTime": {"Value": "2026-03-02T08:15:31Z"}}
    assert read(write(EVENT | added, "ua-event")) == [an_event((), "urn:plant#/w")]


def test_a_variable_named_like_the_server_is_a_reading() -> None:
    assert read({"ApplicationUri": VALUE | {"Value": "urn:x"}}) == [
        reading(("ApplicationUri",), "urn:plant#//ApplicationUri", "urn:x")
    ]


def test_what_the_gateways_do_not_share_is_not_in_the_source() -> None:
    """R1: numbers of writers, publisher ids and addresses are made per gateway."""
    alike = [
        read(GROUP | {"PublisherId": gateway, "MessageId": gateway, "Messages": [
            write({"T": VALUE | {"ServerTimestamp": f"2026-03-02T08:15:3{number}Z"}}, DataSetWriterId=number,
                  SequenceNumber=number, Timestamp=f"2026-03-02T08:15:3{number}Z")]})
        for number, gateway in enumerate(("a", "b"))
    ]  # fmt: skip
    assert alike[0] == alike[1]


def test_the_group_names_the_server_where_nothing_else_does() -> None:
    assert read(GROUP | {"Messages": [write({"T": VALUE})]}, OpcPublisher(constant="")) == [
        reading(("Messages", 0, "Payload", "T"), "#g/w/T")
    ]
    unnamed = GROUP | {"DataSetWriterGroup": "<<UnknownWriterGroup>>", "Messages": [write({"T": VALUE})]}
    for body in (unnamed, write({"T": VALUE}), write(EVENT, "ua-event"), {"NodeId": "n", "Value": VALUE}):
        [part] = read(body, OpcPublisher(constant=""))
        assert isinstance(part, Refused)
        assert part.reason == "no-source"


def test_a_cloud_events_source_that_is_an_address_is_not_the_server() -> None:
    [part] = read(write({"T": VALUE}), properties={"specversion": "1.0", "source": "opc.tcp://10.7.0.5:4840"})
    assert isinstance(part, Found)
    assert part.source == "urn:plant#/w/T"


def test_names_are_escaped_so_that_no_two_sources_meet() -> None:
    names = [
        ("a/b", "c"),
        ("a", "b/c"),
        ("a", "b", "c"),
        ("a%2Fb", "c"),
        ("a", "", "c"),
        ("", "a", "c"),
        ("a#b",),
        ("a", "b"),
    ]
    assert len({source_name("urn:s", *one) for one in names}) == len(names)
    assert source_name("urn:s#x", "y") != source_name("urn:s", "x#y")


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (5.0, 5), ("5", 5), (-0.0, 0), ("-7", -7), (21.5, 21.5), ("21.5", "21.5"), ("007", "007"), ("٣", "٣"), (True, True),
        (2**53 + 1, "9007199254740993"), ("9007199254740993", "9007199254740993"), (float(2**60), str(2**60)),
        (10**20, 1e20), (1e300, 1e300), ("NaN", "NaN"), ([1.0, {"a": "2"}], [1, {"a": 2}]), ({"Type": 1.0}, {"Type": 1}),
    ],
)  # fmt: skip
def test_numbers_are_the_same_however_they_are_written(written: Any, number: Any) -> None:
    assert (canonical(written), type(canonical(written))) == (number, type(number))


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ({}, 0), ({"StatusCode": None}, 0), ({"StatusCode": 0, "Status": "Good"}, 0), ({"Status": "Good"}, 0),
        ({"StatusCode": {}}, 0),
        ({"StatusCode": {"Symbol": "Good", "Code": 1152}}, 0), ({"StatusCode": {"Symbol": "Good"}}, 0),
        ({"StatusCode": {"Code": 2150694912}}, 0x80310000), ({"StatusCode": 2150694912 + 0x480}, 0x80310000),
        ({"StatusCode": "2150694912"}, 0x80310000), ({"Status": "BadNoData"}, "BadNoData"),
    ],
)  # fmt: skip
def test_statuses_are_compared_without_the_bits_of_the_subscription(field: dict[str, Any], code: Any) -> None:
    assert status_code(field) == code


def test_times_are_exact_and_the_ends_of_time_are_none() -> None:
    assert source_time(T1) == T1_NS
    for none in (
        None,
        "0001-01-01T00:00:00Z",
        "1601-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.9999999Z",
    ):
        assert source_time(none) is None


def test_a_value_may_be_nested_so_deep_and_no_deeper() -> None:
    def nested(levels: int) -> Any:
        return {"Value": json.loads("[" * levels + "]" * levels), "SourceTimestamp": T1}

    [fits] = read({"T": nested(MAX_DEPTH)})
    assert isinstance(fits, Found)
    [deeper] = read({"T": nested(MAX_DEPTH + 1)})
    assert isinstance(deeper, Refused)
    assert deeper.reason == "too-deep"


def test_the_page_explains_every_word() -> None:
    page = (Path(__file__).parents[4] / "docs" / "formats" / "opc-publisher.md").read_text()
    assert [word for word in (*get_args(Reason), *get_args(What)) if f"`{word}`" not in page] == []
