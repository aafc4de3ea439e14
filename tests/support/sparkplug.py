"""Sparkplug B payloads as an edge node writes them."""

from __future__ import annotations

import struct

AT_MS = 1_772_439_300_000


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def metric(value: float, *, name: str = "", alias: int | None = None, at_ms: int = AT_MS) -> bytes:
    named = field(1, name.encode()) if name else b""
    aliased = b"" if alias is None else field(2, alias)
    return named + aliased + field(3, at_ms) + field(4, 10) + varint(13 << 3 | 1) + struct.pack("<d", value)


def payload(seq: int, *metrics: bytes) -> bytes:
    return field(1, AT_MS) + b"".join(field(2, one) for one in metrics) + field(3, seq)
