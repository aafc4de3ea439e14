"""One gateway of the drill: a real sender process, and the links to its machines, its hub and its witness."""

from __future__ import annotations

import asyncio
import json
import resource
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.demo.plan import edge_sources
from sandbox.drill.patterns import Pattern
from sandbox.peers import moved_clock
from sandbox.peers.azurite import storage_connection_string
from sandbox.peers.links import Link
from sandbox.peers.processes import Child, free_port

WITNESS_CONTAINER = "witness"
SENDING = ("active", "alone", "yielding", "standing-in")
PEERS_KEY = "the drill's replicas share it"


@dataclass
class Node:
    device: str
    pattern: Pattern
    plant: dict[str, Any]
    connection_string: str
    ca_file: str
    folder: Path
    uplink: Link
    machines: tuple[Link, ...]
    """One to each of the plant's servers, in the order in which this gateway prefers them."""
    witness: Link
    peer_port: int
    others: list[int]
    """Ports on which the other replicas of its pattern hear heartbeats."""
    http_port: int = field(default_factory=free_port)
    child: Child | None = None
    _life: int = 0

    @property
    def links(self) -> tuple[Link, ...]:
        return self.uplink, *self.machines, self.witness

    async def start(self, *, elsewhere: bool = False) -> None:
        """`elsewhere`: on another machine, which has none of the files on this one's disk."""
        self._life += elsewhere
        if not self._clock.exists():
            self.set_clock(0.0)
        command = ["sandbox.peers.moved_clock", str(self._clock), "edge_sender", "run"]
        self.child = await Child.start(self.device, command, self._environment(), self.folder)

    @property
    def _clock(self) -> Path:
        return self.folder / f"{self.device}.clock"

    def set_clock(self, seconds: float) -> None:
        """By how much it is wrong."""
        moved_clock.write(self._clock, seconds)

    def fill_disk(self, *, is_full: bool) -> None:
        """A full disk takes no byte more, in any file."""
        assert self.child is not None
        _, most = resource.prlimit(self.child.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.child.pid, resource.RLIMIT_FSIZE, (0 if is_full else most, most))

    @property
    def _endpoints(self) -> list[str]:
        return [f"opc.tcp://{link.host}:{link.port}/plant" for link in self.machines]

    async def reads_another_server(self, http: aiohttp.ClientSession) -> bool:
        """Than the one that it prefers. It does not go back by itself while the other one is well (docs/edge.md)."""
        status = await self.status(http)
        return status is not None and status["sources"][0]["place"] != self._endpoints[0]

    async def restart(self) -> None:
        if self.child is not None:
            await self.child.stop()
        await self.start()

    def _environment(self) -> dict[str, str]:
        witness = storage_connection_string(f"http://{self.witness.host}:{self.witness.port}")
        return {
            "EDGE_SOURCES": edge_sources({**self.plant, "endpoints": self._endpoints}, publishing_ms=50),
            "EDGE_REPLICA": self.device,
            "EDGE_UPLINK": "iot",
            "EDGE_CONNECTION_STRING": self.connection_string,
            "EDGE_CA_FILE": self.ca_file,
            "EDGE_BATCH_MAX_SECONDS": "0.2",
            "EDGE_SPOOL_PATH": str(self.folder / f"{self.device}-{self._life}.db"),
            "EDGE_HA": self.pattern.ha,
            "EDGE_WITNESS": f"{witness};ContainerName={WITNESS_CONTAINER}",
            "EDGE_WITNESS_BLOB": self.pattern.name,
            "EDGE_OVERLAP_SECONDS": str(self.pattern.overlap_seconds),
            **(self._peers() if self.pattern.has_peers else {}),
            "EDGE_IDENTITY_CHECK_SECONDS": "0",
            "EDGE_HTTP_HOST": "127.0.0.1",
            "EDGE_HTTP_PORT": str(self.http_port),
        }

    def _peers(self) -> dict[str, str]:
        return {
            "EDGE_PEERS": ",".join(f"127.0.0.1:{port}" for port in self.others),
            "EDGE_PEERS_KEY": PEERS_KEY,
            "EDGE_PEERS_HOST": "127.0.0.1",
            "EDGE_PEERS_PORT": str(self.peer_port),
        }

    async def status(self, http: aiohttp.ClientSession) -> dict[str, Any] | None:
        """The sender's status, or None while it does not answer."""
        try:
            async with http.get(f"http://127.0.0.1:{self.http_port}/v1/status") as response:
                if response.status != HTTPStatus.OK:
                    return None
                status: dict[str, Any] = json.loads(await response.text())
                return status
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def is_well(self, http: aiohttp.ClientSession) -> bool:
        status = await self.status(http)
        return status is not None and not status["problems"] and status["spool"]["readings"] < 50

    async def is_sending(self, http: aiohttp.ClientSession) -> bool:
        status = await self.status(http)
        return status is not None and status["role"] in SENDING

    async def is_behind(self, http: aiohttp.ClientSession) -> bool:
        """Whether it may still have something to send; one that is too busy to answer counts as such."""
        status = await self.status(http)
        if status is None:
            return self.is_running
        return status["role"] in SENDING and status["spool"]["readings"] > 0

    @property
    def is_running(self) -> bool:
        return self.child is not None and self.child.is_running

    def log_tail(self) -> str:
        return self.child.log_tail() if self.child is not None else ""

    async def kill(self) -> None:
        if self.child is not None:
            await self.child.kill()

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()
        await asyncio.gather(*(link.stop() for link in self.links))
