"""Decodes single AMQP values, either as Python's own types or so that each keeps its type (core/property_types.py).

Source: AMQP 1.0, part 1.6.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from azure.eventhub._pyamqp import _decode

from dedup_service.adapters.eventhubs.below_sdk.amqp_types import CHAR, DECIMAL32, DECIMAL64, DECIMAL128, readable
from dedup_service.core.property_types import (
    Byte,
    Char,
    Encoded,
    Float,
    Long,
    Short,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
)

NULL, BINARY, TEXT, SYMBOL = 0x40, 0xA0, 0xA1, 0xA3
TRUE, FALSE, UINT_0, ULONG_0, UUID = 0x41, 0x42, 0x43, 0x44, 0x98
LONG_BINARY, LONG_TEXT, LONG_SYMBOL = 0xB0, 0xB1, 0xB3
BYTES, LONG_BYTES = (BINARY, TEXT, SYMBOL), (LONG_BINARY, LONG_TEXT, LONG_SYMBOL)
_unsigned_4 = struct.Struct(">I").unpack_from
_NUMBERS: dict[int, tuple[str, Callable[[Any], Any]]] = {
    0x50: (">B", Ubyte),
    0x51: (">b", Byte),
    0x52: (">B", Uint),
    0x53: (">B", Ulong),
    0x54: (">b", int),
    0x55: (">b", Long),
    0x56: (">?", bool),
    0x60: (">H", Ushort),
    0x61: (">h", Short),
    0x70: (">I", Uint),
    0x71: (">i", int),
    0x72: (">f", Float),
    0x80: (">Q", Ulong),
    0x81: (">q", Long),
    0x82: (">d", float),
    0x83: (">q", Timestamp),
}
"""Layout and type of numbers and timestamps."""
Unpack = Callable[[bytes, int], tuple[Any, ...]]
FIXED: dict[int, tuple[int, Unpack]] = {
    code: (struct.calcsize(layout), struct.Struct(layout).unpack_from) for code, (layout, _) in _NUMBERS.items()
}
"""Their size, and the function that reads them as Python's own types."""
PLAIN = {code: FIXED[code] for code, (_, kind) in _NUMBERS.items() if kind in (int, float, bool)}
"""Those of them whose type is Python's own."""
Read = Callable[[bytes, int], tuple[Any, int]]


class NotDecodableError(Exception):
    """The event is malformed, or of a kind that no hub delivers."""


def bytes_of(data: bytes, at: int) -> tuple[bytes, int]:
    """The bytes of a binary, string or symbol, and the position behind it."""
    code = data[at]
    if code in BYTES:
        start = at + 2
        stop = start + data[at + 1]
    elif code in LONG_BYTES:
        start = at + 5
        stop = start + _unsigned_4(data, at + 1)[0]
    else:
        raise NotDecodableError("not bytes")
    return data[start:stop], stop


def plain(data: bytes, at: int) -> tuple[Any, int]:
    """Any value as Python's own types, with text as str, and the position behind it."""
    code = data[at]
    if code in BYTES or code in LONG_BYTES:
        raw, at = bytes_of(data, at)
        return readable(raw), at
    if code in FIXED:
        size, unpack = FIXED[code]
        return unpack(data, at + 1)[0], at + 1 + size
    value, at = _by_the_sdk(data, at)
    return readable(value), at


def _by_the_sdk(data: bytes, at: int) -> tuple[Any, int]:
    rest, value = _decode._DECODE_BY_CONSTRUCTOR[data[at]](memoryview(data)[at + 1 :])
    return value, len(data) - len(rest)


def typed(data: bytes, at: int) -> tuple[Any, int]:
    """Any value in its type (core/property_types.py), and the position behind it."""
    return _READ.get(data[at], _encoded)(data, at)


def _encoded(data: bytes, at: int) -> tuple[Encoded, int]:
    """A described value, a list, a map or an array. The SDK must be able to decode it: what is malformed inside, or nests
    without end, would block those who read the clean stream with it."""
    _, end = _by_the_sdk(data, at)
    return Encoded(data[at:end]), end


def _encoded_fixed(size: int) -> Read:
    return lambda data, at: (Encoded(data[at : at + 1 + size]), at + 1 + size)


def _number(layout: str, kind: Callable[[Any], Any]) -> Read:
    size, unpack = struct.calcsize(layout), struct.Struct(layout).unpack_from
    return lambda data, at: (kind(unpack(data, at + 1)[0]), at + 1 + size)


def _constant(value: Any) -> Read:
    return lambda _, at: (value, at + 1)


def _text_as(kind: type[str], encoding: str) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        raw, end = bytes_of(data, at)
        try:
            return kind(raw, encoding), end
        except UnicodeDecodeError:
            return Encoded(data[at:end]), end

    return read


def _char(data: bytes, at: int) -> tuple[Any, int]:
    end = at + 5
    try:
        return Char(data[at + 1 : end], "utf-32-be"), end
    except UnicodeDecodeError:
        return Encoded(data[at:end]), end


def _uuid(data: bytes, at: int) -> tuple[uuid.UUID, int]:
    end = at + 17
    return uuid.UUID(bytes=data[at + 1 : end]), end


_READ: dict[int, Read] = {
    **{code: _number(layout, kind) for code, (layout, kind) in _NUMBERS.items()},
    NULL: _constant(None),
    TRUE: _constant(True),
    FALSE: _constant(False),
    UINT_0: _constant(Uint(0)),
    ULONG_0: _constant(Ulong(0)),
    UUID: _uuid,
    CHAR: _char,
    DECIMAL32: _encoded_fixed(4),
    DECIMAL64: _encoded_fixed(8),
    DECIMAL128: _encoded_fixed(16),
    BINARY: bytes_of,
    LONG_BINARY: bytes_of,
    TEXT: _text_as(str, "utf-8"),
    LONG_TEXT: _text_as(str, "utf-8"),
    SYMBOL: _text_as(Symbol, "ascii"),
    LONG_SYMBOL: _text_as(Symbol, "ascii"),
}
