"""Leaves readings out of a JSON body, by ranges of its text: what remains is the sender's, character for character. Pure.

What holds nothing but readings that are left out goes with them: an empty payload takes its message along. Everything else
stays, since it describes the readings that do.
"""

from __future__ import annotations

import codecs
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from wire.formats.bodies import json_of
from wire.formats.messages import Path, Refused

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_LONG_BOMS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"))
NULL = "null"
_SPACE, _CHARACTERS = r"[ \t\n\r]*+", r'[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING = f'"{_CHARACTERS}"'
_space = re.compile(r"[ \t\n\r\ufeff]*+").match
_FLAT = rf'\{{[^"{{}}]*+(?:{_STRING}[^"{{}}]*+)*+\}}'
_SIMPLE = rf'{_STRING}|[^"{{}}\[\],: \t\n\r]++|\{{[^"{{}}]*+(?:(?:{_STRING}|{_FLAT})[^"{{}}]*+)*+\}}'
"""Strings, numbers and words, and objects that hold objects, but these no others: they end where the match ends."""
_simple = re.compile(rf"({_SIMPLE}){_SPACE},?{_SPACE}", re.DOTALL).match
_name = re.compile(rf'"({_CHARACTERS})"{_SPACE}:{_SPACE}', re.DOTALL).match
_separator = re.compile(rf"{_SPACE},?{_SPACE}").match
_token = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_scan = json.JSONDecoder(parse_int=str, parse_float=str, strict=False).raw_decode


class MakeLayout(Protocol):
    def __call__(self, body: bytes, places: Sequence[Path], fixed: Collection[Path], /) -> Layout:
        """`places`: where each reading is, as the format says that read the body. `fixed`: see JsonLayout."""
        ...


class Layout(Protocol):
    """Where the readings of a body are in its bytes."""

    def part(self, index: int) -> bytes:
        """The bytes of one reading."""
        ...

    def holding(self, indexes: Collection[int]) -> bytes:
        """The body with these readings only, of which there is at least one."""
        ...


@dataclass(slots=True, eq=False)
class _Node:
    """A place in the body that is a reading, or holds some."""

    within: dict[str | int, _Node] = field(default_factory=dict)
    """The places in it that hold readings, by name or index."""
    is_fixed: bool = False
    """Whether its position in an array must stay; then null takes its place."""
    part: _Part | tuple[int, int] = (0, 0)
    """What is at this place, or just where it is. Where a name stands twice in an object, the last one counts."""


@dataclass(slots=True)
class _Part:
    """A part of the text that holds readings. Positions are those of characters."""

    start: int
    end: int = 0
    items: list[tuple[int, int, int, _Node | None, _Part | None]] = field(default_factory=list)
    """Of every member or element: where it starts, where its value starts (which is later in objects), where it ends, its
    node if it is or holds a reading, and its part if it holds some."""
    inner: _Text | None = None
    """The text in this part, if that is a string that holds JSON."""


class JsonLayout:
    """Layout of a JSON body, in any encoding of JSON."""

    def __init__(self, body: bytes, places: Sequence[Path], fixed: Collection[Path] = ()) -> None:
        """`places`: where each reading is, as the format that read the body says; the body must be readable JSON. `fixed`:
        places of which those that are elements of arrays become null, since their positions name something."""
        self._encoding = _encoding(body)
        self._places = places
        self._root = _Node()
        for place in places:
            _node(self._root, place)
        for place in fixed:
            _node(self._root, place).is_fixed = True
        self._text = _Text(body.decode(self._encoding), self._root)

    def part(self, index: int) -> bytes:
        return self._text.part(self._places[index]).encode(self._encoding)

    def holding(self, indexes: Collection[int]) -> bytes:
        kept = set()
        for index in indexes:
            node = self._root
            for key in self._places[index]:
                node = node.within[key]
                kept.add(node)
        return self._text.holding(kept).encode(self._encoding)


