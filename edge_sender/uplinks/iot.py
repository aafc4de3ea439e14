"""Uplink to IoT Hub over MQTT, as a device or as an IoT Edge module."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from azure.iot.device import Message as IotMessage
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient
from azure.iot.device.exceptions import CredentialError

from edge_sender.ports import Message, MessageRefusedError, UplinkError
from edge_sender.uplinks.inputs import ModuleInputs
from edge_sender.uplinks.twin import TROUBLE, Twin

logger = logging.getLogger(__name__)

CONNECTION = {"keep_alive": 15, "connection_retry_interval": 60}
"""In seconds: the MQTT keep-alive, by which a dead connection is noticed, and the pause between the SDK's own attempts to
reconnect, after a first one at once. Whoever sends comes before them. Without these attempts, the SDK would give up what is
in flight as soon as the connection is lost, and each of these messages would be sent twice."""
LOOK_SECONDS = 0.1
MAX_MESSAGE_BYTES = 256 * 1024
MAX_PROPERTIES_BYTES = 8 * 1024
"""IoT Hub's limit. That of MQTT for a topic, which holds the properties, is higher."""


def _client_of_the_environment() -> Any:
    return IoTHubModuleClient.create_from_edge_environment(**CONNECTION)


class IotUplink:
    """Sends telemetry with QoS 1.

    In the SDK a send that was in progress when the connection dropped waits forever, so each has a time-out.
    """

    def __init__(self, make_client: Callable[[], Any], *, timeout_seconds: float) -> None:
        """`make_client` may block, and is called again until it succeeds; then once and for all."""
        self._make_client = make_client
        self._made: Any = None
        self.timeout_seconds = timeout_seconds
        self.inputs = ModuleInputs(lambda: self._client)

    @classmethod
    def from_connection_string(cls, connection_string: str, ca_pem: str | None, timeout_seconds: float) -> IotUplink:
        """A module if the connection string names one, otherwise a device."""
        kind = IoTHubModuleClient if "ModuleId=" in connection_string else IoTHubDeviceClient
        options: dict[str, Any] = {"server_verification_cert": ca_pem} if ca_pem else {}
        client = kind.create_from_connection_string(connection_string, **CONNECTION, **options)
        return cls(lambda: client, timeout_seconds=timeout_seconds)

    @classmethod
    def from_edge_environment(cls, timeout_seconds: float) -> IotUplink:
        """A module started by the IoT Edge runtime (IOTEDGE_*). After a boot the runtime's workload API, which signs its
        tokens, may come later than the module; `connect` waits for it."""
        return cls(_client_of_the_environment, timeout_seconds=timeout_seconds)

    @classmethod
    def from_debugger(cls, timeout_seconds: float) -> IotUplink:
        """A module started by the runtime's debugger (EdgeHubConnectionString). Raises ValueError or OSError."""
        client = _client_of_the_environment()
        return cls(lambda: client, timeout_seconds=timeout_seconds)

    @property
    def _client(self) -> Any:
        """Raises UplinkError until it is made, which `connect` does."""
        if self._made is None:
            raise UplinkError("not connected yet")
        return self._made

    @property
    def twin(self) -> Twin:
        """The twin on the same connection; its calls work only after `connect`."""
        return Twin(lambda: self._client, timeout_seconds=self.timeout_seconds)

    async def connect(self) -> None:
        await self._make()
        try:
            async with asyncio.timeout(self.timeout_seconds):
                if self.inputs.is_wanted:
                    await self.inputs.ask()
                await self._client.connect()
        except CredentialError as error:
            raise UplinkError(f"IoT Hub refused the credentials of EDGE_CONNECTION_STRING ({error})") from error
        except TROUBLE as error:
            raise UplinkError(f"can't connect: {error!r}") from error

    async def lost(self) -> None:
        while self._client.connected:
            await asyncio.sleep(LOOK_SECONDS)

    async def _make(self) -> None:
        """Raises UplinkError."""
        if self._made is None:
            try:
                self._made = await asyncio.to_thread(self._make_client)
            except (*TROUBLE, ValueError) as error:
                why = error.__cause__ or error
                raise UplinkError(f"the IoT Edge runtime's workload API does not answer as it should: {why}") from error

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
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self._client.send_message(outgoing)
        except ValueError as error:
            raise MessageRefusedError(str(error)) from error
        except TROUBLE as error:
            raise UplinkError(f"a send was not acknowledged: {error!r}") from error

    async def close(self) -> None:
        if self._made is None:
            return
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self._client.shutdown()
        except TROUBLE as error:
            logger.info("the connection did not close cleanly: %r", error)
