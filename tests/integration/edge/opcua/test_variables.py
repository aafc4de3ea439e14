"""Which variables are read: all of them wherever they are, those that come later, and always under their own name."""

from __future__ import annotations

import pytest
from asyncua import ua

from tests.support.plc import NAMESPACE, Plc, plc, reading
from tests.support.senders import until

OVENS = "urn:test:ovens"


async def test_variables_below_variables_and_in_objects_of_variables_are_read() -> None:
    async def prepare(server: Plc) -> None:
        machine = await server.folder("machine")
        outer = await server.add("outer", 1, below=machine)
        await server.add("inner", 2, below=outer)
        await server.add("deep", 3, below=await server.folder("structure", below=outer))
        below = await server.folder("low", below=await server.folder("middle", below=machine))
        await below.add_reference(machine, ua.ObjectIds.Organizes)  # a circle
        await outer.add_property(server.index(), "unit", "°C")  # not a source

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: plant.names == {"outer", "inner", "deep"}, "a variable is missing")


async def test_a_variable_that_appears_is_read_and_one_that_is_deleted_is_forgotten() -> None:
    async with plc(lambda server: server.add("a", 1)) as server, reading(server.endpoint, browse_seconds=0.5) as plant:
        await until(lambda: plant.names == {"a"}, "nothing is read")
        late = await server.add("late", 2)
        await until(lambda: plant.names == {"a", "late"}, "the new variable is not read")
        assert plant.tally.subscribed == 2
        await server.server.delete_nodes([late])
        await until(lambda: plant.tally.subscribed == 1, "the variable that is gone is not forgotten")
        await server.add("late", 3)
        await until(lambda: ("late", 3) in plant.values, "the variable that came back is not read")


async def test_a_server_that_tells_of_new_variables_is_browsed_at_once() -> None:
    async with plc(lambda server: server.add("a", 1)) as server, reading(server.endpoint, browse_seconds=0) as plant:
        await until(lambda: plant.names == {"a"}, "nothing is read")
        await server.add("late", 2)
        changes = await server.server.get_event_generator(ua.ObjectIds.GeneralModelChangeEventType)
        await changes.trigger(message="a machine was added")
        await until(lambda: plant.names == {"a", "late"}, "the new variable is not read")


async def test_after_a_restart_with_other_namespace_indexes_every_value_keeps_its_name() -> None:
    """Two namespaces that have the same identifiers: by the old index, a press would send an oven's value."""

    async def prepare(server: Plc) -> None:
        await server.add("t", "press", namespace=NAMESPACE)
        await server.add("t", "oven", namespace=OVENS)

    first = plc(prepare, namespaces=(NAMESPACE, OVENS))
    server = await first.__aenter__()
    async with reading(server.endpoint) as plant:
        await until(lambda: len(plant.values) == 1, "nothing is read")
        await first.__aexit__(None, None, None)
        async with plc(prepare, namespaces=(OVENS, NAMESPACE), port=server.port) as again:
            await until(lambda: len(plant.values) == 2, "the restarted server is not read")
            press = again.server.get_node(ua.NodeId("t", again.index(NAMESPACE)))
            await again.show(press, "press", at_ms=1)
            await until(lambda: len(plant.values) == 3, "the press is not read")
    assert {value for _, value in plant.values} == {"press"}


@pytest.mark.parametrize("swapped", [False, True], ids=["one more", "another order"])
async def test_namespaces_that_change_while_the_connection_is_interrupted(swapped: bool) -> None:
    async with (
        plc(lambda server: server.add("a", 1), namespaces=(NAMESPACE, OVENS)) as server,
        reading(server.endpoint) as plant,
    ):
        await until(lambda: plant.names == {"a"}, "nothing is read")
        names = server.server.get_node(ua.NodeId(ua.ObjectIds.Server_NamespaceArray))
        *first, press, oven = await names.read_value()
        await names.write_value([*first, oven, press] if swapped else [*first, press, oven, "urn:test:robots"])
        for client in list(server.server.bserver.clients):
            client.transport.abort()
        if swapped:
            await until(lambda: plant.tally.lost["interruption"] == 1, "the change is not noticed")
            opened = len(server.opened)
            await until(lambda: len(server.opened) > opened + 1, "it does not try again")
            assert not plant.source.is_up  # what has the identifier is in the other namespace now
        else:
            await server.show(server.server.get_node(ua.NodeId("a", 2)), 2, at_ms=1)
            await until(lambda: ("a", 2) in plant.values, "it is not read any more")
            assert not plant.tally.lost
