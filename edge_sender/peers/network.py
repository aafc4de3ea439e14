"""Heartbeats between the replicas of a plant, as UDP datagrams on its own network."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from edge_sender.peers.beats import REFUSALS, Beats, RefusedError
from edge_sender.peers.socket_errors import refused, tell_errors
from edge_sender.ports import Standing

logger = logging.getLogger(__name__)

RESOLVE_SECONDS = 5.0
"""A gateway, or a pod, may come back with another address."""
RETRY_SECONDS = 5.0
Address = tuple[str, int]


class PeerNetwork(asyncio.DatagramProtocol):
    """`listen`: the address that peers send to. `peers`: theirs, whose names are resolved again and again."""

    def __init__(self, beats: Beats, listen: Address, peers: Sequence[Address], heartbeat_seconds: float) -> None:
        self.problem: str | None = None
        """Why no heartbeats can be sent or heard."""
        self._beats = beats
        self._listen = listen
        self._peers = peers
        self._heartbeat_seconds = heartbeat_seconds
        self._own: Callable[[], Standing] | None = None
        self._heard: Callable[[Standing], None] | None = None
        self._gone: Callable[[str], None] | None = None
        self._names: dict[Address, str] = {}
        """Who was heard last from each address."""
        self._transport: asyncio.DatagramTransport | None = None
        self._addresses: set[Address] = set()
        self._told: set[str] = set()

    @property
    def refused(self) -> Counter[str]:
        return Counter({reason: self._beats.refused[reason] for reason in REFUSALS})

    async def run(self, own: Callable[[], Standing], heard: Callable[[Standing], None], gone: Callable[[str], None]) -> None:
        """Send what `own` says, and pass on what peers say, until cancelled."""
        self._own, self._heard, self._gone = own, heard, gone
        self._transport = await self._open()
        resolving = asyncio.create_task(self._resolve())
        try:
            while True:
                self.announce()
                await asyncio.sleep(self._heartbeat_seconds)
        finally:
            resolving.cancel()
            await asyncio.gather(resolving, return_exceptions=True)
            self._transport.close()
            self._transport = None

    def announce(self) -> None:
        """Send a heartbeat now."""
        if self._transport is None or self._own is None or self._transport.is_closing():
            return
        beat = self._beats.encode(self._own())
        for address in self._addresses:
            self._transport.sendto(beat, address)

    async def _open(self) -> asyncio.DatagramTransport:
        loop = asyncio.get_running_loop()
        while True:
            try:
                transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self._listen)
                self.problem = None
                tell_errors(transport.get_extra_info("socket"))
                return transport
            except OSError as error:
                self.problem = f"heartbeats can't be heard on {self._listen[0]} port {self._listen[1]}: {error}"
                self._tell(self.problem)
            await asyncio.sleep(RETRY_SECONDS)

    async def _resolve(self) -> None:
        """Addresses may change, and names may be unknown at first. What was known stays while a name service is away."""
        loop = asyncio.get_running_loop()
        known: dict[Address, set[Address]] = {}
        while True:
            for host, port in self._peers:
                try:
                    found = await loop.getaddrinfo(host, port, family=self._family())
                except OSError as error:
                    self._tell(f"the peer {host}:{port} is not found: {error}")
                else:
                    known[host, port] = {(str(item[4][0]), port) for item in found}
            self._addresses = set().union(*known.values()) if known else set()
            await asyncio.sleep(RESOLVE_SECONDS)

    def _family(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("socket").family)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        try:
            peer = self._beats.decode(data)
        except RefusedError as error:
            if error.reason in ("forged", "foreign", "same-name"):
                self._tell(f"a heartbeat from {addr} is refused: {REASONS[error.reason]}")
            return
        self._names[addr[:2]] = peer.name
        if self._heard is not None:
            self._heard(peer)

    def error_received(self, exc: Exception) -> None:
        """A peer's machine says that nobody listens, or the network is down, which is the same as silence."""
        logger.debug("a heartbeat was not delivered: %s", exc)
        if self._transport is None or not isinstance(exc, ConnectionRefusedError):
            return
        for address in refused(self._transport.get_extra_info("socket").fileno()):
            name = self._names.get(address)
            if name is not None and self._gone is not None:
                self._gone(name)

    def _tell(self, what: str) -> None:
        """Once for each."""
        if what not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(what)
            logger.warning(what)


MOST_TOLD = 20
REASONS = {
    "forged": "it is not signed with EDGE_PEERS_KEY",
    "foreign": "its sender has another EDGE_WITNESS_BLOB, or another version",
    "same-name": "its sender has the same EDGE_REPLICA as this one",
}
