"""Settings from the twin: accepted once the sender runs with them, refused otherwise, and both reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from edge_sender.config.remembered import Remembered
from edge_sender.config.settings import EdgeSettings, SettingsError, with_twin
from edge_sender.config.sources import NO_SOURCES, SourcesDocument
from edge_sender.ports import Twin, UplinkError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
UPDATE_SECONDS = 300.0
"""The twin is read again after this time, to find a change that was missed while the connection was down."""


class Effective(NamedTuple):
    """With what a sender runs."""

    settings: EdgeSettings
    sources: SourcesDocument
    from_twin: tuple[str, ...] = ()
    """Names of what the twin gives."""


class TwinSettings:
    """`try_out` raises SettingsError for sources that can't be made on this gateway."""

    def __init__(self, settings: EdgeSettings, remembered: Remembered, try_out: Callable[[SourcesDocument], None]) -> None:
        self._settings = settings
        self._try_out = try_out
        self._remembered = remembered
        self._running: dict[str, Any] = {}
        """The desired properties with which the sender runs."""

    def effective(self) -> Effective:
        """The settings and sources to start with, by what is known of the twin. Until anything usable is known, there may be
        no sources."""
        for desired in (self._remembered.desired, {}):
            try:
                usable = self._usable(desired)
            except SettingsError as error:
                logger.warning("waiting for the twin: %s", error)
            else:
                self._running = desired
                return usable
        return Effective(self._settings, NO_SOURCES)

    def _usable(self, desired: dict[str, Any]) -> Effective:
        """Raises SettingsError."""
        settings, sources = with_twin(self._settings, desired)
        self._try_out(sources)
        return Effective(
            settings, sources, tuple(name for name, value in _without_version(desired).items() if value is not None)
        )

    async def watch(self, twin: Twin, change: Callable[[Effective], Awaitable[None]]) -> None:
        """Runs until cancelled, whatever the twin holds. `change` makes the sender go on with other settings; it raises
        SettingsError if it can't, and the sender then goes on as before."""
        changed, is_watching, told = asyncio.Event(), False, ""
        while True:
            changed.clear()
            timeout = RETRY_SECONDS
            try:
                if not is_watching:
                    await twin.on_change(changed.set)
                    is_watching = True
                await self._update(twin, change)
                timeout = UPDATE_SECONDS
            except UplinkError as error:
                logger.debug("%s", error)
            except Exception as error:  # what is desired next may be right, and must be read
                if told != repr(error):
                    told = repr(error)
                    logger.exception("the twin could not be followed; it is read again every %g s", RETRY_SECONDS)
            try:
                async with asyncio.timeout(timeout):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _update(self, twin: Twin, change: Callable[[Effective], Awaitable[None]]) -> None:
        """Read the twin, make the sender go on with it if it is another one, and report the outcome. Raises UplinkError."""
        desired = await twin.desired()
        try:
            usable = self._usable(desired)
            if _without_version(desired) != _without_version(self._running):
                await change(usable)
                self._running = desired
        except SettingsError as error:
            logger.warning("the twin's settings are refused, and the previous ones stay in force: %s", error)
            await self._report(twin, desired, str(error))
            return
        if self._remembered.desired != desired:
            await asyncio.to_thread(self._remembered.keep, desired)  # a slow disk must not stop the reading
        await self._report(twin, desired, None)

    async def _report(self, twin: Twin, desired: dict[str, Any], error: str | None) -> None:
        version = desired.get("$version")
        await twin.report({"settings": {"version": version, "accepted": error is None, "error": error}})


def _without_version(desired: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in desired.items() if not name.startswith("$")}
