"""Every captured message is recognised as what it is, and nothing else is."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.unit.wire.formats.captured import FILES, messages
from wire.formats.messages import Message
from wire.formats.recognise import SHAPES, recognised
from wire.formats.registry import NAMES

EXPECTED: dict[str, list[str | None]] = {
    "aio-dataset": ["azure-iot-operations"],
    "aio-event": ["azure-iot-operations"],
    "aio-statuses": ["azure-iot-operations"],
    "ignition": ["ignition"],
    "kepware-values": ["kepware", "kepware", None],
    "kepware": ["kepware"],
    "opcpub-event-hubs": ["opc-publisher-data-sets"],
    "opcpub-heartbeats": ["opc-publisher-data-sets"],
    "opcpub-statuses": ["opc-publisher-data-sets"],
    "opcpub-labelled": ["opc-publisher-pubsub", "opc-publisher-pubsub", "opc-publisher-binary", None],
    "opcpub-headerless": [
        *["opc-publisher-pubsub"] * 2,
        *["opc-publisher-data-sets"] * 2,
        *["opc-publisher-pubsub"] * 3,
    ],
    "opcpub-samples": ["opc-publisher-samples"],
    "opcpub": ["opc-publisher-pubsub"],
    "siemens-cc7": ["siemens-cc7"],
    "siemens-other": ["siemens-databus", "siemens-databus", "siemens-cc7"],
    "siemens": ["siemens-databus"],
    "sparkplug": ["sparkplug"],
    "telegraf": ["telegraf"],
    "json-channels": [None],
    "wrappers-event": [None],
    "wrappers-node": ["text-of-json", "text-of-json", None],
    "wrappers": ["opc-publisher-pubsub", None, "text-of-json"],
}
"""By the beginning of the file's name: for each message, or one for all of them. None: CloudEvents, or no shape that is
known."""
BY_PROPERTIES = ("aio-event", "opcpub-headerless", "opcpub-labelled", "opcpub-ode", "siemens-common", "wrappers-node")
"""Whose bodies alone tell less, or nothing."""
FILE_NAMES = sorted(file.stem for file in FILES.glob("*.json"))


def kind(name: str) -> str:
    return next(key for key in EXPECTED if name.startswith(key))


@pytest.mark.parametrize("name", FILE_NAMES)
@pytest.mark.parametrize("is_zipped", [False, True])
def test_captured_messages(name: str, is_zipped: bool) -> None:
    found = []
    for message in messages(name):
        body = gzip.compress(message.body) if is_zipped else message.body
        found.append(recognised(Message(body, message.content_type, message.properties, {}, message.annotations)))
    expected = EXPECTED[kind(name)]
    assert found == (expected if len(expected) > 1 else expected * len(found))


@pytest.mark.parametrize("name", [name for name in FILE_NAMES if not name.startswith(BY_PROPERTIES)])
def test_the_body_alone_tells_most(name: str) -> None:
    """A bridge may drop all properties. Then Sparkplug B, whose body has no mark, is unknown, and Azure IoT Operations'
    connector looks like OPC Publisher, which would read it."""
    without = [recognised(Message(message.body)) for message in messages(name)]
    instead: dict[str | None, str | None] = {
        "sparkplug": None,
        "azure-iot-operations": "opc-publisher-data-sets",
        None: "cloudevents-unlabelled" if name.startswith("wrappers") else None,
    }
    expected = [instead.get(one, one) for one in EXPECTED[kind(name)]]
    assert without == (expected if len(expected) > 1 else expected * len(without))


def test_names_lead_to_formats_that_exist() -> None:
    assert {shape.format for shape in SHAPES.values()} - {None} == set(NAMES)
    assert all(shape.remedy for shape in SHAPES.values())


def test_words_say_which_format_to_set() -> None:
    shape = SHAPES["opc-publisher-samples"]
    assert (shape.title, shape.remedy) == (
        "OPC Publisher's Samples",
        "set `format: opc-publisher` for this group in DEDUP_CONFIG_FILE",
    )


CLOUD_EVENT = {"specversion": "1.0", "id": "1", "source": "urn:a", "type": "t", "data": {"NodeId": "i=1", "Value": 1}}
SAMPLE = {"NodeId": "ns=2;s=a", "Value": {"Value": 1}}


@pytest.mark.parametrize(
    "message",
    [
        Message(json.dumps(CLOUD_EVENT).encode(), "application/cloudevents+json"),
        Message(json.dumps(CLOUD_EVENT).encode(), "Application/CloudEvents+JSON; charset=utf-8"),
        Message(json.dumps([CLOUD_EVENT]).encode(), "application/cloudevents-batch+json"),
        Message(json.dumps(SAMPLE).encode(), "application/json", {"cloudEvents_id": "1", "cloudEvents_source": "urn:a"}),
        Message(json.dumps(SAMPLE).encode(), "application/json", {"cloudEvents:id": "1", "cloudEvents:source": "urn:a"}),
    ],
)
def test_cloudevents_are_left_alone(message: Message) -> None:
    assert recognised(message) is None


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        (Message(b"{}", None, {"cloudEvents_source": "urn:a"}), "cloudevents-without-id"),
        (Message(json.dumps({**CLOUD_EVENT, "id": None}).encode()), "cloudevents-without-id"),
        (Message(json.dumps([CLOUD_EVENT]).encode(), "application/json"), "cloudevents-unlabelled"),
        (Message(json.dumps(SAMPLE).encode("utf-16")), "opc-publisher-samples"),
        (Message(b"\xef\xbb\xbf" + json.dumps(SAMPLE).encode()), "opc-publisher-samples"),
        (Message(json.dumps([SAMPLE] * 9000).encode()), "opc-publisher-samples"),
        (Message(gzip.compress(json.dumps([SAMPLE] * 90_000).encode())), "opc-publisher-samples"),
        (Message(b" \r\n[ " + json.dumps(SAMPLE).encode() + b", cut off"), "opc-publisher-samples"),
        (Message(b"\0\1", "application/opcua+uadp"), "opc-publisher-binary"),
        (Message(b"\x08", None, {"mqtt-topic": b"spBv1.0/a/DDATA/b"}), "sparkplug"),
        (Message(b"\xff", None, {}, {}, {"dt-dataschema": "application/x-network-message-json-v1"}), "opc-publisher-pubsub"),
    ],
)
def test_further_shapes(message: Message, shape: str) -> None:
    assert recognised(message) == shape


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"just text",
        b"22",
        b"null",
        b"[]",
        b"[[1]]",
        b"{}",
        b'{"temperature": 21.5, "time": "2026-03-02T08:15:30Z"}',
        b'{"values": [1, 2], "id": 3}',
        b'{"val": 5}',
        b'{"name": "a", "value": 1, "timestamp": 1}',
        b'{"topic": "a", "payload": {"metrics": []}}',
        b'{"Payload": {}}',
        b'"text"',
        b"\x1f\x8bnot gzip",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"[" + b"9" * 100_000 + b"]",
        b'[{"metrics":[{"fields":1,"tags":{},"name":"n","timestamp":1}]}]',
    ],
)
def test_anything_else_is_not_recognised(body: bytes) -> None:
    assert recognised(Message(body)) is None
