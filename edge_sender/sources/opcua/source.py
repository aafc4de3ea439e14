"""OPC UA source: the variables that were chosen on one server, or one of several, in one session after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from edge_sender.config.opcua import OpcUaConfig
from edge_sender.counters import FailOver, SourceTally
from edge_sender.namesakes import Names, Namesakes
from edge_sender.ports import Intake
from edge_sender.sources.opcua.addresses import Addresses, printable
from edge_sender.sources.opcua.grid import SYSTEM_CLOCK, GridClock
from edge_sender.sources.opcua.inventory import Wanted
from edge_sender.sources.opcua.items import Item
from edge_sender.sources.opcua.notifications import Form
from edge_sender.sources.opcua.redundancy import Move, MovedError, Redundancy
from edge_sender.sources.opcua.running import Running
from edge_sender.sources.opcua.selection import select
from edge_sender.sources.opcua.servers import Server
from edge_sender.sources.opcua.session import Reports, Session

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 5.0
UNREACHABLE: FailOver = "unreachable"
MOST_REASONS = 10
"""Different reasons that are logged while the server is away."""


class OpcUaSource:
    def __init__(
        self,
        name: str,
        config: OpcUaConfig,
        tally: SourceTally,
        redundancy: Redundancy,
        namesakes: Namesakes,
        clock: GridClock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.problem: str | None = "not connected yet"
        """Why it delivers nothing at the moment."""
        self._config = config
        self._tally = tally
        self._redundancy = redundancy
        self._namesakes = namesakes
        self._clock = clock
        self._session: Session | None = None
        self._successor: Running | None = None
        """A session at a fitter server, which is read as well while the other one is left."""
        self._reasons: set[str] = set()
        """What was logged since the server was last up."""

    @property
    def is_up(self) -> bool:
        session = self._session
        return session is not None and session.is_serving and session.connection.is_open

    @property
    def server(self) -> Server:
        """Which it reads, or tries to."""
        return self._redundancy.current

    @property
    def place(self) -> str:
        """That server's endpoint."""
        return self.server.url

    @property
    def notice(self) -> str | None:
        texts = [self._redundancy.notice, *self._namesakes.notices(self.name)]
        return "; ".join(text for text in texts if text is not None) or None

    async def run(self, intake: Intake) -> None:
        retry, reason = FIRST_RETRY_SECONDS, UNREACHABLE
        try:
            while True:
                running = self._successor or self._begin(intake, self._redundancy.current, reason)
                self._successor = None
                session = self._session = running.session
                self._redundancy.current = session.server
                move = await self._serve(running)
                has_served = session.has_served.is_set()
                if has_served:
                    retry = FIRST_RETRY_SECONDS
                if self._successor is not None:
                    continue  # it is read already
                if has_served:
                    self._tally.count("interruption")
                    self._tell_lost_events()
                reason = UNREACHABLE if move is None else move.reason
                if move is not None or not (has_served or self._redundancy.next()):
                    continue  # with another server, at once
                await asyncio.sleep(retry)
                retry = min(2 * retry, MAX_RETRY_SECONDS)
        finally:
            if self._successor is not None:
                await self._successor.stop()

    def _tell_lost_events(self) -> None:
        if self._config.events is not None:
            logger.warning(
                "%s: events that come before there is a subscription again are lost to this gateway, since servers keep "
                "none; alarms that are active then are not repeated",
                self.name,
            )

    def _begin(self, intake: Intake, server: Server, reason: FailOver) -> Running:
        session = self._make_session(intake, server, reason)
        return Running(session, asyncio.create_task(_read(session, intake)))

    async def _serve(self, running: Running) -> Move | None:
        """Returns when the session is lost, or another server is to be read."""
        try:
            await running.task
        except MovedError as error:
            logger.warning("%s: %s", self.name, printable(str(error)))
            self._redundancy.current = error.move.server
            return error.move
        except Exception as error:  # noqa: BLE001  # whatever a server answers must not end the other sources
            if self._successor is None:
                self._down(running.session.server, error)
        return None

    async def _move(self, intake: Intake, move: Move) -> None:
        """Read the fitter server as well, until nothing of the one that is read can be on its way any more. Then raises
        MovedError. Returns if the other one can't be read."""
        leaving = self._session
        assert leaving is not None
        running = self._begin(intake, move.server, move.reason)
        try:
            if await running.serves():
                self._successor = running
                if await running.serves_on(leaving.overlap_seconds):
                    raise MovedError(move)
                self._successor = None
                self._redundancy.serves(leaving.server)
            self._tell(f"{move}, but it can't be: {running.error}")
        finally:  # a successor goes on, also when this session is lost now
            if self._successor is not running:
                await running.stop()

    def _make_session(self, intake: Intake, server: Server, reason: FailOver) -> Session:
        config = self._config
        wanted = Wanted(
            partial(select, config=config),
            Form(config.payload, config.time),
            config.browse_seconds,
            config.server_uri,
            config.interval_ns,
            looks_for_notifiers=config.events is not None and bool(config.events.notifiers),
        )
        reports = Reports(
            down=partial(self._down, server),
            up=partial(self._up, server),
            subscribed=self._subscribed,
            serves=partial(self._serves, server, reason),
            better=partial(self._move, intake),
            is_replaced=lambda: self._successor is not None,
        )
        return Session(self.name, server, self._redundancy, wanted, self._tally, reports, self._clock)

    def _serves(self, server: Server, reason: FailOver) -> None:
        if self._redundancy.serves(server):
            self._tally.fail_overs[reason] += 1

    def _subscribed(self, addresses: Addresses, items: Mapping[int, Item]) -> None:
        is_given = self._config.server_uri is not None
        names = Names(self._config.servers, addresses.server_uri, is_given, lambda: {item.uri for item in items.values()})
        self._namesakes.tell(self.name, names)

    def _down(self, server: Server, error: Exception) -> None:
        reason = f"{error}" if str(error) else repr(error)
        self.problem = printable(f"{server.url} can't be read: {reason}")
        self._tell(f"{server.url} can't be read, retrying: {reason}")

    def _tell(self, what: str) -> None:
        """Log changes of state, and each reason once."""
        text = printable(what)
        if text not in self._reasons and len(self._reasons) < MOST_REASONS:
            self._reasons.add(text)
            logger.warning("%s: %s", self.name, text)

    def _up(self, server: Server, text: str) -> None:
        self.problem = None
        self._reasons.clear()
        logger.info("%s: %s: %s", self.name, server.url, text)


async def _read(session: Session, intake: Intake) -> None:
    try:
        await session.run(intake)
    finally:
        await session.connection.close()
