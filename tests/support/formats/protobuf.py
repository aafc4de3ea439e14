"""Sparkplug B in protobuf, as far as the plant needs it: written and read after chapter 6 of its specification."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.formats.plants import BAD, Reading

NAME, TIMESTAMP, DATATYPE, IS_NULL, LONG, DOUBLE, BOOLEAN, STRING = 1, 3, 4, 7, 11, 13, 14, 15
MS = 1_000_000


def payload(now_ms: int, metrics: list[bytes], seq: int) -> bytes:
    return _number(1, now_ms) + b"".join(_bytes(2, metric) for metric in metrics) + _number(3, seq)


def metric(name: str, reading: Reading) -> bytes:
    head = _bytes(NAME, name.encode()) + _number(TIMESTAMP, reading.ns // MS)
    value = reading.value
    if value is None:
        return head + _number(IS_NULL, 1)
    if isinstance(value, bool):
        return head + _number(DATATYPE, 11) + _number(BOOLEAN, value)
    if isinstance(value, int):
        return head + _number(DATATYPE, 4) + _number(LONG, value)
    if isinstance(value, float):
        return head + _number(DATATYPE, 10) + _varint(DOUBLE << 3 | 1) + struct.pack("<d", value)
    return head + _number(DATATYPE, 12) + _bytes(STRING, value.encode())


def read(data: bytes) -> list[tuple[int, Any]]:
    """(number, value) of every field."""
    return list(_fields(data))


def read_metric(data: bytes, device: str) -> Reading:
    found = dict(_fields(data))
    name, ns = found[NAME].decode(), found[TIMESTAMP] * MS
    if found.get(IS_NULL):
        return Reading(f"{device}/{name}", ns, None, BAD)
    values: dict[int, Callable[[Any], Any]] = {
        LONG: lambda value: value,
        DOUBLE: lambda value: struct.unpack("<d", value)[0],
        BOOLEAN: bool,
        STRING: lambda value: value.decode(),
    }
    ((number, value),) = [(number, value) for number, value in found.items() if number in values]
    return Reading(f"{device}/{name}", ns, values[number](value))


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        if tag & 7 == 0:
            value, at = _read_varint(data, at)
            yield tag >> 3, value
            continue
        size, at = (8, at) if tag & 7 == 1 else _read_varint(data, at)
        assert at + size <= len(data)
        yield tag >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes((value & 127 | 128,))
        value >>= 7
    return encoded + bytes((value,))
