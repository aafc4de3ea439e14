"""The types of application properties, which leave the service with the type with which they came.

Python's own types stand for those that they match: None for null, bool for boolean, int for int, float for double, str for
string, bytes for binary, and UUID for uuid. The others are the classes below.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

MessageId = str | bytes | uuid.UUID | int
"""A message-id or correlation-id; the int is a ulong."""


class Ubyte(int):
    __slots__ = ()


class Ushort(int):
    __slots__ = ()


class Uint(int):
    __slots__ = ()


class Ulong(int):
    __slots__ = ()


class Byte(int):
    __slots__ = ()


class Short(int):
    __slots__ = ()


class Long(int):
    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970."""

    __slots__ = ()


class Float(float):
    """With 32 bits."""

    __slots__ = ()


class Char(str):
    """One character."""

    __slots__ = ()


class Symbol(str):
    """ASCII."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value of any other type, in its encoding: a decimal, a described value, a list, map or array, or malformed text. No
    decision needs its content, and so it is passed on byte for byte."""

    data: bytes


_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "int",
    float: "double",
    str: "string",
    bytes: "binary",
    uuid.UUID: "uuid",
    **{kind: kind.__name__.lower() for kind in (Ubyte, Ushort, Uint, Ulong, Byte, Short, Long)},
    **{kind: kind.__name__.lower() for kind in (Timestamp, Float, Char, Symbol)},
}
_ENCODED_NAMES = {
    0x00: "described",
    0x45: "list",
    0x73: "char",
    0x74: "decimal32",
    0x84: "decimal64",
    0x94: "decimal128",
    0xA1: "string",
    0xA3: "symbol",
    0xB1: "string",
    0xB3: "symbol",
    0xC0: "list",
    0xC1: "map",
    0xD0: "list",
    0xD1: "map",
    0xE0: "array",
    0xF0: "array",
}


def type_name(value: object) -> str:
    """The value's AMQP type, for messages to people."""
    if isinstance(value, Encoded):
        return _ENCODED_NAMES.get(value.data[0], "unknown")
    return _NAMES.get(type(value), type(value).__name__)


def text_of(value: object) -> str | None:
    """The text of a string, symbol or char; also of a binary, if it is UTF-8: the Event Hubs SDK for Python delivers strings
    as bytes and sends bytes as binary, so that every relay written with it turns the one into the other. None for anything
    else."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str(value)
    try:
        return value.decode() if isinstance(value, bytes) else None
    except UnicodeDecodeError:
        return None
