"""Whatever a device sends, recognising it never raises, and takes time that is bounded."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.test_formats import MESSAGES, scalars, values
from tests.support.cpu_time import seconds_of
from wire.cloudevents import BATCH_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE
from wire.formats.messages import Message, Refused
from wire.formats.recognise import MAX_BYTES, SHAPES, recognised

NAMES = ["topic", "type", "ce_type", "$$MessageSchema", "dt-dataschema", "cloudEvents_id", "cloudEvents_source"]
properties = st.dictionaries(st.sampled_from(NAMES), scalars | st.binary())
content_types = st.none() | st.text(max_size=9) | st.sampled_from(["application/json", "application/json+gzip"])
plain_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.from_regex(r"[a-z0-9 ]*", fullmatch=True)
plain_json = st.recursive(
    plain_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("bghjkxz", max_size=4), inner),
    max_leaves=25,
)
"""JSON whose members have names that no format uses."""


@given(st.binary(max_size=300), content_types, properties)
def test_any_bytes(body: bytes, content_type: str | None, sent: dict[str, Any]) -> None:
    for message in (
        Message(body, content_type, sent, sent, sent),
        Message(b"\x1f\x8b" + body, content_type),
        Message(gzip.compress(body)[: len(body)], content_type),
    ):
        assert recognised(message) in (None, *SHAPES)


@given(values, properties)
def test_any_json(value: Any, sent: dict[str, Any]) -> None:
    assert recognised(Message(json.dumps(value).encode(), properties=sent)) in (None, *SHAPES)


@given(plain_json, st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_random_json_is_nothing(value: Any, encoding: str) -> None:
    assert recognised(Message(json.dumps(value).encode(encoding))) is None


@given(st.sampled_from(MESSAGES), st.sampled_from([BATCH_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE]))
def test_cloudevents_are_nothing(message: Message | Refused, content_type: str) -> None:
    assert isinstance(message, Message)
    assert recognised(Message(message.body, content_type, message.properties)) is None
    sent = {**message.properties, "cloudEvents_id": "1", "cloudEvents_source": "urn:a"}
    assert recognised(Message(message.body, "application/json", sent)) is None


@given(st.sampled_from(MESSAGES), st.data())
def test_real_messages_with_a_part_replaced(message: Message | Refused, data: st.DataObject) -> None:
    assert isinstance(message, Message)
    at, size = data.draw(st.integers(0, len(message.body))), data.draw(st.integers(0, 20))
    new = data.draw(scalars.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=5))
    body = message.body[:at] + new + message.body[at + size :]
    assert recognised(Message(body, message.content_type, message.properties)) in (None, *SHAPES)


HOSTILE = {
    "flat": b'{"metrics":[' + b"[]," * 300_000 + b"1]}",
    "flat array": b"[[" + b"[]," * 300_000 + b"1]]",
    "empty objects": b"[" + b"{}," * 300_000 + b"1]",
    "deep": b'{"a":[' * 200_000,
    "members": b"{" + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}",
    "numbers": b"[" + b"1," * 500_000 + b"1]",
    "digits": b'{"a":[' + b"9" * 4_000 + (b"," + b"9" * 4_000) * 200 + b"]}",
    "escapes": b'{"a":"' + b"\\u0041" * 200_000 + b'"}',
    "spaces": b" " * 1_000_000,
    "bomb": gzip.compress(b" " * 50_000_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_bounded(name: str) -> None:
    """No body takes much longer than it takes to read an honest one of the largest size."""
    honest = json.dumps({"metrics": [{"name": f"n{n}", "a": [n]} for n in range(MAX_BYTES // 30)]}).encode()
    usual = seconds_of(lambda: json.loads(honest))
    message = Message(HOSTILE[name])
    assert seconds_of(lambda: recognised(message)) < 2 * usual