class _Text:
    """One text of JSON: that of the body, or one in a string of another."""

    def __init__(self, text: str, root: _Node) -> None:
        self._text = text
        self._root = root
        self._start = _skip_space(text, 0)
        self._end, self._part = self._lay_out(root, self._start)

    def part(self, place: Path) -> str:
        node, part = self._root, self._part
        for at, key in enumerate(place):
            if part is not None and part.inner is not None:
                return part.inner.part(place[at:])
            node = node.within[key]
            part = node.part if isinstance(node.part, _Part) else None
        start, end = (self._start, self._end) if not place else _span(node)
        return self._text[start:end]

    def holding(self, kept: Set[_Node]) -> str:
        """`kept`: the places that stay, at least in part."""
        pieces = [self._text[: self._start]]
        if self._part is None:
            pieces.append(self._text[self._start : self._end])
        else:
            self._write(self._part, kept, pieces)
        pieces.append(self._text[self._end :])
        return "".join(pieces)

    def _lay_out(self, node: _Node, start: int) -> tuple[int, _Part | None]:
        """Where the value ends that is at this node's place and starts here, and its part if it holds readings."""
        text, symbol = self._text, self._text[start]
        if node.within and symbol in "[{":
            part = _Part(start)
            part.end = self._lay_out_items(part, node.within, is_object=symbol == "{")
            return part.end, part
        end = _end_of_value(text, start)
        if node.within and symbol == '"' and (inner := _json_in(text[start:end])) is not None:
            return end, _Part(start, end, inner=_Text(inner, node))
        return end, None

    def _lay_out_items(self, part: _Part, within: dict[str | int, _Node], *, is_object: bool) -> int:
        text, items, index = self._text, part.items, 0
        at = _skip_space(text, part.start + 1)
        while text[at] not in "]}":
            start = at
            key: str | int = index
            child: _Part | None = None
            if is_object:
                name = _name(text, at)
                assert name is not None, "the body is readable"
                at, key = name.end(), _unescaped(name[1])
            node, value = within.get(key), at
            if node is not None and node.within:
                end, child = self._lay_out(node, value)
                at = _end_of_separator(text, end)
            elif (simple := _simple(text, value)) is not None:
                end, at = simple.end(1), simple.end()
            else:
                end = _end_of_value(text, value)
                at = _end_of_separator(text, end)
            if node is not None:
                node.part = child or (value, end)
            items.append((start, value, end, node, child))
            index += 1
        return at + 1

    def _write(self, part: _Part, kept: Set[_Node], pieces: list[str]) -> None:
        """Whole runs of items that stay are taken at once, with what stands between them."""
        text = self._text
        if part.inner is not None:
            pieces.append(_string_of(part.inner.holding(kept), text[part.start : part.end]))
            return
        taken = end = part.start + 1
        pieces.append(text[part.start])
        is_first = True
        for start, value, after, node, child in part.items:
            if node is None or node in kept:
                if is_first and end != part.start + 1:
                    taken = start  # no comma before the first
                is_first = False
                if child is not None:
                    pieces.append(text[taken:value])
                    self._write(child, kept, pieces)
                    taken = after
            elif node.is_fixed and start == value:
                pieces += (text[taken if not is_first else start : start], NULL)
                is_first, taken = False, after
            else:
                pieces.append("" if is_first else text[taken:end])
                taken = after
            end = after
        pieces.append(text[taken : part.end])


def _span(node: _Node) -> tuple[int, int]:
    return (node.part.start, node.part.end) if isinstance(node.part, _Part) else node.part


def _node(root: _Node, place: Path) -> _Node:
    node = root
    for key in place:
        child = node.within.get(key)
        if child is None:
            child = node.within[key] = _Node()
        node = child
    return node


def _encoding(body: bytes) -> str:
    """A mark at the beginning, which tells the order of bytes, stays in the text."""
    for bom, encoding in (*_LONG_BOMS, *_BOMS):
        if body.startswith(bom):
            return encoding
    return json.detect_encoding(body)


def _skip_space(text: str, at: int) -> int:
    match = _space(text, at)
    return match.end() if match else at


def _unescaped(name: str) -> str:
    return str(json.loads(f'"{name}"', strict=False)) if "\\" in name else name


def _end_of_separator(text: str, at: int) -> int:
    match = _separator(text, at)
    return match.end() if match else at


def _end_of_value(text: str, at: int) -> int:
    try:
        _, end = _scan(text, at)
    except RecursionError:  # it was readable where more of the stack was left
        end = _end_of_brackets(text, at)
    return int(end)


def _end_of_brackets(text: str, at: int) -> int:
    depth = 0
    for token in _token.finditer(text, at):
        symbol = token[0]
        depth += (symbol in "[{") - (symbol in "]}")
        if depth == 0:
            return token.end()
    raise ValueError("the brackets are not balanced")


def _json_in(string: str) -> str | None:
    """The JSON that a JSON string holds, as it is or in base64."""
    text = json.loads(string, strict=False)
    if _is_json(text):
        return str(text)
    try:
        text = b64decode(text, validate=True).decode()
    except ValueError:
        return None
    return text if _is_json(text) else None


def _is_json(text: str) -> bool:
    return not isinstance(json_of(text.encode("utf-8", "surrogatepass")), Refused)


def _string_of(inner: str, before: str) -> str:
    """The inner text, in a JSON string like the one before."""
    if _is_json(json.loads(before, strict=False)):
        return json.dumps(inner, ensure_ascii=before.isascii())
    return json.dumps(b64encode(inner.encode()).decode())
