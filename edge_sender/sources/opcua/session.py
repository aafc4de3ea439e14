"""One session at a server, from its opening until its subscriptions are lost. It bridges interruptions of the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC

from asyncua import ua

from edge_sender.counters import SourceTally
from edge_sender.ports import Intake
from edge_sender.sources.opcua.addresses import Addresses
from edge_sender.sources.opcua.connection import INTERRUPTIONS
from edge_sender.sources.opcua.grid import SYSTEM_CLOCK, Grid, GridClock
from edge_sender.sources.opcua.inventory import Inventory, ServerChangedError, Wanted
from edge_sender.sources.opcua.items import Item
from edge_sender.sources.opcua.polling import Poller
from edge_sender.sources.opcua.publishing import Publisher
from edge_sender.sources.opcua.receiving import Receiver
from edge_sender.sources.opcua.redundancy import Move, Redundancy
from edge_sender.sources.opcua.servers import Server
from edge_sender.sources.opcua.subscribing import Subscriptions
from edge_sender.sources.opcua.subscription import SubscriptionLostError
from edge_sender.sources.opcua.together import together
from wire.ids import NS_PER_SECOND

RESUME_SECONDS = 1.0
PATIENCE_SECONDS = 3.0
"""How long an attempt to connect again may take while there are other servers."""
ON_ITS_WAY_SECONDS = 1.0
"""How long a notification may take from the server to here."""
WATCH_SECONDS = 1.0
BUSY_SECONDS = 1.0
"""A server that takes this long to say its state has much to do, and its silence means nothing."""
STATE = ua.ObjectIds.Server_ServerStatus_State


@dataclass(frozen=True, slots=True)
class Reports:
    """What a session tells its source."""

    down: Callable[[Exception], None]
    """The connection is interrupted."""
    up: Callable[[str], None]
    """Variables are read, or read again."""
    subscribed: Callable[[Addresses, Mapping[int, Item]], None]
    """These are the variables now, by their handles."""
    serves: Callable[[], None]
    """The server is read from now on."""
    better: Callable[[Move], Awaitable[None]]
    """Another server is fitter. Raises MovedError, once that one is read as well."""
    is_replaced: Callable[[], bool]
    """Whether another session is read as well, so that this one may end."""


class Session:
    """A session at one of the servers of `redundancy`."""

    def __init__(
        self,
        name: str,
        server: Server,
        redundancy: Redundancy,
        wanted: Wanted,
        tally: SourceTally,
        reports: Reports,
        clock: GridClock = SYSTEM_CLOCK,
    ) -> None:
        self.is_serving = False
        self.has_served = asyncio.Event()
        self.server = server
        self.connection = redundancy.connection(server)
        self._name = name
        self._redundancy = redundancy
        self._limits = server.limits
        self._wanted = wanted
        self._tally = tally
        self._reports = reports
        self._inventory = Inventory(name, self.connection, server.limits, wanted, tally, reports.subscribed)
        self._subscriptions = self._inventory.subscriptions
        self._clock = clock

    @property
    def overlap_seconds(self) -> float:
        """How long what has changed until now may take until it is here. What is read with `sampling: aligned` is here."""
        if self._wanted.interval_ns is not None:
            return 0.0
        publishing_ms = (item.asked.publishing_ms for item in self._subscriptions.items.values())
        return 2 * max(publishing_ms, default=0.0) / 1000 + ON_ITS_WAY_SECONDS

    async def run(self, intake: Intake) -> None:
        """Open the session, subscribe and deliver. Raises MovedError, UnlikeServersError, NothingToReadError,
        ServerChangedError, SubscriptionLostError, and whatever the library raises for what a server may do."""
        receiver = Receiver(
            self._name,
            self._subscriptions.items,
            self._wanted.form,
            intake,
            self._tally,
            self._inventory.model_changed.set,
        )
        publisher = self._make_publisher(receiver)
        await self.connection.open()
        await self._redundancy.enter(self.server, self.connection)
        told = await self._inventory.start(receiver)
        self.server.stated_uri = receiver.addresses.stated_uri
        self._reports.up(told)
        self._reports.serves()
        while True:
            self.is_serving = True
            self.has_served.set()
            try:
                await together(
                    publisher.run(),
                    self.connection.keep(),
                    self._watch(receiver),
                    self._inventory.keep_up(receiver),
                    self._redundancy.watch(self.server, self.connection, self._reports.better),
                )
            except (OSError, TimeoutError, ua.UaStatusCodeError) as error:
                self.is_serving = False
                if self._reports.is_replaced():
                    raise
                if isinstance(error, ua.UaStatusCodeError) and error.code not in INTERRUPTIONS:
                    raise
                self._reports.down(error)
            await self._resume(publisher)
            self._reports.up("the connection is back, and the subscription with it")

    def _make_publisher(self, receiver: Receiver) -> Publisher | Poller:
        if isinstance(self._subscriptions, Subscriptions):
            return Publisher(self._name, self._subscriptions, self._tally, receiver.take)
        assert self._wanted.interval_ns is not None
        return Poller(
            self._name,
            self.connection,
            self._limits,
            self._subscriptions,
            Grid(self._wanted.interval_ns, self._clock),
            self._tally,
            receiver.read,
            receiver.refused,
        )

    async def _watch(self, receiver: Receiver) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            receiver.beat()
            asked = time.monotonic()
            before_ns = self._clock.now_ns()
            await self.connection.read([STATE])  # a dead connection is noticed by this, when there is no answer in time
            self._compare_clocks((before_ns + self._clock.now_ns()) / 2 / NS_PER_SECOND)
            if time.monotonic() - asked > BUSY_SECONDS:
                self._subscriptions.listen()
            elif self._subscriptions.is_silent():
                raise SubscriptionLostError("the server is silent about the subscription")

    def _compare_clocks(self, now: float) -> None:
        """`now`: seconds since 1970 on this gateway's clock, when the server answered."""
        if (there := self.connection.server_time) is not None:
            aware = there if there.tzinfo is not None else there.replace(tzinfo=UTC)
            self._tally.clock_offset_seconds = aware.timestamp() - now

    async def _resume(self, publisher: Publisher | Poller) -> None:
        """Returns once the session and its subscriptions are there again. Raises if they are lost, or another server can be
        read. Until then this one's is not given up: it may hold what has changed meanwhile."""
        is_other, patience = False, PATIENCE_SECONDS if self._redundancy.others(self.server) else None
        while True:
            await asyncio.sleep(RESUME_SECONDS)
            if self.connection.is_renewed():
                raise ServerChangedError("the certificates were renewed while it was disconnected")
            try:
                async with asyncio.timeout(patience):
                    is_other |= not await self.connection.resume()
                await self._inventory.read_addresses()
                if is_other:
                    await self._subscriptions.transfer()
                await publisher.fill()
                return
            except (OSError, TimeoutError) as error:
                self._reports.down(error)
                await self._redundancy.replace(self.server)
