"""Values in OPC UA's JSON encoding: the golden vectors, and bytes that are none."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.sources.opcua.json_encoding import ValueReader
from edge_sender.sources.opcua.walking import MOST_LEVELS, Walker

VECTORS = json.loads((Path(__file__).parents[4] / "vectors" / "opcua_values.json").read_text())
NAMESPACES = VECTORS["namespaces"]


def read(data: bytes) -> Any:
    return ValueReader(data, NAMESPACES, {}).variant_value()


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: vector["what"])
def test_a_value_has_the_json_of_the_golden_vectors(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["binary"])
    reader = ValueReader(data, NAMESPACES, {})
    assert reader.variant_value() == vector["json"]
    assert reader.at == len(data)


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: vector["what"])
def test_its_end_is_where_the_walker_finds_it(vector: dict[str, Any]) -> None:
    walker = Walker(bytes.fromhex(vector["binary"]))
    walker.variant()
    assert walker.at == len(walker.data)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_is_written_with_the_fewest_digits_that_bring_it_back(number: float) -> None:
    written = read(b"\x0a" + struct.pack("<f", number))
    assert struct.pack("<f", written) == struct.pack("<f", number)
    assert digits(written) <= digits(number)


def digits(number: float) -> int:
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_give_json_or_a_value_error(data: bytes) -> None:
    try:
        value = read(data)
    except ValueError:
        return
    json.dumps(value, allow_nan=False).encode()


def test_nesting_has_an_end() -> None:
    with pytest.raises(ValueError, match="nested"):
        read(b"\x18" * (MOST_LEVELS + 2) + b"\x00")


@pytest.mark.parametrize(
    "data",
    [
        "86ffffff7f",  # an array of 2^31 - 1 elements
        "80ffffff7f",  # of nulls, which need no bytes
        "c6" + "02000000" + "0100000002000000" + "02000000" + "0300000003000000",  # 3 × 3 of two elements
        "c6" + "00000000" + "02000000" + "ffffffff01000000",  # a negative dimension
    ],
)
def test_sizes_that_do_not_fit_are_refused(data: str) -> None:
    with pytest.raises(ValueError, match="longer|dimensions"):
        read(bytes.fromhex(data))
