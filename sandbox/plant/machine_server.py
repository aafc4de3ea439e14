"""One OPC UA server of the plant's machines. A redundant pair are two of them, of the same machines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from asyncua import Node, ua

from sandbox.plant.quick_server import quick_server
from sandbox.plant.sources import Reading, Source
from sandbox.plant.stamping import Stamping, StampingSubscriptions

NAMESPACE_URI = "urn:sandbox:plant:machines"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MachineServer:
    """`application_uri`: those of a pair differ, as the standard demands of servers that are redundant without hiding it."""

    def __init__(self, endpoint: str, application_uri: str, sources: Sequence[Source]) -> None:
        self.endpoint = endpoint
        self._application_uri = application_uri
        self._sources = sources
        self._nodes: dict[str, Node] = {}
        self._server = quick_server()

    async def start(self, stamping: Stamping | None, rng: random.Random) -> None:
        """Serve the address space; the variables have no value until the machines run."""
        await self._server.init()
        await self._server.set_application_uri(self._application_uri)
        self._server.set_endpoint(self.endpoint)
        self._server.set_server_name("Sandbox plant")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        namespace = await self._server.register_namespace(NAMESPACE_URI)
        for source in self._sources:
            self._nodes[source.name] = await self._add_variable(namespace, source)
        if stamping is not None:
            intervals = {self._nodes[source.name].nodeid: source.interval_ns for source in self._sources}
            internal = self._server.iserver
            internal.subscription_service = StampingSubscriptions(internal, intervals, stamping, rng)
        await self._server.start()

    async def _add_variable(self, namespace: int, source: Source) -> Node:
        node_id = ua.NodeId(source.name, namespace)
        node = await self._server.nodes.objects.add_variable(
            node_id, ua.QualifiedName(source.name, namespace), "", datatype=ua.NodeId(ua.ObjectIds.String)
        )
        waiting = ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData))
        await self._server.write_attribute_value(node.nodeid, waiting)
        return node

    @property
    def subscribers(self) -> int:
        """How many subscriptions have every source."""
        subscriptions = self._server.iserver.subscription_service.subscriptions.values()
        return sum(len(s.monitored_item_srv._monitored_items) >= len(self._sources) for s in subscriptions)

    async def show(self, reading: Reading) -> None:
        telegram = reading.telegram()
        value = ua.DataValue(
            None if telegram is None else ua.Variant(telegram, ua.VariantType.String),
            StatusCode=ua.StatusCode(reading.status),
            SourceTimestamp=_EPOCH + timedelta(microseconds=reading.time_ns // 1000),
            ServerTimestamp=datetime.now(UTC),
        )
        await self._server.write_attribute_value(self._nodes[reading.source].nodeid, value)

    async def stop(self) -> None:
        await self._server.stop()
