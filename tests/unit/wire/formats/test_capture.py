"""A captured file gives the messages that were on the wire."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode

import pytest

from wire.formats.bodies import json_of
from wire.formats.capture import CaptureError, captured
from wire.formats.messages import Message, Refused

BODY = b'{"a": 9007199254740993, "b": 1.0}'


def test_a_json_body_is_its_own_text_and_what_is_shared_is_added() -> None:
    text = b'{"each":{"system":{"content-type":"application/json"}},"events":[{"properties":{"p":"1"},"body":%b}]}' % BODY
    system = {"content-type": "application/json"}
    assert captured(text) == [Message(BODY, "application/json", {"p": "1"}, system, {})]


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [(None, "gzip"), ("application/json+gzip", "utf-8"), (None, None), ("application/json+gzip", "gzip")],
)
def test_gzip_is_told_by_encoding_type_or_first_bytes(content_type: str | None, encoding: str | None) -> None:
    system = {"content-type": content_type, "content-encoding": encoding}
    event = {"system": system, "body_base64": b64encode(gzip.compress(BODY)).decode()}
    (message,) = captured(json.dumps({"events": [event]}).encode())
    assert isinstance(message, Message)
    assert message.body == BODY


def test_what_cannot_be_unpacked_is_refused_and_its_neighbours_are_read() -> None:
    broken = b64encode(gzip.compress(BODY)[:-3]).decode()
    first, second = captured(json.dumps({"events": [{"body_base64": broken}, {"body": 1}]}).encode())
    assert isinstance(first, Refused)
    assert first.reason == "unreadable-body"
    assert second == Message(b"1")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"events":1}', b'{"events":[{"body_base64":"?"}]}', b"[" * 99_999])
def test_another_form_is_refused(text: bytes) -> None:
    with pytest.raises(CaptureError):
        captured(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_gateways_may_be_set_to_other_encodings(encoding: str) -> None:
    assert json_of('{"a": "ö"}'.encode(encoding)) == {"a": "ö"}
