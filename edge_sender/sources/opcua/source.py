"""OPC UA source: the variables that were chosen on one server, in one session after the other."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from edge_sender.config.sources import OpcUaConfig
from edge_sender.counters import SourceTally
from edge_sender.ports import Intake
from edge_sender.sources.opcua.addresses import printable
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.limits import Limits
from edge_sender.sources.opcua.notifications import Form
from edge_sender.sources.opcua.security import Channel, User
from edge_sender.sources.opcua.selection import select
from edge_sender.sources.opcua.session import Session, Wanted

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 5.0
MOST_REASONS = 10
"""Different reasons that are logged while the server is away."""


class OpcUaSource:
    def __init__(
        self, name: str, config: OpcUaConfig, tally: SourceTally, channel: Channel | None = None, user: User | None = None
    ) -> None:
        self.name = name
        self._config = config
        self._tally = tally
        self._channel = channel
        self._user = user
        self._limits = Limits()
        self._session: Session | None = None
        self._reasons: set[str] = set()
        """What was logged since the server was last up."""

    @property
    def is_up(self) -> bool:
        session = self._session
        return session is not None and session.is_serving and session.connection.is_open

    async def run(self, intake: Intake) -> None:
        retry = FIRST_RETRY_SECONDS
        while True:
            session = self._session = self._make_session()
            try:
                await session.run(intake)
            except Exception as error:  # noqa: BLE001  # whatever a server answers must not end the other sources
                self._down(error)
            finally:
                await session.connection.close()
            if session.was_serving:
                self._tally.count("interruption")
                retry = FIRST_RETRY_SECONDS
            await asyncio.sleep(retry)
            retry = min(2 * retry, MAX_RETRY_SECONDS)

    def _make_session(self) -> Session:
        connection = Connection(self._config.endpoint, self._channel, self._user)
        wanted = Wanted(
            partial(select, config=self._config), Form(self._config.payload, self._config.time), self._config.browse_seconds
        )
        return Session(self.name, connection, self._limits, wanted, self._tally, down=self._down, up=self._up)

    def _down(self, error: Exception) -> None:
        """Log changes of state, and each reason once."""
        reason = printable(f"{error}" if str(error) else repr(error))
        if reason not in self._reasons and len(self._reasons) < MOST_REASONS:
            self._reasons.add(reason)
            logger.warning("%s: %s can't be read, retrying: %s", self.name, self._config.endpoint, reason)

    def _up(self, text: str) -> None:
        self._reasons.clear()
        logger.info("%s: %s: %s", self.name, self._config.endpoint, text)
