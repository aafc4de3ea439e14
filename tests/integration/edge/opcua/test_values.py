"""Values as a real server has them: structures by the definitions that it gives, and times to 100 ns."""

from __future__ import annotations

import struct

from asyncua import ua

from tests.support.plc import Plc, plc, reading
from tests.support.senders import until


async def test_a_structure_is_read_by_the_definition_of_its_server() -> None:
    async def prepare(server: Plc) -> None:
        encoding = await server.structure("Point", {"X": ua.VariantType.Int32, "Serial": ua.VariantType.Int64})
        await server.add("point", ua.Variant(ua.ExtensionObject(encoding, struct.pack("<iq", 5, 2**53 + 1))))
        await server.add("unknown", ua.Variant(ua.ExtensionObject(ua.NodeId(4711, 2), b"\x01\x02")))

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.values) == 2, "a variable is missing")
        assert dict(plant.values) == {"point": {"X": 5, "Serial": str(2**53 + 1)}, "unknown": "AQI="}
        assert plant.tally.lost == {}


async def test_two_servers_with_one_type_id_do_not_mix_their_structures() -> None:
    """The library keeps definitions for the whole process, by node ids that mean something else on each server."""

    async def show(server: Plc, name: str, member: str, kind: ua.VariantType, body: bytes) -> None:
        encoding = await server.structure(name, {member: kind})
        await server.add("v", ua.Variant(ua.ExtensionObject(encoding, body)))

    async def points(server: Plc) -> None:
        await show(server, "A", "X", ua.VariantType.Int32, b"\x05\0\0\0")

    async def bytes_of(server: Plc) -> None:
        await show(server, "B", "N", ua.VariantType.Byte, b"\x07")

    async with (
        plc(points) as one,
        plc(bytes_of) as two,
        reading(one.endpoint) as here,
        reading(two.endpoint) as there,
    ):
        await until(lambda: bool(here.values and there.values), "a server is not read")
        assert dict(here.values) == {"v": {"X": 5}}
        assert dict(there.values) == {"v": {"N": 7}}
