"""Makes the client of a Redis cluster, which knows its nodes by the names and addresses that they announce."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url

LOCALHOST, LOCAL_ADDRESS = "localhost", "127.0.0.1"


class NodeNames:
    """How the nodes are called. Nothing here blocks: the client asks it while the event loop waits."""

    def __init__(self, host: str, *, is_tls: bool, timeout_seconds: float) -> None:
        self._host = host
        self._has_certificate = is_tls
        self._timeout = timeout_seconds
        self._addresses: frozenset[str] = frozenset()

    async def resolve(self) -> None:
        """Learns the addresses of the configured host. Those of before stay when it can't be resolved."""
        if not self._has_certificate:
            return
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._timeout):
                found = await loop.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
                self._addresses = frozenset(str(info[4][0]) for info in found)

    def of(self, announced: tuple[str, int]) -> tuple[str, int]:
        """Maps a node that announces the address of the configured host back to that name, because certificates contain no
        addresses (Azure Managed Redis announces its nodes by address)."""
        host, port = announced
        if host in self._addresses and _is_address(host):
            host = self._host
        return direct(host), port


def direct(host: str) -> str:
    """The client itself would look the address of `localhost` up, and block the event loop meanwhile."""
    return LOCAL_ADDRESS if host == LOCALHOST else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Cluster(RedisCluster):
    def __init__(self, names: NodeNames, **options: Any) -> None:
        super().__init__(address_remap=names.of, **options)
        self._names = names

    async def initialize(self, *arguments: Any, **options: Any) -> RedisCluster:
        """Resolves again with each topology, which is requested after a failure only."""
        if self._initialize:
            await self._names.resolve()
        return await super().initialize(*arguments, **options)


def connect_cluster(url: str, timeout_seconds: float, options: dict[str, Any]) -> Cluster:
    """Raises ValueError, whose message may hold the password."""
    parsed: dict[str, Any] = {**parse_url(url.removesuffix("/0"))}
    is_tls = parsed.pop("connection_class", None) is SSLConnection
    names = NodeNames(parsed["host"], is_tls=is_tls, timeout_seconds=timeout_seconds)
    parsed["host"] = direct(parsed["host"])
    # After some moved slots, the client would close all connections, busy or not.
    return Cluster(names, **{"ssl": is_tls, "reinitialize_steps": 0, **options, **parsed})
