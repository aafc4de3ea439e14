"""Finds what nodes a server has below Objects, and how they hang together. One that can't be browsed costs itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from asyncua import ua

from edge_sender.sources.opcua.addresses import Addresses, Key, OddNodeError, key, printable
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.data_types import read_attribute
from edge_sender.sources.opcua.limits import Limits, Refused
from edge_sender.sources.opcua.references import Follow, references_of

MOST_NODES = 1_000_000
"""An address space without end must not fill the memory."""
OBJECTS = (0, ua.ObjectIds.ObjectsFolder)
SERVER = (0, ua.ObjectIds.Server)
NOTIFIES = 1 << ua.EventNotifier.SubscribeToEvents
HAS_PROPERTY = ua.ObjectIds.HasProperty


@dataclass(frozen=True, slots=True)
class Node:
    node_id: ua.NodeId
    is_variable: bool
    type: str
    """Text of its type definition; empty if it has none."""


@dataclass(slots=True)
class AddressSpace:
    """Everything below Objects, except properties and the server's own Server object."""

    addresses: Addresses
    nodes: dict[Key, Node] = field(default_factory=dict)
    children: dict[Key, list[tuple[str, Key]]] = field(default_factory=dict)
    """Browse name and key; a node may be below several others, and below itself."""
    odd: dict[str, str] = field(default_factory=dict)
    """What could not be browsed, and why."""
    notifiers: set[Key] = field(default_factory=set)
    """Objects whose events can be subscribed to, as far as that was asked for."""

    def variables(self) -> Iterator[tuple[Key, Node]]:
        return ((where, node) for where, node in self.nodes.items() if node.is_variable)


async def browse(connection: Connection, limits: Limits, addresses: Addresses) -> AddressSpace:
    """Raises what a lost connection or session raises."""
    space = AddressSpace(addresses)
    waiting = [ua.NodeId(ua.ObjectIds.ObjectsFolder)]
    while waiting:
        found: list[ua.NodeId] = []
        for parent, result in await references_of(connection, limits, waiting, Follow.CHILDREN):
            if isinstance(result, Refused):
                _note(space, parent, result.why)
            else:
                found += _take(space, parent, result)
        waiting = found
    return space


def _take(space: AddressSpace, parent: ua.NodeId, references: list[ua.ReferenceDescription]) -> list[ua.NodeId]:
    """Note the node's children; return those that were not known yet."""
    new: list[ua.NodeId] = []
    children = space.children.setdefault(key(parent), [])
    for reference in references:
        if reference.ReferenceTypeId == ua.NodeId(HAS_PROPERTY):
            continue
        try:
            node_id = space.addresses.local(reference.NodeId)
            space.addresses.source_uri(node_id)
        except OddNodeError as error:
            _note(space, reference.NodeId, str(error))
            continue
        where = key(node_id)
        if where == SERVER:
            continue
        children.append((reference.BrowseName.Name or "", where))
        if where in space.nodes or where == OBJECTS:
            continue
        if len(space.nodes) >= MOST_NODES:
            space.odd["…"] = f"there are more than {MOST_NODES} nodes"
            return new
        is_variable = reference.NodeClass == ua.NodeClass.Variable
        space.nodes[where] = Node(node_id, is_variable, _type(space.addresses, reference.TypeDefinition))
        new.append(node_id)
    return new


def _type(addresses: Addresses, type_id: ua.NodeId) -> str:
    try:
        return addresses.text(addresses.local(type_id))
    except OddNodeError:
        return ""


def _note(space: AddressSpace, node_id: ua.NodeId, why: str) -> None:
    space.odd[printable(name(space.addresses, node_id))] = why


def name(addresses: Addresses, node_id: ua.NodeId) -> str:
    """What people call the node, also if it is an odd one."""
    try:
        return addresses.text(node_id)
    except OddNodeError:
        return str(node_id.to_string())


def with_server(space: AddressSpace) -> AddressSpace:
    """The same with the server's own Server object, without what is below it: it sends events."""
    server = Node(ua.NodeId(ua.ObjectIds.Server), False, _type(space.addresses, ua.NodeId(ua.ObjectIds.ServerType)))
    children = {**space.children, OBJECTS: [*space.children.get(OBJECTS, ()), ("Server", SERVER)]}
    return replace(space, nodes={**space.nodes, SERVER: server}, children=children)


async def read_notifiers(connection: Connection, limits: Limits, space: AddressSpace) -> set[Key]:
    """The objects that say that they send events, of those in `space`. Raises what a lost connection or session raises."""
    objects = {where: node.node_id for where, node in space.nodes.items() if not node.is_variable}
    answers = await read_attribute(connection, limits, list(objects.values()), ua.AttributeIds.EventNotifier)
    return {where for where, answer in zip(objects, answers, strict=True) if isinstance(answer, int) and answer & NOTIFIES}
