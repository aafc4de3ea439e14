"""Which of a source's redundant servers is read, and when it is left for another.

Source: OPC 10000-4, 6.6.2.4 (non-transparent redundancy, ServiceLevel); OPC 10000-5, 6.3.7 (ServerRedundancy).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from edge_sender.counters import FailOver
from edge_sender.sources.opcua.capabilities import Health, read_health
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.security import User
from edge_sender.sources.opcua.servers import HEALTHY, Server, healthier, preferred, unlike

logger = logging.getLogger(__name__)

LEVEL_SECONDS = 1.0
"""How often the server that is read is asked for its level."""
LOOK_EVERY_SECONDS = 5.0
"""How often the others are asked at most, while that level is low."""
ACQUAINT_SECONDS = 60.0
"""How often, while one of them has not said its application URI yet."""
LOOK_SECONDS = 3.0
"""How long one of the others has for its answer."""


@dataclass(frozen=True, slots=True)
class Move:
    """Another server is to be read from now on."""

    server: Server
    reason: FailOver
    why: str

    def __str__(self) -> str:
        return f"{self.why}, so {self.server.url} is read"


class MovedError(Exception):
    def __init__(self, move: Move) -> None:
        super().__init__(str(move))
        self.move = move


class UnlikeServersError(Exception):
    """Ids would depend on which server is read."""


class Redundancy:
    """`is_named`: whether the settings give all of them one name (`server_uri`). Without it only servers of one application
    URI are read in turn, since another gateway may read another one of them."""

    def __init__(
        self,
        servers: Sequence[Server],
        user: User | None = None,
        *,
        is_named: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.current = servers[0]
        """Which is read, or tried."""
        self.notice: str | None = None
        """What is wrong with the servers, though one of them is read."""
        self._servers = servers
        self._user = user
        self._is_named = is_named
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._served: Server | None = None
        """What was read last in this run."""
        self._failed = 0
        """How many could not be read, one after the other."""

    def others(self, server: Server) -> list[Server]:
        """In the order of the settings."""
        return [other for other in self._servers if other is not server]

    def connection(self, server: Server) -> Connection:
        return Connection(server.url, server.channel, self._user)

    def next(self) -> bool:
        """The current server could not be read: it is the next one's turn. Returns whether that is true of all by now."""
        self.current = self._servers[(self._servers.index(self.current) + 1) % len(self._servers)]
        self._failed = (self._failed + 1) % len(self._servers)
        return self._failed == 0

    def serves(self, server: Server) -> bool:
        """Its variables are read now. Returns whether those of another server were before."""
        before, self._served, self._failed = self._served, server, 0
        return before not in (None, server)

    async def enter(self, server: Server, connection: Connection) -> None:
        """Before variables of the server are subscribed to. Raises MovedError, UnlikeServersError, and what a lost
        connection raises."""
        if not self.others(server):
            return
        if (better := await self._better(server, connection)) is not None:
            raise MovedError(better)
        served_uri = None if self._served is None else self._served.stated_uri
        if self.notice is not None and served_uri != server.stated_uri:
            raise UnlikeServersError(self.notice)

    async def watch(self, server: Server, connection: Connection, move: Callable[[Move], Awaitable[None]]) -> None:
        """While the server is read. `move` is called with a better one. Raises what it raises, and what a lost connection
        does."""
        while self.others(server):
            await asyncio.sleep(LEVEL_SECONDS)
            if (better := await self._better(server, connection)) is not None:
                await move(better)

    async def replace(self, server: Server) -> None:
        """While the server can't be reached. Raises MovedError, if another one can be read."""
        if (best := preferred(await self._look_around(server))) is not None:
            raise MovedError(Move(best, "unreachable", f"{server.url} can't be reached"))

    async def _better(self, server: Server, connection: Connection) -> Move | None:
        health = await read_health(connection, server.limits)
        server.stated_uri = health.stated_uri
        if not health.is_transparent and self._is_due(server, health):
            found = await self._look_around(server)
            if (better := healthier(found, health.level)) is not None:
                levels = f"{health.level}, and another server {found[better].level}"
                return Move(better, "service-level", f"{server.url} has the ServiceLevel {levels}")
        self.notice = None if self._is_named else unlike(self._servers)
        return None

    def _is_due(self, server: Server, health: Health) -> bool:
        since = self._monotonic() - self._looked_at
        is_strange = not self._is_named and not all(other.stated_uri for other in self.others(server))
        is_low = health.level is not None and health.level < HEALTHY
        return (is_low and since >= LOOK_EVERY_SECONDS) or (is_strange and since >= ACQUAINT_SECONDS)

    async def _look_around(self, server: Server) -> dict[Server, Health]:
        """What those of the other servers say of themselves that can be read in place of this one."""
        others = self.others(server)
        answers = await asyncio.gather(*(self._look_at(other) for other in others))
        self._looked_at = self._monotonic()
        return {
            other: health
            for other, health in zip(others, answers, strict=True)
            if health is not None and (self._is_named or other.stated_uri == server.stated_uri)
        }

    async def _look_at(self, server: Server) -> Health | None:
        """In a session that is closed at once. None if the server can't be read."""
        connection = self.connection(server)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await connection.open()
                health = await read_health(connection, server.limits)
        except Exception as error:  # noqa: BLE001  # whatever it answers, it is not read now
            logger.debug("%s can't be read at the moment: %r", server.url, error)
            return None
        finally:
            await connection.close()
        server.stated_uri = health.stated_uri
        return health
