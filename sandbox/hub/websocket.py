"""A protocol of bytes, such as AMQP or MQTT, inside the binary messages of a WebSocket, as clients behind firewalls use it.

Source: RFC 6455; the AMQP WebSocket binding 1.0; MQTT 3.1.1, chapter 6. Message borders mean nothing to the protocol inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
PATHS = ("/$servicebus/websocket", "/$iothub/websocket")
_DATA = (Opcode.BINARY, Opcode.TEXT, Opcode.CONT)


class Inside(asyncio.Transport):
    """What the protocol inside takes for its connection."""

    def __init__(self, outer: asyncio.Transport, http: ServerProtocol, flush: Callable[[], None]) -> None:
        super().__init__()
        self._outer = outer
        self._http = http
        self._flush = flush

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._http.state is State.OPEN:
            self._http.send_binary(bytes(data))
            self._flush()

    def close(self) -> None:
        if self._http.state is State.OPEN:
            self._http.send_close(1000)
            self._flush()
        self._outer.close()

    def abort(self) -> None:
        self._outer.abort()

    def is_closing(self) -> bool:
        return self._outer.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._outer.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._outer.get_write_buffer_size()

    def pause_reading(self) -> None:
        self._outer.pause_reading()

    def resume_reading(self) -> None:
        self._outer.resume_reading()

    def is_reading(self) -> bool:
        return self._outer.is_reading()


Factory = Callable[[], asyncio.Protocol]


class OverWebSocket(asyncio.Protocol):
    """Upgrades the HTTP request and passes on what the binary messages contain, to the protocol that the client chose."""

    def __init__(self, protocols: Mapping[str, Factory]) -> None:
        """`protocols`: by the name of the WebSocket subprotocol."""
        self._protocols = protocols
        self._http = ServerProtocol(subprotocols=[Subprotocol(name) for name in protocols], max_size=MAX_MESSAGE_BYTES)
        self._outer: asyncio.Transport | None = None
        self._inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._outer = transport

    def data_received(self, data: bytes) -> None:
        assert self._outer is not None
        self._http.receive_data(data)
        for event in self._http.events_received():
            if isinstance(event, Request):
                self._upgrade(event, self._outer)
            elif isinstance(event, Frame) and event.opcode in _DATA and self._inner is not None:
                self._inner.data_received(bytes(event.data))
        self._flush()
        if self._http.close_expected():
            self._outer.close()

    def _upgrade(self, request: Request, outer: asyncio.Transport) -> None:
        if request.path.partition("?")[0].rstrip("/") in PATHS:
            response = self._http.accept(request)
        else:
            response = self._http.reject(HTTPStatus.NOT_FOUND, f"WebSockets are at {' and '.join(PATHS)}.\n")
        self._http.send_response(response)
        self._flush()
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._inner = self._protocols[str(self._http.subprotocol)]()
            self._inner.connection_made(Inside(outer, self._http, self._flush))

    def _flush(self) -> None:
        assert self._outer is not None
        for data in self._http.data_to_send():
            if data and not self._outer.is_closing():
                self._outer.write(data)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._inner is not None:
            self._inner.connection_lost(exc)
