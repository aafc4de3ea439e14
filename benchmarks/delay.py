"""A proxy that delays the answers of Redis, as a distant one would.

python -m benchmarks.delay TARGET_PORT SECONDS     prints the port that it listens on
"""

from __future__ import annotations

import asyncio
import sys


class _Side(asyncio.Protocol):
    """Forwards the data that it receives to its other side after the delay."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        elif self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.other.write, data)
        else:
            self.other.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def join(self, other: _Side) -> None:
        self.other = other
        for data in self._early:
            other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Client(_Side):
    def __init__(self, target_port: int, delay: float) -> None:
        super().__init__(0.0)
        self._target_port = target_port
        self._delay = delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        server = _Side(self._delay)
        await asyncio.get_running_loop().create_connection(lambda: server, "127.0.0.1", self._target_port)
        server.join(self)
        self.join(server)


async def main() -> None:
    target_port, delay = int(sys.argv[1]), float(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(lambda: _Client(target_port, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
