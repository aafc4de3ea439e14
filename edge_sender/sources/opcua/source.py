"""OPC UA source: the variables that were chosen on one server, or one of several, in one session after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from edge_sender.config.opcua import OpcUaConfig
from edge_sender.counters import SourceTally
from edge_sender.ports import Intake
from edge_sender.sources.namesakes import Names, Namesakes
from edge_sender.sources.opcua.addresses import Addresses, printable
from edge_sender.sources.opcua.grid import SYSTEM_CLOCK, GridClock
from edge_sender.sources.opcua.items import Item
from edge_sender.sources.opcua.notifications import Form
from edge_sender.sources.opcua.redundancy import MovedError, Redundancy
from edge_sender.sources.opcua.selection import select
from edge_sender.sources.opcua.session import Reports, Session, Wanted

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 5.0
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
        self._reasons: set[str] = set()
        """What was logged since the server was last up."""

    @property
    def is_up(self) -> bool:
        session = self._session
        return session is not None and session.is_serving and session.connection.is_open

    @property
    def place(self) -> str:
        """The endpoint that it reads, or tries to."""
        return self._redundancy.current.url

    @property
    def notice(self) -> str | None:
        texts = [self._redundancy.notice, *self._namesakes.notices(self.name)]
        return "; ".join(text for text in texts if text is not None) or None

    async def run(self, intake: Intake) -> None:
        retry = FIRST_RETRY_SECONDS
        while True:
            session = self._session = self._make_session()
            has_moved = await self._serve(session, intake)
            if session.was_serving:
                self._tally.count("interruption")
                retry = FIRST_RETRY_SECONDS
            if has_moved or not (session.was_serving or self._redundancy.next()):
                continue  # with another server, at once
            await asyncio.sleep(retry)
            retry = min(2 * retry, MAX_RETRY_SECONDS)

    async def _serve(self, session: Session, intake: Intake) -> bool:
        """Read until the session is lost. Returns whether that is because another server is to be read."""
        try:
            await session.run(intake)
        except MovedError as error:
            logger.warning("%s: %s", self.name, printable(str(error)))
            self._redundancy.current = error.server
            return True
        except Exception as error:  # noqa: BLE001  # whatever a server answers must not end the other sources
            self._down(error)
        finally:
            await session.connection.close()
        return False

    def _make_session(self) -> Session:
        config = self._config
        wanted = Wanted(
            partial(select, config=config),
            Form(config.payload, config.time),
            config.browse_seconds,
            config.server_uri,
            config.interval_ns,
        )
        reports = Reports(self._down, self._up, self._subscribed)
        return Session(self.name, self._redundancy, wanted, self._tally, reports, self._clock)

    def _subscribed(self, addresses: Addresses, items: Mapping[int, Item]) -> None:
        is_given = self._config.server_uri is not None
        names = Names(self._config.servers, addresses.server_uri, is_given, lambda: {item.uri for item in items.values()})
        self._namesakes.tell(self.name, names)

    def _down(self, error: Exception) -> None:
        """Log changes of state, and each reason once."""
        reason = printable(f"{error}" if str(error) else repr(error))
        self.problem = f"{self.place} can't be read: {reason}"
        if reason not in self._reasons and len(self._reasons) < MOST_REASONS:
            self._reasons.add(reason)
            logger.warning("%s: %s can't be read, retrying: %s", self.name, self.place, reason)

    def _up(self, text: str) -> None:
        self.problem = None
        self._reasons.clear()
        logger.info("%s: %s: %s", self.name, self.place, text)
