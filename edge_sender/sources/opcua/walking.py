"""Finds where encoded values end, without making objects of them. Pure. All calls raise ValueError at malformed bytes.

Source: OPC 10000-6, 5.2 (binary encoding).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any

MOST_LEVELS = 64
SIZES = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8, 13: 8, 14: 16, 19: 4}
"""Sizes of the built-in types that have one, in bytes."""


class Kind(IntEnum):
    """The built-in types (OPC 10000-6, table 1)."""

    NULL = 0
    BOOLEAN = 1
    SBYTE = 2
    BYTE = 3
    INT16 = 4
    UINT16 = 5
    INT32 = 6
    UINT32 = 7
    INT64 = 8
    UINT64 = 9
    FLOAT = 10
    DOUBLE = 11
    STRING = 12
    DATE_TIME = 13
    GUID = 14
    BYTE_STRING = 15
    XML_ELEMENT = 16
    NODE_ID = 17
    EXPANDED_NODE_ID = 18
    STATUS_CODE = 19
    QUALIFIED_NAME = 20
    LOCALIZED_TEXT = 21
    EXTENSION_OBJECT = 22
    DATA_VALUE = 23
    VARIANT = 24
    DIAGNOSTIC_INFO = 25


class Walker:
    """Reads `data` from `at` on."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self._level = 0

    def byte(self) -> int:
        return int(self._number("<B", 1))

    def int32(self) -> int:
        return int(self._number("<i", 4))

    def uint32(self) -> int:
        return int(self._number("<I", 4))

    def int64(self) -> int:
        return int(self._number("<q", 8))

    def skip(self, size: int) -> None:
        if self.at + size > len(self.data):
            raise ValueError("it ends too early")
        self.at += size

    def octets(self) -> bytes:
        """With a length before them; a null is empty."""
        size = max(0, self.int32())
        self.skip(size)
        return self.data[self.at - size : self.at]

    def extension_object(self) -> tuple[int, bytes]:
        """Its type's number, 0 if the type is none of the standard's own namespace, and its body."""
        number = self.node_id()
        return number, self.octets() if self.byte() else b""

    def node_id(self) -> int:
        """Its number in the standard's own namespace; 0 if it is another one. Also an expanded one."""
        mask = self.byte()
        kind, namespace, number = mask & 0x3F, 0, 0
        match kind:
            case 0:
                number = self.byte()
            case 1:
                namespace, number = self.byte(), int(self._number("<H", 2))
            case 2:
                namespace, number = int(self._number("<H", 2)), self.uint32()
            case 3 | 5:
                self.skip(2)
                self.octets()
            case 4:
                self.skip(18)
            case _:
                raise ValueError(f"{kind} is no kind of node id")
        if mask & 0x80:
            self.octets()
        if mask & 0x40:
            self.skip(4)
        return 0 if namespace else number

    def variant(self) -> None:
        mask = self.byte()
        kind = mask & 0x3F
        if not mask & 0x80:
            self._value(kind)
        else:
            self._array(kind)
        if mask & 0x40:
            self.skip(4 * max(0, self.int32()))

    def _array(self, kind: int) -> None:
        count = max(0, self.int32())
        if kind == Kind.NULL and count:
            raise ValueError("an array of nulls has no end")
        if kind in SIZES:
            self.skip(SIZES[kind] * count)
            return
        for _ in range(count):
            self._value(kind)

    def _value(self, kind: int) -> None:
        if kind == Kind.NULL:
            return
        if kind in SIZES:
            self.skip(SIZES[kind])
            return
        self._level += 1
        if self._level > MOST_LEVELS:
            raise ValueError("it is nested too deeply")
        self._parts(kind)
        self._level -= 1

    def _parts(self, kind: int) -> None:
        match kind:
            case Kind.NODE_ID | Kind.EXPANDED_NODE_ID:
                self.node_id()
            case Kind.QUALIFIED_NAME:
                self.skip(2)
                self.octets()
            case Kind.LOCALIZED_TEXT:
                mask = self.byte()
                for bit in (0x01, 0x02):
                    if mask & bit:
                        self.octets()
            case Kind.EXTENSION_OBJECT:
                self.extension_object()
            case Kind.DATA_VALUE:
                self._data_value()
            case Kind.VARIANT:
                self.variant()
            case Kind.DIAGNOSTIC_INFO:
                self._diagnostic_info()
            case _:
                self.octets()

    def _data_value(self) -> None:
        mask = self.byte()
        if mask & 0x01:
            self.variant()
        self.skip(sum(size for bit, size in ((0x02, 4), (0x04, 8), (0x10, 2), (0x08, 8), (0x20, 2)) if mask & bit))

    def _diagnostic_info(self) -> None:
        mask = self.byte()
        self.skip(4 * (mask & 0x0F).bit_count())
        if mask & 0x10:
            self.octets()
        if mask & 0x20:
            self.skip(4)
        if mask & 0x40:
            self._value(Kind.DIAGNOSTIC_INFO)

    def _number(self, form: str, size: int) -> Any:
        start = self.at
        self.skip(size)
        return struct.unpack_from(form, self.data, start)[0]
