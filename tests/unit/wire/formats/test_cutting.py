"""Readings are left out of a body by ranges of its text: what remains is the sender's, and reads as it did."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.formats.cutting import JsonLayout
from wire.formats.messages import Path


def cut(body: str, places: Sequence[Path], *kept: int) -> str:
    return JsonLayout(body.encode(), places).holding(kept).decode()


def at_depth(frames: int, call: Callable[[], JsonLayout]) -> JsonLayout:
    return at_depth(frames - 1, call) if frames else call()


def test_elements_go_with_their_commas() -> None:
    body, places = '[ {"a": 1.0} , 2e1,\n 3 ]', [(0,), (1,), (2,)]
    assert cut(body, places, 0, 1, 2) == body
    assert cut(body, places, 0) == '[ {"a": 1.0} ]'
    assert cut(body, places, 1) == "[2e1 ]"
    assert cut(body, places, 0, 2) == '[ {"a": 1.0},\n 3 ]'
    assert cut(body, places, 1, 2) == "[2e1,\n 3 ]"


def test_what_holds_no_reading_any_more_goes_and_what_describes_the_others_stays() -> None:
    body = '{"id":"m","Messages":[{"w":"a","Payload":{"x":1,"y":2}},{"w":"b","Payload":{"x":3}},{"keepalive":true}],"k":{}}'
    places: list[Path] = [("Messages", 0, "Payload", "x"), ("Messages", 0, "Payload", "y"), ("Messages", 1, "Payload", "x")]
    assert cut(body, places, 1) == '{"id":"m","Messages":[{"w":"a","Payload":{"y":2}},{"keepalive":true}],"k":{}}'
    assert cut(body, places, 2) == '{"id":"m","Messages":[{"w":"b","Payload":{"x":3}},{"keepalive":true}],"k":{}}'


def test_a_name_that_stands_twice_is_one_reading() -> None:
    body = '{"P":{"x":1,"y":0},"P":{"x":2,"\\u0079":3,"x":4}}'
    places: list[Path] = [("P", "x"), ("P", "y")]
    assert cut(body, places, 1) == '{"P":{"y":0},"P":{"\\u0079":3}}'
    assert cut(body, places, 0) == '{"P":{"x":1},"P":{"x":2,"x":4}}'
    assert JsonLayout(body.encode(), places).part(0) == b"4"


def test_a_name_that_stands_for_something_else_first_is_left_as_it_is() -> None:
    assert cut('{"P":"no json","P":{"x":1,"y":2}}', [("P", "x"), ("P", "y")], 0) == '{"P":"no json","P":{"x":1}}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_the_encoding_and_its_mark_stay(encoding: str) -> None:
    layout = JsonLayout('{"ü":[1,2]}'.encode(encoding), [("ü", 0), ("ü", 1)])
    assert layout.holding({1}) == '{"ü":[2]}'.encode(encoding)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_in_a_string_is_cut_inside_it(ascii_only: bool) -> None:
    inner = '{"ü": [1, 2, 3]}'
    body = json.dumps({"data": inner, "n": 1}, ensure_ascii=ascii_only)
    places: list[Path] = [("data", "ü", 0), ("data", "ü", 1), ("data", "ü", 2)]
    assert cut(body, places, 0, 2) == json.dumps({"data": '{"ü": [1, 3]}', "n": 1}, ensure_ascii=ascii_only)
    assert JsonLayout(body.encode(), places).part(1) == b"2"
    assert cut(json.dumps(json.dumps([7, 8])), [(0,), (1,)], 1) == '"[8]"'


def test_json_in_base64_is_cut_inside_it() -> None:
    body = json.dumps({"data_base64": b64encode(b"[1,2]").decode()})
    text = cut(body, [("data_base64", 0), ("data_base64", 1)], 1)
    assert json.loads(text)["data_base64"] == b64encode(b"[2]").decode()


def test_where_less_of_the_stack_is_left_it_cuts_all_the_same() -> None:
    deep = "[" * 700 + '"]"' + "]" * 700
    layout = at_depth(300, lambda: JsonLayout(f'[{deep},"x"]'.encode(), [(0,), (1,)]))
    assert layout.holding({0}) == f"[{deep}]".encode()


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def _places(value: Any, place: Path = ()) -> Iterator[Path]:
    yield place
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _places(child, (*place, key))


def _without(value: Any, place: Path, readings: set[Path], kept: set[Path]) -> Any:
    """The same by a model: what is kept, and what is no reading and holds none."""

    def stays(at: Path) -> bool:
        own = {reading for reading in readings if reading[: len(at)] == at}
        return not own or bool(own & kept)

    if isinstance(value, dict):
        names = [name for name in value if stays((*place, name))]
        return {name: _without(value[name], (*place, name), readings, kept) for name in names}
    if isinstance(value, list):
        return [_without(child, (*place, i), readings, kept) for i, child in enumerate(value) if stays((*place, i))]
    return value


@given(st.data(), VALUES, st.booleans())
def test_what_is_cut_is_gone_and_all_else_is_there(data: st.DataObject, value: Any, indent: bool) -> None:
    body = json.dumps(value, indent=1 if indent else None, ensure_ascii=indent)
    places = data.draw(st.lists(st.sampled_from(list(_places(value))), unique=True, min_size=1))
    kept = data.draw(st.sets(st.sampled_from(range(len(places))), min_size=1))
    chosen = {places[index] for index in kept}
    text = cut(body, places, *kept)
    assert json.loads(text) == _without(value, (), set(places), chosen)
    remaining = iter(body)
    assert all(character in remaining for character in text), "what remains is the sender's, in order"
