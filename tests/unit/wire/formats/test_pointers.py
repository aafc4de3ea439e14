"""Pointers find what RFC 6901 says, and references what stands around a part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.formats.messages import Message
from wire.formats.pointers import PointerError, reference, spots, tokens

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
        "system:message-id",
        "system:creation-time",
        "annotation:iothub-connection-device-id",
        "annotation:x-opt-enqueued-time",
    ],
)
def test_what_each_gateway_makes_for_itself_is_refused_by_name(text: str) -> None:
    name = text.replace(":", "/").rpartition("/")[2]
    with pytest.raises(PointerError, match=f"{name} .*would never match"):
        reference(text)


@pytest.mark.parametrize("text", ["topic:0", "topic:x", "properties:a", "a"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(PointerError):
        reference(text)


@given(st.text())
def test_any_name_can_be_pointed_at(name: str) -> None:
    escaped = name.replace("~", "~0").replace("/", "~1")
    if name != "*":
        assert found({name: 1, name + "x": 2}, f"/{escaped}") == [((name,), 1)]
