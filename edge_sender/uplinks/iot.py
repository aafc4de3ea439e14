"""Uplink to IoT Hub over MQTT, as a device or as an IoT Edge module."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

from azure.iot.device import Message as IotMessage
from azure.iot.device.exceptions import CredentialError

from edge_sender.ports import Message, MessageRefusedError, UplinkError
from edge_sender.uplinks.inputs import ModuleInputs
from edge_sender.uplinks.line import Line
from edge_sender.uplinks.logins import Login, state_of
from edge_sender.uplinks.reasons import reason
from edge_sender.uplinks.twin import TROUBLE, Twin

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
MAX_MESSAGE_BYTES = 256 * 1024
MAX_PROPERTIES_BYTES = 8 * 1024
"""IoT Hub's limit. That of MQTT for a topic, which holds the properties, is higher."""
ASK_AGAIN_SECONDS = 600.0
"""After which time without an acknowledgement a device that was assigned to a hub asks whether that is still its hub."""


class IotUplink:
    """Sends telemetry with QoS 1.

    In the SDK a send that was in progress when the connection dropped waits forever, so each has a time-out. A client has
    the certificates with which it was made, so that another one replaces it when they are renewed.
    """

    def __init__(self, login: Login, *, timeout_seconds: float, made: Any = None) -> None:
        """`made`: the first client of this login, if there is one already."""
        self._login = login
        self._made = made
        self._made_from = state_of(login.files)
        self._is_open = False
        self._heard_at = 0.0
        self._connecting = asyncio.Lock()
        self._line = Line(timeout_seconds)
        self.inputs = ModuleInputs(lambda: self._client)
        self.twin = Twin(self._ready, self._line)
        """The twin on the same connection; its calls work only after `connect`."""

    @property
    def timeout_seconds(self) -> float:
        return self._line.timeout_seconds

    @timeout_seconds.setter
    def timeout_seconds(self, seconds: float) -> None:
        self._line.timeout_seconds = seconds

    @property
    def _client(self) -> Any:
        """Raises UplinkError until it is made, which `connect` does."""
        if self._made is None:
            raise UplinkError("not connected yet")
        return self._made

    async def connect(self) -> None:
        async with self._connecting:
            await self._make()
            await self._open()

    async def _ready(self) -> Any:
        """The SDK's client, which is another one after its files have changed, or after its hub has refused it. Raises
        UplinkError."""
        if self._is_open and self._is_stale:
            async with self._connecting:
                if self._is_stale:  # nobody else was faster
                    await self._make()
                    await self._open()
        return self._client

    @property
    def _is_stale(self) -> bool:
        return self._made is None or state_of(self._login.files) != self._made_from

    async def _make(self) -> None:
        """Raises UplinkError. What can't be used instead of a client, such as a certificate whose key is not written yet,
        leaves all as it is until the files change again."""
        if not self._is_stale:
            return
        former, files = self._made, state_of(self._login.files)
        try:
            self._made = await asyncio.to_thread(self._login.make)
        except (*TROUBLE, ValueError, UplinkError) as error:
            if former is None:
                raise UplinkError(f"can't connect yet: {error}") from error
            logger.warning("the renewed certificates can't be used, and the old ones go on: %s", error)
        self._made_from = files
        if former is not None and former is not self._made:
            logger.info("connecting with the renewed certificates")
            await self._shut_down(former)

    async def _open(self) -> None:
        """Raises UplinkError."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                if self.inputs.is_wanted:
                    await self.inputs.ask()
                await self._client.connect()
                self._is_open, self._heard_at = True, _now()
                await self.twin.resume(self._client)
        except CredentialError as error:
            await self._refused()
            raise UplinkError(f"IoT Hub refused the credentials of this gateway ({error})") from error
        except TROUBLE as error:
            raise UplinkError(f"can't connect: {reason(error)}") from error

    async def lost(self) -> None:
        while self._connecting.locked() or (self._made is not None and self._made.connected):
            await asyncio.sleep(LOOK_SECONDS)

    async def _refused(self) -> None:
        """A device that was assigned elsewhere in the meantime has to ask where."""
        if self._login.is_assigned and (former := self._made) is not None:
            self._made = None
            await self._shut_down(former)

    async def send(self, message: Message) -> None:
        properties = sum(len(quote(key + value)) for key, value in message.properties.items())
        if properties > MAX_PROPERTIES_BYTES:
            raise MessageRefusedError(f"its properties have {properties} bytes; IoT Hub accepts {MAX_PROPERTIES_BYTES}")
        size = len(message.body) + properties
        if size > MAX_MESSAGE_BYTES:
            raise MessageRefusedError(f"it has {size} bytes; IoT Hub accepts {MAX_MESSAGE_BYTES}")
        outgoing = IotMessage(message.body, content_type=message.content_type, content_encoding="utf-8")
        outgoing.message_id = message.message_id
        outgoing.custom_properties.update(message.properties)
        client = await self._ready()
        try:
            async with self._line.passing(size):
                await client.send_message(outgoing)
            self._heard_at = _now()
        except ValueError as error:
            raise MessageRefusedError(str(error)) from error
        except CredentialError as error:
            await self._refused()
            raise UplinkError(f"IoT Hub refused the credentials of this gateway ({error})") from error
        except TROUBLE as error:
            if _now() - self._heard_at > ASK_AGAIN_SECONDS:
                await self._refused()
            raise UplinkError(f"a send was not acknowledged: {reason(error)}") from error

    async def close(self) -> None:
        if self._made is not None:
            await self._shut_down(self._made)

    async def _shut_down(self, client: Any) -> None:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await client.shutdown()
        except TROUBLE as error:
            logger.info("the connection did not close cleanly: %r", error)


def _now() -> float:
    return asyncio.get_running_loop().time()
