"""Leaves readings out of a JSON body, by ranges of its text: what remains is the sender's, character for character. Pure.

What holds nothing but readings that are left out goes with them: an empty payload takes its message along. Everything else
stays, since it describes the readings that do.
"""

from __future__ import annotations

import codecs
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wire.formats.bodies import json_of
from wire.formats.messages import Path, Refused

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_LONG_BOMS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"))
NULL = "null"
_space = re.compile(r"[ \t\n\r\ufeff]*").match
_name = re.compile(r'"((?:[^"\\]|\\.)*+)"[ \t\n\r]*:[ \t\n\r]*', re.DOTALL).match
_token = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
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


@dataclass(slots=True)
class _Node:
    """A place in the body that is a reading, or holds some."""

    readings: list[int] = field(default_factory=list)
    """Those that are this place; more than one only if the format names it twice."""
    within: dict[str | int, _Node] = field(default_factory=dict)
    """The places in it that hold readings, by name or index."""
    is_fixed: bool = False
    """Whether its position in an array must stay; then null takes its place."""
    last: _Part | None = None
    """The part of the text that is at this place. Where a name stands twice in an object, the last one counts."""

    def holds(self, kept: Collection[int]) -> bool:
        return any(index in kept for index in self.readings) or any(node.holds(kept) for node in self.within.values())


@dataclass(slots=True)
class _Part:
    """A part of the text that is at a node's place. Positions are those of characters."""

    node: _Node
    start: int
    end: int = 0
    items: list[tuple[int, int, _Part | None]] = field(default_factory=list)
    """Start and end of every member or element, and its part if there are readings in it."""
    inner: _Text | None = None
    """The text in this part, if that is a string that holds JSON."""

    def is_null_without_readings(self, start: int) -> bool:
        """`start`: that of its item, which begins with a name in an object."""
        return self.node.is_fixed and start == self.start


class JsonLayout:
    """Layout of a JSON body, in any encoding of JSON."""

    def __init__(self, body: bytes, places: Sequence[Path], fixed: Collection[Path] = ()) -> None:
        """`places`: where each reading is, as the format that read the body says; the body must be readable JSON. `fixed`:
        places of which those that are elements of arrays become null, since their positions name something."""
        self._encoding = _encoding(body)
        self._places = places
        root = _Node()
        for index, place in enumerate(places):
            _node(root, place).readings.append(index)
        for place in fixed:
            _node(root, place).is_fixed = True
        self._text = _Text(body.decode(self._encoding), root)

    def part(self, index: int) -> bytes:
        return self._text.part(self._places[index]).encode(self._encoding)

    def holding(self, indexes: Collection[int]) -> bytes:
        return self._text.holding(frozenset(indexes)).encode(self._encoding)


class _Text:
    """One text of JSON: that of the body, or one in a string of another."""

    def __init__(self, text: str, root: _Node) -> None:
        self._text = text
        self._root = self._laid_out(root, _skip_space(text, 0))

    def part(self, place: Path) -> str:
        part = self._root
        for at, key in enumerate(place):
            if part.inner is not None:
                return part.inner.part(place[at:])
            part = part.node.within[key].last or part
        return self._text[part.start : part.end]

    def holding(self, kept: frozenset[int]) -> str:
        pieces = [self._text[: self._root.start]]
        self._write(self._root, kept, pieces)
        pieces.append(self._text[self._root.end :])
        return "".join(pieces)

    def _laid_out(self, node: _Node, start: int) -> _Part:
        text, symbol = self._text, self._text[start]
        part = node.last = _Part(node, start)
        if node.within and symbol in "[{":
            self._lay_out_items(part, is_object=symbol == "{")
            return part
        part.end = _end_of_value(text, start)
        if node.within and symbol == '"' and (inner := _json_in(text[start : part.end])) is not None:
            part.inner = _Text(inner, node)
            node.last = part
        return part

    def _lay_out_items(self, part: _Part, *, is_object: bool) -> None:
        text, within, index = self._text, part.node.within, 0
        at = _skip_space(text, part.start + 1)
        while text[at] not in "]}":
            key, value = _member(text, at) if is_object else (index, at)
            child = self._laid_out(within[key], value) if key in within else None
            end = child.end if child else _end_of_value(text, value)
            part.items.append((at, end, child))
            index += 1
            at = _skip_space(text, end)
            if text[at] == ",":
                at = _skip_space(text, at + 1)
        part.end = at + 1

    def _write(self, part: _Part, kept: frozenset[int], pieces: list[str]) -> None:
        text, before, is_first = self._text, part.start, True
        if part.inner is not None:
            pieces.append(_string_of(part.inner.holding(kept), text[part.start : part.end]))
            return
        if part.items:
            before += 1
            pieces.append(text[part.start])
        for start, end, child in part.items:
            if child is None or child.node.holds(kept) or child.is_null_without_readings(start):
                # What stands before an item stays with it, but no comma before the first.
                gap = text[before:start]
                pieces.append(gap.lstrip(" \t\n\r,") if is_first and "," in gap else gap)
                is_first = False
                self._write_item(start, end, child, kept, pieces)
            before = end
        pieces.append(text[before : part.end])

    def _write_item(self, start: int, end: int, child: _Part | None, kept: frozenset[int], pieces: list[str]) -> None:
        if child is None:
            pieces.append(self._text[start:end])
        elif child.node.holds(kept):
            pieces.append(self._text[start : child.start])
            self._write(child, kept, pieces)
        else:
            pieces.append(NULL)


def _node(root: _Node, place: Path) -> _Node:
    node = root
    for key in place:
        node = node.within.setdefault(key, _Node())
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


def _member(text: str, at: int) -> tuple[str, int]:
    """The name of a member, and where its value begins."""
    match = _name(text, at)
    if match is None:
        raise ValueError(f"there is no member at {at}")
    name = match[1]
    return (json.loads(f'"{name}"', strict=False) if "\\" in name else name), match.end()


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
