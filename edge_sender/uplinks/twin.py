"""The module's (or device's) twin: desired properties are settings, reported ones say whether they were accepted.

Source: https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from azure.iot.device.exceptions import ClientError, OperationCancelled, OperationTimeout

from edge_sender.ports import UplinkError
from edge_sender.uplinks.line import Line

TROUBLE = (ClientError, OperationCancelled, OperationTimeout, OSError, TimeoutError)
"""What the SDK raises if the hub can't be reached or does not answer."""


class Twin:
    """All calls raise UplinkError."""

    def __init__(self, client: Callable[[], Awaitable[Any]], line: Line) -> None:
        """`client` returns the SDK's, or raises UplinkError."""
        self._client = client
        self._line = line
        self._changed: Callable[[], None] | None = None

    async def desired(self) -> dict[str, Any]:
        """All desired properties, with `$version`."""
        client = await self._client()
        try:
            async with self._line.passing(0):
                twin = await client.get_twin()
        except TROUBLE as error:
            raise UplinkError(f"the twin can't be read: {error!r}") from error
        desired: dict[str, Any] = twin["desired"]
        return desired

    async def report(self, reported: dict[str, Any]) -> None:
        client = await self._client()
        try:
            async with self._line.passing(0):
                await client.patch_twin_reported_properties(reported)
        except TROUBLE as error:
            raise UplinkError(f"the twin can't be written: {error!r}") from error

    async def on_change(self, changed: Callable[[], None]) -> None:
        """`changed` is called after each change of a desired property.

        The SDK calls from its own thread, and the assignment blocks until the hub has answered.
        """
        client = await self._client()
        try:
            await self._watch(client, changed)
        except TROUBLE as error:
            raise UplinkError(f"the twin can't be watched: {error!r}") from error
        self._changed = changed

    async def resume(self, client: Any) -> None:
        """Watch on another client what was watched before. What has changed meanwhile is found, too. Raises TROUBLE."""
        if self._changed is not None:
            await self._watch(client, self._changed)
            self._changed()

    @staticmethod
    async def _watch(client: Any, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        async def on_patch(_: Any) -> None:
            loop.call_soon_threadsafe(changed)

        await asyncio.to_thread(setattr, client, "on_twin_desired_properties_patch_received", on_patch)
