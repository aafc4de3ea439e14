"""Structured mode made from binary mode: the JSON event format 1.0.2, to the letter."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.core.clean_events import clean_events
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.core.property_types import (
    Byte,
    Char,
    Encoded,
    Float,
    Long,
    Short,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
)
from dedup_service.core.structured import rendered
from tests.support.readings import event, single
from wire.cloudevents import BATCH_CONTENT_TYPE

ONE = OutputPolicy(["0"], "source", "default", content_mode="structured")
LIMIT = 10_000
extract = CloudEventsExtractor(LIMIT).extract


def published(body: bytes, content_type: str | None, encoding: str | None = None, **attributes: Any) -> dict[str, Any]:
    properties = {f"cloudEvents_{name}": value for name, value in {"id": "1", "source": "urn:a", **attributes}.items()}
    given = event(body, content_type=content_type, content_encoding=encoding, application_properties=properties)
    extraction, refused = rendered(given, extract(given))
    assert not refused
    (clean,) = clean_events(given, extraction, extraction.readings, ONE, "o")
    assert (clean.event.content_type, clean.event.content_encoding) == (BATCH_CONTENT_TYPE, None)
    (item,) = json.loads(clean.event.body)
    return {name: value for name, value in item.items() if not name.startswith("dedup")}


def data_of(body: bytes, content_type: str | None, encoding: str | None = None) -> Any:
    item = published(body, content_type, encoding)
    if content_type:
        assert item.pop("datacontenttype") == content_type
    assert "datacontenttype" not in item
    assert {"specversion", "id", "source"} == item.keys() - {"data", "data_base64"}
    if "data_base64" in item:
        assert "data" not in item
        return base64.b64decode(item["data_base64"], validate=True)
    return item["data"]


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        # JSON where the media type says so (§3.1.1), and where there is none
        ("application/json", b"123", 123),
        ("application/json", b' {"a": [1.0e0, null]} ', {"a": [1.0, None]}),
        ("application/json; charset=utf-8", '"ä"'.encode(), "ä"),
        ("APPLICATION/JSON", b"null", None),
        ("text/json", b"true", True),
        ("application/senml+json", b"[1]", [1]),
        ("application/vnd.x+JSON;v=1", b"1", 1),
        (None, b"123", 123),
        ("", b"[]", []),
        # what is called JSON and is not keeps its bytes
        ("application/json", b"12a", b"12a"),
        ("application/json", b"", b""),
        ("application/json", b"NaN", b"NaN"),
        ("application/json", b"1 2", b"1 2"),
        ("application/json", b'"\xff"', b'"\xff"'),
        ("application/json", '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-16")),
        ("application/json", b"\xef\xbb\xbf1", b"\xef\xbb\xbf1"),
        (None, b"12a", b"12a"),
        (None, b"\xff\x00", b"\xff\x00"),
        # text is a string
        ("text/plain", b"123", "123"),
        ("text/plain", b"12a", "12a"),
        ("text/plain", b"", ""),
        ("text/csv", "a;ä\r\n1;2\0".encode(), "a;ä\r\n1;2\0"),
        ("Text/Plain; Charset=UTF-8", "ä".encode(), "ä"),
        ('text/plain; format=flowed; charset="utf-8"', b"x", "x"),
        ("text/plain;charset=us-ascii", b"x", "x"),
        ("text/plain;charset=us-ascii", b"\xe4", b"\xe4"),
        ("text/plain;charset=iso-8859-1", b"\xe4", "ä"),
        ("text/plain;charset=windows-1252", b"x", b"x"),
        ("text/plain;charset=utf-16", b"x\0", b"x\0"),
        ("text/plain;charset=rot13", b"x", b"x"),
        ("text/plain", b"\xff", b"\xff"),
        ("text/plain", b"\xed\xa0\x80", b"\xed\xa0\x80"),
        # anything else is binary
        ("application/octet-stream", b"123", b"123"),
        ("application/xml", b"<a/>", b"<a/>"),
        ("application/jsonx", b"1", b"1"),
        ("application/json-seq", b"1", b"1"),
        ("avro/binary", b"\x00", b"\x00"),
        ("nonsense", b"1", b"1"),
        ("application/cloudevents+avro", b"\x00", b"\x00"),
    ],
)
def test_data_is_what_the_content_type_says(content_type: str | None, body: bytes, data: object) -> None:
    found = data_of(body, content_type)
    assert (found, type(found)) == (data, type(data))


def test_json_keeps_its_digits() -> None:
    body = b"[1e400,123456789012345678901234567890,1.10]"
    given = single("1", body)
    extraction, _ = rendered(given, extract(given))
    assert body in extraction.forms[0]


@given(
    st.binary(max_size=50), st.sampled_from([None, "application/json", "text/plain", "text/plain;charset=iso-8859-1", "x/y"])
)
def test_every_body_can_be_told_from_what_is_published(body: bytes, content_type: str | None) -> None:
    found = data_of(body, content_type)
    if isinstance(found, bytes):
        assert found == body
    elif content_type is not None and content_type.startswith("text/"):
        assert found.encode("iso-8859-1" if "iso" in content_type else "utf-8") == body
    else:
        assert found == json.loads(body)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b'{"v":1}', mtime=0)),
        ("GZIP", gzip.compress(b'{"v":1}', mtime=0)),
        ("deflate, gzip", gzip.compress(zlib.compress(b'{"v":1}'), mtime=0)),
        ("utf-8", b'{"v":1}'),
    ],
)
def test_the_content_encoding_is_undone(encoding: str, body: bytes) -> None:
    assert data_of(body, "application/json", encoding) == {"v": 1}
    assert data_of(body, "application/octet-stream", encoding) == b'{"v":1}'


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (True, True),
        (False, False),
        (0, 0),
        (2**31 - 1, 2**31 - 1),
        (-(2**31), -(2**31)),
        (Long(5), 5),
        (Long(2**31), "2147483648"),
        (Long(-(2**31) - 1), "-2147483649"),
        (Ulong(2**64 - 1), "18446744073709551615"),
        (Uint(7), 7),
        (Ushort(7), 7),
        (Ubyte(7), 7),
        (Short(-7), -7),
        (Byte(-7), -7),
        ("ä", "ä"),
        ("12", "12"),
        ("true", "true"),
        (Symbol("s"), "s"),
        (Char("c"), "c"),
        (b"text", "dGV4dA=="),
        (b"\xff", "/w=="),
        (b"", ""),
        (Timestamp(1_767_225_600_123), "2026-01-01T00:00:00.123Z"),
        (Timestamp(-1), "1969-12-31T23:59:59.999Z"),
        ("https://plant/a?b#c", "https://plant/a?b#c"),
        (1.5, "1.5"),
        (Float(0.5), "0.5"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_an_attribute_has_the_type_that_it_was_sent_with(sent: object, found: object) -> None:
    item = published(b"1", None, ext=sent)
    assert (item["ext"], type(item["ext"])) == (found, type(found))


def test_an_attribute_that_is_null_is_not_set() -> None:
    assert "ext" not in published(b"1", None, ext=None)


def test_the_time_is_a_timestamp_or_a_text() -> None:
    assert published(b"1", None, time=Timestamp(1_767_225_600_000))["time"] == "2026-01-01T00:00:00.000Z"
    assert published(b"1", None, time="2026-01-01T00:00:00+01:00")["time"] == "2026-01-01T00:00:00+01:00"


def test_texts_that_a_relay_sends_as_binary_are_texts() -> None:
    item = published(b"1", None, id=b"7", source=b"urn:b", type=b"t", time=b"2026-01-01T00:00:00Z", sequence=b"5")
    assert (item["id"], item["source"], item["type"]) == ("7", "urn:b", "t")
    assert (item["time"], item["sequence"]) == ("2026-01-01T00:00:00Z", "5")


def test_attributes_can_not_replace_the_data_or_the_key() -> None:
    item = published(b"1", None, data="x", data_base64="eA==", datacontenttype="text/plain", specversion="1.0")
    assert item == {"specversion": "1.0", "id": "1", "source": "urn:a", "data": 1}
    both = {"cloudEvents:id": "2", "cloudEvents:x": "3", "cloudEvents:y": "4", "cloudEvents_y": "5"}
    given = event(b"1", application_properties={"cloudEvents_id": "1", "cloudEvents_source": "a", **both})
    (reading,) = extract(given).readings
    members = json.loads(rendered(given, extract(given))[0].forms[0])
    assert (members["id"], members["x"], members["y"]) == (reading.id, "3", "5")


def refusal(body: bytes = b"1", encoding: str | None = None, **attributes: Any) -> tuple[str, str]:
    given = event(
        body,
        content_encoding=encoding,
        application_properties={"cloudEvents_id": "1", "cloudEvents_source": "a"}
        | {f"cloudEvents_{name}": value for name, value in attributes.items()},
    )
    extraction, refused = rendered(given, extract(given))
    ((reason, (detail, readings)),) = refused.items()
    assert readings == extraction.readings
    assert not extraction.forms
    return reason, detail


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Encoded(b"\xc0\x01\x00"), "list"),
        (Encoded(b"\xd1\x00\x00\x00\x04\x00\x00\x00\x00"), "map"),
        (Encoded(b"\x94" + bytes(16)), "decimal128"),
        (Encoded(b"\x00\xa3\x01a\x40"), "described"),
        (Timestamp(2**62), "timestamp"),
        ([1], "list"),
    ],
)
def test_a_value_that_no_attribute_can_have_is_refused_by_name_and_type(value: object, kind: str) -> None:
    reason, detail = refusal(ext=value)
    assert reason == "unsupported-property"
    assert "'cloudEvents_ext'" in detail
    assert f"type {kind} " in detail


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", b"no gzip", "unreadable-body"),
        ("gzip", gzip.compress(b"x", mtime=0)[:-1], "unreadable-body"),
        ("br", b"x", "unreadable-body"),
        ("gzip", gzip.compress(bytes(LIMIT + 1), mtime=0), "decompressed-too-large"),
    ],
)
def test_a_body_that_can_not_be_decoded_is_refused(encoding: str, body: bytes, reason: str) -> None:
    assert refusal(body, encoding)[0] == reason


def test_copies_that_were_compressed_differently_have_the_same_content() -> None:
    def hash_of(body: bytes, encoding: str | None) -> bytes:
        return extract(single("1", body, content_encoding=encoding)).readings[0].content_hash

    assert (
        hash_of(gzip.compress(b"{}", mtime=1), "gzip")
        == hash_of(gzip.compress(b"{}", mtime=2), "gzip")
        == hash_of(b"{}", None)
    )
    assert hash_of(b"opaque", "br") == hash_of(b"opaque", None)
