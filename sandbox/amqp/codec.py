"""AMQP 1.0 type system: decodes any value and encodes those that a broker sends.

Source: OASIS AMQP 1.0, part 1 (types). Decoding is strict: every read is bounds-checked and nesting is limited,
because any client can send these bytes. Symbols decode to `Symbol`, described values to `Described`.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 32

_U16, _U32, _U64 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
_I32, _I64 = struct.Struct(">i"), struct.Struct(">q")


class AmqpDecodeError(ValueError):
    """The bytes are not valid AMQP; the caller closes the connection or rejects the message."""


class Symbol(str):
    """An AMQP symbol; a plain str is encoded as an AMQP string."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since the epoch, encoded as an AMQP timestamp."""


class Int(int):
    """Encoded as an AMQP int; a plain int is encoded as a long."""


class Uint(int):
    """Encoded as an AMQP uint."""


class Ulong(int):
    """Encoded as an AMQP ulong."""


class Strings(tuple[str, ...]):
    """Encoded as an AMQP array of strings of up to 255 bytes; another sequence is encoded as a list."""

    __slots__ = ()


class Encoded(bytes):
    """A value that is encoded already, and keeps its type so."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    descriptor: Any
    value: Any


NULL = b"\x40"
TRUE, FALSE = b"\x41", b"\x42"

_FIXED: dict[int, tuple[int, Callable[[bytes], Any]]] = {
    0x50: (1, lambda b: b[0]),
    0x51: (1, lambda b: struct.unpack(">b", b)[0]),
    0x52: (1, lambda b: b[0]),
    0x53: (1, lambda b: b[0]),
    0x54: (1, lambda b: struct.unpack(">b", b)[0]),
    0x55: (1, lambda b: struct.unpack(">b", b)[0]),
    0x56: (1, lambda b: b[0] != 0),
    0x60: (2, lambda b: _U16.unpack(b)[0]),
    0x61: (2, lambda b: struct.unpack(">h", b)[0]),
    0x70: (4, lambda b: _U32.unpack(b)[0]),
    0x71: (4, lambda b: struct.unpack(">i", b)[0]),
    0x72: (4, lambda b: struct.unpack(">f", b)[0]),
    0x73: (4, lambda b: b.decode("utf-32-be")),
    0x74: (4, bytes),
    0x80: (8, lambda b: _U64.unpack(b)[0]),
    0x81: (8, lambda b: _I64.unpack(b)[0]),
    0x82: (8, lambda b: struct.unpack(">d", b)[0]),
    0x83: (8, lambda b: Timestamp(_I64.unpack(b)[0])),
    0x84: (8, bytes),
    0x94: (16, bytes),
    0x98: (16, lambda b: uuid.UUID(bytes=b)),
}
_CONSTANT: dict[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_VARIABLE: dict[int, tuple[int, Callable[[bytes], Any]]] = {
    0xA0: (1, bytes),
    0xA1: (1, lambda b: b.decode()),
    0xA3: (1, lambda b: Symbol(b.decode("ascii"))),
    0xB0: (4, bytes),
    0xB1: (4, lambda b: b.decode()),
    0xB3: (4, lambda b: Symbol(b.decode("ascii"))),
}
_COMPOUND_WIDTH = {0xC0: 1, 0xC1: 1, 0xD0: 4, 0xD1: 4, 0xE0: 1, 0xF0: 4}


def _take(data: bytes, position: int, count: int) -> bytes:
    chunk = data[position : position + count]
    if len(chunk) != count:
        raise AmqpDecodeError(f"value at byte {position} needs {count} bytes, {len(chunk)} are left")
    return chunk


def _number(data: bytes, position: int, width: int) -> int:
    return int.from_bytes(_take(data, position, width), "big")


def decode(data: bytes, position: int = 0, depth: int = 0) -> tuple[Any, int]:
    """Return the value that starts at `position`, and the position after it. Raises AmqpDecodeError."""
    constructor = _number(data, position, 1)
    if constructor == 0x00:
        _limit(depth)
        descriptor, position = decode(data, position + 1, depth + 1)
        value, position = decode(data, position, depth + 1)
        return Described(descriptor, value), position
    return _decode_body(constructor, data, position + 1, depth)


def _limit(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise AmqpDecodeError(f"values are nested deeper than {MAX_DEPTH}")


def _decode_body(constructor: int, data: bytes, position: int, depth: int) -> tuple[Any, int]:
    try:
        if constructor in _FIXED:
            width, convert = _FIXED[constructor]
            return convert(_take(data, position, width)), position + width
        if constructor in _VARIABLE:
            width, convert = _VARIABLE[constructor]
            size = _number(data, position, width)
            return convert(_take(data, position + width, size)), position + width + size
    except UnicodeDecodeError as error:
        raise AmqpDecodeError(f"text at byte {position} is not valid: {error.reason}") from None
    if constructor in _CONSTANT:
        return _CONSTANT[constructor], position
    if constructor == 0x45:
        return [], position
    if constructor in _COMPOUND_WIDTH:
        _limit(depth)
        return _decode_compound(constructor, data, position, depth)
    raise AmqpDecodeError(f"unknown type constructor 0x{constructor:02x} at byte {position - 1}")


def _decode_compound(constructor: int, data: bytes, position: int, depth: int) -> tuple[Any, int]:
    width = _COMPOUND_WIDTH[constructor]
    size, count = _number(data, position, width), _number(data, position + width, width)
    end, position = position + width + size, position + 2 * width
    if end > len(data) or count > size:
        raise AmqpDecodeError(f"compound value of {count} items in {size} bytes does not fit")
    items: list[Any] = []
    if constructor in (0xE0, 0xF0):
        if count == 0:
            return [], end
        position, items = _decode_array(data, position, count, depth)
    else:
        for _ in range(count):
            item, position = decode(data, position, depth + 1)
            items.append(item)
    if position != end:
        raise AmqpDecodeError("the size of a compound value does not match its content")
    if constructor in (0xC1, 0xD1):
        return _as_map(items), end
    return items, end


def _decode_array(data: bytes, position: int, count: int, depth: int) -> tuple[int, list[Any]]:
    constructor = _number(data, position, 1)
    position += 1
    described = constructor == 0x00
    descriptor: Any = None
    if described:
        descriptor, position = decode(data, position, depth + 1)
        constructor, position = _number(data, position, 1), position + 1
    items: list[Any] = []
    for _ in range(count):
        item, position = _decode_body(constructor, data, position, depth + 1)
        items.append(Described(descriptor, item) if described else item)
    return position, items


def _as_map(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise AmqpDecodeError("a map has a key without a value")
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError:
        raise AmqpDecodeError("a map key is a list or a map") from None


def skip(data: bytes, position: int, depth: int = 0) -> int:
    """Return the position after the value at `position` without building the value, because bodies can be large.

    Raises AmqpDecodeError.
    """
    constructor = _number(data, position, 1)
    if constructor == 0x00:
        _limit(depth)
        return skip(data, skip(data, position + 1, depth + 1), depth + 1)
    position += 1
    if constructor in _FIXED:
        end = position + _FIXED[constructor][0]
    elif constructor in _VARIABLE or constructor in _COMPOUND_WIDTH:
        width = _VARIABLE[constructor][0] if constructor in _VARIABLE else _COMPOUND_WIDTH[constructor]
        end = position + width + _number(data, position, width)
    elif constructor in _CONSTANT or constructor == 0x45:
        end = position
    else:
        raise AmqpDecodeError(f"unknown type constructor 0x{constructor:02x} at byte {position - 1}")
    if end > len(data):
        raise AmqpDecodeError(f"value at byte {position - 1} ends beyond the message")
    return end


def map_of_encoded(data: bytes, position: int) -> dict[Any, Encoded]:
    """The map at `position`, whose values stay as they are encoded. Raises AmqpDecodeError."""
    value, end = decode(data, position)  # refuses what is not valid
    if not isinstance(value, dict):
        raise AmqpDecodeError(f"the value at byte {position} is not a map")
    width = _COMPOUND_WIDTH[data[position]]
    found: dict[Any, Encoded] = {}
    position += 1 + 2 * width
    while position < end:
        key, value_at = decode(data, position)
        position = skip(data, value_at)
        found[key] = Encoded(data[value_at:position])
    return found


def encode(value: Any) -> bytes:
    """Encode a Python value; the subclasses above select one of the AMQP types that share a Python type."""
    if value is None:
        return NULL
    if isinstance(value, Encoded):
        return value
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, int):
        return _encode_int(value)
    if isinstance(value, Symbol):
        return _variable(0xA3, value.encode("ascii"))
    if isinstance(value, str):
        return _variable(0xA1, value.encode())
    if isinstance(value, bytes | bytearray | memoryview):
        return _variable(0xA0, bytes(value))
    if isinstance(value, uuid.UUID):
        return b"\x98" + value.bytes
    if isinstance(value, float):
        return b"\x82" + struct.pack(">d", value)
    if isinstance(value, Described):
        return b"\x00" + encode(value.descriptor) + encode(value.value)
    if isinstance(value, Mapping):
        return compound(0xD1, [encode(part) for item in value.items() for part in item])
    if isinstance(value, Strings):
        return _array(0xA1, [item.encode() for item in value])
    if isinstance(value, Sequence):
        return compound(0xD0, [encode(item) for item in value])
    raise TypeError(f"{type(value).__name__} has no AMQP encoding here")


def _encode_int(value: int) -> bytes:
    if isinstance(value, Timestamp):
        return b"\x83" + _I64.pack(value)
    if isinstance(value, Int):
        return b"\x71" + _I32.pack(value)
    if isinstance(value, Uint):
        return b"\x70" + _U32.pack(value)
    if isinstance(value, Ulong):
        return b"\x80" + _U64.pack(value)
    return b"\x81" + _I64.pack(value)


def _variable(constructor: int, data: bytes) -> bytes:
    """`constructor` is the variant with a one-byte size; the variant with a four-byte size is 0x10 above it."""
    if len(data) < 256:
        return bytes((constructor, len(data))) + data
    return bytes((constructor + 0x10,)) + _U32.pack(len(data)) + data


def compound(constructor: int, items: list[bytes]) -> bytes:
    body = b"".join(items)
    return bytes((constructor,)) + _U32.pack(len(body) + 4) + _U32.pack(len(items)) + body


def symbols(*names: str) -> bytes:
    """An array of symbols."""
    return _array(0xA3, [name.encode("ascii") for name in names])


def _array(constructor: int, items: list[bytes]) -> bytes:
    body = bytes((constructor,)) + b"".join(bytes((len(item),)) + item for item in items)
    return b"\xf0" + _U32.pack(len(body) + 4) + _U32.pack(len(items)) + body


def described(code: int, fields: list[bytes]) -> bytes:
    """A composite value with all its fields: the Event Hubs SDK indexes them, so none may be trimmed (never list0)."""
    return b"\x00\x53" + bytes((code,)) + compound(0xD0, fields)
