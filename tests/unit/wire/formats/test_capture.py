"""What was captured is in the file, byte for byte, and is given back."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.formats.bodies import json_of
from wire.formats.capture import Captured, CaptureError, Typed, read, written

BODY = b'{"a": 9007199254740993, "b": 1.0}'
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
"""All others are Typed, since JSON lacks them."""
file_values = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FINITE | st.text()
sections = st.dictionaries(st.text(), file_values | st.builds(Typed, st.text(), file_values), max_size=3)
bodies = st.one_of(
    st.binary(),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    json_values.map(lambda value: json.dumps(value, indent=1).encode() + b"\n"),
    json_values.map(lambda value: json.dumps(value).encode("utf-16")),
    st.integers(0, 2000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.sampled_from([b"1],[2", b"1}", b'"', b'{"a":1,"a":2}', b"1e999", b"NaN", b'{"a":1}{"b":2}', b"\xef\xbb\xbf1", b"-0"]),
)
messages = st.builds(Captured, bodies, sections, sections, sections, st.booleans())


def file(*events: Any, **members: Any) -> bytes:
    return json.dumps({"events": events, **members}).encode()


@given(st.lists(messages, max_size=4))
def test_what_is_written_is_read_whatever_it_was(items: list[Captured]) -> None:
    assert read(written(items)) == items


def test_a_json_body_is_its_own_text_and_what_is_shared_is_added() -> None:
    text = b'{"each":{"system":{"content-type":"application/json"}},"events":[{"properties":{"p":"1"},"body":%b}]}' % BODY
    assert read(text) == [Captured(BODY, {}, {"content-type": "application/json"}, {"p": "1"})]


def test_json_is_legible_in_the_file() -> None:
    compressed = {"content-encoding": "gzip"}
    items = [Captured(BODY), Captured(BODY + b"\n"), Captured(gzip.compress(BODY), system=compressed), Captured(b"\x08\x01")]
    plain, with_line_feed, packed, binary = json.loads(written(items))["events"]
    assert plain == {"body": json.loads(BODY)}
    assert with_line_feed["decoded"] == packed["decoded"] == json.loads(BODY)
    assert b64decode(with_line_feed["body_base64"]) == BODY + b"\n"
    assert binary == {"body_base64": "CAE="}


def test_a_type_that_is_shared_goes_with_the_value_that_is_shared() -> None:
    each = {"properties": {"a": "x", "b": "y"}, "types": {"properties": {"a": "uuid", "b": "binary"}}}
    (message,) = read(file({"properties": {"b": 1}, "body": 1}, each=each))
    assert message.properties == {"a": Typed("uuid", "x"), "b": 1}


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"events":1}', b'{"events":[{"body_base64":"?"}]}', b"[" * 99_999, file({"types": {"body": {}}})],
)
def test_another_form_is_refused(text: bytes) -> None:
    with pytest.raises(CaptureError):
        read(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_gateways_may_be_set_to_other_encodings(encoding: str) -> None:
    assert json_of('{"a": "ö"}'.encode(encoding)) == {"a": "ö"}
