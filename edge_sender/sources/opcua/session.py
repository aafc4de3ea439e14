"""One session at a server, from its opening until its subscriptions are lost. It bridges interruptions of the connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC

from asyncua import ua

from edge_sender.counters import SourceTally
from edge_sender.ports import Intake
from edge_sender.sources.opcua.addresses import Addresses
from edge_sender.sources.opcua.browsing import AddressSpace, browse
from edge_sender.sources.opcua.capabilities import read_addresses, read_limits
from edge_sender.sources.opcua.data_types import read_data_types
from edge_sender.sources.opcua.grid import SYSTEM_CLOCK, Grid, GridClock
from edge_sender.sources.opcua.items import Item
from edge_sender.sources.opcua.json_encoding import Values
from edge_sender.sources.opcua.notifications import Form
from edge_sender.sources.opcua.polling import Poller, Variables
from edge_sender.sources.opcua.publishing import Publisher
from edge_sender.sources.opcua.receiving import Receiver
from edge_sender.sources.opcua.redundancy import Redundancy
from edge_sender.sources.opcua.subscribing import SubscriptionLostError, Subscriptions
from edge_sender.sources.opcua.together import together
from wire.ids import NS_PER_SECOND

logger = logging.getLogger(__name__)

RESUME_SECONDS = 1.0
PATIENCE_SECONDS = 3.0
"""How long an attempt to connect again may take while there are other servers."""
WATCH_SECONDS = 1.0
SETTLE_SECONDS = 1.0
BUSY_SECONDS = 1.0
"""A server that takes this long to say its state has much to do, and its silence means nothing."""
STATE = ua.ObjectIds.Server_ServerStatus_State
INTERRUPTIONS = frozenset(
    {
        ua.StatusCodes.BadSessionIdInvalid,
        ua.StatusCodes.BadSessionClosed,
        ua.StatusCodes.BadSessionNotActivated,
        ua.StatusCodes.BadSecureChannelIdInvalid,
        ua.StatusCodes.BadSecureChannelClosed,
        ua.StatusCodes.BadSecureChannelTokenUnknown,
        ua.StatusCodes.BadConnectionClosed,
        ua.StatusCodes.BadCommunicationError,
        ua.StatusCodes.BadServerHalted,
        ua.StatusCodes.BadShutdown,
    }
)
"""Answers after which the session, or at least its subscriptions, may still be there."""


class NothingToReadError(Exception):
    """None of the variables that were chosen can be subscribed to."""


class ServerChangedError(Exception):
    """What the session was made for is no longer so; a new one is needed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is read of the server."""

    choose: Callable[[AddressSpace], Iterable[Item]]
    form: Form
    browse_seconds: float
    """How often to look for variables that are new or gone; 0: only when the server says that there are."""
    server_uri: str | None = None
    """In place of the server's application URI."""
    interval_ns: int | None = None
    """Between two readings of a variable; None: it is subscribed to."""


@dataclass(frozen=True, slots=True)
class Reports:
    """What a session tells its source."""

    down: Callable[[Exception], None]
    """The connection is interrupted."""
    up: Callable[[str], None]
    """Variables are read, or read again."""
    subscribed: Callable[[Addresses, Mapping[int, Item]], None]
    """These are the variables now, by their handles."""


