"""Which of a source's redundant servers is read, and when it is left for another.

Source: OPC 10000-4, 6.6.2.4 (non-transparent redundancy, ServiceLevel); OPC 10000-5, 6.3.7 (ServerRedundancy).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_sender.sources.opcua.capabilities import Health, read_health
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.limits import Limits
from edge_sender.sources.opcua.security import Channel, User

logger = logging.getLogger(__name__)

HEALTHY = 200
"""A server with a lower ServiceLevel is degraded (2 to 199), has no data (1), or is in maintenance (0)."""
LEVEL_SECONDS = 1.0
"""How often the server that is read is asked for its level."""
LOOK_EVERY_SECONDS = 5.0
"""How often the others are asked at most, while that level is low."""
ACQUAINT_SECONDS = 60.0
"""How often, while one of them has not said its application URI yet."""
LOOK_SECONDS = 3.0
"""How long one of the others has for its answer."""


class MovedError(Exception):
    """Another server is to be read from now on."""

    def __init__(self, server: Server, why: str) -> None:
        super().__init__(f"{why}, so {server.url} is read")
        self.server = server


class UnlikeServersError(Exception):
    """Ids would depend on which server is read."""


@dataclass(slots=True, eq=False)
class Server:
    """One of the servers of a source, and what is known of it."""

    url: str
    channel: Channel | None = None
    limits: Limits = field(default_factory=Limits)
    stated_uri: str = ""
    """Its application URI, once it has said it."""


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
        self.notice: str | None = None
        """What is wrong with the servers, though one of them is read."""
        self._servers = servers
        self._user = user
        self._is_named = is_named
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._served_uri: str | None = None
        """The application URI of what was read in this run."""
        self._failed = 0
        """How many could not be read, one after the other."""

    @property
    def others(self) -> list[Server]:
        """In the order of the settings."""
        return [server for server in self._servers if server is not self.current]

    def connection(self) -> Connection:
        return Connection(self.current.url, self.current.channel, self._user)

    def next(self) -> bool:
        """The current server could not be read: it is the next one's turn. Returns whether that is true of all by now."""
        self.current = self._servers[(self._servers.index(self.current) + 1) % len(self._servers)]
        self._failed = (self._failed + 1) % len(self._servers)
        return self._failed == 0

    def serves(self) -> None:
        """Variables of the current server are subscribed to."""
        self._failed = 0
        self._served_uri = self.current.stated_uri

    async def enter(self, connection: Connection) -> None:
        """Before variables of the current server are subscribed to. Raises MovedError, UnlikeServersError, and what a lost
        connection raises."""
        if not self.others:
            return
        await self._consider(connection)
        if self.notice is not None and self._served_uri != self.current.stated_uri:
            raise UnlikeServersError(self.notice)

    async def watch(self, connection: Connection) -> None:
        """While the current server is read. Raises MovedError, and what a lost connection raises."""
        while self.others:
            await asyncio.sleep(LEVEL_SECONDS)
            await self._consider(connection)

    async def replace(self) -> None:
        """While the current server can't be reached. Raises MovedError, if another one can be read."""
        if (best := preferred(await self._look_around())) is not None:
            raise MovedError(best, f"{self.current.url} can't be reached")

    async def _consider(self, connection: Connection) -> None:
        health = await read_health(connection, self.current.limits)
        self.current.stated_uri = health.stated_uri
        if not health.is_transparent and self._is_due(health):
            found = await self._look_around()
            if (better := healthier(found, health.level)) is not None:
                levels = f"{health.level}, and another server {found[better].level}"
                raise MovedError(better, f"{self.current.url} has the ServiceLevel {levels}")
        self.notice = None if self._is_named else unlike(self._servers)

    def _is_due(self, health: Health) -> bool:
        since = self._monotonic() - self._looked_at
        is_strange = not self._is_named and not all(server.stated_uri for server in self.others)
        is_low = health.level is not None and health.level < HEALTHY
        return (is_low and since >= LOOK_EVERY_SECONDS) or (is_strange and since >= ACQUAINT_SECONDS)

    async def _look_around(self) -> dict[Server, Health]:
        """What those of the other servers say of themselves that can be read in place of the current one."""
        others = self.others
        answers = await asyncio.gather(*(self._look_at(server) for server in others))
        self._looked_at = self._monotonic()
        return {
            server: health
            for server, health in zip(others, answers, strict=True)
            if health is not None and (self._is_named or server.stated_uri == self.current.stated_uri)
        }

    async def _look_at(self, server: Server) -> Health | None:
        """In a session that is closed at once. None if the server can't be read."""
        connection = Connection(server.url, server.channel, self._user)
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


def preferred(found: Mapping[Server, Health]) -> Server | None:
    """The one with the highest level, of equal ones the first. Healthy levels are equal, and so is none at all."""
    return max(found, key=lambda server: _rank(found[server].level), default=None)


def healthier(found: Mapping[Server, Health], than: int | None) -> Server | None:
    """The preferred one of those that say that they have a higher level, if this one is low."""
    higher = {
        server: health
        for server, health in found.items()
        if than is not None and than < HEALTHY and health.level is not None and health.level > than
    }
    return preferred(higher)


def _rank(level: int | None) -> int:
    return HEALTHY if level is None else min(level, HEALTHY)


def unlike(servers: Sequence[Server]) -> str | None:
    """What to tell about servers of which two have different application URIs."""
    known = {server.stated_uri: server for server in servers if server.stated_uri}
    if len(known) < 2:
        return None
    named = " and ".join(f"{server.url} ({uri})" for uri, server in known.items())
    return (
        f"{named} have different application URIs, so a gateway that reads the other one makes other ids: "
        "set server_uri, to the same on all gateways"
    )
