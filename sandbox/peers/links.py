"""A network link that can fail: a proxy that forwards nothing and signals nothing, like a pulled cable, or that disconnects
and refuses everything, like a firewall."""

from __future__ import annotations

import asyncio
import contextlib

CHUNK_BYTES = 65_536


class Link:
    """Forwards connections from a local address to a target. A cut link still accepts them: neither end notices the cut,
    nor that the other end has hung up meanwhile."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self.host, self.port = "", 0
        self._target = (target_host, target_port)
        self._open = asyncio.Event()
        self._open.set()
        self._refuses = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Link:
        self._server = await asyncio.start_server(self._serve, host, port)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]
        return self

    def cut(self) -> None:
        self._open.clear()

    def refuse(self) -> None:
        """Disconnects everybody, and whoever connects from now on."""
        self._refuses = True
        self._disconnect()

    def mend(self) -> None:
        self._refuses = False
        self._open.set()

    def lead_to(self, host: str, port: int) -> None:
        """Disconnects everybody; whoever connects from now on reaches another target."""
        self._target = (host, port)
        self._disconnect()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._disconnect()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _disconnect(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        other: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            far_reader, other = await asyncio.open_connection(*self._target)
            await asyncio.gather(self._pump(reader, other), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # when one end disconnects, the other is disconnected too
        finally:
            self._tasks.discard(task)
            for end in (writer, other):
                if end is not None:
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        await self._open.wait()
        writer.transport.abort()
