"""Structures are read by the definitions that the server gives."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

import pytest
from asyncua import ua

from edge_sender.sources.opcua.json_encoding import ValueReader
from edge_sender.sources.opcua.structures import DataTypes

NAMESPACES = ["http://opcfoundation.org/UA/", "urn:plant"]
BASE, STRUCTURE, ENUMERATION, NUMBER = (0, 24), (0, 22), (0, 29), (0, 26)
INT32, INT64, STRING, DOUBLE = 6, 8, 12, 11


def node(number: int) -> ua.NodeId:
    return ua.NodeId(number, 1)


def field(name: str, data_type: int | ua.NodeId, rank: int = -1, *, optional: bool = False) -> ua.StructureField:
    node_id = ua.NodeId(data_type) if isinstance(data_type, int) else data_type
    return ua.StructureField(Name=name, DataType=node_id, ValueRank=rank, IsOptional=optional)


def types(kind: ua.StructureType, *fields: ua.StructureField) -> DataTypes:
    """With the structure 1:10, whose encoding is 1:11, and what it may be made of: the structure 1:20 (encoding 1:21) of one
    Int32, the enumeration 1:30, and 1:31, a subtype of Double."""
    inner = ua.StructureDefinition(
        DefaultEncodingId=node(21), StructureType=ua.StructureType.Structure, Fields=[field("N", INT32)]
    )
    outer = ua.StructureDefinition(DefaultEncodingId=node(11), StructureType=kind, Fields=list(fields))
    supertypes = {(1, 10): STRUCTURE, (1, 20): STRUCTURE, (1, 30): ENUMERATION, (1, 31): (0, DOUBLE)}
    return DataTypes(supertypes, {(1, 10): outer, (1, 20): inner})


def extension(body: bytes, encoding_id: int = 11) -> bytes:
    """A Variant that holds the structure."""
    return bytes([22, 1, 1]) + struct.pack("<H", encoding_id) + b"\x01" + struct.pack("<i", len(body)) + body


def text(value: str) -> bytes:
    return struct.pack("<i", len(value)) + value.encode()


def read(known: DataTypes, body: bytes) -> object:
    return ValueReader(extension(body), NAMESPACES, known.structures()).variant_value()


def int32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}i", *numbers)


PLAIN, OPTIONAL, UNION = (
    ua.StructureType.Structure,
    ua.StructureType.StructureWithOptionalFields,
    ua.StructureType.Union,
)
SUBTYPED = ua.StructureType.StructureWithSubtypedValues


@pytest.mark.parametrize(
    ("kind", "fields", "body", "expected"),
    [
        (PLAIN, [], b"", {}),
        (
            PLAIN,
            [field("Name", STRING), field("Count", INT64)],
            text("a") + struct.pack("<q", 7),
            {"Name": "a", "Count": "7"},
        ),
        (PLAIN, [field("Name", STRING)], int32(-1), {}),
        (PLAIN, [field("Inner", node(20))], int32(5), {"Inner": {"N": 5}}),
        (PLAIN, [field("Inners", node(20), 1)], int32(2, 5, 6), {"Inners": [{"N": 5}, {"N": 6}]}),
        (PLAIN, [field("Mode", node(30))], int32(2), {"Mode": 2}),
        (PLAIN, [field("Heat", node(31))], struct.pack("<d", 0.5), {"Heat": 0.5}),
        (PLAIN, [field("Any", NUMBER[1])], b"\x06" + int32(5), {"Any": 5}),
        (PLAIN, [field("Matrix", INT32, 2)], int32(2, 2, 2, 1, 2, 3, 4), {"Matrix": [[1, 2], [3, 4]]}),
        (OPTIONAL, [field("A", INT32, optional=True), field("B", INT32, optional=True)], int32(2, 5), {"B": 5}),
        (OPTIONAL, [field("A", INT32), field("B", INT32, optional=True)], int32(0, 5), {"A": 5}),
        (UNION, [field("A", INT32), field("B", STRING)], int32(2) + text("b"), "b"),
        (UNION, [field("A", INT32)], int32(0), None),
        (SUBTYPED, [field("Inner", node(20), optional=True)], extension(int32(5), 21)[1:], {"Inner": {"N": 5}}),
        (SUBTYPED, [field("Any", INT32, optional=True)], b"\x06" + int32(5), {"Any": 5}),
    ],
)
def test_a_structure_is_its_members(
    kind: ua.StructureType, fields: Sequence[ua.StructureField], body: bytes, expected: object
) -> None:
    assert read(types(kind, *fields), body) == expected


def test_a_structure_of_which_something_is_not_known_stays_bytes() -> None:
    assert read(types(PLAIN, field("What", node(99))), b"abc") == "YWJj"


def test_a_structure_that_contains_itself_stays_bytes() -> None:
    assert read(types(PLAIN, field("Self", node(10))), b"abc") == "YWJj"


def test_a_type_that_is_its_own_supertype_stays_bytes() -> None:
    known = types(PLAIN, field("What", node(98)))
    known.supertypes[1, 98] = (1, 97)
    known.supertypes[1, 97] = (1, 98)
    assert read(known, b"abc") == "YWJj"


def test_a_part_that_the_server_does_not_define_leaves_the_whole_as_bytes() -> None:
    """It is encoded in place: without its definition, what follows it can't be found."""
    known = types(PLAIN, field("Range", node(40)), field("N", INT32))
    known.supertypes[1, 40] = STRUCTURE
    bodies = [struct.pack("<ddi", 0.0, high, number) for high, number in ((100.0, 42), (50.0, 43))]
    assert [read(known, body) for body in bodies] == [base64.b64encode(body).decode() for body in bodies]


def test_the_abstract_structure_says_itself_what_it_is() -> None:
    known = types(PLAIN, field("Any", STRUCTURE[1]))
    assert read(known, extension(int32(5), 21)[1:]) == {"Any": {"N": 5}}


@pytest.mark.parametrize("body", [b"", int32(1)[:3], int32(1, 2, 2_000_000_000), int32(1, 2, 0, 7)])
def test_bytes_that_do_not_fit_the_definition_stay_bytes(body: bytes) -> None:
    """The server may have changed it."""
    known = types(PLAIN, field("A", INT32), field("B", INT32), field("C", INT32, 1))
    assert read(known, body) == base64.b64encode(body).decode()


def test_a_union_without_the_chosen_field_stays_bytes() -> None:
    assert read(types(UNION, field("A", INT32)), int32(2)) == base64.b64encode(int32(2)).decode()


def test_elements_that_need_no_bytes_do_not_fill_the_memory() -> None:
    """A thousand arrays of a thousand nulls each would be a million elements in six kilobytes."""
    nulls = b"\x80" + int32(1000)
    known = types(PLAIN, field("Any", NUMBER[1], 1), field("Padding", STRING))
    body = int32(1000) + nulls * 1000 + text("x" * 1000)
    assert read(known, body) == base64.b64encode(body).decode()
