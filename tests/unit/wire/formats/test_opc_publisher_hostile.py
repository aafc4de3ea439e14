"""Whatever a message holds: reading never raises, invents and skips nothing, and takes time linear in the body's size."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cpu_time import seconds_of
from tests.unit.wire.formats.captured import FILES, at, messages
from wire.formats.bodies import json_of
from wire.formats.messages import Found, Message, NotReading, Part, Path, Refused
from wire.formats.opc_publisher import OpcPublisher
from wire.formats.opc_values import Reason, What

FORMS = [OpcPublisher(), OpcPublisher(constant="", heartbeats=False)]
T1 = "2026-03-02T08:15:30.1Z"
CAPTURED = [message.body for file in sorted(FILES.glob("opcpub-*.json")) for message in messages(file.stem)]
CAPTURED_JSON = [body for body in CAPTURED if not isinstance(json_of(body), Refused)]

NAMES = st.sampled_from(
    ["MessageType", "Messages", "Payload", "DataSetWriterGroup", "DataSetWriterName", "DataSetWriterId", "NodeId", "EventId",
     "Time", "Value", "StatusCode", "Status", "Code", "Symbol", "SourceTimestamp", "ServerTimestamp", "ApplicationUri",
     "EndpointUrl", "MonitoredItem", "Heartbeat", "Type", "Body", "Temperature", "a/b", ""]
)  # fmt: skip
TEXT = st.text("aé/#%5. \u2028\U0001f600", max_size=12)
SCALARS = st.one_of(
    st.sampled_from([
        T1, "ua-data", "ua-deltaframe", "ua-event", "ua-keepalive", "ua-metadata", "ua-x", "Good", "AQID",
        "0001-01-01T00:00:00Z", 0, 1152, 1083113472, 2**63, 2**64, 10**400, 1e308, -1, None, True, "",
    ]),
    st.floats(allow_nan=False, allow_infinity=False), st.integers(), TEXT,
)  # fmt: skip
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=40
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["$$MessageSchema", "$$ContentType", "specversion", "source", "x"]),
    st.text()
    | st.binary()
    | st.integers()
    | st.sampled_from(["application/x-monitored-item-json-v1", "opc.tcp://h", "\udc80"]),
)


def check(message: Message) -> None:
    for form in FORMS:
        parts = list(form.read(message))
        assert parts, "an event of which nothing is said would vanish uncounted"
        places = [part.place for part in parts]
        seen = set(places)
        assert len(seen) == len(places), "a part twice"
        assert not any(place[:length] in seen for place in places for length in range(len(place))), "a part within a part"
        for part in parts:
            _check_part(part, message.body)


def _check_part(part: Part, body: bytes) -> None:
    if isinstance(part, NotReading):
        assert part.what in get_args(What)
        return
    if isinstance(part, Refused):
        assert part.reason in get_args(Reason)
        assert part.detail
        return
    there = at(json.loads(body), part.place)
    assert isinstance(there, dict), "a reading stands in the body"
    json.dumps(part.value, allow_nan=False)
    json.dumps(part.data, allow_nan=False)
    part.source.encode("ascii")
    assert isinstance(part.time_ns, int)


@given(st.binary(), PROPERTIES)
def test_any_bytes(body: bytes, properties: dict[str, Any]) -> None:
    check(Message(body, None, properties))


@settings(max_examples=300)
@given(JSON, PROPERTIES)
def test_any_json(body: Any, properties: dict[str, Any]) -> None:
    check(Message(json.dumps(body).encode(), "application/json", properties))


@given(st.sampled_from(CAPTURED_JSON), st.data())
def test_captured_messages_with_a_part_replaced(body: bytes, data: st.DataObject) -> None:
    document = json.loads(body)
    places = [place for place in _places(document) if place]
    if places:
        place = data.draw(st.sampled_from(places))
        at(document, place[:-1])[place[-1]] = data.draw(JSON)
    check(Message(json.dumps(document).encode()))


@given(st.sampled_from(CAPTURED), st.data())
def test_captured_messages_cut_short(body: bytes, data: st.DataObject) -> None:
    check(Message(body[: data.draw(st.integers(0, len(body)))]))


@given(st.sampled_from(CAPTURED_JSON))
def test_the_order_of_members_does_not_matter(body: bytes) -> None:
    """R1."""
    for form in FORMS:
        turned = json.dumps(_turned(json.loads(body))).encode()
        readings = [[part for part in form.read(Message(text)) if isinstance(part, Found)] for text in (body, turned)]
        assert {one.place: (one.source, one.time_ns, one.value) for one in readings[0]} == {
            one.place: (one.source, one.time_ns, one.value) for one in readings[1]
        }


def _turned(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _turned(document[name]) for name in reversed(document)}
    return [_turned(element) for element in document] if isinstance(document, list) else document


def _places(document: Any, place: Path = ()) -> list[Path]:
    found: list[Path] = [place]
    steps = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for step, inner in steps:
        found += _places(inner, (*place, step))
    return found


VALUE = {"Value": 1, "SourceTimestamp": T1}
HOSTILE: dict[str, Callable[[int], str]] = {
    "members": lambda size: json.dumps({"Payload": {f"f{n}": VALUE for n in range(size // 60)}}),
    "constants": lambda size: json.dumps({"Payload": {f"f{n}": {"Value": n} for n in range(size // 30)}}),
    "elements": lambda size: json.dumps([{"NodeId": f"n{n}", "Value": VALUE} for n in range(size // 80)]),
    "messages": lambda size: json.dumps({"Messages": [{"Payload": {"T": VALUE}}] * (size // 70)}),
    "event": lambda size: json.dumps({"MessageType": "ua-event", "Payload": {f"f{n}": n for n in range(size // 14)}
                                      | {"EventId": "A", "Time": T1}}),
    "deep": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "deep below a value": lambda size: '{"T":{"SourceTimestamp":"' + T1 + '","Value":' + "[" * 500 + "1," * (size // 2) + "1"
                                       + "]" * 500 + "}}",
    "deep behind a name": lambda size: '{"Payload":' * (size // 12) + "1" + "}" * (size // 12),
    "name": lambda size: json.dumps({"é" * (size // 6): VALUE}),
    "long server of many": lambda size: json.dumps({"Payload": {"ApplicationUri": "u" * (size // 2)}
                                                     | {f"f{n}": VALUE for n in range(size // 120)}}),
    "long group of many": lambda size: json.dumps({"DataSetWriterGroup": "g" * (size // 2),
                                                   "Messages": [{"Payload": {"T": VALUE}}] * (size // 140)}),
    "long names": lambda size: json.dumps({"Payload": {f"{n:02000}": VALUE for n in range(size // 2060)}}),
    "digits": lambda size: '{"T":{"SourceTimestamp":"2026-03-02T08:15:30.' + "1" * size + 'Z"}}',
    "number": lambda size: "1" * size,
    "integer as text": lambda size: json.dumps({"T": VALUE | {"Value": "1" * size}}),
    "large numbers": lambda size: json.dumps({"T": VALUE | {"Value": [1e22] * (size // 7)}}),
    "same member": lambda size: "{" + '"Payload":{},' * (size // 13) + '"Payload":{}}',
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear(name: str) -> None:
    """Compared within one run: eight times the size may take up to thirty times as long, where a square takes 64 times."""
    small, large = (HOSTILE[name](size).encode() for size in (32 * 1024, 256 * 1024))
    floor_s = 0.002
    assert _seconds(large) < 30 * max(_seconds(small), floor_s)


def _seconds(body: bytes) -> float:
    return seconds_of(lambda: [*FORMS[1].read(Message(body))])
