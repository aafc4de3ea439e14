"""Files of captured messages as the events that a hub would deliver: what is unusual in a file, and what is wrong."""

from __future__ import annotations

import gzip
import json
import uuid
from base64 import b64encode
from typing import Any

import pytest

from dedup_service.commands.captured_events import input_events
from dedup_service.core.events import InputEvent
from dedup_service.core.other_formats import message_of
from dedup_service.core.property_types import Timestamp
from dedup_service.errors import UndeliverableError
from wire.formats.capture import CaptureError

BODY = b'{"a": 1}'


def event(**members: Any) -> InputEvent:
    (found,) = input_events(json.dumps({"events": [members]}).encode())
    return found


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [(None, "gzip"), ("application/json+gzip", "utf-8"), (None, None), ("application/json+gzip", "gzip")],
)
def test_gzip_is_told_by_encoding_type_or_first_bytes(content_type: str | None, encoding: str | None) -> None:
    system = {"content-type": content_type, "content-encoding": encoding}
    found = event(system=system, body_base64=b64encode(gzip.compress(BODY)).decode())
    assert message_of(found, 1000)[0].body == BODY


def test_what_cannot_be_unpacked_is_refused_when_it_is_read() -> None:
    found = event(body_base64=b64encode(gzip.compress(BODY)[:-3]).decode())
    with pytest.raises(UndeliverableError, match="unreadable-body"):
        message_of(found, 1000)


def test_types_are_named_where_json_has_none() -> None:
    types = {"u": "uuid", "t": "timestamp", "k": "binary", "b": "binary-base64", "n": "double"}
    values = {"u": str(uuid.UUID(int=1)), "t": 5, "k": "ö", "b": "/w==", "n": "nan", "plain": "x"}
    properties = event(properties=values, types={"properties": types}).application_properties
    assert (properties["u"], properties["k"], properties["b"]) == (uuid.UUID(int=1), "ö".encode(), b"\xff")
    assert (properties["plain"], type(properties["t"]), properties["t"]) == ("x", Timestamp, 5)
    assert str(properties["n"]) == "nan"


def test_what_documents_call_system_properties_may_stand_there_in_any_case() -> None:
    system = {
        "Content-Type": "application/json",
        "iothub-connection-device-id": "gw-a",
        "iothub-message-source": "Telemetry",
    }
    found = event(system=system, body=1)
    assert (found.content_type, found.replica) == ("application/json", "gw-a")
    named = event(system=system, annotations={"iothub-connection-device-id": "gw-b"}, body=1)
    assert named.replica == "gw-b"


def test_a_creation_time_is_a_timestamp_also_where_a_person_wrote_it() -> None:
    plain = event(system={"Creation-Time": 5}, body=1)
    typed = event(system={"creation-time": 5}, types={"system": {"creation-time": "timestamp"}}, body=1)
    for found in (plain, typed):
        assert (type(found.creation_time), found.creation_time) == (Timestamp, 5)
        assert found.annotations == {}
        assert message_of(found, 1000)[0].system["creation-time"] == 5
    with pytest.raises(CaptureError, match="event 1, system, creation-time: 'noon' is no timestamp"):
        event(system={"creation-time": "noon"}, body=1)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [("x", "guid", "'guid' is none of amqp-base64, binary,"), ("x", "uuid", "'x' is no uuid"), (None, "long", "is no long")],
)
def test_a_wrong_type_is_named_with_its_place(value: Any, kind: str, said: str) -> None:
    with pytest.raises(CaptureError, match="event 1, properties, p: ") as caught:
        event(properties={"p": value}, types={"properties": {"p": kind}})
    assert said in str(caught.value)
