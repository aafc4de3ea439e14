"""A real OPC UA server for tests of the edge, which can be told to behave as servers in the field do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import Node, Server, ua
from asyncua.common.structures104 import new_struct, new_struct_field
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession
from asyncua.server.internal_subscription import InternalSubscription

from edge_sender.config.sources import SourceConfig, check_sources
from edge_sender.counters import SourceTally
from edge_sender.namesakes import Namesakes
from edge_sender.sources.make import make_source
from edge_sender.sources.opcua.source import OpcUaSource
from sandbox.peers.processes import free_port
from sandbox.plant.quick_server import quick_server
from tests.doubles.intake import ListIntake

NAMESPACE = "urn:test:machines"
SERVER_URI = "urn:test:plc"
LEVEL = ua.ObjectIds.Server_ServiceLevel
START = datetime(2026, 1, 31, 6, tzinfo=UTC)


@dataclass
class Plc:
    """`namespaces` in the order in which the server numbers them, from 2 on. The services in `most` accept no request with
    more nodes, and answer with `refusal`; what was asked for is in `sizes`. `before_read` is called with the nodes of each
    Read."""

    port: int = field(default_factory=free_port)
    namespaces: Sequence[str] = (NAMESPACE,)
    most: dict[str, int] = field(default_factory=dict)
    refusal: int = ua.StatusCodes.BadTooManyOperations
    sizes: dict[str, list[int]] = field(default_factory=dict)
    before_read: Callable[[list[ua.NodeId]], None] = lambda _nodes: None
    server: Server = field(default_factory=quick_server)
    uri: str = SERVER_URI
    opened: list[InternalSession] = field(default_factory=list)
    """The sessions that clients have had."""
    levels_read: int = 0
    """How often one asked for the ServiceLevel."""

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    @property
    def subscriptions(self) -> list[InternalSubscription]:
        return list(self.server.iserver.subscription_service.subscriptions.values())

    @property
    def item_counts(self) -> list[int]:
        """How many monitored items each subscription has, the fewest first."""
        return sorted(len(subscription.monitored_item_srv._monitored_items) for subscription in self.subscriptions)

    async def prepare(self) -> None:
        await self.server.init()
        self.server.set_endpoint(self.endpoint)
        await self.server.set_application_uri(self.uri)
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        for namespace in self.namespaces:
            await self.server.register_namespace(namespace)
        create = self.server.iserver.create_session
        self.server.iserver.create_session = lambda *args, **more: self._limited(create(*args, **more))

    def _limited(self, session: InternalSession) -> InternalSession:
        """The session, with the limits of requests that this server has."""
        browse, create, read = session.browse, session.create_monitored_items, session.read

        async def limited_browse(params: ua.BrowseParameters) -> Any:
            self._check("browse", len(params.NodesToBrowse))
            return await browse(params)

        async def limited_create(params: ua.CreateMonitoredItemsParameters) -> Any:
            self._check("monitor", len(params.ItemsToCreate))
            return await create(params)

        async def watched_read(params: ua.ReadParameters) -> Any:
            self.levels_read += any(item.NodeId.Identifier == LEVEL for item in params.NodesToRead)
            self._check("read", len(params.NodesToRead))
            self.before_read([node.NodeId for node in params.NodesToRead])
            return await read(params)

        if session.external:
            self.opened.append(session)
            session.browse, session.create_monitored_items = limited_browse, limited_create
            session.read = watched_read
        return session

    def _check(self, service: str, size: int) -> None:
        self.sizes.setdefault(service, []).append(size)
        if size > self.most.get(service, size):
            raise ServiceError(self.refusal)

    def index(self, namespace: str = NAMESPACE) -> int:
        return 2 + list(self.namespaces).index(namespace)

    async def add(
        self, identifier: Any, value: Any = 0, below: Node | None = None, namespace: str = NAMESPACE, at_ms: int = 0
    ) -> Node:
        """A variable with this identifier, whose browse name is its text. Its value has a source time."""
        index = self.index(namespace)
        parent = self.server.nodes.objects if below is None else below
        anything = ua.NodeId(ua.ObjectIds.Number)  # the server lets it become null, and something again
        name = ua.QualifiedName(str(identifier), index)
        first = variant_of(value)
        node = await parent.add_variable(ua.NodeId(identifier, index), name, first, datatype=anything)
        await self.show(node, value, at_ms=at_ms)
        return node

    async def folder(self, identifier: str, below: Node | None = None) -> Node:
        index = self.index()
        parent = self.server.nodes.objects if below is None else below
        return await parent.add_folder(ua.NodeId(identifier, index), ua.QualifiedName(identifier, index))

    async def structure(self, name: str, members: Mapping[str, ua.VariantType]) -> ua.NodeId:
        """A data type that the server defines; the node of its binary encoding."""
        fields = [new_struct_field(member, kind) for member, kind in members.items()]
        _, encodings = await new_struct(self.server, self.index(), name, fields)
        return encodings[0].nodeid

    async def set_level(self, level: int) -> None:
        """The ServiceLevel, by which redundant servers say how fit they are."""
        node = self.server.get_node(ua.NodeId(LEVEL))
        await node.write_value(ua.Variant(level, ua.VariantType.Byte))

    async def show(self, node: Node, value: Any, *, at_ms: int, status: int = 0) -> None:
        shown = ua.DataValue(
            variant_of(value), StatusCode=ua.StatusCode(status), SourceTimestamp=START + timedelta(milliseconds=at_ms)
        )
        await self.server.write_attribute_value(node.nodeid, shown)


@asynccontextmanager
async def plc(prepare: Callable[[Plc], Any] | None = None, **given: Any) -> AsyncIterator[Plc]:
    """A running server, after `prepare`."""
    one = Plc(**given)
    await one.prepare()
    if prepare is not None:
        await prepare(one)
    async with one.server:
        yield one


def config_of(*endpoints: str, **given: Any) -> SourceConfig:
    where = {"endpoint": endpoints[0]} if len(endpoints) == 1 else {"endpoints": list(endpoints)}
    document = {"name": "plc", "kind": "opcua", "namespace_uri": NAMESPACE, "identity": "source-time", **where}
    usual = {} if given.get("sampling") == "aligned" else {"publishing_ms": 50}
    return check_sources({"sources": [{**document, **usual, **given}]}).sources[0]


def source_of(
    *endpoints: str, tally: SourceTally | None = None, namesakes: Namesakes | None = None, **given: Any
) -> OpcUaSource:
    source = make_source(config_of(*endpoints, **given), "test", tally or SourceTally(), namesakes)
    assert isinstance(source, OpcUaSource)
    return source


def variant_of(value: Any) -> ua.Variant | None:
    """Whole numbers have 32 bits, since those of 64 bits are text in JSON."""
    if value is None or isinstance(value, ua.Variant):
        return value
    return ua.Variant(value, ua.VariantType.Int32 if type(value) is int else None)


@dataclass
class Reading:
    """A source that is being read."""

    source: OpcUaSource
    tally: SourceTally
    intake: ListIntake = field(default_factory=ListIntake)

    @property
    def values(self) -> list[tuple[str, Any]]:
        """Identifier and value of each reading."""
        return [(sample.source.rpartition("=")[2], sample.data["value"]) for sample in self.intake.samples]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.values}


@asynccontextmanager
async def reading(*endpoints: str, **given: Any) -> AsyncIterator[Reading]:
    tally = SourceTally()
    one = Reading(source_of(*endpoints, tally=tally, **given), tally)
    running = asyncio.create_task(one.source.run(one.intake))
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
