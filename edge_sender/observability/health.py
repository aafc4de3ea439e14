"""Serves `/healthz`, `/readyz`, `/metrics` and `/v1/status` without a web framework, for which a gateway has no room.

Only GET and HEAD are supported. No body is read, and every connection is closed after its answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from edge_sender.observability import telemetry
from edge_sender.sender import Sender

MAX_REQUEST_BYTES = 8192
TIMEOUT_SECONDS = 5.0
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

Answer = tuple[int, str, bytes]


class Health:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._registry: CollectorRegistry = telemetry.make_registry(sender)

    def answer(self, method: str, path: str) -> Answer:
        if method not in ("GET", "HEAD"):
            return 405, "text/plain", b"only GET and HEAD are supported\n"
        match path.partition("?")[0]:
            case "/healthz":
                return 200, "text/plain", b"ok\n"
            case "/readyz":
                problems = telemetry.problems(self._sender)
                return (503, "text/plain", "\n".join([*problems, ""]).encode()) if problems else (200, "text/plain", b"ok\n")
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
            case "/v1/status":
                content = telemetry.status(self._sender)
                return 200, "application/json", json.dumps(content).encode()
        return 404, "text/plain", b"not found; there are /healthz, /readyz, /metrics and /v1/status\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT_SECONDS)
            method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            status, kind, body = self.answer(method, path)
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            method, status, kind, body = "GET", 400, "text/plain", b"not an HTTP request\n"
        head_lines = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        try:
            writer.write(f"{head_lines}Connection: close\r\n\r\n".encode() + (b"" if method == "HEAD" else body))
            await asyncio.wait_for(writer.drain(), TIMEOUT_SECONDS)
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            writer.close()


@asynccontextmanager
async def serving(sender: Sender, host: str, port: int) -> AsyncIterator[int]:
    """Yields the port. With `port` 0 nothing is served."""
    if port == 0:
        yield 0
        return
    server = await asyncio.start_server(Health(sender).serve, host, port, limit=MAX_REQUEST_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
