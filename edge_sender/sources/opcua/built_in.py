"""Built-in types of one value each, from their binary encoding as JSON: numbers, texts, and names with their URIs. Pure.

Source: OPC 10000-6, 5.2.2 (binary encoding) and 5.4.2 of version 1.04 (JSON encoding).
"""

from __future__ import annotations

import base64
import math
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from asyncua.ua.status_codes import code_to_name_doc

from edge_sender.sources.opcua.walking import Walker

NAMED_BITS = 0xFFFF0000
"""The part of a status that has a name; the rest are details."""
FLOAT_DIGITS = range(6, 10)
"""So many are needed to tell two 32-bit numbers apart; most need the fewest."""


class BuiltInReader(Walker):
    """All calls raise ValueError at malformed bytes."""

    def __init__(self, data: bytes, namespaces: Sequence[str], at: int = 0) -> None:
        super().__init__(data, at)
        self._namespaces = namespaces

    def number(self, form: str, size: int) -> Any:
        return self._number(form, size)

    def float32(self) -> float | str:
        number = self._number("<f", 4)
        return _finite(number) if not math.isfinite(number) else _shortest(number)

    def float64(self) -> float | str:
        return _finite(self._number("<d", 8))

    def string(self) -> str | None:
        return None if self._is_null() else text_of(self.octets())

    def byte_string(self) -> str | None:
        return None if self._is_null() else base64_of(self.octets())

    def guid(self) -> str:
        self.skip(16)
        return str(uuid.UUID(bytes_le=self.data[self.at - 16 : self.at]))

    def node_id_value(self) -> dict[str, Any]:
        """`IdType` (0 is not written), `Id`, `Namespace` (its URI, the standard's own is not written) and `ServerUri`."""
        kind, namespace, identifier, uri, server = self._node()
        written = base64_of(identifier) if isinstance(identifier, bytes) else identifier
        namespace_uri = uri if uri is not None else self._namespace(namespace)
        return without_nulls(
            {"IdType": kind or None, "Id": written, "Namespace": namespace_uri, "ServerUri": server or None}
        )

    def status_code(self) -> dict[str, Any] | None:
        """Good is not written."""
        code = self.uint32()
        symbol, _ = code_to_name_doc.get(code & NAMED_BITS, (None, None))
        return without_nulls({"Code": code, "Symbol": symbol}) if code else None

    def qualified_name(self) -> dict[str, Any] | None:
        namespace, name = self._number("<H", 2), self.string()
        return None if name is None else without_nulls({"Name": name, "Uri": self._namespace(namespace)})

    def localized_text(self) -> str | None:
        """The text alone."""
        mask = self.byte()
        if mask & 0x01:
            self.string()
        return self.string() if mask & 0x02 else None

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


def without_nulls(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def text_of(data: bytes) -> str:
    """What is no UTF-8 is replaced: JSON has no other text, and every replica writes the same."""
    return data.decode("utf-8", "replace")


def base64_of(data: bytes) -> str:
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


def number_of(form: str) -> Callable[[BuiltInReader], Any]:
    return partial(BuiltInReader.number, form=form, size=struct.calcsize(form))


_IDENTIFIERS: dict[int, tuple[int, Callable[[BuiltInReader], Any]]] = {
    0: (0, BuiltInReader.byte),
    1: (0, number_of("<H")),
    2: (0, BuiltInReader.uint32),
    3: (1, BuiltInReader.string),
    4: (2, BuiltInReader.guid),
    5: (3, BuiltInReader.octets),
}
"""By the form in the binary encoding: the type in JSON, and how it is read."""
