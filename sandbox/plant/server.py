"""`sandbox plant`: an OPC UA server whose machines emit readings, and a journal of what they emitted."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from asyncua import Node, Server, ua

from sandbox.plant.sources import MACHINES, Reading, Schedule, Source, machines
from sandbox.plant.stamping import Stamping, StampingSubscriptions

APPLICATION_URI = "urn:sandbox:plant"
NAMESPACE_URI = "urn:sandbox:plant:machines"
TICK_SECONDS = 0.02
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PlantOptions:
    port: int = 4840
    journal: Path | None = None
    """File for the emitted readings, one JSON object per line; written before any subscriber sees the reading."""
    stamping: Stamping | None = None
    """None: stamped once for all subscribers."""
    wait_for_subscribers: int = 0
    """The machines start when this many clients have subscribed to every source."""
    machines: int = MACHINES
    seed: int | None = None
    host: str = "127.0.0.1"


class Plant:
    def __init__(self, options: PlantOptions) -> None:
        self.options = options
        self.emitted = 0
        self._sources = machines(uuid.uuid4().hex[:8], options.machines)
        self._nodes: dict[str, Node] = {}
        self._server = Server()
        self._journal: TextIO | None = None
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://{self.options.host}:{self.options.port}/plant"

    async def start(self) -> None:
        """Serve the address space; the variables have no value until the machines run."""
        await self._server.init()
        await self._server.set_application_uri(APPLICATION_URI)
        self._server.set_endpoint(self.endpoint)
        self._server.set_server_name("Sandbox plant")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        namespace = await self._server.register_namespace(NAMESPACE_URI)
        for source in self._sources:
            self._nodes[source.name] = await self._add_variable(namespace, source)
        if self.options.stamping is not None:
            self._stamp_per_subscription(self.options.stamping)
        await self._server.start()
        if self.options.journal is not None:
            self._journal = self.options.journal.open("a")

    async def _add_variable(self, namespace: int, source: Source) -> Node:
        node_id = ua.NodeId(source.name, namespace)
        node = await self._server.nodes.objects.add_variable(
            node_id, ua.QualifiedName(source.name, namespace), "", datatype=ua.NodeId(ua.ObjectIds.String)
        )
        waiting = ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData))
        await self._server.write_attribute_value(node.nodeid, waiting)
        return node

    def _stamp_per_subscription(self, stamping: Stamping) -> None:
        intervals = {self._nodes[source.name].nodeid: source.interval_ns for source in self._sources}
        internal = self._server.iserver
        internal.subscription_service = StampingSubscriptions(
            internal, intervals, stamping, random.Random(self.options.seed)
        )

    async def run(self) -> None:
        """Emit until stopped. A reading is journaled first: one that no subscriber saw must still count as emitted."""
        await self._wait_for_subscribers()
        schedule = Schedule(self._sources, time.time_ns())
        self._started.set()
        while not self._stopped.is_set():
            for reading in schedule.due(time.time_ns()):
                self._record(reading)
                await self._show(reading)
            if self._journal is not None:
                self._journal.flush()
            await asyncio.sleep(TICK_SECONDS)

    async def _wait_for_subscribers(self) -> None:
        while self._subscribers() < self.options.wait_for_subscribers and not self._stopped.is_set():
            await asyncio.sleep(TICK_SECONDS)

    def _subscribers(self) -> int:
        subscriptions = self._server.iserver.subscription_service.subscriptions.values()
        return sum(len(s.monitored_item_srv._monitored_items) >= len(self._sources) for s in subscriptions)

    def _record(self, reading: Reading) -> None:
        self.emitted += 1
        if self._journal is not None:
            line = {
                "source": reading.source,
                "epoch": reading.epoch,
                "sequence": reading.sequence,
                "time_ns": reading.time_ns,
            }
            self._journal.write(json.dumps(line) + "\n")

    async def _show(self, reading: Reading) -> None:
        value = ua.DataValue(
            ua.Variant(reading.telegram(), ua.VariantType.String),
            SourceTimestamp=_EPOCH + timedelta(microseconds=reading.time_ns // 1000),
            ServerTimestamp=datetime.now(UTC),
        )
        await self._server.write_attribute_value(self._nodes[reading.source].nodeid, value)

    async def halt(self) -> None:
        """Stop the machines; subscribers still receive what was emitted."""
        self._stopped.set()

    async def stop(self) -> None:
        self._stopped.set()
        await self._server.stop()
        if self._journal is not None:
            self._journal.close()

    def describe(self) -> dict[str, Any]:
        return {
            "ready": True,
            "endpoint": self.endpoint,
            "namespace_uri": NAMESPACE_URI,
            "sources": len(self._sources),
        }


async def run(options: PlantOptions, stop: asyncio.Event, linger_seconds: float) -> None:
    """Run until `stop`; then halt the machines and serve for `linger_seconds`, so that subscribers receive the rest."""
    plant = Plant(options)
    await plant.start()
    print(json.dumps(plant.describe()), flush=True)
    emitting = asyncio.create_task(plant.run())
    try:
        await stop.wait()
        await plant.halt()
        await emitting
        await asyncio.sleep(linger_seconds)
    finally:
        await plant.stop()
