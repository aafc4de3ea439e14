"""A value in OPC UA's JSON encoding, made from its binary encoding, which alone tells all types apart. Pure.

It is the non-reversible form, which needs no knowledge of OPC UA: no type tags, names by their URIs, matrices as arrays of
arrays. Two things are different: an enumeration is its number everywhere, since a variable's value does not say that it is
one; and a matrix says its dimensions only by its shape.

Source: OPC 10000-6, 5.2 (binary encoding) and 5.4 of version 1.04 (JSON encoding; annex H of 1.05).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_sender.sources.opcua.addresses import Key
from edge_sender.sources.opcua.built_in import BuiltInReader, base64_of, number_of, text_of, without_nulls
from edge_sender.sources.opcua.structures import Field, Form, Structure
from edge_sender.sources.opcua.times import iso8601
from edge_sender.sources.opcua.walking import MOST_LEVELS, Kind, Walker

XML_BODY = 2


@dataclass(frozen=True, slots=True)
class Values:
    """How the values of one server are read."""

    namespaces: Sequence[str]
    structures: Mapping[Key, Structure]
    """By the node of their binary encoding."""

    def json(self, variant: bytes) -> Any:
        """Raises ValueError at malformed bytes."""
        return ValueReader(variant, self.namespaces, self.structures).variant_value()


def text_in(variant: bytes) -> bytes | None:
    """The bytes of a String or ByteString; None for any other value."""
    return Walker(variant, 1).octets() if variant[:1] in (b"\x0c", b"\x0f") else None


class ValueReader(BuiltInReader):
    """Reads values from `data`, from `at` on. All calls raise ValueError at malformed bytes."""

    def __init__(self, data: bytes, namespaces: Sequence[str], structures: Mapping[Key, Structure], at: int = 0) -> None:
        super().__init__(data, namespaces, at)
        self._structures = structures
        self._depth = 0
        self._elements_left = len(data) - at
        """Of arrays: each one needs a byte at least, but for those that need none, which must not fill the memory."""

    def variant_value(self) -> Any:
        mask = self.byte()
        kind = mask & 0x3F
        if not mask & 0x80:
            return self.value(kind)
        elements = self.array(kind)
        return _nested(elements, self.array(Kind.INT32)) if mask & 0x40 else elements

    def array(self, kind: int | Structure) -> list[Any] | None:
        count = self.int32()
        return None if count < 0 else self._elements(kind, count)

    def _elements(self, kind: int | Structure, count: int) -> list[Any]:
        if count > self._elements_left:
            raise ValueError("an array is longer than what holds it")
        self._elements_left -= count
        return [self.value(kind) for _ in range(count)]

    def value(self, kind: int | Structure) -> Any:
        if self._depth >= MOST_LEVELS:
            raise ValueError("it is nested too deeply")
        self._depth += 1
        value = self._structure(kind) if isinstance(kind, Structure) else _READ.get(kind, ValueReader.byte_string)(self)
        self._depth -= 1
        return value

    # --- structures

    def _structure(self, structure: Structure) -> Any:
        if structure.form is Form.UNION:
            return self._union(structure)
        present = self.uint32() if structure.form is Form.OPTIONAL_FIELDS else 0
        members = {}
        for field in structure.fields:
            if field.is_optional:
                is_there, present = present & 1, present >> 1
                if not is_there:
                    continue
            members[field.name] = self._field(field)
        return without_nulls(members)

    def _union(self, structure: Structure) -> Any:
        """The value alone."""
        chosen = self.uint32()
        if chosen > len(structure.fields):
            raise ValueError("a union has no such field")
        return self._field(structure.fields[chosen - 1]) if chosen else None

    def _field(self, field: Field) -> Any:
        if field.rank == 0:
            return self.value(field.kind)
        if field.rank == 1:
            return self.array(field.kind)
        dimensions = self.array(Kind.INT32)
        return _nested(self._elements(field.kind, _size(dimensions)), dimensions)

    def extension_object_value(self) -> Any:
        """The members of a structure; the bytes in Base64 of one that is unknown, or not what its definition says."""
        (namespace, identifier), encoding = self._node()[1:3], self.byte()
        if encoding == 0:
            return None
        body = self.octets()
        structure = self._structures.get((namespace, identifier))
        if structure is None or encoding == XML_BODY:
            return text_of(body) if encoding == XML_BODY else base64_of(body)
        reader = ValueReader(body, self._namespaces, self._structures)
        reader._depth = self._depth
        try:
            value = reader.value(structure)
        except ValueError:
            return base64_of(body)
        return value if reader.at == len(body) else base64_of(body)

    def data_value(self) -> dict[str, Any]:
        mask = self.byte()
        members = {
            "Value": self.variant_value() if mask & 0x01 else None,
            "Status": self.status_code() if mask & 0x02 else None,
            "SourceTimestamp": iso8601(self.int64()) if mask & 0x04 else None,
            "SourcePicoseconds": self._number("<H", 2) if mask & 0x10 else None,
            "ServerTimestamp": iso8601(self.int64()) if mask & 0x08 else None,
            "ServerPicoseconds": self._number("<H", 2) if mask & 0x20 else None,
        }
        return without_nulls(members)

    def diagnostic_info(self) -> dict[str, Any]:
        mask = self.byte()
        names = ("SymbolicId", "NamespaceUri", "Locale", "LocalizedText")
        members: dict[str, Any] = {name: self.int32() for bit, name in enumerate(names) if mask & 1 << bit}
        members["AdditionalInfo"] = self.string() if mask & 0x10 else None
        members["InnerStatusCode"] = self.status_code() if mask & 0x20 else None
        members["InnerDiagnosticInfo"] = self.value(Kind.DIAGNOSTIC_INFO) if mask & 0x40 else None
        return without_nulls(members)


def _nested(elements: list[Any] | None, dimensions: Sequence[int] | None) -> list[Any] | None:
    """A matrix, from its elements row by row."""
    if elements is None or not dimensions:
        return elements
    if _size(dimensions) != len(elements):
        raise ValueError("a matrix has other dimensions than elements")
    for size in reversed(dimensions[1:]):
        elements = [elements[at : at + size] for at in range(0, len(elements), size or 1)]
    return elements


def _size(dimensions: Sequence[int] | None) -> int:
    if dimensions is None or any(size < 0 for size in dimensions):
        raise ValueError("a matrix has no dimensions")
    return math.prod(dimensions)


_READ: dict[int, Callable[[ValueReader], Any]] = {
    Kind.NULL: lambda _: None,
    Kind.BOOLEAN: lambda reader: reader.byte() != 0,
    Kind.SBYTE: number_of("<b"),
    Kind.BYTE: number_of("<B"),
    Kind.INT16: number_of("<h"),
    Kind.UINT16: number_of("<H"),
    Kind.INT32: number_of("<i"),
    Kind.UINT32: number_of("<I"),
    Kind.INT64: lambda reader: str(reader.number("<q", 8)),
    Kind.UINT64: lambda reader: str(reader.number("<Q", 8)),
    Kind.FLOAT: ValueReader.float32,
    Kind.DOUBLE: ValueReader.float64,
    Kind.STRING: ValueReader.string,
    Kind.DATE_TIME: lambda reader: iso8601(reader.int64()),
    Kind.GUID: ValueReader.guid,
    Kind.XML_ELEMENT: ValueReader.string,
    Kind.NODE_ID: ValueReader.node_id_value,
    Kind.EXPANDED_NODE_ID: ValueReader.node_id_value,
    Kind.STATUS_CODE: ValueReader.status_code,
    Kind.QUALIFIED_NAME: ValueReader.qualified_name,
    Kind.LOCALIZED_TEXT: ValueReader.localized_text,
    Kind.EXTENSION_OBJECT: ValueReader.extension_object_value,
    Kind.DATA_VALUE: ValueReader.data_value,
    Kind.VARIANT: ValueReader.variant_value,
    Kind.DIAGNOSTIC_INFO: ValueReader.diagnostic_info,
}
"""By built-in type; all others are byte strings."""
