"""Asks a server what its data types are made of: all of them, since a variable may hold a subtype of what it declares."""

from __future__ import annotations

from collections.abc import Sequence

from asyncua import ua

from edge_sender.sources.opcua.addresses import Addresses, Key, OddNodeError, key
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.limits import Limits, Refused, Service, in_parts
from edge_sender.sources.opcua.references import Follow, references_of
from edge_sender.sources.opcua.structures import STRUCTURE, DataTypes

MOST_TYPES = 20_000
"""A tree without end must not fill the memory."""


async def read_data_types(connection: Connection, limits: Limits, addresses: Addresses) -> DataTypes:
    """What can't be read is left out, and values of such a type are bytes. Raises what a lost connection or session
    raises."""
    types = DataTypes()
    nodes = await _walk(connection, limits, addresses, types)
    structures = [node for node in nodes if _is_structure(types, key(node))]
    definitions = await read_attribute(connection, limits, structures, ua.AttributeIds.DataTypeDefinition)
    for node, definition in zip(structures, definitions, strict=True):
        if isinstance(definition, ua.StructureDefinition):
            types.definitions[key(node)] = definition
    return types


async def _walk(connection: Connection, limits: Limits, addresses: Addresses, types: DataTypes) -> list[ua.NodeId]:
    """Notes the supertype of each type below BaseDataType."""
    found: list[ua.NodeId] = []
    waiting = [ua.NodeId(ua.ObjectIds.BaseDataType)]
    while waiting and len(found) < MOST_TYPES:
        below: list[ua.NodeId] = []
        for parent, references in await references_of(connection, limits, waiting, Follow.SUBTYPES):
            for reference in [] if isinstance(references, Refused) else references:
                try:
                    node = addresses.local(reference.NodeId)
                except OddNodeError:
                    continue
                if key(node) not in types.supertypes:
                    types.supertypes[key(node)] = key(parent)
                    below.append(node)
        found += below
        waiting = below
    return found


def _is_structure(types: DataTypes, name: Key) -> bool:
    while name != STRUCTURE and name in types.supertypes:
        name = types.supertypes[name]
    return name == STRUCTURE


async def read_attribute(
    connection: Connection, limits: Limits, nodes: Sequence[ua.NodeId], attribute: ua.AttributeIds
) -> list[object]:
    """That of each node: None where it has none, and `Refused` where the answer can't be had."""

    async def read(part: Sequence[ua.NodeId]) -> list[object]:
        request = ua.ReadRequest()
        request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=attribute) for node in part]
        results = (await connection.call(request, ua.ReadResponse)).Results
        return [None if result.Value is None else result.Value.Value for result in results]

    return await in_parts(limits, Service.READ, nodes, read)
