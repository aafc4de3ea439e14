"""Reads the fields of a protobuf message, without a schema. Source: protobuf.dev, Encoding."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from wire.formats.messages import Path

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10


class Field(NamedTuple):
    number: int
    value: int | bytes
    """A number for varints, bytes for everything else."""
    start: int
    end: int
    """Where the field is in the message, with its tag."""


def fields(data: bytes) -> Iterator[Field]:
    """All fields in order. Raises ValueError."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield Field(number, value, start, at)
            continue
        size, at = _varint(data, at) if kind == BYTES else ({FIXED64: 8, FIXED32: 4}.get(kind, -1), at)
        if size < 0 or at + size > len(data):
            raise ValueError("it is not protobuf, or it is truncated")
        yield Field(number, data[at : at + size], start, at + size)
        at += size


class RepeatedFieldLayout:
    """Layout (wire/formats/cutting.py) of a message whose readings are the elements of one repeated field."""

    def __init__(self, body: bytes, places: Sequence[Path], _: Collection[Path], *, number: int) -> None:
        """`places`: each ends with the index of an element, which has a name of its own. The body must be readable
        protobuf."""
        self._body = body
        found = list(fields(body))
        elements = [at for at, field in enumerate(found) if field.number == number and isinstance(field.value, bytes)]
        self._fields = found
        self._places = [elements[int(place[-1])] for place in places]

    def part(self, index: int) -> bytes:
        """The reading's own message, without tag and length."""
        value = self._fields[self._places[index]].value
        assert isinstance(value, bytes)
        return value

    def holding(self, indexes: Collection[int]) -> bytes:
        gone = {place for index, place in enumerate(self._places) if index not in indexes}
        return b"".join(self._body[f.start : f.end] for at, f in enumerate(self._fields) if at not in gone)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(MAX_VARINT_BYTES):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("it is not protobuf, or it is truncated")
