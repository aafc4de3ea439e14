"""A node that is odd costs itself at most, never its source; and it is counted and listed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from asyncua import ua
from asyncua.server.monitored_item_service import MonitoredItemService

from tests.support.plc import NAMESPACE, SERVER_URI, Plc, plc, reading
from tests.support.senders import until

NOT_UTF8 = b"caf\xe9".decode("utf-8", "surrogateescape")


async def test_an_identifier_that_is_no_utf8_has_a_uri_of_its_bytes() -> None:
    async def prepare(server: Plc) -> None:
        await server.add(NOT_UTF8, 1)
        await server.add("a", 2)

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.names) == 2, "a variable is missing")
        assert {sample.source for sample in plant.intake.samples} == {
            f"{SERVER_URI}#nsu={NAMESPACE};s=caf%E9",
            f"{SERVER_URI}#nsu={NAMESPACE};s=a",
        }


async def test_every_kind_of_identifier_has_its_uri() -> None:
    async def prepare(server: Plc) -> None:
        for identifier in ("a/b c#%", 7, UUID("00112233-4455-6677-8899-aabbccddeeff"), b"\x00\xff"):
            await server.add(identifier, 1)

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.names) == 4, "a variable is missing")
        assert {sample.source.partition(";")[2] for sample in plant.intake.samples} == {
            "s=a/b%20c%23%25",
            "i=7",
            "g=00112233-4455-6677-8899-aabbccddeeff",
            "b=00ff",
        }


async def test_a_node_that_the_server_does_not_know_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    create = MonitoredItemService._create_data_change_monitored_item

    async def unknown(service: MonitoredItemService, params: ua.MonitoredItemCreateRequest) -> Any:
        if params.ItemToMonitor.NodeId.Identifier == "gone":
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown))
        return await create(service, params)

    monkeypatch.setattr(MonitoredItemService, "_create_data_change_monitored_item", unknown)

    async def prepare(server: Plc) -> None:
        for name in ("gone", "a", "b"):
            await server.add(name, 1)

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: plant.names == {"a", "b"}, "a variable is missing")
        assert plant.tally.left_out == {f"{SERVER_URI}#nsu={NAMESPACE};s=gone": "BadNodeIdUnknown"}


async def test_an_answer_that_fails_for_one_node_costs_that_node() -> None:
    """A server may fail a whole request, because one of its nodes makes it stumble."""

    async def prepare(server: Plc) -> None:
        for number in range(20):
            await server.add(f"v{number}", number)
        read = server.server.iserver.aspace.read_attribute_value

        def stumble(node_id: ua.NodeId, attribute: ua.AttributeIds) -> Any:
            if node_id.Identifier == "v7":
                raise RuntimeError
            return read(node_id, attribute)

        server.server.iserver.aspace.read_attribute_value = stumble

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.names) == 19, "variables are missing")
        assert plant.tally.left_out == {f"{SERVER_URI}#nsu={NAMESPACE};s=v7": "BadInternalError"}


async def test_a_value_that_cannot_be_decoded_costs_itself_and_not_its_message() -> None:
    """The library would drop the whole message, without a word and without telling which one."""

    async def prepare(server: Plc) -> None:
        await server.add("a", 1)
        await server.add("broken", ua.Variant([1, 2, 3], ua.VariantType.Int32, Dimensions=[2, 2]))
        await server.add("text", ua.Variant(NOT_UTF8, ua.VariantType.String))
        await server.add("b", 2)

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: plant.names == {"a", "b", "text"}, "a variable is missing")
        assert plant.tally.lost == {"undecodable": 1}
        assert {uri.rpartition("=")[2]: why for uri, why in plant.tally.troubled.items()} == {
            "broken": "undecodable: a matrix has other dimensions than elements"
        }
