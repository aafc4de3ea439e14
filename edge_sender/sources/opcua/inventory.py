"""The variables of one session: which of the server's there are, which are read, and which come and go meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from asyncua import ua

from edge_sender.counters import SourceTally
from edge_sender.sources.opcua.addresses import Addresses
from edge_sender.sources.opcua.browsing import AddressSpace, browse, read_notifiers, with_server
from edge_sender.sources.opcua.capabilities import read_addresses, read_limits
from edge_sender.sources.opcua.connection import INTERRUPTIONS, Connection
from edge_sender.sources.opcua.data_types import read_data_types
from edge_sender.sources.opcua.items import Item
from edge_sender.sources.opcua.json_encoding import Values
from edge_sender.sources.opcua.limits import Limits
from edge_sender.sources.opcua.notifications import Form
from edge_sender.sources.opcua.polling import Variables
from edge_sender.sources.opcua.receiving import Receiver
from edge_sender.sources.opcua.selection import EVENTS
from edge_sender.sources.opcua.subscribing import Subscriptions
from edge_sender.sources.opcua.subscription import SubscriptionLostError

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0


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
    looks_for_notifiers: bool = False
    """Whether it matters which objects have events."""


class Inventory:
    """`subscribed` is called with the server's names and the variables that are read, by their handles."""

    def __init__(
        self,
        name: str,
        connection: Connection,
        limits: Limits,
        wanted: Wanted,
        tally: SourceTally,
        subscribed: Callable[[Addresses, Mapping[int, Item]], None],
    ) -> None:
        self.model_changed = asyncio.Event()
        """Set when the server says that nodes came or went."""
        self.subscriptions = Subscriptions(connection, limits) if wanted.interval_ns is None else Variables()
        self._connection = connection
        self._name = name
        self._limits = limits
        self._wanted = wanted
        self._tally = tally
        self._subscribed = subscribed
        self._addresses: Addresses | None = None

    async def start(self, receiver: Receiver) -> str:
        """Read what was chosen; return what is told of it. Raises NothingToReadError, and what a lost connection raises."""
        self.subscriptions.most_items = await read_limits(self._connection, self._limits)
        space = await self._look(receiver)
        await self.subscriptions.add(self._wanted.choose(space))
        self._report(space)
        if not self.subscriptions.items:
            raise NothingToReadError(self._why_nothing())
        has_events = await self.subscriptions.watch_model()
        self.subscriptions.listen()
        left_out = f"; {len(self._tally.left_out)} are left out" if self._tally.left_out else ""
        how = "when it says that there are" if has_events else "from time to time"
        verb = "subscribed to" if self._wanted.interval_ns is None else "reads"
        events = f" and the events of {self._tally.notifiers} objects" if self._tally.notifiers else ""
        return f"{verb} {self._tally.subscribed} variables{events}{left_out}; new ones are looked for {how}"

    async def _look(self, receiver: Receiver) -> AddressSpace:
        """What the server has, and what its values are made of."""
        addresses = await self.read_addresses()
        types = await read_data_types(self._connection, self._limits, addresses)
        receiver.values, receiver.addresses = Values(addresses.namespaces, types.structures()), addresses
        space = await browse(self._connection, self._limits, addresses)
        if self._wanted.looks_for_notifiers:
            space.notifiers = await read_notifiers(self._connection, self._limits, with_server(space))
        return space

    async def keep_up(self, receiver: Receiver) -> None:
        """Read variables that appear later, too, and forget those that are gone. Raises SubscriptionLostError, and what a
        lost connection raises."""
        while True:
            try:
                async with asyncio.timeout(self._wanted.browse_seconds or None):
                    await self.model_changed.wait()
                await asyncio.sleep(SETTLE_SECONDS)  # a server tells of each node of a machine by itself
            except TimeoutError:
                pass
            self.model_changed.clear()
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
        subscriptions = self.subscriptions
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
        tally, subscriptions = self._tally, self.subscriptions
        self._subscribed(space.addresses, subscriptions.items)
        tally.notifiers = sum(item.events is not None for item in subscriptions.items.values())
        tally.subscribed = len(subscriptions.items) - tally.notifiers
        tally.left_out = {**space.odd, **subscriptions.refused}
        if tally.revised != subscriptions.revised:
            tally.revised = dict(subscriptions.revised)
            for what, number in tally.revised.items():
                logger.warning("%s: the server granted %s (%d times)", self._name, what, number)

    def _why_nothing(self) -> str:
        refused = self.subscriptions.refused
        if not refused:
            return "the server has none of the variables that were chosen"
        first, why = next(iter(refused.items()))
        if len(refused) == 1 and first.endswith(EVENTS):
            return f"the events were refused: {why}"
        return f"all {len(refused)} variables were refused, the first with {why}"

    async def read_addresses(self) -> Addresses:
        """Raises ServerChangedError, if names that are in use have changed; new ones may have been added."""
        known, found = self._addresses, await read_addresses(self._connection, self._limits, self._wanted.server_uri)
        if known is not None and not found.continues(known):
            raise ServerChangedError("the server's application URI or namespaces have changed")
        self._addresses = found
        return found
