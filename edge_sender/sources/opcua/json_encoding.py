"""A value in OPC UA's JSON encoding, made from its binary encoding, which alone tells all types apart. Pure.

It is the non-reversible form, which needs no knowledge of OPC UA: no type tags, names by their URIs, matrices as arrays of
arrays. Two things are different: an enumeration is its number everywhere, since a variable's value does not say that it is
one; and a matrix says its dimensions only by its shape.

Source: OPC 10000-6, 5.2 (binary encoding) and 5.4 of version 1.04 (JSON encoding; annex H of 1.05).
"""

from __future__ import annotations

import base64
import math
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from asyncua.ua.status_codes import code_to_name_doc

from edge_sender.sources.opcua.addresses import Key
from edge_sender.sources.opcua.structures import Field, Form, Structure
from edge_sender.sources.opcua.times import iso8601
from edge_sender.sources.opcua.walking import MOST_LEVELS, Kind, Walker

NAMED_BITS = 0xFFFF0000
"""The part of a status that has a name; the rest are details."""
XML_BODY = 2
FLOAT_DIGITS = range(6, 10)
"""So many are needed to tell two 32-bit numbers apart; most need the fewest."""


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


class ValueReader(Walker):
    """Reads values from `data`, from `at` on. All calls raise ValueError at malformed bytes."""

    def __init__(self, data: bytes, namespaces: Sequence[str], structures: Mapping[Key, Structure], at: int = 0) -> None:
        super().__init__(data, at)
        self._namespaces = namespaces
        self._structures = structures
        self._depth = 0

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
        if count > len(self.data) - self.at:  # each one has a byte at least
            raise ValueError("an array is longer than what holds it")
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
        return _without_nulls(members)

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
        """The members of a structure; of an unknown one the bytes in Base64."""
        (namespace, identifier), encoding = self._node()[1:3], self.byte()
        if encoding == 0:
            return None
        body = self.octets()
        structure = self._structures.get((namespace, identifier))
        if structure is None or encoding == XML_BODY:
            return _text(body) if encoding == XML_BODY else _base64(body)
        reader = ValueReader(body, self._namespaces, self._structures)
        reader._depth = self._depth
        return reader.value(structure)

    # --- built-in types

    def number(self, form: str, size: int) -> Any:
        return self._number(form, size)

    def float32(self) -> float | str:
        number = self._number("<f", 4)
        return _finite(number) if not math.isfinite(number) else _shortest(number)

    def float64(self) -> float | str:
        return _finite(self._number("<d", 8))

    def string(self) -> str | None:
        return None if self._is_null() else _text(self.octets())

    def byte_string(self) -> str | None:
        return None if self._is_null() else _base64(self.octets())

    def guid(self) -> str:
        self.skip(16)
        return str(uuid.UUID(bytes_le=self.data[self.at - 16 : self.at]))

    def node_id_value(self) -> dict[str, Any]:
        """`IdType` (0 is not written), `Id`, `Namespace` (its URI, the standard's own is not written) and `ServerUri`."""
        kind, namespace, identifier, uri, server = self._node()
        written = _base64(identifier) if isinstance(identifier, bytes) else identifier
        namespace_uri = uri if uri is not None else self._namespace(namespace)
        return _without_nulls(
            {"IdType": kind or None, "Id": written, "Namespace": namespace_uri, "ServerUri": server or None}
        )

    def status_code(self) -> dict[str, Any] | None:
        """Good is not written."""
        code = self.uint32()
        symbol, _ = code_to_name_doc.get(code & NAMED_BITS, (None, None))
        return _without_nulls({"Code": code, "Symbol": symbol}) if code else None

    def qualified_name(self) -> dict[str, Any] | None:
        namespace, name = self._number("<H", 2), self.string()
        return None if name is None else _without_nulls({"Name": name, "Uri": self._namespace(namespace)})

    def localized_text(self) -> str | None:
        """The text alone."""
        mask = self.byte()
        if mask & 0x01:
            self.string()
        return self.string() if mask & 0x02 else None

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
        return _without_nulls(members)

    def diagnostic_info(self) -> dict[str, Any]:
        mask = self.byte()
        names = ("SymbolicId", "NamespaceUri", "Locale", "LocalizedText")
        members: dict[str, Any] = {name: self.int32() for bit, name in enumerate(names) if mask & 1 << bit}
        members["AdditionalInfo"] = self.string() if mask & 0x10 else None
        members["InnerStatusCode"] = self.status_code() if mask & 0x20 else None
        members["InnerDiagnosticInfo"] = self.value(Kind.DIAGNOSTIC_INFO) if mask & 0x40 else None
        return _without_nulls(members)

    # --- parts

    def _is_null(self) -> bool:
        if self.data[self.at : self.at + 4] != b"\xff\xff\xff\xff":
            return False
        self.skip(4)
        return True

    def _namespace(self, index: int) -> str | int | None:
        """Its URI; the index itself where the server has no URI for it."""
        return None if index == 0 else self._namespaces[index] if index < len(self._namespaces) else index

    def _node(self) -> tuple[int, int, int | str | bytes | None, str | None, int]:
        """Type of the identifier, index of the namespace, identifier, and of an expanded one the namespace's URI and the
        server's index."""
        mask = self.byte()
        form = mask & 0x3F
        namespace = self.byte() if form == 1 else 0 if form == 0 else self._number("<H", 2)
        kind, read = _IDENTIFIERS.get(form, (0, None))
        if read is None:
            raise ValueError(f"{form} is no form of a node id")
        identifier = read(self)
        uri = self.string() if mask & 0x80 else None
        return kind, namespace, identifier, uri, self.uint32() if mask & 0x40 else 0


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


def _without_nulls(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _text(data: bytes) -> str:
    """What is no UTF-8 is replaced: JSON has no other text, and every replica writes the same."""
    return data.decode("utf-8", "replace")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _finite(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _shortest(number: float) -> float:
    """The number that a person would write for these 32 bits: 21.3, and not 21.299999237060547."""
    for digits in FLOAT_DIGITS:
        written = float(f"{number:.{digits}g}")
        if written == number or struct.unpack("<f", struct.pack("<f", written))[0] == number:
            return written
    return number


def _number_of(form: str) -> Callable[[ValueReader], Any]:
    return partial(ValueReader.number, form=form, size=struct.calcsize(form))


_READ: dict[int, Callable[[ValueReader], Any]] = {
    Kind.NULL: lambda _: None,
    Kind.BOOLEAN: lambda reader: reader.byte() != 0,
    Kind.SBYTE: _number_of("<b"),
    Kind.BYTE: _number_of("<B"),
    Kind.INT16: _number_of("<h"),
    Kind.UINT16: _number_of("<H"),
    Kind.INT32: _number_of("<i"),
    Kind.UINT32: _number_of("<I"),
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

_IDENTIFIERS: dict[int, tuple[int, Callable[[ValueReader], Any]]] = {
    0: (0, ValueReader.byte),
    1: (0, _number_of("<H")),
    2: (0, ValueReader.uint32),
    3: (1, ValueReader.string),
    4: (2, ValueReader.guid),
    5: (3, ValueReader.octets),
}
"""By the form in the binary encoding: the type in JSON, and how it is read."""
