"""Whatever a device sends, every format answers with parts: none twice, none raised, in time linear in the body."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cpu_time import seconds_of
from tests.unit.wire.formats.captured import messages
from wire.formats.any_json import Json, Shape
from wire.formats.azure_iot_operations import AzureIotOperations, AzureIotOperationsOptions
from wire.formats.ignition import Ignition, IgnitionOptions
from wire.formats.kepware import KepwareOptions, kepware
from wire.formats.messages import Format, Found, Message, NotReading, Refused
from wire.formats.minting import Minted, Unminted, mint
from wire.formats.opc_publisher import OpcPublisher
from wire.formats.siemens import Siemens, SiemensOptions
from wire.formats.sparkplug import Sparkplug, SparkplugOptions
from wire.formats.telegraf import Telegraf, TelegrafOptions
from wire.ids import Content, Identity, Sequence, SourceTime, SourceTimeValue, TimeBucket

VECTORS = Path(__file__).parents[1] / "vectors" / "formats"
FORMATS: list[Format] = [
    AzureIotOperations(AzureIotOperationsOptions()),
    Ignition(IgnitionOptions(rename={"*-?": "a"})),
    Json(
        Shape(readings="/*/*", source=["@key", "topic:1"], time="/ts", value=["/val", "1/ts"], numbers=True),
        Shape(inside="/data_base64", source=["outer:/subject"], time="/ts", value=["outer:/*/0", "outer:"]),
        Shape(inside="/data_base64", source=["text:a"], time="/ts", time_format="ms", sequence="/seqno"),
        Shape(inside="", source=["/name"], content=["/id"]),
        Shape(
            source=["system:message-id", "system:correlation-id"],
            time="system:creation-time",
            time_format="ms",
            value=["annotation:iothub-connection-device-id"],
        ),
    ),
    Json(Shape(whole_body=True, source=["property:source"])),
    kepware(KepwareOptions()),
    OpcPublisher(),
    Siemens(SiemensOptions(bare_ids=True)),
    Sparkplug(SparkplugOptions()),
    Telegraf(TelegrafOptions()),
]
STRATEGIES: list[Identity] = [SourceTime(), SourceTimeValue(), Sequence(), Content(), TimeBucket(10**9)]
TEXTS = [file.read_text() for file in sorted(VECTORS.glob("*.json"))]
MEMBERS = sorted({name for text in TEXTS for name in re.findall(r'"(\w+)"', text)})
"""Names and words of the real messages."""

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(MEMBERS)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=3), inner),
    max_leaves=25,
)
beside = st.dictionaries(
    st.sampled_from(["message-id", "correlation-id", "creation-time", "iothub-connection-device-id"]),
    scalars | st.binary() | st.uuids() | st.integers(0, 2**64),
)
properties = st.dictionaries(st.sampled_from(["topic", "source", "type", "ce_type", "subject"]), scalars | st.binary())


def check(message: Message) -> None:
    for form in FORMATS:
        parts = list(form.read(message))
        assert parts
        assert all(isinstance(part, Found | NotReading | Refused) for part in parts)
        places = [part.place for part in parts]
        assert len(set(map(repr, places))) == len(places)
        for part in parts:
            if isinstance(part, Found):
                assert all(isinstance(mint(part, strategy), Minted | Unminted) for strategy in STRATEGIES)


@given(st.binary(max_size=200), properties)
def test_any_bytes(body: bytes, sent: dict[str, Any]) -> None:
    check(Message(body, properties=sent, annotations=sent, system=sent))


@given(values, properties, beside, values)
def test_any_json(value: Any, sent: dict[str, Any], system: dict[str, Any], around: Any) -> None:
    body = json.dumps(value).encode()
    check(Message(body, properties=sent, system=system, annotations=system))
    wrapped = {"subject": around, "data_base64": b64encode(body).decode()}
    check(Message(json.dumps(wrapped).encode(), properties=sent, system=system))


MESSAGES = [message for file in sorted(VECTORS.glob("*.json")) for message in messages(file.stem)]


@given(st.sampled_from(MESSAGES), st.data())
def test_real_messages_with_a_part_replaced(message: Message | Refused, data: st.DataObject) -> None:
    assert isinstance(message, Message)
    at = data.draw(st.integers(0, len(message.body)))
    size = data.draw(st.integers(0, 20))
    new = data.draw(scalars.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=5))
    check(Message(message.body[:at] + new + message.body[at + size :], properties=message.properties))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 9, '{"a":' * 900 + "1" + "}" * 900, "1" * 5000, "1e999", '"\\ud800"', ""]
)
def test_hostile_texts(text: str) -> None:
    check(Message(text.encode(), properties={"source": "s", "type": "ua-deltaframe", "topic": "a/b"}))
    check(Message(b'{"metrics":[{"name":"n","fields":{"a":%b},"timestamp":1}]}' % text.encode()))


ELEMENT = {
    "name": "n",
    "id": "1",
    "t": 1,
    "v": 1,
    "ts": "2026-03-02T08:15:30Z",
    "val": 1,
    "fields": {"a": 1},
    "timestamp": 1,
}


def large(elements: int) -> Message:
    many = [{**ELEMENT, "id": f"i{index}"} for index in range(elements)]
    topic = {"type": "DDATA", "groupId": "g", "edgeNodeId": "e"}
    body = {"metrics": many, "values": many, "vals": many, "topic": topic, "payload": {"metrics": many}}
    return Message(
        json.dumps(body | {f"m{index}": ELEMENT for index in range(elements)}).encode(),
        properties={"source": "s", "type": "ua-deltaframe"},
    )


def seconds_to_read(form: Format, message: Message) -> float:
    return seconds_of(lambda: [*form.read(message)])


def test_time_grows_with_the_body_and_not_faster() -> None:
    small, great = large(500), large(8_000)
    for form in FORMATS:
        seconds = [seconds_to_read(form, message) for message in (small, great)]
        assert seconds[1] < 16 * 6 * max(seconds[0], 0.002), f"{form.name}: 16 times as much takes {seconds}"
