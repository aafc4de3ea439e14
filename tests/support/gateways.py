"""What is between a plant and Azure: a WebSocket gateway in front of AMQP, a TLS gateway and an HTTP proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

from aiohttp import WSMsgType, web

WEBSOCKET_PATH = "/$servicebus/websocket"
SUBPROTOCOL = "AMQPWSB10"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def websocket_gateway(amqp_port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """AMQP over WebSocket and TLS, as Event Hubs offers it on port 443; yields the port."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        reader, writer = await asyncio.open_connection("127.0.0.1", amqp_port)

        async def replies() -> None:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    await socket.send_bytes(data)
            await socket.close()

        sending = asyncio.create_task(replies())
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                writer.write(message.data)
        writer.transport.abort()
        sending.cancel()
        return socket

    app = web.Application()
    app.router.add_get(WEBSOCKET_PATH, serve)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tls_gateway(target_port: int, tls: ssl.SSLContext, port: int = 0) -> AsyncIterator[int]:
    """TLS in front of a server that has none; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", target_port)
        await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@dataclass
class SlowRelay:
    """Passes everything on, what clients send at so many bytes a second."""

    bytes_per_second: float
    carried: int = 0
    """Bytes that clients sent."""

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1024):
                await asyncio.sleep(len(data) / self.bytes_per_second)
                self.carried += len(data)
                writer.write(data)
        writer.transport.abort()


@asynccontextmanager
async def slow_relay(host: str, port: int, target_port: int, bytes_per_second: float) -> AsyncIterator[SlowRelay]:
    """At `host` and `port`, to a local port."""
    relay = SlowRelay(bytes_per_second)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(host, target_port)
        await asyncio.gather(relay._requests(reader, server_writer), _pump(server_reader, writer))

    server = await asyncio.start_server(serve, host, port, limit=4096)
    try:
        yield relay
    finally:
        server.close()


@dataclass
class ConnectProxy:
    """An HTTP proxy that alone can resolve the names in `routes`: connections that bypass it fail."""

    routes: dict[str, int]
    """Host name → local port."""
    user: str | None = "edge"
    """None: it asks for no password."""
    password: str = "p@ss/word"
    port: int = 0
    tunnels: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    """Of the tunnels, with the port."""
    refused: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        user = f"{self.user}:{quote(self.password, safe='')}@" if self.user else ""
        return f"http://{user}127.0.0.1:{self.port}"

    def _is_authorized(self, given: str | None) -> bool:
        """The scheme's name has any case (RFC 9110, 11.1)."""
        scheme, _, credentials = (given or "").partition(" ")
        return self.user is None or (scheme.lower(), credentials) == ("basic", self._credentials)

    @property
    def _credentials(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
        }
        host = target.rpartition(":")[0]
        if not self._is_authorized(headers.get("proxy-authorization")):
            self.refused.append(host)
            writer.write(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n')
            writer.close()
            return
        if method != "CONNECT" or host not in self.routes:
            self.refused.append(host)
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            writer.close()
            return
        self.tunnels.append(host)
        self.targets.append(target)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.routes[host])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))


@asynccontextmanager
async def connect_proxy(routes: dict[str, int], user: str | None = "edge") -> AsyncIterator[ConnectProxy]:
    proxy = ConnectProxy(routes, user)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
