"""A session at an OPC UA server, which a new socket takes up again where the old one was lost.

The library's own supervisor is not used: it would replay subscriptions by old namespace indexes, and log every attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

from edge_sender.sources.opcua.security import Channel, User

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
CLOSE_SECONDS = 2.0
RENEW_AT = 0.75
"""Share of the secure channel's lifetime after which it is renewed. (OPC 10000-4, 5.5.2.1)"""
INTERRUPTIONS = frozenset(
    {
        ua.StatusCodes.BadSessionIdInvalid,
        ua.StatusCodes.BadSessionClosed,
        ua.StatusCodes.BadSessionNotActivated,
        ua.StatusCodes.BadSecureChannelIdInvalid,
        ua.StatusCodes.BadSecureChannelClosed,
        ua.StatusCodes.BadSecureChannelTokenUnknown,
        ua.StatusCodes.BadConnectionClosed,
        ua.StatusCodes.BadCommunicationError,
        ua.StatusCodes.BadServerHalted,
        ua.StatusCodes.BadShutdown,
    }
)
"""Answers after which the session, or at least its subscriptions, may still be there."""


class Connection:
    def __init__(self, endpoint: str, channel: Channel | None, user: User | None) -> None:
        self._channel = channel
        self._user = user
        self._client = Client(endpoint, timeout=REQUEST_SECONDS)
        self._contents: tuple[bytes, bytes, bytes] | None = None
        """Contents of the channel's files when it was opened."""
        self.server_time: datetime | None = None
        """What the server's clock was at the last answer to `call`."""

    @property
    def is_open(self) -> bool:
        return bool(self._client.state is UaClientState.CONNECTED)

    async def open(self) -> None:
        """Open a new session. Raises OSError, TimeoutError or ua.UaError, and what security libraries raise."""
        if self._channel is not None:
            self._contents = self._channel.contents()
            await self._channel.secure(self._client)
        if self._user is not None:
            self._client.set_user(self._user.name)
            self._client.set_password(self._user.password)
        await self._open_channel()
        await self._create_session()

    async def resume(self) -> bool:
        """Take up the session over a new socket; return whether it is the old one, or a new one in its place.

        Raises what `open` raises; then nothing is open, and it may be called again.
        """
        self._client.disconnect_socket()
        await self._open_channel()
        session = self._client.uaclient.session
        session.rebind_authentication_token()
        try:
            await self._activate()
            return True
        except ua.UaStatusCodeError as error:
            logger.debug("the session is gone: %s", error)
        session.reset_authentication_token()
        await self._create_session()
        return False

    async def call(self, request: Any, response_type: Any) -> Any:
        """The response to a request. Raises ua.UaStatusCodeError for a bad result, OSError and TimeoutError."""
        response = struct_from_binary(response_type, await self._ask(request, REQUEST_SECONDS))
        self.server_time = response.ResponseHeader.Timestamp
        response.ResponseHeader.ServiceResult.check()
        return response

    async def body(self, request: Any, timeout_seconds: float = REQUEST_SECONDS) -> bytes:
        """The encoded response behind its header. 0 waits for as long as the connection lasts. Raises what `call` raises."""
        answer = await self._ask(request, timeout_seconds)
        nodeid_from_binary(answer)
        struct_from_binary(ua.ResponseHeader, answer).ServiceResult.check()
        return bytes(answer)

    async def _ask(self, request: Any, timeout_seconds: float) -> Any:
        return await self._client.uaclient._send_request(request, timeout_seconds)  # the library has no public call

    async def read(self, node_ids: Sequence[int]) -> list[Any]:
        """Values of nodes of the standard's own namespace, None where there is none."""
        read = ua.ReadRequest()
        read.Parameters.NodesToRead = [
            ua.ReadValueId(NodeId=ua.NodeId(node_id), AttributeId=ua.AttributeIds.Value) for node_id in node_ids
        ]
        results = (await self.call(read, ua.ReadResponse)).Results
        return [None if item.Value is None else item.Value.Value for item in results]

    async def keep(self) -> None:
        """Renew the secure channel for as long as the connection lasts. Raises OSError, TimeoutError or ua.UaError."""
        while True:
            await asyncio.sleep(self._client.secure_channel_timeout / 1000 * RENEW_AT)
            await self._client.open_secure_channel(renew=True)
            self._client.uaclient.revolve_security_token()

    def is_renewed(self) -> bool:
        """Whether the channel's files were replaced since it was opened."""
        if self._channel is None:
            return False
        try:
            return self._channel.contents() != self._contents
        except OSError:
            return False  # they are just being replaced

    async def close(self) -> None:
        """Close the session with its subscriptions, if the server still answers."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self.is_open:
                    await self._client.uaclient.close_session(True)
                    await self._client.close_secure_channel()
        except Exception as error:  # noqa: BLE001  # the session is abandoned in any case
            logger.debug("the session did not close cleanly: %r", error)
        finally:
            self._client.disconnect_socket()

    async def _open_channel(self) -> None:
        await self._client.connect_socket()
        try:
            await self._client.send_hello()
            await self._client.open_secure_channel()
        except BaseException:
            self._client.disconnect_socket()
            raise

    async def _create_session(self) -> None:
        try:
            await self._client.create_session()
            await self._activate()
        except BaseException:
            self._client.disconnect_socket()
            raise

    async def _activate(self) -> None:
        user = self._user
        await self._client.activate_session(
            username=None if user is None else user.name, password=None if user is None else user.password
        )
