"""The smallest HTTP server that a control API needs: one JSON request and one JSON answer for each connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

MAX_BODY_BYTES = 1024 * 1024
REQUEST_SECONDS = 30.0


class HttpError(Exception):
    """An answer with another status than 200; the text is its `error`."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: tuple[str, ...]
    """The parts of the path between slashes."""
    body: Any
    """The JSON of the body, or None where there is no body."""


Handler = Callable[[HttpRequest], Awaitable[Any]]
"""Returns what is answered, as JSON. Raises HttpError."""


async def serve(handler: Handler, host: str, port: int) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await _request(reader)
            status, answer = HTTPStatus.OK, await handler(request)
        except HttpError as error:
            status, answer = error.status, {"error": str(error)}
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            status, answer = HTTPStatus.BAD_REQUEST, {"error": "this is not an HTTP/1.1 request with JSON as its body"}
        content = json.dumps(answer).encode() + b"\n"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + content)
        writer.close()

    return await asyncio.start_server(connected, host, port)


async def _request(reader: asyncio.StreamReader) -> HttpRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MAX_BODY_BYTES:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {MAX_BODY_BYTES} bytes")
    content = await reader.readexactly(length)
    parts = urlsplit(target).path.strip("/").split("/")
    return HttpRequest(method, tuple(unquote(part) for part in parts if part), json.loads(content) if content else None)
