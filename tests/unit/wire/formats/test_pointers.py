"""Pointers find what RFC 6901 says, and references what stands around a part."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.formats.any_json import Json, Shape
from wire.formats.messages import Found, Message, Part
from wire.formats.pointers import doubt, reference, spots
from wire.formats.registry import doubts_of, make_format
from wire.json_pointers import PointerError, tokens

MESSAGE = Message(b"", properties={"topic": "plant/press/temp", "Line": b"7"}, system={"user-id": "u"}, annotations={"a": 1})
RFC_6901: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


def found(root: Any, pattern: str) -> list[tuple[tuple[str | int, ...], Any]]:
    return [(spot.place, spot.nodes[-1]) for spot in spots(MESSAGE, root, tokens(pattern))]


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", RFC_6901),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_examples_of_rfc_6901(pointer: str, value: Any) -> None:
    assert [node for _, node in found(RFC_6901, pointer)] == [value]


@pytest.mark.parametrize("pointer", ["/foo/2", "/foo/00", "/foo/-", "/foo/-1", "/foo/x", "/nothing", "/foo/0/x"])
def test_what_is_not_there_is_not_found(pointer: str) -> None:
    assert found(RFC_6901, pointer) == []


@pytest.mark.parametrize("pointer", ["foo", "/a~", "/a~2b", "#/foo"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(PointerError, match="is no JSON pointer"):
        tokens(pointer)


def test_an_asterisk_is_every_element_and_every_member_in_order() -> None:
    root = {"a": [{"x": 1}, {"y": 2}], "b": {"x": 3}, "c": 4}
    assert found(root, "/*/*/x") == [(("a", 0, "x"), 1)]
    assert found(root, "/*/x") == [(("b", "x"), 3)]
    assert [place for place, _ in found(root, "/*/*")] == [("a", 0), ("a", 1), ("b", "x")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/v", 5),
        ("@key", 0),
        ("0#", 0),
        ("1#", "values"),
        ("2#", None),
        ("2/ts", "t1"),
        ("3/ts", None),
        ("body:/ts", "t1"),
        ("property:line", "7"),
        ("property:none", None),
        ("system:user-id", "u"),
        ("annotation:a", "1"),
        ("topic:1", "plant"),
        ("topic:-1", "temp"),
        ("topic:4", None),
        ("text:press 7", "press 7"),
        ("", {"v": 5}),
    ],
)
def test_references_see_what_is_around_a_part(text: str, value: Any) -> None:
    (spot,) = spots(MESSAGE, {"ts": "t1", "values": [{"v": 5}]}, ("values", "*"))
    assert reference(text)(spot) == value


@pytest.mark.parametrize(
    "text",
    [
        "/MessageId",
        "body:/PublisherId",
        "1/SequenceNumber",
        "/a/ServerTimestamp",
        "body:/seq",
        "/bdSeq",
        "/rseq",
        "/alias",
        "/tags/host",
        "property:ce_id",
        "property:time",
        "property:cloudEvents_id",
        "property:iothub-creation-time-utc",
        "property:message-id",
        "property:iothub-connection-device-id",
        "body:/correlation-id",
        "outer:/MessageId",
        "annotation:iothub-connection-auth-generation-id",
        "annotation:x-opt-enqueued-time",
        "system:x-opt-sequence-number",
    ],
)
def test_what_each_gateway_makes_for_itself_is_refused_by_name(text: str) -> None:
    name = text.replace(":", "/").rpartition("/")[2]
    with pytest.raises(PointerError, match=f"{name} .*would never match"):
        reference(text)


DOUBTFUL = [
    "system:message-id",
    "system:MessageId",
    "system:correlation-id",
    "system:creation-time",
    "annotation:iothub-connection-device-id",
    "system:iothub-connection-device-id",
]


@pytest.mark.parametrize("text", DOUBTFUL)
def test_what_a_plant_could_set_equal_is_accepted_and_doubted(text: str) -> None:
    name = text.partition(":")[2]
    message = Message(b"1", system={name: "x"}, annotations={name: "x"})
    (spot,) = spots(message, 1, ())
    assert reference(text)(spot) == "x"
    assert (reason := doubt(text)) is not None
    assert reason.startswith(f"{text} is ")
    assert "leave it out" in reason


def test_no_two_values_that_are_no_text_become_one() -> None:
    ids = [bytes([0xFF, number]) for number in range(256)]
    messages = [Message(b"1", system={"message-id": one}, properties={"p": one}) for one in ids]
    for text in ("system:message-id", "property:p"):
        assert len({reference(text)(spot) for message in messages for spot in spots(message, 1, ())}) == len(ids)


@pytest.mark.parametrize(
    "text", ["system:user-id", "system:content-type", "annotation:a", "property:a", "/v", "", "text:system:message-id"]
)
def test_what_is_not_known_to_differ_is_not_doubted(text: str) -> None:
    reference(text)
    assert doubt(text) is None


def test_a_doubt_names_the_member_of_the_shape_that_is_doubted() -> None:
    shape = {"source": ["/a", "system:message-id"], "time": "system:creation-time", "has": ["system:correlation-id"]}
    fields = {"value": ["system:message-id"], "content": ["/b", "system:correlation-id"]}
    counted = {"sequence": "system:message-id", "epoch": "annotation:iothub-connection-device-id"}
    (alone, two) = (json.dumps(shapes) for shapes in (shape | fields | counted, [{"source": ["/a"]}, shape]))
    members = [".source", ".time", ".value", ".content", ".sequence", ".epoch"]
    assert [member for member, _ in doubts_of("json", alone)] == members
    assert [member for member, _ in doubts_of("json", two)] == ["[1].source", "[1].time"]
    assert list(doubts_of("telegraf", "{}")) == []
    make_format("json", two)


def read(shape: Shape, body: Any) -> list[Part]:
    return list(Json(shape).read(Message(json.dumps(body).encode())))


@pytest.mark.parametrize(
    ("held", "place"), [(json.dumps([{"v": 1}]), ("data", 0)), (b64encode(b'[{"v": 1}]').decode(), ("data", 0))]
)
def test_what_is_around_a_text_with_json_in_it_is_the_outer_body(held: str, place: tuple[Any, ...]) -> None:
    shape = Shape(readings="/*", inside="/data", source=["outer:/subject", "body:/0/v", "outer:/none/0"])
    (refused,) = read(shape, {"subject": "press", "data": held})
    assert "there is no outer:/none/0" in str(refused)
    shape = Shape(readings="/*", inside="/data", source=["outer:/subject", "body:/0/v"], value=["outer:/n"])
    (found_,) = read(shape, {"subject": "press", "n": [7], "data": held})
    assert isinstance(found_, Found)
    assert (found_.source, found_.place, found_.value) == ("press/1", place, [7])


def test_a_body_that_is_the_text_has_itself_around_it() -> None:
    (found_,) = read(Shape(inside="", source=["/tag"], value=["outer:"]), '{"tag": "a"}')
    assert isinstance(found_, Found)
    assert found_.value == '{"tag": "a"}'


def test_without_a_text_that_holds_json_nothing_is_around_it() -> None:
    with pytest.raises(PointerError, match=r"outer:/subject is .* `inside`, which is not set"):
        Json(Shape(source=["outer:/subject"]))


@pytest.mark.parametrize("text", ["topic:0", "topic:x", "properties:a", "a", "outer:a"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(PointerError):
        reference(text)


@given(st.text())
def test_any_name_can_be_pointed_at(name: str) -> None:
    escaped = name.replace("~", "~0").replace("/", "~1")
    if name != "*":
        assert found({name: 1, name + "x": 2}, f"/{escaped}") == [((name,), 1)]