class Session:
    """A session at the server that is the current one of `redundancy`."""

    def __init__(
        self,
        name: str,
        redundancy: Redundancy,
        wanted: Wanted,
        tally: SourceTally,
        reports: Reports,
        clock: GridClock = SYSTEM_CLOCK,
    ) -> None:
        self.is_serving = self.was_serving = False
        self.connection = redundancy.connection()
        self._name = name
        self._redundancy = redundancy
        self._limits = redundancy.current.limits
        self._wanted = wanted
        self._tally = tally
        self._down, self._up, self._subscribed = reports.down, reports.up, reports.subscribed
        self._addresses: Addresses | None = None
        is_subscribed = wanted.interval_ns is None
        self._subscriptions = Subscriptions(self.connection, self._limits) if is_subscribed else Variables()
        self._clock = clock
        self._model_changed = asyncio.Event()

    async def run(self, intake: Intake) -> None:
        """Open the session, subscribe and deliver. Raises MovedError, UnlikeServersError, NothingToReadError,
        ServerChangedError, SubscriptionLostError, and whatever the library raises for what a server may do."""
        receiver = Receiver(
            self._name,
            self._subscriptions.items,
            self._wanted.form,
            intake,
            self._tally,
            self._model_changed.set,
        )
        publisher = self._make_publisher(receiver)
        await self.connection.open()
        await self._redundancy.enter(self.connection)
        await self._subscribe(receiver)
        self._redundancy.serves()
        while True:
            self.is_serving = self.was_serving = True
            try:
                await together(
                    publisher.run(),
                    self.connection.keep(),
                    self._watch(receiver),
                    self._browse_again(receiver),
                    self._redundancy.watch(self.connection),
                )
            except (OSError, TimeoutError, ua.UaStatusCodeError) as error:
                self.is_serving = False
                if isinstance(error, ua.UaStatusCodeError) and error.code not in INTERRUPTIONS:
                    raise
                self._down(error)
            await self._resume(publisher)
            self._up("the connection is back, and the subscription with it")

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

    async def _subscribe(self, receiver: Receiver) -> None:
        self._subscriptions.most_items = await read_limits(self.connection, self._limits)
        space = await self._look(receiver)
        await self._subscriptions.add(self._wanted.choose(space))
        self._report(space)
        if not self._subscriptions.items:
            raise NothingToReadError(self._why_nothing())
        has_events = await self._subscriptions.watch_model()
        self._subscriptions.listen()
        left_out = f"; {len(self._tally.left_out)} are left out" if self._tally.left_out else ""
        how = "when it says that there are" if has_events else "from time to time"
        verb = "subscribed to" if self._wanted.interval_ns is None else "reads"
        self._up(f"{verb} {len(self._subscriptions.items)} variables{left_out}; new ones are looked for {how}")

    async def _look(self, receiver: Receiver) -> AddressSpace:
        """What the server has, and what its values are made of."""
        addresses = await self._read_addresses()
        types = await read_data_types(self.connection, self._limits, addresses)
        receiver.values = Values(addresses.namespaces, types.structures())
        return await browse(self.connection, self._limits, addresses)

    async def _browse_again(self, receiver: Receiver) -> None:
        """Subscribe to variables that appear later, and forget those that are gone."""
        while True:
            try:
                async with asyncio.timeout(self._wanted.browse_seconds or None):
                    await self._model_changed.wait()
                await asyncio.sleep(SETTLE_SECONDS)  # a server tells of each node of a machine by itself
            except TimeoutError:
                pass
            self._model_changed.clear()
            try:
                space = await self._look(receiver)
            except ua.UaStatusCodeError as error:
                if error.code in INTERRUPTIONS:
                    raise
                logger.warning("%s: new variables can't be looked for, next time perhaps: %s", self._name, error)
                continue
            try:
                await self._update(space)
            except (OSError, TimeoutError, ua.UaError) as error:
                # What the server has done of it is not known. Only a new session has all variables for certain.
                raise SubscriptionLostError(f"variables could not be added or removed: {error!r}") from error

    async def _update(self, space: AddressSpace) -> None:
        subscriptions = self._subscriptions
        wanted = {item.uri: item for item in self._wanted.choose(space)}
        # What could not be browsed may hide variables that are still there.
        gone = [item for item in subscriptions.items.values() if item.is_dead or (item.uri not in wanted and not space.odd)]
        await subscriptions.remove(gone)
        known = {item.uri for item in subscriptions.items.values()}
        subscriptions.refused.clear()
        new = [item for uri, item in wanted.items() if uri not in known]
        await subscriptions.add(new)
        self._report(space)
        if gone or new:
            logger.info(
                "%s: %d variables are new, %d are gone", self._name, len(new) - len(subscriptions.refused), len(gone)
            )

    def _report(self, space: AddressSpace) -> None:
        tally, subscriptions = self._tally, self._subscriptions
        self._subscribed(space.addresses, subscriptions.items)
        tally.subscribed = len(subscriptions.items)
        tally.left_out = {**space.odd, **subscriptions.refused}
        if tally.revised != subscriptions.revised:
            tally.revised = dict(subscriptions.revised)
            for what, number in tally.revised.items():
                logger.warning("%s: the server granted %s (%d times)", self._name, what, number)

    def _why_nothing(self) -> str:
        refused = self._subscriptions.refused
        if not refused:
            return "the server has none of the variables that were chosen"
        return f"all {len(refused)} variables were refused, the first with {next(iter(refused.values()))}"

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
        is_other, patience = False, PATIENCE_SECONDS if self._redundancy.others else None
        while True:
            await asyncio.sleep(RESUME_SECONDS)
            if self.connection.is_renewed():
                raise ServerChangedError("the certificates were renewed while it was disconnected")
            try:
                async with asyncio.timeout(patience):
                    is_other |= not await self.connection.resume()
                await self._read_addresses()
                if is_other:
                    await self._subscriptions.transfer()
                await publisher.fill()
                return
            except (OSError, TimeoutError) as error:
                self._down(error)
                await self._redundancy.replace()

    async def _read_addresses(self) -> Addresses:
        """Raises ServerChangedError, if names that are in use have changed; new ones may have been added."""
        known, found = self._addresses, await read_addresses(self.connection, self._limits, self._wanted.server_uri)
        if known is not None and not found.continues(known):
            raise ServerChangedError("the server's application URI or namespaces have changed")
        self._addresses = found
        return found
